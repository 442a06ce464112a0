"""The job of `console`: lines that carry their number, and a checksum over every byte of them.

The guest's own: console_out(RDI address, RSI bytes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest_sdk.work import mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "console"
OPERATION: Final = "write a line of 48 bytes"
DEFAULT_OPERATIONS: Final = 6_000

LINE: Final = b"line 00000000 of those that the guest may print\n"
NUMBER_AT: Final = LINE.index(b"0")
DIGITS: Final = 8

TEXT: Final = f"""
work:
    xor ebx, ebx                ; the line's number
    xor ebp, ebp                ; the checksum
.line:
    mov eax, ebx
    mov ecx, {DIGITS}
.digit:
    mov edx, eax
    and edx, 15
    mov dl, [hex_digits + rdx]
    mov [line + {NUMBER_AT - 1} + rcx], dl
    shr eax, 4
    dec ecx
    jnz .digit
    mov rdi, line
    mov esi, {len(LINE)}
    call console_out
    xor ecx, ecx
.checked:
    movzx eax, byte ptr [line + rcx]
    {mix("ebp", "eax")}
    inc ecx
    cmp ecx, {len(LINE)}
    jb .checked
    inc ebx
    cmp ebx, OPERATIONS
    jb .line
    mov eax, ebp
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The line, and the digits of its number."""
    guest.rodata("hex_digits", b"0123456789abcdef")
    guest.data("line", LINE)


def lines(operations: int) -> bytes:
    """What the guest prints before its result."""
    return b"".join(LINE.replace(b"0" * DIGITS, b"%08x" % number) for number in range(operations))


def expected(operations: int) -> int:
    """The result."""
    state = 0
    for byte in lines(operations):
        state = mixed(state, byte)
    return state
