"""20,000 random guests, drawn by hypothesis in two processes: each ends as a guest may, and harms nothing beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pv.exits import StopWhy
from tests.fuzz.programs import TECHNIQUES
from tests.fuzz.runner import LEGAL
from tests.fuzz.search import search

GUESTS = 20_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_no_random_guest_harms_the_host() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--search", str(GUESTS // 2), "--seed", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as other:
        here = search(GUESTS // 2, 1)
        out, errors = other.communicate()
    assert other.returncode == 0, errors
    ended = here + Counter(json.loads(out))
    # hypothesis may count a few more than asked for, as it looks at what it found
    assert ended.total() >= GUESTS
    assert {name.split()[1] for name in ended} <= {why.name for why in LEGAL}
    for technique in set(TECHNIQUES):
        assert sum(count for name, count in ended.items() if name.startswith(technique)) > GUESTS // 8
        for why in (StopWhy.EXITED, StopWhy.SHUTDOWN, StopWhy.TIMEOUT, StopWhy.MAX_EXITS):
            assert ended[f"{technique} {why.name}"], f"no guest under {technique} came to {why.name}: {ended}"
