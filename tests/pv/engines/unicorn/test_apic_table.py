"""docs/apic-virtualization.md says what each access costs with virtualization: its table is what this runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pv.devices.local_apic_registers import Register
from tests.pv.engines.unicorn.apic_guests import ON, SELF, apic_guest, end, get, put
from tests.pv.engines.unicorn.guests import GP

PAGE: Final = Path(__file__).resolve().parents[4] / "docs" / "apic-virtualization.md"
BEGIN, END = "<!-- seen by tests/pv/engines/unicorn/test_apic_table.py -->\n", "<!-- end -->"
EVENT: Final = 0x41
WRITTEN: Final = {  # a value that may be written; 0 of all others
    Register.TPR: 0x10, Register.SVR: 0x1FF, Register.DFR: 0xFFFF_FFFF, Register.ICR_LOW: SELF | EVENT,
    Register.LVT_TIMER: 0x10000, Register.LVT_LINT0: 0x10700, Register.LVT_ERROR: 0x10000, 0x3F: EVENT,
}  # fmt: skip
ROWS: Final = {
    "ID": Register.ID, "version": Register.VERSION, "TPR": Register.TPR, "PPR": Register.PPR, "EOI": Register.EOI,
    "LDR": Register.LDR, "DFR": Register.DFR, "spurious vector": Register.SVR, "ISR": Register.ISR, "TMR": Register.TMR,
    "IRR": Register.IRR, "ESR": Register.ESR, "ICR": Register.ICR_LOW, "ICR, upper half": Register.ICR_HIGH,
    "LVT timer": Register.LVT_TIMER, "LVT LINT0": Register.LVT_LINT0, "LVT error": Register.LVT_ERROR,
    "initial count": Register.INITIAL_COUNT, "current count": Register.CURRENT_COUNT, "divide": Register.DIVIDE,
    "SELF IPI": 0x3F,
}  # fmt: skip


def cost(register: int, *, write: bool, msrs: bool) -> str:
    """What one access of a guest with interrupts on costs."""
    access = put(16 * register, WRITTEN.get(register, 0), msrs=msrs) if write else get(16 * register, msrs=msrs)
    with apic_guest(f"sti; {access} nop", {EVENT: end(msrs=msrs)}, ON, msrs=msrs) as made:
        outcome = made.run()
        counted = ("MSR_READ", "MSR_WRITE") if msrs else ("MMIO",)
        apic = sum(outcome.exits.get(reason, 0) for reason in counted) - 2 * msrs
        if outcome.status == GP:
            assert apic == 1
            return "#GP"
        assert (outcome.status, apic in (0, 1)) == (0xEE, True)
        return "exit" if apic else "none"


def table() -> str:
    lines = [
        "| register | page, read | page, write | MSR, read | MSR, write |\n",
        "| --- | --- | --- | --- | --- |\n",
    ]
    for name, register in ROWS.items():
        costs = [cost(register, write=write, msrs=msrs) for msrs in (False, True) for write in (False, True)]
        lines.append(f"| {name} | {' | '.join(costs)} |\n")
    return "".join(lines)


def test_the_page_shows_what_runs() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == table()
