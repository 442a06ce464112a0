"""Each setting is one thing that differs from what a monitor has."""

from __future__ import annotations

import pytest

from pv.theorem.fields import FIELDS
from pv.theorem.processor import initial_state
from pv.theorem.settings import AGAIN, BASELINE, SETTINGS, Setting


def test_names_are_their_own() -> None:
    names = [setting.name for setting in (BASELINE, *SETTINGS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.name for setting in SETTINGS])
def test_a_setting_changes_what_it_says(setting: Setting) -> None:
    begun = initial_state(0, 0x10000)
    assert set(setting.state) <= set(FIELDS)
    assert set(setting.flip) <= set(begun)
    assert all(begun[name] != value for name, value in setting.state.items())
    marks = (
        bool(setting.state)
        + bool(setting.flip)
        + setting.other_subject
        + setting.elsewhere
        + (setting.port is not None)
    )
    assert marks == (setting is not AGAIN)


def test_what_grants_is_what_a_monitor_keeps() -> None:
    assert [setting.name for setting in SETTINGS if setting.grants] == ["IOPL 3", "TSD 0", "PCE 1"]
