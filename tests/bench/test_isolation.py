"""What is measured of isolation runs, under both, and its counts are what they should be."""

from __future__ import annotations

import pytest

from bench import isolation as suite


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_each_figure_is_of_work_that_was_done(isolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "STARTS", 2)
    monkeypatch.setattr(suite, "REST_S", 0.0)
    assert suite.start_ms(isolation) > 0
    assert suite.call_us(isolation, 200) > 0
    assert suite.register_us(isolation, 20) > 0


def test_a_line_a_figure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "STARTS", 1)
    monkeypatch.setattr(suite, "CALLS", 100)
    suite.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["a machine made", "a hypercall", "a register read"]
