"""The binding's guests: at CPL 1 what is privileged faults, and what is mapped is reached."""

from __future__ import annotations

from unicorn import x86_const as x86

from bench.binding import DATA, HFLAGS, BindingGuest
from bench.reference import clear_interrupts

TURNS = 50


def test_privileged_instructions_run_at_cpl_1() -> None:
    guest = clear_interrupts()
    guest.run(TURNS)
    guest.uc.context_update(guest.context)
    assert guest.peek(HFLAGS) & 3 == 1


def test_a_guest_that_stores_reaches_its_data() -> None:
    guest = BindingGuest("mov qword ptr [rbx], rbp", setup=f"mov rbx, {DATA}")
    guest.run(7)
    assert int.from_bytes(guest.uc.mem_read(DATA, 8), "little") == 1


def test_skipping_counts_an_exit() -> None:
    guest = BindingGuest("nop")
    before = guest.uc.reg_read(x86.UC_X86_REG_RIP)
    guest.skip(3)
    assert (guest.exits, guest.uc.reg_read(x86.UC_X86_REG_RIP)) == (1, before + 3)
