"""A guest in C takes the exits that one built in Python takes, for the same work."""

from __future__ import annotations

import pytest

from bench import c_guests
from bench.c_guests import PAIRS, Pair
from guest_sdk.errors import CompilerMissing


@pytest.mark.parametrize("pair", PAIRS, ids=[pair.kind for pair in PAIRS])
def test_both_take_the_same_exits(pair: Pair) -> None:
    try:
        image = pair.c(10)
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    assert c_guests.run(image)[1] == c_guests.run(pair.python(10))[1] == 10 * pair.exits + 2


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(c_guests, "compare", lambda _: (200.0, 210.0, 1.05))
    c_guests.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(PAIRS)
    assert lines[1].split() == ["null", "hypercall", "200", "210", "1.05"]
