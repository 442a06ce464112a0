"""The cache's counts stand in columns with the hit rate, and are those of the run."""

from __future__ import annotations

from pv.machine import Machine
from pv.report.cache import format_cache, hit_rate
from unmodified_guests import interrupt_flag

COUNTS = {"blocks translated": 12, "lookups": 2000, "lookups that hit": 1999, "pages evicted": 0, "callouts: return": 7}


def test_a_line_a_count_and_the_hit_rate() -> None:
    assert format_cache(COUNTS).splitlines() == [
        "Translation cache",
        "  blocks translated      12",
        "  lookups             2,000",
        "  lookups that hit    1,999",
        "  hit rate           99.95%",
        "  callouts: return        7",
    ]


def test_no_lookup_has_no_rate() -> None:
    assert hit_rate({"lookups": 0, "lookups that hit": 0}) is None
    assert "hit rate" not in format_cache({"blocks translated": 1, "lookups": 0, "lookups that hit": 0})
    assert format_cache({"lookups": 0}) == "Translation cache"


def test_a_lookup_that_never_hits_has_rate_0() -> None:
    assert "hit rate" in format_cache({"lookups": 3, "lookups that hit": 0})


def test_a_run_under_translate_has_counts_and_another_none() -> None:
    found = {}
    for technique in ("translate", "trap"):
        with Machine(memory="16MiB", technique=technique) as machine:
            machine.load(interrupt_flag.build(100))
            found[technique] = machine.run(timeout=20)
    assert found["trap"].translation == {}
    counts = found["translate"].translation
    assert counts["blocks translated"] > 10
    assert counts["instructions translated"] > counts["blocks translated"]
    assert 0 < counts["lookups that hit"] <= counts["lookups"]
    assert counts["pages evicted"] == 0
    assert found["translate"].exits["INTERRUPT_FLAG"] == 0
