"""Guests written in Python: the ABI, and a builder from assembler to ELF that needs no compiler.

The builder is imported on first use, so that reading the ABI loads no assembler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guest_sdk import abi
from guest_sdk.errors import AssemblyError

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

__all__ = ["AssemblyError", "Guest", "abi"]


def __getattr__(name: str) -> object:
    if name == "Guest":
        from guest_sdk.builder import Guest

        return Guest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
