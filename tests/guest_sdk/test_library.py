"""The routines print what they should, by hypercall and by serial port, on a bare processor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import Guest, abi, library
from tests.guest_sdk.emulator import Ran, run

WRITE = abi.BY_NAME["console_write"].number


def ran(paravirt: bool, text: str) -> Ran:
    guest = Guest("test", paravirt=paravirt)
    library.add(guest)
    guest.string("message", "hello\n").string("empty", "")
    return run(guest.asm(f"main:\n{text}\nxor eax, eax\nret").build())


@pytest.mark.parametrize("paravirt", [True, False])
def test_puts(paravirt: bool) -> None:
    result = ran(paravirt, "mov rdi, message\ncall puts\nmov rdi, empty\ncall puts\nmov rdi, message\ncall puts")
    assert (result.output, result.status) == (b"hello\nhello\n", 0)


@settings(max_examples=25, deadline=None)
@given(
    st.booleans(),
    st.sampled_from([0, 9, 10, 10**19, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1),
)
def test_numbers(paravirt: bool, value: int) -> None:
    load = f"mov rax, {value}"
    result = ran(paravirt, f"{load}\ncall print_decimal\n{load}\ncall print_hex")
    assert result.output.decode() == f"{value}\n{value:016x}\n"


def test_one_exit_a_line() -> None:
    assert ran(True, "mov rax, 123456\ncall print_decimal").calls == [WRITE, abi.BY_NAME["exit"].number]


@pytest.mark.parametrize("paravirt", [True, False])
def test_other_registers_keep_their_value(paravirt: bool) -> None:
    kept = ["rbx", "rbp", "r12", "r13", "r14", "r15"]
    load = "\n".join(f"mov {name}, {0x1234 + n}" for n, name in enumerate(kept))
    check = "\n".join(f"cmp {name}, {0x1234 + n}\njne failed" for n, name in enumerate(kept))
    prints = "mov rax, 5\ncall print_decimal\nmov rax, 5\ncall print_hex\nmov rdi, message\ncall puts"
    result = ran(paravirt, f"{load}\n{prints}\n{check}\nxor eax, eax\nret\nfailed: mov eax, 1\nret")
    assert result.status == 0


def test_a_guest_may_bring_its_own_console_out() -> None:
    guest = Guest("test", paravirt=False)
    guest.asm("mine: mov al, [rdi]\nmov edx, 0x3f8\nout dx, al\nret")
    library.add(guest, console_out="mine")
    result = run(guest.asm("main: mov rax, 7\ncall print_decimal\nxor eax, eax\nret").build())
    assert result.output == b"7"


def test_routines_under_other_names() -> None:
    guest = Guest("test", paravirt=False).bss("mine", library.BUFFER_BYTES)
    guest.asm(
        library.serial_out(label="out_a") + library.print_decimal(label="say", console_out="out_a", buffer="mine")
    )
    assert run(guest.asm("main: mov eax, 3\ncall say\nxor eax, eax\nret").build()).output == b"3\n"
