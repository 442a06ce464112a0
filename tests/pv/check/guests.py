"""Small guests for the tests beside this file, and how they are observed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from guest_sdk import Guest
from pv.check import Observation, Run, observe
from tests.pv.engines.unicorn_memory.machines import assemble

EXIT = "mov al, 0; out 0xf4, al"
WRITES = f"mov al, 0x41; mov dx, 0x3f8; out dx, al; mov al, 0x42; out dx, al; mov rbx, 7; {EXIT}"
MAP_APIC = (  # the loader's tables lead to memory alone
    "mov rax, cr3; mov rbx, [rax]; and rbx, -4096; mov qword ptr [rbx + 24], 0x180003; "
    "mov eax, 0xfee00083; mov [0x180000 + 503 * 8], rax; "
)
APIC = f"{MAP_APIC} mov ebx, 0xfee00080; mov dword ptr [rbx], 0x30; or dword ptr [rbx], 0x40; mov eax, [rbx]; {EXIT}"
HARDWARE = ("trap", "hardware")


def run_of(text: str | bytes) -> Run:
    """A flat guest with 2 MiB."""
    return Run(assemble(text) if isinstance(text, str) else text, "2MiB", timeout=20)


def observed(text: str | bytes, technique: str = "trap") -> Observation:
    return observe(run_of(text), technique)


def with_memory(one: Observation, gpa: int, data: bytes) -> Observation:
    """The observation with other bytes at `gpa`."""
    return replace(one, memory=one.memory[:gpa] + data + one.memory[gpa + len(data) :])


def with_words(one: Observation, words: dict[int, int]) -> Observation:
    for gpa, value in words.items():
        one = with_memory(one, gpa, struct.pack("<Q", value))
    return one


def sdk(text: str, add: Callable[[Guest], Any] = lambda _guest: None) -> bytes:
    """An unmodified SDK guest whose main is `text`."""
    guest = Guest("checked", paravirt=False)
    add(guest)
    return guest.asm(f"main:\n{text}\nxor eax, eax\nret").build()
