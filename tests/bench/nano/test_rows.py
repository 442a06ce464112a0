"""The rows: both studies are there, and each row has a guest wherever no reason says why it has none."""

from __future__ import annotations

import pytest

from bench.nano import paravirt, unmodified
from bench.nano.rows import ASPLOS, NATIVE, PARAVIRT, ROWS, UNMODIFIED, VMEXIT, NanoRow
from pv.techniques import TECHNIQUES


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_seven_of_asplos_are_there() -> None:
    study = [row.name for row in ROWS if row.study == ASPLOS]
    assert study == ["syscall", "in", "cr8wr", "call/ret", "pgfault", "divzero", "ptemod", "ptemod, used"]


def test_the_list_of_vmexit_is_there() -> None:
    study = {row.name for row in ROWS if row.study == VMEXIT}
    assert {
        "cpuid",
        "vmcall",
        "mov_from_cr8",
        "inl_from_kernel",
        "outl_to_kernel",
        "self_ipi",
        "ipi",
        "pci-io",
    } <= study


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_a_guest_or_a_reason(row: NanoRow) -> None:
    there = {PARAVIRT: {*paravirt.FORMS, *paravirt.WHOLE}, UNMODIFIED: {*unmodified.FORMS, *unmodified.WHOLE}}
    for column in (NATIVE, *TECHNIQUES):
        kind = PARAVIRT if column == PARAVIRT else UNMODIFIED
        assert row.reason(column) is not None or row.name in there[kind]
    assert (row.reason(PARAVIRT) is None) == (row.name in there[PARAVIRT])


def test_a_reason_for_unmodified_guests_is_one_for_all_their_columns() -> None:
    row = NanoRow("x", VMEXIT, "x", {UNMODIFIED: "no such thing", NATIVE: "never seen"})
    assert [row.reason(column) for column in (NATIVE, "trap", PARAVIRT)] == ["no such thing", "no such thing", None]
