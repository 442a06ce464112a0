"""Every source file has its test file and says in its first lines what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pv", "hypercalls", "guest_sdk", "unmodified_guests", "bench")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMED = [path.relative_to(ROOT).as_posix() for path in SOURCES if path.stat().st_size]

# Files without a test file of their own, and what tests them instead.
TESTED_ELSEWHERE = {
    "pv/engines/base.py": "a protocol: the type checker holds engines to it",
    "pv/engines/calling.py": "a protocol: the type checker holds engines to it",
    "hypercalls/machine_view.py": "a protocol: the type checker holds machines to it",
    "bench/conftest.py": "prints the tables that tests/bench/test_headline.py and test_growth.py test",
    "bench/test_batches.py": "a suite; tests/bench/test_batches.py runs its rows",
    "bench/test_growth.py": "a suite; tests/bench/test_growth.py tests what it runs",
    "bench/test_lifetime.py": "a suite; tests/bench/test_lifetime.py tests what it runs",
    "bench/test_snapshots.py": "a suite; tests/bench/test_snapshots.py tests what it runs",
    "bench/test_surroundings.py": "a suite; tests/bench/test_rows.py runs the rows that it measures",
    "bench/test_c_guests.py": "a suite; tests/bench/test_c_guests.py runs its pairs",
    "bench/test_guest_calls.py": "a suite; tests/bench/test_guest_calls.py tests what it runs",
    "bench/test_translator.py": "a suite; tests/bench/test_translator.py tests what it runs",
    "bench/test_exits.py": "a suite; tests/bench/test_rows.py runs its rows",
    "bench/test_nano.py": "a suite; tests/bench/nano/test_measure.py counts its rows",
    "bench/test_workloads.py": "a suite; tests/bench/test_compare.py tests what it runs",
}


def files_testing(source: str) -> list[Path]:
    """Test files that may stand for `source`: test_<file>.py, test_<file>_*.py, or for __init__ the folder's."""
    path = Path(source)
    folder = ROOT / "tests" / path.parent
    if path.stem == "__init__":
        return [*folder.glob("test_*.py"), *folder.parent.glob(f"test_{path.parent.name}*.py")]
    return [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_{path.stem}_*.py")]


@pytest.mark.parametrize("source", [name for name in NAMED if name not in TESTED_ELSEWHERE])
def test_source_has_a_test_file(source: str) -> None:
    assert files_testing(source), f"{source} has no tests/{Path(source).parent}/test_{Path(source).stem}.py"


def test_exemptions_are_sources() -> None:
    assert [name for name in TESTED_ELSEWHERE if name not in NAMED] == []


@pytest.mark.parametrize("source", NAMED)
def test_source_opens_with_what_it_is(source: str) -> None:
    doc = ast.get_docstring(ast.parse((ROOT / source).read_text(encoding="utf-8")))
    assert doc, f"{source} has no docstring"
