"""The table fits what it is shown on, and says in each cell what the row holds."""

from __future__ import annotations

import json

import pytest

from pv.theorem.report import WIDTH, as_json, detail, theorem_table
from pv.theorem.survey import Survey

ASKING = ("paravirt",)


@pytest.mark.parametrize("width", [80, 100, WIDTH, 132, 200])
def test_it_fits(found: Survey, width: int) -> None:
    shown = theorem_table(found, ASKING, width).plain
    assert max(map(len, shown.splitlines())) <= width
    assert not any(line.endswith(" ") for line in shown.splitlines())
    assert shown.isascii()  # a stream that takes no other letters takes it
    assert all(f"\n{row.name} " in shown for row in found.rows)


def test_columns_are_left_out_on_a_narrow_terminal(found: Survey) -> None:
    def heads(width: int) -> set[str]:
        return set(theorem_table(found, ASKING, width).plain.splitlines()[2].split())

    assert {"runs", "bytes", "manual", "trap"} <= heads(WIDTH)
    assert {"bytes", "manual", "runs"} & heads(80) == set()
    assert {"instruction", "CPL", "through", "trap"} <= heads(80)


def line_of(shown: str, name: str) -> list[str]:
    return next(line for line in shown.splitlines() if line.startswith(f"{name} ")).removeprefix(name).split()


def test_a_row_says_what_ran_and_what_came_of_it(found: Survey) -> None:
    shown = theorem_table(found, ASKING, WIDTH).plain
    popf = line_of(shown, "POPF")
    assert popf[:5] == ["popf", "9d", "runs", "runs", "runs"]
    assert popf[5:8] == ["sets", "IF", "IOPL"]
    assert "HOLE" in popf
    assert popf[-4:] == ["=", "R&I;", "v2", "POPF"]
    assert line_of(shown, "IN")[-3:] == ["!", "v1", "19.5.1"]
    assert line_of(shown, "RDPMC")[-3:] == ["-", "v3", "5.9"]
    assert "asks" in line_of(shown, "LGDT")
    assert "emul" in line_of(shown, "LGDT")
    assert line_of(shown, "MOV from CS")[6:8] == ["shows", "CPL"]
    assert line_of(shown, "SWAPGS")[5:8] == ["sets,", "shows", "MSRs"]
    assert line_of(shown, "HLT")[2:6] == ["halt", "#GP", "#GP", "halts"]
    assert line_of(shown, "RDRAND")[6:9] == ["differs", "by", "run"]
    assert line_of(shown, "INT n")[2:6] == ["cd80", "int", "int", "int"]


def test_the_summary_says_which_theorem_holds(found: Survey) -> None:
    shown = theorem_table(found, ASKING, WIDTH).plain
    assert "91 instructions: 36 privileged, 56 sensitive, of which 29 are not privileged" in shown
    assert "Theorem 1 fails: each sensitive instruction must be privileged" in shown
    assert "Theorem 3 fails: each one sensitive at CPL 3 must be" in shown
    assert "by the engine's errata alone: IN, OUT, INS, OUTS" in shown
    assert "! Engine errata" in shown
    assert "- not in this processor: RDPMC, INVPCID" in shown
    assert "asks by hypercall instead" in shown
    assert "asks by hypercall instead" not in theorem_table(found, (), WIDTH).plain


def test_one_in_detail(found: Survey) -> None:
    shown = detail(found.row("MOV from CS"), ASKING).plain
    assert shown.startswith("MOV from CS  (segments)\nruns      8cc9  mov ecx,cs  on Haswell\n")
    assert "CPL 3: rcx 0x33; at CPL 0: 0x8\n" in shown
    assert "trap      hole (runs); differs: rcx; no exit\n" in shown
    told = detail(found.row("IN"), ASKING).plain
    assert "CPL 1     runs, changes ports; the manual: #GP\n" in told
    assert "erratum   neither IOPL nor the I/O bitmap is looked at" in told
    asks = detail(found.row("LGDT"), ASKING).plain
    assert "paravirt  the guest faults, and asks by hypercall instead (#GP); exits: EXCEPTION_NMI #GP x1\n" in asks
    assert "trap      emulated (runs); exits: GDTR_IDTR LGDT x1\n" in asks
    assert "at CPL 1 or 3 with IOPL 3" in detail(found.row("CLI")).plain
    assert "no UMIP   with CR4.UMIP set" in detail(found.row("SGDT")).plain
    assert "with the guest's own IF changed" in detail(found.row("PUSHF")).plain


def test_a_detail_fits(found: Survey) -> None:
    for row in found.rows:
        assert max(map(len, detail(row, ASKING, 80).plain.splitlines())) <= 80


def test_json_holds_it_all(found: Survey) -> None:
    document = json.loads(json.dumps(as_json(found)))
    assert document["theorem"]["holds"] == {"theorem 1": False, "theorem 3": False}
    assert document["theorem"]["breaking"] == list(found.theorem.breaking)
    assert [row["name"] for row in document["rows"]] == [row.name for row in found.rows]
    cli = next(row for row in document["rows"] if row["name"] == "CLI")
    assert cli["levels"]["3"] == {"event": "#GP", "error_code": 0, "changes": []}
    assert cli["kind"] == "privileged"
    assert cli["techniques"]["trap"]["exits"] == {"INTERRUPT_FLAG CLI": 1}
    assert cli["manual"]["levels"] == ["runs IF", "#GP", "#GP"]
