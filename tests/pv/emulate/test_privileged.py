from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.dispatch import ANY_KEY, Shape
from pv.emulate.apic_registers import apic_rows
from pv.emulate.decode import FORMS, KEY_IN_ECX, decode
from pv.emulate.privileged import privileged_rows
from pv.engines.base import GuestFault
from pv.exits import Exit, Reply
from tests.pv.emulate.recording_vcpu import CODE, MASK_64, MEMORY_BYTES, Guest

# The opcodes that FORMS is made of, for a fuzzer that reaches handlers and not only the decoder.
OPCODES = [
    "fa", "fb", "f4", "48cf", "0f07", "480f07", "0f01f8", "0f09", "0f08", "0f01d1", "0f33", "0f01c8", "0f01c9",
    "0f32", "0f30", "0f06", "0f01", "0f00", "0f20", "440f20", "0f22", "440f22", "0f21", "0f23", "8e", "488e", "668e",
    "0fa1", "0fa9", "660fa1", "0fb2", "480fb2", "660fb4", "480fb5", "ff", "48ff", "66ff", "cb", "48cb", "66cb", "48ca",
]  # fmt: skip
ADDRESSES = st.one_of(st.integers(0, MEMORY_BYTES), st.integers(0, MASK_64), st.sampled_from([MASK_64, 1 << 47]))
INDICES = st.sampled_from([0x10, 0x1B, 0x277, 0x2FF, 0xC000_0080, 0xC000_0081, 0xC000_0101, 0x4000_0000])


def test_there_is_a_row_for_every_form_and_nothing_collides(guest: Guest) -> None:
    reasons = {form.reason for form in FORMS.values()}
    assert reasons == {row.reason for row in privileged_rows(guest.vcpu)}
    for form in FORMS.values():
        if form.key >= 0:
            assert guest.table.find(form.reason, form.key) is not None
    for row in privileged_rows(guest.vcpu):
        assert row.shape is Shape.EXIT
        assert row.owner == "trap"
        assert row.name
        assert row.first >= 0 or row.first == ANY_KEY


@pytest.mark.parametrize("number", [1, 6, 7])
def test_segments_that_cannot_be_loaded_decode_to_nothing(number: int) -> None:
    assert decode(bytes((0x8E, 0xC0 | number << 3)), CODE) is None


def answered(guest: Guest, exit: Exit) -> Reply | GuestFault:
    """What the handler answers or raises for the guest; any other exception is the test's failure."""
    try:
        return guest.answer(exit)
    except GuestFault as caught:
        return caught


@settings(max_examples=1500, deadline=None)
@given(
    opcode=st.sampled_from(OPCODES),
    tail=st.binary(min_size=8, max_size=8),
    registers=st.lists(ADDRESSES, min_size=16, max_size=16),
    index=st.one_of(INDICES, st.integers(0, MASK_64)),
    memory=st.binary(min_size=64, max_size=64),
    bases=st.tuples(ADDRESSES, ADDRESSES, ADDRESSES),
    cpl=st.sampled_from([1, 3]),
)
def test_whatever_the_registers_hold_the_answer_is_a_reply_or_a_fault(
    opcode: str,
    tail: bytes,
    registers: list[int],
    index: int,
    memory: bytes,
    bases: tuple[int, int, int],
    cpl: int,
) -> None:
    insn = decode(bytes.fromhex(opcode) + tail, CODE)
    if insn is None:
        return
    guest = Guest()
    guest.add(privileged_rows(guest.vcpu))
    guest.add(apic_rows(guest.vcpu, guest.apic, "local APIC"))
    guest.memory.write(0, memory * (0x10000 // len(memory)))
    guest.vcpu.registers[:] = registers
    guest.vcpu.rcx = index
    guest.vcpu.fs_base, guest.vcpu.gs_base, guest.virtual.gdt_base = bases
    key = index & 0xFFFFFFFF if insn.key == KEY_IN_ECX else insn.key
    value = (registers[2] & 0xFFFFFFFF) << 32 | registers[0] & 0xFFFFFFFF
    exit = Exit(insn.reason, key, value, length=insn.length, insn=insn, rip=CODE, cpl=cpl)
    answer = answered(guest, exit)
    assert answer.vector in (0, 1, 6, 11, 12, 13, 14)
    assert answer.error_code is None or 0 <= answer.error_code <= 0xFFFF
    assert all(0 <= value <= MASK_64 for value in guest.vcpu.registers)
    guest.memory.close()
