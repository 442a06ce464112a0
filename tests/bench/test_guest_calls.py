"""The calls that are measured give what they are given, and are one exit each."""

from __future__ import annotations

import pytest

from bench.guest_calls import ROWS, CallRow, call_many
from pv.document import Document


@pytest.mark.parametrize("row", ROWS, ids=[row.kind for row in ROWS])
def test_each_row_calls(row: CallRow) -> None:
    found, calls = call_many(row, 5)
    (given,) = row.arguments or (0,)
    assert found == (given.value if isinstance(given, Document) else given)
    assert calls == 5 + 2
