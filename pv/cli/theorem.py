"""`pvkit theorem`: each sensitive instruction run at CPL 0, 1 and 3, classed, and tried under each technique."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pv.cli.compare import check_writable, write_json
from pv.cli.complaint import Complaint, check_engine
from pv.cli.screen import columns, say
from pv.techniques import TECHNIQUES


def theorem(
    instruction: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show one in detail, such as POPF or mov-from-cs.")
    ] = None,
    technique: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Of {', '.join(TECHNIQUES)}; may be given again."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows to FILE; - is stdout.")
    ] = None,
) -> None:
    """Run sensitive instructions at each level, and class them."""
    check_engine()
    # Imported here: the other commands need neither Unicorn's binding nor the cases.
    from pv.theorem.cases import CASES, find_case
    from pv.theorem.report import WIDTH, as_json, detail, theorem_table
    from pv.theorem.survey import DEFAULT_TECHNIQUES, survey

    try:
        cases = CASES if instruction is None else (find_case(instruction),)
    except ValueError as unknown:
        raise Complaint(f"--instruction: {unknown}") from unknown
    for name in technique or ():
        if name not in TECHNIQUES:
            raise Complaint(f"--technique {name!r} is not known: {', '.join(TECHNIQUES)}")
    if json_file is not None and str(json_file) != "-":
        check_writable(json_file)
    found = survey(cases, tuple(dict.fromkeys(technique or DEFAULT_TECHNIQUES)))
    if str(json_file) == "-":
        say(json.dumps(as_json(found), indent=1))
        return
    asking = [name for name, one in TECHNIQUES.items() if one.takes_hypercalls]
    width = columns(sys.stdout) or WIDTH
    say(theorem_table(found, asking, width) if instruction is None else detail(found.rows[0], asking, width))
    if json_file is not None:
        write_json(json_file, as_json(found))
