"""The manual is declared for each case, and what differs from it is an erratum that was really seen."""

from __future__ import annotations

from pv.theorem.cases import NAMES
from pv.theorem.classify import Class
from pv.theorem.manual import MANUAL, ROWS
from pv.theorem.survey import Survey

ERRATA = {
    "MOV to SS": ("at CPL 1 runs CPL, where the manual has #GP",),
    "LSS": ("at CPL 1 runs CPL, where the manual has #GP",),
    "LSS r64": ("at CPL 1 runs CPL, where the manual has #GP",),
    "INT n": ("at CPL 1 and 3 INT 0x80, where the manual has #GP",),
    "INT3": ("at CPL 1 and 3 INT 0x3, where the manual has #GP",),
    "SYSCALL": ("at CPL 1 and 3 runs, where the manual has runs CPL",),
    "SYSENTER": (
        "at CPL 0 runs, where the manual has runs IF", "at CPL 1 and 3 runs, where the manual has runs CPL IF",
    ),
    "MOV from CR8": ("does not show CR8",),
    "VZEROUPPER": ("at CPL 0, 1 and 3 runs, where the manual has #UD",),
    "IN": ("at CPL 1 and 3 runs ports, where the manual has #GP",),
    "OUT": ("at CPL 1 and 3 runs ports, where the manual has #GP",),
    "INS": ("at CPL 1 and 3 runs ports, where the manual has #GP",),
    "OUTS": ("at CPL 1 and 3 runs ports, where the manual has #GP",),
}  # fmt: skip


def test_each_case_has_one_row() -> None:
    assert sorted(row.name for row in ROWS) == sorted(NAMES)
    assert all(row.source for row in ROWS)


def test_the_errata_are_these_and_no_other(found: Survey) -> None:
    assert {row.name: row.errata for row in found.rows if row.errata} == ERRATA


def test_an_erratum_that_is_explained_was_seen() -> None:
    assert {row.name for row in ROWS if row.why} == set(ERRATA)


def test_what_the_processor_does_not_have(found: Survey) -> None:
    assert [row.name for row in found.rows if row.lacks] == ["RDPMC", "INVPCID"]
    assert [row.name for row in found.rows if row.without_umip] == ["SGDT", "SIDT", "SLDT", "STR", "SMSW"]


def test_but_for_errata_the_classes_are_the_manuals(found: Survey) -> None:
    other = {row.name: row.kind for row in found.rows if row.kind is not row.manual.kind and not row.lacks}
    assert set(other) <= set(ERRATA)
    assert MANUAL["IN"].kind is Class.PRIVILEGED
    assert other["IN"] is Class.SENSITIVE
