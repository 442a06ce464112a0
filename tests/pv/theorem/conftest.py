"""One survey of all instructions for all tests, and one laboratory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pv.theorem.observe import Laboratory
from pv.theorem.survey import Survey, survey


@pytest.fixture(scope="session")
def found() -> Survey:
    return survey()


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as made:
        yield made
