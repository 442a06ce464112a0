"""How are the findings shown? A table by class, one instruction in detail, and JSON. Nothing is run here."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from textwrap import fill
from typing import Any, Final

from rich.text import Text

from pv.theorem.cases import CASES
from pv.theorem.classify import Class
from pv.theorem.observe import LEVELS
from pv.theorem.settings import BASELINE
from pv.theorem.survey import Level, Row, Survey
from pv.theorem.techniques import Attempt, Handling

WIDTH: Final = 120  # where no terminal says another
LABEL: Final = 10  # of a detail
SECTIONS: Final = {
    Class.SENSITIVE: "Sensitive and not privileged: what breaks the theorem",
    Class.PRIVILEGED: "Privileged: runs at CPL 0 alone",
    Class.INNOCUOUS: "Innocuous: shows and changes nothing that is guarded",
    Class.TRAP: "Trap by design: calls for the monitor at every level",
    Class.ABSENT: "Undefined at every level, as the machine stands",
}
EVENTS: Final = {"halts": "halt"}
CELLS: Final = {
    Handling.SAME: ("same", "green"), Handling.EMULATED: ("emul", "green"), Handling.OWN: ("own", "cyan"),
    Handling.GUEST: ("guest", "cyan"), Handling.HOLE: ("HOLE", "bold red"), Handling.HELD: ("held", "yellow"),
    Handling.FAULTS: ("fault", "yellow"), Handling.STOPS: ("stop", "yellow"),
}  # fmt: skip
INT3: Final = "#BP"  # what INT3 calls by design
ASKS: Final = ("asks", "yellow")  # a fault of a guest that has hypercalls
KIND_STYLES: Final = {Class.SENSITIVE: "bold red", Class.PRIVILEGED: "bold green"}
LEFT_OUT: Final = ("bytes", "manual", "runs")  # on a narrow terminal, in this order
SHORT_HEADS: Final = {"paravirt": "para", "translate": "trans", "hardware": "hard"}  # before any column goes


def as_json(survey: Survey) -> dict[str, Any]:
    """The document of `pvkit theorem --json`: {"theorem": ..., "rows": [...]}, fields by their names.

    "theorem" is null where not every instruction was run: it speaks of all of them.
    """
    rows = [dataclasses.asdict(row) for row in survey.rows]
    for row in rows:
        for tried in row["techniques"].values():
            tried["exits"] = {" ".join(kind).strip(): count for kind, count in tried["exits"].items()}
    theorem = survey.theorem
    if len(rows) < len(CASES):
        return {"theorem": None, "rows": rows}
    holds = {"theorem 1": theorem.first_holds, "theorem 3": theorem.third_holds}
    return {"theorem": dataclasses.asdict(theorem) | {"holds": holds}, "rows": rows}


def theorem_table(survey: Survey, hypercalls: Collection[str], width: int = WIDTH) -> Text:
    """The whole table, `width` columns at most: a section a class, then what follows. hypercalls: techniques that take
    them. Columns that do not fit are left out whole."""
    headings = [
        "instruction",
        "runs",
        "bytes",
        *(f"CPL {level}" for level in LEVELS),
        "through",
        *survey.techniques,
        "manual",
    ]
    cells = [row_cells(row, survey.techniques, hypercalls) for row in survey.rows]
    shown = list(range(len(headings)))
    widths = column_widths(headings, cells)
    short = taken(widths, shown, 1) > width
    if short:
        headings = [SHORT_HEADS.get(heading, heading) for heading in headings]
        widths = column_widths(headings, cells)
    for heading in LEFT_OUT:
        if taken(widths, shown, 1) > width:
            shown.remove(headings.index(heading))
    gap = 2 if taken(widths, shown, 2) <= width else 1
    lines = [Text("Popek and Goldberg's theorem, held to the processor beneath", "bold"), Text()]
    lines.append(line([Text(heading, "underline") for heading in headings], widths, shown, gap))
    for kind, title in SECTIONS.items():
        rows = [made for row, made in zip(survey.rows, cells, strict=True) if row.kind is kind]
        if rows:
            lines += [Text(), Text(f"{title} ({len(rows)})", KIND_STYLES.get(kind, "bold"))]
            lines += [line(made, widths, shown, gap) for made in rows]
    names = heads_legend(survey.techniques, width) if short else []
    for part in (conclusion(survey, width), errata_lines(survey, width), names + legend(survey, hypercalls, width)):
        lines += [Text(), *part] if part else []
    return Text("\n").join(lines)


def column_widths(headings: Sequence[str], cells: Sequence[Sequence[Text]]) -> list[int]:
    """What each column needs."""
    return [max(len(heading), *(len(row[at]) for row in cells)) for at, heading in enumerate(headings)]


def taken(widths: Sequence[int], shown: Sequence[int], gap: int) -> int:
    """Columns that a line takes."""
    return sum(widths[at] for at in shown) + gap * (len(shown) - 1)


def line(cells: Sequence[Text], widths: Sequence[int], shown: Sequence[int], gap: int) -> Text:
    """Cells side by side, without a blank at the end."""
    made = Text()
    for at in shown:
        made.append_text(cells[at])
        made.append(" " * (widths[at] - len(cells[at]) + gap))
    made.rstrip()
    return made


def wrapped(text: str, width: int, style: str = "", indent: int = 2) -> Text:
    """A paragraph."""
    return Text(fill(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent), style)


def row_cells(row: Row, techniques: Sequence[str], hypercalls: Collection[str]) -> list[Text]:
    """One instruction's cells, in the order of the headings."""
    return [
        Text(row.name, "bold"), Text(row.disassembly), Text(row.code, "dim"),
        *(level_cell(row, level) for level in LEVELS), Text(through(row)),
        *(technique_cell(row.techniques[name], hypercalls) for name in techniques), manual_cell(row),
    ]  # fmt: skip


def level_cell(row: Row, level: int) -> Text:
    """What happened there, in five letters."""
    event = row.levels[level].event
    if event.startswith("INT"):
        return Text("int", "cyan")
    if event.startswith("#"):
        return Text(event, "green" if level and row.kind is not Class.ABSENT else "dim")
    return Text(EVENTS.get(event, event), "red" if level and row.kind is Class.SENSITIVE else "")


def through(row: Row) -> str:
    """What makes it sensitive, or may let it run, in a few words."""
    changes, shows = row.changes, row.depends_on
    if changes and changes == shows:
        return f"sets, shows {' '.join(shows)}"
    parts = [" ".join(("sets", *changes))] if changes else []
    parts += [" ".join(("shows", *shows))] if shows else []
    if row.by_level and not parts:
        parts = ["shows CPL"]
    if row.moment and not parts:
        parts = ["differs by run"]
    return ", ".join(parts).replace("sets halt", "halts")


def technique_cell(made: Attempt, hypercalls: Collection[str]) -> Text:
    """How the technique handles it; the fault, where a processor at CPL 0 raises it too."""
    if made.handling is Handling.SAME and made.event.startswith("#") and made.event != INT3:
        return Text(made.event, "dim")
    if made.handling is Handling.FAULTS and made.technique in hypercalls:
        return Text(*ASKS)
    return Text(*CELLS[made.handling])


def manual_cell(row: Row) -> Text:
    """Where it is written, marked ! where the engine does otherwise and - where it has no such thing."""
    mark, style = ("!", "bold magenta") if row.errata else ("-", "dim") if row.lacks else ("=", "dim")
    return Text(f"{mark} {row.manual.source}", style)


def conclusion(survey: Survey, width: int) -> list[Text]:
    """How many of each class, and which theorem's condition holds."""
    theorem = survey.theorem
    parts = [
        Text.assemble(
            f"{len(survey.rows)} instructions: ", (f"{len(theorem.privileged)} privileged", "bold"), ", ",
            (f"{len(theorem.sensitive)} sensitive", "bold"), ", of which ",
            (f"{len(theorem.breaking)} are not privileged", "bold red" if theorem.breaking else "bold green"),
        )
    ]  # fmt: skip
    for title, meaning, names in (
        ("Theorem 1", "each sensitive instruction must be privileged, for a monitor by trap alone", theorem.breaking),
        (
            "Theorem 3",
            "each one sensitive at CPL 3 must be, for a monitor that interprets the kernel",
            theorem.user_breaking,
        ),
    ):
        verdict, style = ("fails", "bold red") if names else ("holds", "bold green")
        parts.append(wrapped(f"{title} {verdict}: {meaning}", width, indent=0))
        parts[-1].stylize("bold", 0, len(title))
        parts[-1].stylize(style, len(title) + 1, len(title) + 1 + len(verdict))
        for by_erratum, label in ((False, "not privileged"), (True, "by the engine's errata alone")):
            found = [name for name in names if survey.row(name).breaks_by_erratum is by_erratum]
            if found:
                parts.append(wrapped(f"{label}: {', '.join(found)}", width))
    return parts + hole_lines(survey, width)


def hole_lines(survey: Survey, width: int) -> list[Text]:
    """What each technique leaves open; those that leave the same together."""
    parts = []
    by_names: dict[tuple[str, ...], list[str]] = {}
    for technique in survey.techniques:
        left = [row.name for row in survey.rows if row.techniques[technique].handling in (Handling.HOLE, Handling.HELD)]
        by_names.setdefault(tuple(left), []).append(technique)
    for names, techniques in by_names.items():
        head = f"Holes under {' and '.join(techniques)}:"
        parts.append(Text(fill(f"{head} {', '.join(names) or 'none'}", width, subsequent_indent="  ")))
        parts[-1].stylize("bold", 0, len(head))
    return parts


def errata_lines(survey: Survey, width: int) -> list[Text]:
    """Where the engine is not the processor of the manuals."""
    by_text: dict[str, list[str]] = {}
    for row in survey.rows:
        if row.errata:
            by_text.setdefault("; ".join((*row.errata, *row.manual.notes)), []).append(row.name)
    parts = [wrapped(f"{', '.join(names)}: {text}", width) for text, names in by_text.items()]
    lacking = [row.name for row in survey.rows if row.lacks]
    if lacking:
        parts.append(wrapped(f"- not in this processor: {', '.join(lacking)}", width))
    unmoved = [row.name for row in survey.rows if row.without_umip]
    if unmoved:
        parts.append(wrapped(f"no UMIP: with CR4.UMIP set, {', '.join(unmoved)} still run at CPL 1 and 3", width))
    return [Text("! Engine errata", "bold magenta"), *parts] if parts else []


def heads_legend(techniques: Sequence[str], width: int) -> list[Text]:
    """Which technique a short heading is."""
    pairs = [f"{SHORT_HEADS[name]}: {name}" for name in techniques if name in SHORT_HEADS]
    return [wrapped(f"{'; '.join(pairs)}.", width, "dim", 0)] if pairs else []


def legend(survey: Survey, hypercalls: Collection[str], width: int) -> list[Text]:
    """What the words mean."""
    asks = "; asks: the guest faults, and asks by hypercall instead"
    text = (
        "same: as at CPL 0 on the processor; emul: the same, by an exit; own: an exit, and the monitor's own answer; "
        "guest: guest mode answers, without an exit; HOLE: another result, and nobody was asked; held: the engine led "
        "to CPL 0, and the core went back"
        f"{asks if set(hypercalls) & set(survey.techniques) else ''}; fault: the guest faults; stop: the run ends; "
        "#UD: the processor faults too, in the state that a guest begins in."
    )
    return [wrapped(text, width, "dim", 0), wrapped("One in detail: pvkit theorem --instruction NAME", width, "dim", 0)]


def detail(row: Row, hypercalls: Collection[str] = (), width: int = WIDTH) -> Text:
    """One instruction: what ran, what was seen, what follows, who handles it, what the manual says."""
    lines = [Text.assemble((row.name, "bold"), f"  ({row.family})")]
    for label, text in facts(row, hypercalls):
        broken = fill(text, width, initial_indent=" " * LABEL, subsequent_indent=" " * LABEL).lstrip()
        lines.append(Text.assemble((label.ljust(LABEL), "bold"), broken))
    return Text("\n").join(lines)


def facts(row: Row, hypercalls: Collection[str]) -> Iterator[tuple[str, str]]:
    """(label, sentence) of each line of the detail."""
    yield "runs", f"{row.code}  {row.disassembly}  on {row.processor}"
    for level, expected in zip(LEVELS, row.manual.levels, strict=True):
        yield f"CPL {level}", f"{event_text(row.levels[level])}; the manual: {expected}"
    yield "class", class_text(row)
    alike: dict[str, list[str]] = {}
    for fact in row.evidence:
        word = "at" if fact.compared.startswith("CPL") else "with"
        text = f"{fact.what} {fact.usual}; {word} {fact.compared}: {fact.other}"
        alike.setdefault(text, []).append(str(fact.level))
    for text, levels in alike.items():
        yield "", f"CPL {', '.join(levels)}: {text}"
    for name, made in row.techniques.items():
        yield name, technique_text(made, name in hypercalls)
    shows = f", shows {' '.join(row.manual.shows)}" if row.manual.shows else ""
    yield "manual", f"{row.manual.source}: {row.manual.kind}{shows}"
    for text in (*row.errata, *row.manual.notes) if row.errata else ():
        yield "erratum", text
    if row.without_umip:
        yield "no UMIP", "with CR4.UMIP set it still runs at CPL 1 and 3"


def event_text(seen: Level) -> str:
    """What happened, with the error code of a fault, or what it changed."""
    if seen.event.startswith("#"):
        return f"{seen.event}({seen.error_code:#x})" if seen.error_code else seen.event
    changes = [name for name in seen.changes if name != "halt"]
    return f"{seen.event}, changes {' '.join(changes)}" if changes else seen.event


def class_text(row: Row) -> str:
    """The class, and what it is due to, as a sentence."""
    parts = [str(row.kind)]
    if row.changes:
        parts.append(f"control-sensitive: changes {' '.join(row.changes)}")
    if row.depends_on:
        parts.append(f"behaviour-sensitive: shows {' '.join(row.depends_on)}")
    if row.by_level:
        parts.append("behaviour-sensitive: does not do the same at every level")
    if row.user_sensitive:
        parts.append("at CPL 3 already")
    if row.moment:
        parts.append("differs from one run to the next")
    if row.runs_with:
        parts.append(f"runs at CPL 1 or 3 with {', '.join(row.runs_with)}")
    return "; ".join(parts)


def technique_text(made: Attempt, asks: bool) -> str:
    """What came of it, and by which exits."""
    asked = (
        "the guest faults, and asks by hypercall instead"
        if asks and made.handling is Handling.FAULTS
        else made.handling
    )
    parts = [f"{asked} ({made.event})"]
    if made.differs and made.handling in (Handling.HOLE, Handling.OWN, Handling.GUEST):
        parts.append(f"differs: {' '.join(made.differs)}")
    if made.setting != BASELINE.name:
        parts.append(f"with the guest's own {made.setting} changed")
    exits = ", ".join(f"{' '.join(kind).strip()} x{count}" for kind, count in made.exits.items())
    parts.append(f"exits: {exits}" if exits else "no exit")
    return "; ".join(parts)
