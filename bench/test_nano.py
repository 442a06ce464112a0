"""What each single operation costs, on the engine alone and under each technique; the closing table has them all."""

from __future__ import annotations

from typing import Final

import pytest

from bench.nano.measure import measure_row
from bench.nano.rows import NATIVE, ROWS, NanoRow
from pv.report.comparison import WELL
from pv.report.nano import NanoCell
from pv.techniques import TECHNIQUES

REPEAT: Final = 3
NANO: Final[list[NanoCell]] = []  # what this run of pytest has measured, for its closing table


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name.replace(", ", "-").replace(" ", "-")) for row in ROWS])
def test_nano(row: NanoRow) -> None:
    cells = measure_row(row, (NATIVE, *TECHNIQUES), REPEAT)
    NANO.extend(cells)
    assert {cell.ended for cell in cells} == {WELL}
    assert all(cell.agrees is not False for cell in cells)
