"""A guest in C reaches the store by the plugin's header and source, which `pvkit build` compiles with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pv import Machine

PVKIT = Path(sys.executable).with_name("pvkit")
SOURCE = Path(__file__).with_name("counter.c")


def test_a_c_guest_counts_in_the_store(tmp_path: Path) -> None:
    built = tmp_path / "counter.elf"
    done = subprocess.run(
        [PVKIT, "build", str(SOURCE), "-o", str(built)], capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode == 2 and "guests in C need a C compiler" in done.stderr:
        pytest.skip(f"no C guest can be built here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    with Machine() as machine:
        machine.load(built)
        outcome = machine.run(timeout=20)
    assert (outcome.status, outcome.calls["kv_put"]) == (42, 300), outcome.summary
