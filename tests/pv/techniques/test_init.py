from __future__ import annotations

import pytest

from pv.techniques import TECHNIQUES, technique


def test_each_technique_is_found_by_its_name() -> None:
    assert set(TECHNIQUES) == {"paravirt", "trap", "translate", "hardware", "hardware-apicv"}
    for name, one in TECHNIQUES.items():
        assert one.name == name
        assert technique(name) is one


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match="no technique 'magic': choose one of hardware, hardware-apicv, paravirt, translate, trap"
    ):
        technique("magic")
