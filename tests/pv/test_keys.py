"""Names of reasons and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.exits import Direction, Reason
from pv.keys import key_text, reason_name


@pytest.mark.parametrize(
    ("reason", "key", "text"),
    [
        (Reason.VMCALL, 0x1003, "exit"),
        (Reason.VMCALL, 0x8001, "greet"),
        (Reason.VMCALL, 0x9999, "call 0x9999"),
        (Reason.IO_INSTRUCTION, 0x3F8 * 2 + Direction.WRITE, "port 0x3f8 write"),
        (Reason.MMIO, 0xFEE0_00B0 * 2 + Direction.WRITE, "APIC EOI write"),
        (Reason.MMIO, 0xFEE0_0120 * 2, "APIC ISR2 read"),
        (Reason.MMIO, 0xFEE0_00B4 * 2, "gpa 0xfee000b4 read"),
        (Reason.MMIO, 0xFED0_0000 * 2 + Direction.WRITE, "gpa 0xfed00000 write"),
        (Reason.CR_ACCESS, 3 * 2 + Direction.WRITE, "CR3 write"),
        (Reason.DR_ACCESS, 7 * 2, "DR7 read"),
        (Reason.MSR_READ, 0xC0000082, "LSTAR"),
        (Reason.MSR_WRITE, 0x123, "MSR 0x123"),
        (Reason.EXCEPTION_NMI, 14, "#PF"),
        (Reason.EXTERNAL_INTERRUPT, 0x20, "vector 0x20"),
        (Reason.SOFTWARE_INTERRUPT, 0x80, "INT 0x80"),
        (Reason.CPUID, 0x40000000, "leaf 0x40000000"),
        (Reason.HLT, 0, ""),
        (Reason.INTERRUPT_FLAG, 1, "STI"),
        (Reason.SEGMENT_LOAD, 4, "FS"),
        (Reason.SEGMENT_READ, 2, "SS"),
        (Reason.SEGMENT_READ, 7, "LSL"),
        (Reason.GDTR_IDTR, 3, "SIDT"),
        (Reason.LDTR_TR, 2, "SLDT"),
    ],
)
def test_keys_are_called(reason: Reason, key: int, text: str) -> None:
    assert key_text(reason, key, {0x8001: "greet"}) == text


def test_reasons_are_called() -> None:
    assert reason_name(18) == "VMCALL"
    assert reason_name(0x999) == "0x999"


@given(st.integers(0, 0x200), st.integers(-1, 1 << 64))
def test_every_key_has_a_name(reason: int, key: int) -> None:
    assert reason_name(reason)
    assert isinstance(key_text(reason, key), str)
