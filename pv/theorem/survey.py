"""The whole experiment: every instruction observed, classified, tried under each technique, held against the manual.

Rows are values alone, in the shape that `pvkit theorem --json` writes: pv.theorem.report shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pv.outcome import disassemble
from pv.techniques import TECHNIQUES
from pv.theorem import ground
from pv.theorem.cases import CASES, Case
from pv.theorem.classify import USER_LEVELS, Class, Finding, Theorem, classify, conclude, differs_by_level, shows
from pv.theorem.manual import MANUAL, erratum, lacks, without_umip
from pv.theorem.observe import LEVELS, Laboratory, Seen, differences
from pv.theorem.settings import BASELINE, SETTINGS
from pv.theorem.techniques import Attempt, attempt

DEFAULT_TECHNIQUES: Final = tuple(name for name in TECHNIQUES if not name.endswith("-apicv"))
"""Interrupt-controller virtualization is about a device: it answers no instruction otherwise."""


@dataclass(frozen=True, slots=True)
class Level:
    """What happened at one CPL. changes: of what is guarded."""

    event: str
    error_code: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One difference: at `level`, of `what`, which is `usual` there and `other` with or at `compared`."""

    level: int
    compared: str
    what: str
    usual: str
    other: str


@dataclass(frozen=True, slots=True)
class Book:
    """What the manuals say, beside what was seen. notes: what is known of an engine that does otherwise."""

    levels: tuple[str, str, str]
    kind: Class
    shows: tuple[str, ...]
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction. changes, depends_on, by_level: what makes it sensitive. errata: where the engine is not the
    manuals' processor. lacks, without_umip: what the engine does not have."""

    name: str
    family: str
    code: str
    disassembly: str
    processor: str
    levels: dict[int, Level]
    kind: Class
    changes: tuple[str, ...]
    depends_on: tuple[str, ...]
    by_level: bool
    moment: bool
    user_sensitive: bool
    runs_with: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    techniques: dict[str, Attempt]
    manual: Book
    errata: tuple[str, ...]
    lacks: bool
    without_umip: bool

    @property
    def sensitive(self) -> bool:
        """Whether it changes or shows what is guarded."""
        return bool(self.changes or self.depends_on) or self.by_level

    @property
    def breaks_by_erratum(self) -> bool:
        """Whether it breaks the theorem here, and would not on the processor of the manuals."""
        return self.kind is Class.SENSITIVE and self.manual.kind is not Class.SENSITIVE


@dataclass(frozen=True, slots=True)
class Survey:
    """All rows, and what follows."""

    rows: tuple[Row, ...]
    theorem: Theorem
    techniques: tuple[str, ...]

    def row(self, name: str) -> Row:
        """The row of that instruction, one of them."""
        return next(row for row in self.rows if row.name == name)


def survey(cases: Iterable[Case] = CASES, techniques: Sequence[str] = DEFAULT_TECHNIQUES) -> Survey:
    """Run it all. Raises ValueError for a technique that there is not."""
    rows, findings = [], []
    with Laboratory() as laboratory:
        for case in cases:
            finding = classify(laboratory.observe(case))
            tried = {name: attempt(laboratory, case, name, finding.depends_on) for name in techniques}
            findings.append(finding)
            rows.append(make_row(case, finding, tried))
    return Survey(tuple(rows), conclude(findings), tuple(techniques))


def make_row(case: Case, finding: Finding, tried: dict[str, Attempt]) -> Row:
    """Everything about one instruction."""
    seen, book = finding.observation, MANUAL[case.name]
    levels = {
        level: Level(run.event, run.error_code, tuple(sorted(run.changed)))
        for level in LEVELS
        for run in [seen.at(level)]
    }
    return Row(
        case.name,
        case.family,
        case.code.hex(),
        disassemble(case.code, ground.CODE).replace("dword far", "far"),
        seen.model,
        levels,
        finding.kind,
        finding.changes,
        finding.depends_on,
        finding.by_level,
        finding.moment,
        finding.user_sensitive,
        finding.runs_with,
        tuple(evidence(finding)),
        tried,
        Book(book.levels, book.kind, book.shows, book.source, (book.why,) * bool(book.why)),
        erratum(finding),
        lacks(finding),
        without_umip(finding),
    )


def evidence(finding: Finding) -> Iterator[Evidence]:
    """The differences that the class follows from: under other settings, and between levels."""
    seen = finding.observation
    for level in LEVELS:
        for setting in SETTINGS:
            if shows(seen, level, setting):
                yield from told_apart(
                    level,
                    setting.name if setting.grants else f"other {setting.of}",
                    seen.at(level),
                    seen.at(level, setting),
                )
    for level in USER_LEVELS:
        if differs_by_level(seen, level):
            yield from told_apart(level, "CPL 0", seen.at(level, BASELINE), seen.at(0, BASELINE))


def told_apart(level: int, compared: str, usual: Seen, other: Seen) -> Iterator[Evidence]:
    """Each visible difference of two runs, and what of the guarded state one changed and the other did not."""
    for name in differences(usual, other):
        yield Evidence(level, compared, name, *in_figures(usual.visible[name], other.visible[name]))
    if usual.ran and other.ran and usual.changed != other.changed:
        yield Evidence(level, compared, "changes", listed(usual.changed), listed(other.changed))


def in_figures(usual: int | bytes, other: int | bytes) -> tuple[str, str]:
    """Two values as text; of memory, the first 8 bytes that differ, as a number."""
    if isinstance(usual, int) and isinstance(other, int):
        return f"{usual:#x}", f"{other:#x}"
    usual, other = bytes(usual), bytes(other)
    first = next(at for at in range(0, len(usual), 8) if usual[at : at + 8] != other[at : at + 8])
    one, two = (int.from_bytes(text[first : first + 8], "little") for text in (usual, other))
    return f"+{first:#x}: {one:#x}", f"{two:#x}"


def listed(names: Iterable[str]) -> str:
    """Names in order."""
    return " ".join(sorted(names)) or "nothing"
