"""Guests of a few lines for the engine alone."""

from __future__ import annotations

from guest_sdk.builder import Guest


def plain(text: str) -> bytes:
    """A guest that is `text` from its first instruction on."""
    return Guest("plain", paravirt=False).asm(f"_start:\n{text}").build()
