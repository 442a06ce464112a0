"""What each row costs in exits, exactly, under each technique; all columns print one result."""

from __future__ import annotations

import pytest

from bench.nano import measure
from bench.nano.measure import COLUMNS, FEW, Images, measure_row, measure_rows, run_column
from bench.nano.rows import NATIVE, ROWS, NanoRow
from bench.compare import Run
from pv.report.comparison import WELL
from pv.techniques import TECHNIQUES

CALL: dict[str, float] = {"VMCALL": 1}
NONE: dict[str, float] = {}
# By row and technique: the exits of one operation. A row without a technique has none there.
EXITS: dict[str, dict[str, dict[str, float]]] = {
    "syscall": {"paravirt": {"SYSCALL": 1, "VMCALL": 1}, "trap": {"SYSCALL": 1, "SYSRET": 1}},
    "in": {"trap": {"IO_INSTRUCTION": 1}},
    "cr8wr": {"paravirt": NONE, "trap": {"CR_ACCESS": 1}},
    "call/ret": {"paravirt": NONE, "trap": NONE},
    "pgfault": {"paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 1}, "trap": {"EXCEPTION_NMI": 1, "IRET": 1}},
    "divzero": {"paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 1}, "trap": {"EXCEPTION_NMI": 1, "IRET": 1}},
    "ptemod": {"paravirt": CALL, "trap": NONE},
    "ptemod, used": {"paravirt": CALL, "trap": {"EXCEPTION_NMI": 1, "INVLPG": 1}},
    # a round of 64 pages ends with one call, or one load of CR3
    "first touch": {
        "paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 2 + 1 / 64},
        "trap": {"EXCEPTION_NMI": 2, "CR_ACCESS": 1 + 1 / 64, "IRET": 1},
    },
    "8 spaces": {"paravirt": CALL, "trap": {"CR_ACCESS": 1}},
    "cpuid": {"paravirt": {"CPUID": 1}, "trap": {"CPUID": 1}},
    "vmcall": {"paravirt": CALL},
    "mov_from_cr8": {"paravirt": NONE, "trap": {"CR_ACCESS": 1}},
    "mov_dr": {"trap": {"DR_ACCESS": 1}},
    "inl_from_kernel": {"trap": {"IO_INSTRUCTION": 1}},
    "outl_to_kernel": {"trap": {"IO_INSTRUCTION": 1}},
    "inl_from_qemu": {"trap": {"IO_INSTRUCTION": 1}},
    "inl_from_pmtimer": {},
    "self_ipi": {"paravirt": {"VMCALL": 2}, "trap": {"MMIO": 2, "IRET": 1}},
    "self_ipi_sti_hlt": {"trap": {"INTERRUPT_FLAG": 2, "MMIO": 2, "HLT": 1, "IRET": 1}},
    "apic_read": {"trap": {"MMIO": 1}},
    "apic_write": {"trap": {"MMIO": 1}},
    "rdmsr": {"paravirt": CALL, "trap": {"MSR_READ": 1}},
    "wrmsr": {"paravirt": CALL, "trap": {"MSR_WRITE": 1}},
    "rdtsc": {"paravirt": NONE, "trap": {"RDTSC": 1}},
    "pause": {"paravirt": NONE, "trap": NONE},
    "invlpg": {"paravirt": CALL, "trap": {"INVLPG": 1}},
    "wbinvd": {"trap": {"WBINVD": 1}},
    # the shadows are dropped with the bit: the loop's page and its stack come back by a fault
    "toggle_cr0_wp": {"trap": {"CR_ACCESS": 2, "EXCEPTION_NMI": 2}},
    "toggle_cr4_pge": {"trap": {"CR_ACCESS": 2, "EXCEPTION_NMI": 2}},
    "tsc_adjust": {},
    "tscdeadline": {},
    "ipi": {},
    "pci-io": {},
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operation_takes_exactly_these_exits(row: NanoRow) -> None:
    cells = measure_row(row, COLUMNS, timed=False)
    assert {cell.ended for cell in cells} == {WELL}
    measured = [cell for cell in cells if cell.reason is None]
    assert {cell.technique: cell.exits_by_reason for cell in measured if cell.technique != NATIVE} == EXITS[row.name]
    assert all(cell.agrees is (True if len(measured) > 1 else None) for cell in measured)
    assert all(cell.exits_per_operation == sum(cell.exits_by_reason.values()) for cell in cells)


def test_columns_are_the_engine_alone_and_every_technique() -> None:
    assert COLUMNS == ("native", *TECHNIQUES)


def test_one_image_serves_all_unmodified_columns() -> None:
    images = Images("call/ret")
    assert images.get(NATIVE, 5) is images.get("trap", 5)
    assert images.get("paravirt", 5) is not images.get("trap", 5)


def test_printing_is_not_counted() -> None:
    short, long = (run_column(Images("pgfault").get("trap", operations), "trap") for operations in (9, 10))
    assert len(long.console) == len(short.console) + 1
    assert short.exits["IO_INSTRUCTION"] == long.exits["IO_INSTRUCTION"]


def test_a_time_is_that_of_the_longer_run_less_the_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def run(image: bytes, _column: str) -> Run:
        operations = int(image)
        lengths.append(operations)
        return Run(0.001 + operations * 1e-6, {}, "result 1\n", WELL)

    monkeypatch.setattr(measure, "run_column", run)
    monkeypatch.setattr(Images, "get", lambda _self, _column, operations: str(operations).encode())
    (cell,) = measure_rows(["call/ret"], ["trap"], repeat=1)
    assert lengths[-2:] == [FEW, 65_536], "the first length that takes long enough"
    assert cell.ns_per_operation == pytest.approx(1000)
    assert cell.agrees is None
