"""`pvkit hypercalls`: the list, a page a call, and the headers of what is installed."""

from __future__ import annotations

import pytest

from guest_sdk import abi
from pv.cli import main


def test_list_names_every_built_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for call in abi.CALLS:
        assert any(line.startswith(f"{call.number:#06x}") and f" {call.name}(" in line for line in lines), call.name


def test_list_is_what_no_word_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls"]) == 0
    alone = capsys.readouterr().out
    assert main(["hypercalls", "list"]) == 0
    assert capsys.readouterr().out == alone


def test_show_tells_registers_and_owner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "show", "console_write"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("0x1010  console_write(")
    assert "owner: console" in page


def test_show_of_an_unknown_name_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "show", "console_wite"]) == 2
    assert capsys.readouterr().err == "pvkit: no hypercall is named 'console_wite'; did you mean 'console_write'?\n"


@pytest.mark.parametrize("language", ["c", "asm"])
def test_header_has_every_built_in(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "header", language]) == 0
    text = capsys.readouterr().out.lower()
    assert [call.name for call in abi.CALLS if call.name not in text] == []


def test_header_of_another_language_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "header", "cobol"]) == 2
    assert capsys.readouterr().err == "pvkit: no header for 'cobol'; there are c, asm\n"


@pytest.mark.parametrize("width", [72, 80, 100])
def test_a_narrow_list_is_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pv.cli.screen.WIDTH", width)
    assert main(["hypercalls", "list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    assert [word for call in abi.CALLS for word in call.result.split() if word not in words] == []


def test_the_c_header_has_functions_for_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hypercalls", "header", "c"]) == 0
    text = capsys.readouterr().out
    assert "static inline int64_t pvkit_console_write(const void *data, uint64_t data_bytes)" in text
    assert "pvkit_return_from_event" not in text
