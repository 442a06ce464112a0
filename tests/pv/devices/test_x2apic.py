"""x2APIC mode: how it is entered and left, and each MSR by the SDM's table of them (vol. 3, table 11-6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.interrupt_queue import NO_VECTOR
from pv.devices.local_apic_registers import LINT0, Mode, Register
from pv.devices.x2apic import REFUSED, SELF_IPI, read_msr, write_msr
from tests.pv.devices.apic_chip import Chip

DISABLED, INVALID, PAGE, MSRS = 0xFEE0_0100, 0xFEE0_0500, 0xFEE0_0900, 0xFEE0_0D00
WAYS = {DISABLED: (), PAGE: (PAGE,), MSRS: (PAGE, MSRS)}  # to each mode, from disabled
MASKED, SELF, LOGICAL = 1 << 16, 1 << 18, 1 << 11
ILLEGAL_SENT = 1 << 5

# Register: the bits that a write may have set; None where it cannot be written. What is not here is not there.
TABLE: dict[int, tuple[bool, int | None]] = {
    0x02: (True, None), 0x03: (True, None), 0x08: (True, 0xFF), 0x0A: (True, None), 0x0B: (False, 0),
    0x0D: (True, None),
    0x0F: (True, 0x1FF), **dict.fromkeys(range(16, 40), (True, None)), 0x28: (True, 0),
    0x30: (True, 0xFFFF_FFFF_000C_DFFF), 0x32: (True, 0x310FF), 0x33: (True, 0x117FF), 0x34: (True, 0x117FF),
    0x35: (True, 0x1F7FF), 0x36: (True, 0x1F7FF), 0x37: (True, 0x110FF), 0x38: (True, 0xFFFF_FFFF), 0x39: (True, None),
    0x3E: (True, 0xB), 0x3F: (False, 0xFF),
}  # fmt: skip


class MsrChip(Chip):
    """In x2APIC mode; registers by number, through their MSRs."""

    def __init__(self) -> None:
        super().__init__(enabled=False)
        assert self.apic.write_base(MSRS)
        self[Register.SVR] = 0x1FF

    def __getitem__(self, register: int) -> int:
        return read_msr(self.apic, 0x800 + register)

    def __setitem__(self, register: int, value: int) -> None:
        assert write_msr(self.apic, 0x800 + register, value)


@pytest.fixture
def chip() -> MsrChip:
    return MsrChip()


@pytest.mark.parametrize("start", WAYS)
@pytest.mark.parametrize("to", [DISABLED, INVALID, PAGE, MSRS])
def test_which_changes_of_mode_are_legal(start: int, to: int) -> None:
    chip = Chip()
    for base in (DISABLED, *WAYS[start]):
        assert chip.apic.write_base(base)
    legal = {DISABLED: (DISABLED, PAGE), PAGE: (DISABLED, PAGE, MSRS), MSRS: (DISABLED, MSRS)}[start]
    assert chip.apic.write_base(to) is (to in legal)
    assert chip.apic.base == (to if to in legal else start)
    modes = {DISABLED: Mode.DISABLED, PAGE: Mode.PAGE, MSRS: Mode.MSRS}
    assert chip.told[-1][0] == chip.apic.mode == modes[chip.apic.base]


@pytest.mark.parametrize("base", [MSRS | 1 << 12, MSRS & ~(1 << 8), MSRS | 1 << 9, MSRS | 1 << 40])
def test_nothing_else_changes_with_the_mode(base: int) -> None:
    assert not Chip().apic.write_base(base)


def test_what_was_programmed_in_the_page_stays() -> None:
    chip = Chip()
    chip[Register.TPR] = 0x20
    chip[Register.LVT_TIMER] = 0x45
    chip[Register.LDR] = 0x80 << 24
    chip[Register.ICR_LOW] = SELF | 0x61
    chip[Register.ICR_LOW] = SELF | 0x55
    assert chip.take() == 0x61
    assert chip.apic.write_base(MSRS)
    values = {0x08: 0x20, 0x32: 0x45, 0x0D: 1, 0x0F: 0x1FF, 0x12: 0, 0x13: 1 << 1, 0x22: 1 << 21, 0x30: SELF | 0x55}
    assert {register: read_msr(chip.apic, 0x800 + register) for register in values} == values
    assert chip.told[-1] == (Mode.MSRS, 0x1FF, 1, 0xFFFF_FFFF, 0x45)


def test_leaving_it_forgets_all(chip: MsrChip) -> None:
    chip[Register.TPR] = 0x20
    assert chip.apic.write_base(DISABLED)
    assert chip.apic.write_base(PAGE)
    assert Chip.__getitem__(chip, Register.TPR) == Chip.__getitem__(chip, Register.LDR) == 0
    assert Chip.__getitem__(chip, Register.SVR) == 0xFF


@pytest.mark.parametrize("base", [DISABLED, PAGE])
def test_there_are_no_msrs_in_other_modes(base: int) -> None:
    chip = Chip()
    assert chip.apic.write_base(base)
    for register in range(0x40):
        assert read_msr(chip.apic, 0x800 + register) == REFUSED
        assert not write_msr(chip.apic, 0x800 + register, 0)


def test_the_page_is_nobodys(chip: MsrChip) -> None:
    chip.apic.write(0x80, 4, 0x50)
    assert (chip.apic.read(0x30, 4), chip[Register.TPR], chip.errors()) == (0xFFFF_FFFF, 0, 0)


@pytest.mark.parametrize("register", range(0x40))
def test_each_register_is_as_the_table_says(register: int) -> None:
    chip = MsrChip()
    readable, writable = TABLE.get(register, (False, None))
    assert (chip[register] != REFUSED) is readable
    for bit in range(64):
        allowed = writable is not None and bool(writable >> bit & 1)
        assert write_msr(chip.apic, 0x800 + register, 1 << bit) is allowed, f"bit {bit}"
    assert write_msr(chip.apic, 0x800 + register, 0) is (writable is not None)
    chip[Register.ESR] = 0
    assert chip[Register.ESR] & ~ILLEGAL_SENT == 0, "#GP is all that a wrong access is"


def test_values_after_reset(chip: MsrChip) -> None:
    nonzero = {0x03: 0x50014, 0x0D: 1, 0x0F: 0x1FF, **dict.fromkeys(range(0x32, 0x38), MASKED)}
    for register, (readable, _) in TABLE.items():
        if readable:
            assert chip[register] == nonzero.get(register, 0), hex(register)


def test_status_bits_are_ignored(chip: MsrChip) -> None:
    chip[Register.LVT_LINT0] = 0x1F745
    chip[Register.ICR_LOW] = 3 << 18 | 1 << 12 | 0x41
    assert (chip[Register.LVT_LINT0], chip[Register.ICR_LOW]) == (0x1A745, 3 << 18 | 0x41)


@pytest.mark.parametrize(
    ("command", "arrives"),
    [
        (SELF, True), (2 << 18, True), (3 << 18, False), (0, True), (0xFF << 32, False), (0xFFFF_FFFF << 32, True),
        (LOGICAL | 1 << 32, True), (LOGICAL | 2 << 32, False), (LOGICAL | 0x1_0001 << 32, False),
        (LOGICAL | 0xFFFF_FFFF << 32, True), (0x400, False),
    ],
)  # fmt: skip
def test_who_is_reached(chip: MsrChip, command: int, arrives: bool) -> None:
    chip[Register.ICR_LOW] = command | 0x60
    assert chip.intr.level is arrives
    assert chip[Register.ICR_LOW] == command | 0x60


def test_self_ipi_leaves_the_command_as_it_is(chip: MsrChip) -> None:
    chip[Register.ICR_LOW] = 7 << 32 | 0x50
    chip[SELF_IPI] = 0x41
    assert chip[Register.ICR_LOW] == 7 << 32 | 0x50
    assert chip.take() == 0x41
    chip[Register.EOI] = 0
    assert chip.take() == NO_VECTOR
    chip[SELF_IPI] = 15
    assert (chip.intr.level, chip.errors()) == (False, ILLEGAL_SENT)


def test_a_level_triggered_pin_and_its_end(chip: MsrChip) -> None:
    chip[Register.LVT_LINT0] = 1 << 15 | 0x45
    chip.apic.lint(LINT0, True)
    assert (chip.take(), chip[Register.TMR + 2]) == (0x45, 1 << 5)
    chip[Register.EOI] = 0
    assert chip.intr.level, "still driven, it asks again"


@given(st.lists(st.tuples(st.sampled_from([PAGE, MSRS]), st.integers(0, 255), st.integers(0, 255)), max_size=20))
def test_a_snapshot_keeps_mode_and_registers(steps: list[tuple[int, int, int]]) -> None:
    chip, other = Chip(), Chip()
    for base, priority, vector in steps:
        if chip.apic.write_base(base) and base == MSRS:
            write_msr(chip.apic, 0x808, priority)
            write_msr(chip.apic, 0x830, priority << 32 | SELF | vector)
    saved = chip.apic.save()
    other.apic.restore(saved)
    assert other.apic.save() == saved
    assert (other.apic.base, other.told[-1]) == (chip.apic.base, chip.told[-1])
    assert other.take() == chip.take()
