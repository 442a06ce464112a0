"""cpuid-msr, paravirtual: three calls that do not need each other's results, in one multicall."""

from __future__ import annotations

from typing import Final

from guest_sdk import abi
from guest_sdk.work.cpuid_msr import DEFAULT_OPERATIONS, MSR, NAME, OPERATION, TEXT, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

ENTRIES: Final = (  # what changes from one operation to the next is filled in later
    ("cpuid", (0, 0, "answer")),
    ("msr_write", (MSR, 0)),
    ("msr_read", (MSR, "value")),
)
ENTRY_BYTES: Final = abi.STRUCT_BY_NAME["multicall_entry"].size_bytes
LEAF: Final = "batch + MULTICALL_ENTRY_ARGUMENTS"
VALUE: Final = f"batch + {ENTRY_BYTES} + MULTICALL_ENTRY_ARGUMENTS + 8"


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("value", 8)
    guest.fields("batch", [(8, word) for entry in ENTRIES for word in entry_words(*entry)])
    guest.asm("jmp work")
    guest.asm(f"exchange:\nmov edi, edi\nmov [{LEAF}], rdi\nmov [{VALUE}], rsi")
    guest.call.multicall("batch", len(ENTRIES))
    guest.asm("mov rax, [value]")
    for entry in range(len(ENTRIES)):  # a call that failed shows in the result
        guest.asm(f"or rax, [batch + {entry * ENTRY_BYTES} + MULTICALL_ENTRY_RESULT]")
    guest.asm("ret")
    return finish(guest, operations, TEXT)


def entry_words(name: str, arguments: tuple[int | str, ...]) -> list[int | str]:
    """A multicall_entry: number, six arguments, result."""
    unused = len(abi.ARGUMENT_REGISTERS) - len(arguments)
    return [abi.BY_NAME[name].number, *arguments, *[0] * unused, 0]
