"""What an instruction of the guest's costs to translate: the blocks of all workloads, by the Translator alone."""

from __future__ import annotations

from typing import Any

from bench.compare import WORKLOADS
from bench.headline import Measured
from bench.measure import MEASURED, ROUNDS, WARMUP_ROUNDS
from bench.translator import TECHNIQUE, blocks_of, translate_all

OPERATIONS = 64  # enough for each path of a workload to be taken


def test_instructions_a_second(benchmark: Any) -> None:
    blocks = [block for workload in WORKLOADS for block in blocks_of(workload, OPERATIONS)]
    instructions = translate_all(blocks)
    assert instructions > len(blocks) > 0
    benchmark.pedantic(translate_all, args=(blocks,), rounds=ROUNDS, iterations=1, warmup_rounds=WARMUP_ROUNDS)
    if benchmark.stats is not None:  # None under --benchmark-disable
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(blocks=len(blocks), instructions_per_second=instructions / seconds)
        MEASURED.append(Measured("translate one instruction", TECHNIQUE, 0.0, seconds / instructions * 1e9))
