"""What each row costs in exits, exactly, under each technique; all columns print one result."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import Run
from bench.nano import measure
from bench.nano.measure import COLUMNS, FEW, Images, measure_row, measure_rows, run_column
from bench.nano.rows import NATIVE, ROWS, NanoRow
from pv.report.comparison import WELL
from pv.report.grid import short_count
from pv.techniques import TECHNIQUES

CALL: dict[str, float] = {"VMCALL": 1}
NONE: dict[str, float] = {}
# By row and technique: the exits of one operation. A row without a technique has none there.
EXITS: dict[str, dict[str, dict[str, float]]] = {
    "syscall": {"paravirt": {"SYSCALL": 1, "VMCALL": 1}, "trap": {"SYSCALL": 1, "SYSRET": 1}, "hardware": NONE},
    "in": {"trap": {"IO_INSTRUCTION": 1}, "hardware": {"IO_INSTRUCTION": 1}},
    "cr8wr": {"paravirt": NONE, "trap": {"CR_ACCESS": 1}, "hardware": {"CR_ACCESS": 1}},
    "call/ret": {"paravirt": NONE, "trap": NONE, "hardware": NONE},
    "pgfault": {
        "paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 1},
        "trap": {"EXCEPTION_NMI": 1, "IRET": 1},
        "hardware": NONE,
    },
    "divzero": {
        "paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 1},
        "trap": {"EXCEPTION_NMI": 1, "IRET": 1},
        "hardware": NONE,
    },
    "ptemod": {"paravirt": CALL, "trap": NONE, "hardware": NONE},
    "ptemod, used": {"paravirt": CALL, "trap": {"EXCEPTION_NMI": 1, "INVLPG": 1}, "hardware": NONE},
    # a round of 64 pages ends with one call, or one load of CR3
    "first touch": {
        "paravirt": {"EXCEPTION_NMI": 1, "VMCALL": 2 + 1 / 64},
        "trap": {"EXCEPTION_NMI": 2, "CR_ACCESS": 1 + 1 / 64, "IRET": 1},
        "hardware": NONE,
    },
    "8 spaces": {"paravirt": CALL, "trap": {"CR_ACCESS": 1}, "hardware": NONE},
    "cpuid": {"paravirt": {"CPUID": 1}, "trap": {"CPUID": 1}, "hardware": {"CPUID": 1}},
    "vmcall": {"paravirt": CALL},
    "mov_from_cr8": {"paravirt": NONE, "trap": {"CR_ACCESS": 1}, "hardware": NONE},
    "mov_dr": {"trap": {"DR_ACCESS": 1}, "hardware": {"DR_ACCESS": 1}},
    "inl_from_kernel": {"trap": {"IO_INSTRUCTION": 1}, "hardware": {"IO_INSTRUCTION": 1}},
    "outl_to_kernel": {"trap": {"IO_INSTRUCTION": 1}, "hardware": {"IO_INSTRUCTION": 1}},
    "inl_from_qemu": {"trap": {"IO_INSTRUCTION": 1}, "hardware": {"IO_INSTRUCTION": 1}},
    "inl_from_pmtimer": {},
    "self_ipi": {"paravirt": {"VMCALL": 2}, "trap": {"MMIO": 2, "IRET": 1}, "hardware": {"MMIO": 2}},
    "self_ipi_x2apic": {"trap": {"MSR_WRITE": 2, "IRET": 1}, "hardware": {"MSR_WRITE": 2}},
    "self_ipi_sti_hlt": {
        "trap": {"INTERRUPT_FLAG": 2, "MMIO": 2, "HLT": 1, "IRET": 1},
        "hardware": {"MMIO": 2, "HLT": 1},
    },
    "apic_read": {"trap": {"MMIO": 1}, "hardware": {"MMIO": 1}},
    "apic_write": {"trap": {"MMIO": 1}, "hardware": {"MMIO": 1}},
    "rdmsr": {"paravirt": CALL, "trap": {"MSR_READ": 1}, "hardware": {"MSR_READ": 1}},
    "wrmsr": {"paravirt": CALL, "trap": {"MSR_WRITE": 1}, "hardware": NONE},
    "rdtsc": {"paravirt": NONE, "trap": {"RDTSC": 1}, "hardware": NONE},
    "pause": {"paravirt": NONE, "trap": NONE, "hardware": NONE},
    "invlpg": {"paravirt": CALL, "trap": {"INVLPG": 1}, "hardware": NONE},
    "wbinvd": {"trap": {"WBINVD": 1}, "hardware": {"WBINVD": 1}},
    # each of the two drops the shadows, so that under trap the loop's own page comes back by a fault
    "toggle_cr0_wp": {"trap": {"CR_ACCESS": 2, "EXCEPTION_NMI": 2}, "hardware": {"CR_ACCESS": 2}},
    "toggle_cr4_pge": {"trap": {"CR_ACCESS": 2, "EXCEPTION_NMI": 2}, "hardware": {"CR_ACCESS": 2}},
    "tsc_adjust": {},
    "tscdeadline": {},
    "ipi": {},
    "pci-io": {},
}
# With interrupt-controller virtualization the APIC's own work is the processor's; all else is as without.
WITHOUT_APIC_EXITS: dict[str, dict[str, float]] = {
    "cr8wr": NONE,
    "self_ipi": NONE,
    "self_ipi_x2apic": NONE,
    "self_ipi_sti_hlt": {"HLT": 1},
    "apic_read": NONE,
    "apic_write": NONE,
}
# What translate does otherwise than trap. CLI and STI take no exit, but that STI lets in what waits: the interrupt
# window. A loop that runs in the cache needs no page of the guest's to be mapped, and mapping one of the cache's is no
# exit. First touches and faults are of data, which is mapped as under trap.
TRANSLATED: dict[str, dict[str, float]] = {
    "self_ipi_sti_hlt": {"INTERRUPT_WINDOW": 1, "MMIO": 2, "HLT": 1, "IRET": 1},
    "toggle_cr0_wp": {"CR_ACCESS": 2},
    "toggle_cr4_pge": {"CR_ACCESS": 2},
}


def expected(row: str, technique: str) -> dict[str, float]:
    if technique == "translate":
        return TRANSLATED.get(row, EXITS[row].get("trap", {}))
    if technique == "hardware-apicv":
        return WITHOUT_APIC_EXITS.get(row, EXITS[row]["hardware"])
    return EXITS[row][technique]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operation_takes_exactly_these_exits(row: NanoRow) -> None:
    cells = measure_row(row, COLUMNS, timed=False)
    assert {cell.ended for cell in cells} == {WELL}
    measured = [cell for cell in cells if cell.reason is None]
    found = {cell.technique: cell.exits_by_reason for cell in measured if cell.technique != NATIVE}
    assert found == {technique: expected(row.name, technique) for technique in found}
    assert EXITS[row.name].keys() <= found.keys()
    assert all(cell.agrees is (True if len(measured) > 1 else None) for cell in measured)
    assert all(cell.exits_per_operation == sum(cell.exits_by_reason.values()) for cell in cells)


def test_columns_are_the_engine_alone_and_every_technique() -> None:
    assert ("native", *TECHNIQUES) == COLUMNS


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


def test_the_page_has_these_exits() -> None:
    """docs/nanobenchmarks.md: a line a row that is measured anywhere, a column a technique."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "nanobenchmarks.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    wanted = [["row", "one operation", *TECHNIQUES]]
    for row in ROWS:
        if any(row.reason(name) is None for name in TECHNIQUES):
            shown = {name: sum(expected(row.name, name).values()) for name in TECHNIQUES if row.reason(name) is None}
            counts = [short_count(shown[name]) if name in shown else "-" for name in TECHNIQUES]
            wanted.append([row.name, row.operation, *counts])
    assert table == wanted
