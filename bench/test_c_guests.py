"""A hypercall from a guest in C beside the same from one built in Python."""

from __future__ import annotations

from typing import Any

import pytest

from bench.c_guests import PAIRS, Pair
from bench.measure import measure_guest, per_operation
from guest_sdk.errors import CompilerMissing

ENDING_EXITS = 8


@pytest.mark.parametrize(
    ("pair", "language"),
    [
        pytest.param(
            pair, language, id=f"{pair.kind}-{language}".replace(" ", "-"),
            marks=per_operation(f"{pair.kind}, guest in {language}", pair.turns),
        )
        for pair in PAIRS
        for language in ("python", "c")
    ],
)  # fmt: skip
def test_exit(benchmark: Any, pair: Pair, language: str) -> None:
    try:
        image = getattr(pair, language)(pair.turns)
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    outcome = measure_guest(benchmark, image, technique="paravirt", operations=pair.turns)
    assert 0 <= outcome.exits.total - pair.turns * pair.exits <= ENDING_EXITS
