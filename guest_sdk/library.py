"""How does a guest print? A few routines as text, the same for both kinds of guest but for `console_out`.

Convention: console_out takes RDI (address) and RSI (bytes). Every routine here may change RAX, RCX, RDX, RSI, RDI,
R8-R11 and flags; the others keep their value. Numbers are formatted into a buffer in .bss and written at once: one exit
a call for a paravirtual guest. The buffer's address is passed as a gpa, so it must stay mapped to itself.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest

BUFFER: Final = "print_buffer"
BUFFER_BYTES: Final = 32  # 20 digits and a newline
COM1: Final = 0x3F8


def puts(*, label: str = "puts", console_out: str = "console_out") -> str:
    """A routine that writes the NUL-terminated string at RDI."""
    return f"""
{label}:
    xor esi, esi
.next:
    cmp byte ptr [rdi + rsi], 0
    je .counted
    inc rsi
    jmp .next
.counted:
    jmp {console_out}
"""


def print_decimal(*, label: str = "print_decimal", console_out: str = "console_out", buffer: str = BUFFER) -> str:
    """A routine that writes RAX in decimal, unsigned, and a newline."""
    return f"""
{label}:
    mov rdi, {buffer} + {BUFFER_BYTES - 1}
    mov byte ptr [rdi], '\\n'
    mov ecx, 10
.digit:
    xor edx, edx
    div rcx
    add dl, '0'
    dec rdi
    mov [rdi], dl
    test rax, rax
    jnz .digit
    mov rsi, {buffer} + {BUFFER_BYTES}
    sub rsi, rdi
    jmp {console_out}
"""


def print_hex(*, label: str = "print_hex", console_out: str = "console_out", buffer: str = BUFFER) -> str:
    """A routine that writes RAX as 16 hexadecimal digits and a newline."""
    return f"""
{label}:
    mov rdi, {buffer}
    mov ecx, 16
.digit:
    rol rax, 4
    mov edx, eax
    and edx, 15
    add edx, '0'
    cmp edx, '9'
    jbe .write
    add edx, 'a' - '0' - 10
.write:
    mov [rdi], dl
    inc rdi
    dec ecx
    jnz .digit
    mov byte ptr [rdi], '\\n'
    mov rdi, {buffer}
    mov esi, 17
    jmp {console_out}
"""


def serial_out(*, label: str = "console_out", port: int = COM1) -> str:
    """A console_out for a 16550: wait for an empty transmitter (LSR bit 5), then write, byte by byte."""
    return f"""
{label}:
    test rsi, rsi
    jz .done
.wait:
    mov edx, {port + 5}
    in al, dx
    test al, 0x20
    jz .wait
    mov edx, {port}
    mov al, [rdi]
    out dx, al
    inc rdi
    dec rsi
    jnz .wait
.done:
    ret
"""


def add(guest: Guest, *, console_out: str | None = None) -> None:
    """Append every routine and the buffer to `guest`.

    console_out: the label of the guest's own routine; left out, a paravirtual guest gets one by hypercall and
    an unmodified guest one for the 16550 at COM1, both under the label `console_out`.
    """
    if console_out is None:
        console_out = "console_out"
        if guest.paravirt:
            guest.asm(f"{console_out}:")
            guest.call.console_write("rdi", "rsi")
            guest.asm("ret")
        else:
            guest.asm(serial_out(label=console_out))
    guest.bss(BUFFER, BUFFER_BYTES)
    for routine in (puts, print_decimal, print_hex):
        guest.asm(routine(console_out=console_out))
