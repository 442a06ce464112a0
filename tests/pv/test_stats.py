"""The statistics table: percentiles within a bucket, sums, shares, text."""

from math import ceil, floor, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.engines.base import Latency
from pv.stats import UNTIMED, by_reason, format_table, latencies_by_reason, merge, percentile, stat_rows

BUCKETS = 160
times = st.lists(st.integers(1, 1 << 36), min_size=1, max_size=60)


def latency(samples: list[int]) -> Latency:
    buckets = [0] * BUCKETS
    for ns in samples:
        buckets[min(floor(4 * log2(ns)), BUCKETS - 1)] += 1
    return Latency(len(samples), sum(samples), min(samples), max(samples), tuple(buckets))


@given(times, st.floats(0, 100))
def test_a_percentile_is_right_to_one_bucket(samples: list[int], percent: float) -> None:
    true = sorted(samples)[max(1, ceil(len(samples) * percent / 100)) - 1]
    found = percentile(latency(samples), percent)
    assert min(samples) <= found <= max(samples)
    assert true / 2**0.251 <= found <= true * 2**0.251


@given(times, times)
def test_merging_is_counting_together(one: list[int], other: list[int]) -> None:
    assert merge(latency(one), latency(other)) == latency(one + other)


def test_merging_with_nothing_changes_nothing() -> None:
    assert merge(UNTIMED, latency([5])) == merge(latency([5]), UNTIMED) == latency([5])


def test_percentiles_of_nothing_and_of_nonsense() -> None:
    assert percentile(UNTIMED, 50) == 0.0
    with pytest.raises(ValueError, match="101"):
        percentile(latency([1]), 101)


COUNTS = {("VMCALL", "exit"): 1, ("VMCALL", "greet"): 3, ("HLT", ""): 4}
LATENCIES = {("VMCALL", "greet"): latency([100, 200, 300]), ("HLT", ""): latency([50] * 4)}


def test_rows_are_ordered_by_time_and_have_shares() -> None:
    rows = stat_rows(COUNTS, LATENCIES)
    assert [row.name for row in rows] == ["VMCALL greet", "HLT", "VMCALL exit"]
    assert [row.samples_share for row in rows] == [3 / 8, 4 / 8, 1 / 8]
    assert [row.time_share for row in rows] == [0.75, 0.25, 0.0]
    assert (rows[0].min_ns, rows[0].max_ns, rows[0].mean_ns) == (100, 300, 200.0)


def test_an_untimed_run_is_ordered_by_samples() -> None:
    assert [row.name for row in stat_rows(COUNTS)] == ["HLT", "VMCALL greet", "VMCALL exit"]
    assert stat_rows({}) == []


def test_keys_of_one_reason_sum_up() -> None:
    assert by_reason(COUNTS) == {("VMCALL", ""): 4, ("HLT", ""): 4}
    assert latencies_by_reason(LATENCIES)["VMCALL", ""] == latency([100, 200, 300])


def test_the_table_as_text() -> None:
    lines = format_table(stat_rows(COUNTS, LATENCIES)).splitlines()
    assert lines[0].split() == (
        ["VM-EXIT", "Samples", "Samples%", "Time%", "Min", "Time", "Max", "Time", "Avg", "time", "p50", "p99"]
    )
    assert lines[1].split()[:8] == ["VMCALL", "greet", "3", "37.50%", "75.00%", "0.10us", "0.30us", "0.20us"]
    assert lines[-1] == "Total Samples:8, Total events handled time:0.80us."
    assert len({len(line) for line in lines[:4]}) == 1


@pytest.mark.parametrize("width", [60, 70, 80, 100])
def test_the_table_fits_a_narrow_terminal(width: int) -> None:
    lines = format_table(stat_rows(COUNTS, LATENCIES), width).splitlines()
    assert max(map(len, lines)) <= width
    assert "Avg time" in lines[0]
    assert "0.20us" in lines[1]
