"""The rules name rows and techniques that there are; those about exits hold, exactly."""

from __future__ import annotations

import pytest

from bench.compare import WORKLOADS, compare
from bench.nano.measure import COLUMNS, measure_rows
from bench.nano.rows import ROWS
from bench.shape_rules import FEWEST, NANO
from bench.shape_rules import WORKLOADS as WORKLOAD_RULES
from bench.shapes import EXITS, RELATIONS, Shape, Term, figures_of_nano, figures_of_workloads, judge
from pv.techniques import TECHNIQUES

LANDING: set[str] = set()
LONG = ("console", "disk")
QUICK = ("clock", "timer", "idle", "self-event", "cpuid-msr", "address-space", "map", "fault")


def terms(shape: Shape) -> list[Term]:
    return [side for side in (shape.left, shape.right) if isinstance(side, Term)]


@pytest.mark.parametrize("shape", [*WORKLOAD_RULES, *NANO], ids=lambda shape: f"{shape.claim}-{shape.left.row}")
def test_a_rule_is_about_what_there_is(shape: Shape) -> None:
    rows = WORKLOADS if shape in WORKLOAD_RULES else tuple(row.name for row in ROWS)
    known = {*TECHNIQUES, "native", *LANDING}
    assert [term for term in terms(shape) if term.row not in rows or term.technique not in known] == []
    assert shape.relation in RELATIONS
    assert "" not in (shape.why, shape.claim, shape.source)


def test_every_shape_of_exits_holds_on_single_operations() -> None:
    """Those that were measured: a rule of a technique that is not there yet is not judged."""
    rules = [shape for shape in NANO if shape.measure == EXITS]
    wanted = {term.row for shape in rules for term in terms(shape)}
    verdicts = judge(rules, figures_of_nano(measure_rows(sorted(wanted), COLUMNS, timed=False)))
    assert [verdict for verdict in verdicts if not verdict.holds] == []
    assert len(verdicts) >= len(rules) - 1


def test_every_shape_of_exits_holds_on_workloads() -> None:
    """At a tenth of the usual operations."""
    rules = [s for s in WORKLOAD_RULES if s.measure == EXITS and all(term.row in QUICK for term in terms(s))]
    verdicts = judge(rules, figures_of_workloads(compare(QUICK, scale=0.1, repeat=1)))
    assert [verdict for verdict in verdicts if not verdict.holds] == []
    assert len(verdicts) >= len(rules) - 1


def test_paravirt_takes_the_fewest_exits_on_the_longest_workloads() -> None:
    rules = [s for s in WORKLOAD_RULES if s.claim == FEWEST and s.left.row in LONG]
    rows = compare(LONG, ("paravirt", "trap"), scale=0.01, repeat=1)
    assert [verdict.holds for verdict in judge(rules, figures_of_workloads(rows))] == [True, True]


def test_a_ring_under_load_needs_next_to_no_exit() -> None:
    (rule,) = (s for s in WORKLOAD_RULES if "ring" in s.claim)
    rows = compare(["disk"], ["paravirt"], repeat=1)
    assert [verdict.holds for verdict in judge([rule], figures_of_workloads(rows))] == [True]
