"""Names and offsets of table 11-1."""

from __future__ import annotations

from pv.devices.local_apic_registers import LVT_WRITABLE, NAMES, Register


def test_names_are_those_of_the_manual() -> None:
    assert {offset: NAMES[offset // 16] for offset in (0x20, 0x80, 0xB0, 0xF0, 0x300, 0x310, 0x320, 0x350, 0x3E0)} == {
        0x20: "ID", 0x80: "TPR", 0xB0: "EOI", 0xF0: "SVR", 0x300: "ICR low", 0x310: "ICR high", 0x320: "LVT TIMER",
        0x350: "LVT LINT0", 0x3E0: "DIVIDE",
    }  # fmt: skip
    assert (NAMES[0x17], NAMES[0x18], NAMES[0x27]) == ("ISR7", "TMR0", "IRR7")


def test_every_register_has_one_name() -> None:
    assert len(set(NAMES.values())) == len(NAMES) == 22 + 3 * 8
    assert set(LVT_WRITABLE) <= set(NAMES)
    assert max(NAMES) == Register.DIVIDE
