"""Installed plugins: found by entry point, left out with a report, refused by name."""

import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest

import pv.plugin
from pv.plugin import GROUP, PluginError, foreign_plugins, load_plugins, rescan

MODULE = "plugins_under_test"


class Family:
    def __init__(self, name: str = "family") -> None:
        self.name = name

    def rows(self, _machine: object) -> list[object]:
        return []

    def set_up(self, _machine: object) -> None: ...
    def tear_down(self, _machine: object) -> None: ...


class Installed:
    """Entry points as if distributions had been installed; MODULE:PLUGIN is a family of the entry point's name."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.points: list[EntryPoint] = []
        self.scans = 0

    def add(self, name: str, value: str, distribution: str) -> None:
        if value == f"{MODULE}:PLUGIN":
            value = f"{MODULE}:{name}"
            vars(sys.modules[MODULE])[name] = Family(name)
        info = self.at / f"{distribution}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        point = EntryPoint(name, value, GROUP)
        vars(point)["dist"] = PathDistribution(info)
        self.points.append(point)

    def entry_points(self, group: str) -> list[EntryPoint]:
        assert group == GROUP
        self.scans += 1
        return self.points


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    module = types.ModuleType(MODULE)
    vars(module).update(NUMBER=7)
    monkeypatch.setitem(sys.modules, MODULE, module)
    found = Installed(tmp_path)
    monkeypatch.setattr(pv.plugin, "entry_points", found.entry_points)
    rescan()
    yield found
    rescan()


def test_plugins_are_found_once_and_in_order(installed: Installed) -> None:
    installed.add("zeta", f"{MODULE}:PLUGIN", "pkg-a")
    installed.add("alpha", f"{MODULE}:PLUGIN", "pkg-b")
    loaded = load_plugins()
    assert [plugin.name for plugin in loaded.plugins] == ["alpha", "zeta"]
    assert loaded.reports == ()
    assert loaded.plugins[0].source == f"alpha ({MODULE}:alpha, from pkg-b 1.5)"
    assert load_plugins() is loaded
    assert installed.scans == 1


def test_a_disabled_plugin_is_not_imported(installed: Installed) -> None:
    installed.add("good", f"{MODULE}:PLUGIN", "pkg-a")
    installed.add("broken", "no_such_module_at_all:PLUGIN", "pkg-b")
    loaded = load_plugins(disabled=["broken"], strict=True)
    assert [plugin.name for plugin in loaded.plugins] == ["good"]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("no_such_module_at_all:PLUGIN", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        (f"{MODULE}:MISSING", "AttributeError"),
        (f"{MODULE}:NUMBER", "is of type int and has no name, so it is not a plugin"),
    ],
)
def test_a_plugin_that_fails_is_reported_or_fatal(
    installed: Installed, caplog: pytest.LogCaptureFixture, value: str, error: str
) -> None:
    installed.add("broken", value, "pkg-b")
    installed.add("good", f"{MODULE}:PLUGIN", "pkg-a")
    loaded = load_plugins()
    assert [plugin.name for plugin in loaded.plugins] == ["good"]
    assert len(loaded.reports) == 1
    assert all(part in loaded.reports[0] for part in ("broken", "pkg-b 1.5", error))
    assert caplog.messages == [loaded.reports[0]]
    with pytest.raises(PluginError, match=r"broken .*pkg-b 1\.5"):
        load_plugins(strict=True)


def test_two_of_one_name_are_refused_and_both_named(installed: Installed) -> None:
    installed.add("twin", f"{MODULE}:PLUGIN", "pkg-a")
    installed.add("twin", f"{MODULE}:PLUGIN", "pkg-b")
    with pytest.raises(PluginError, match=r"pkg-a 1\.5.*pkg-b 1\.5"):
        load_plugins()
    assert load_plugins(disabled=["twin"]).plugins == ()


def test_disabling_what_is_not_there_is_refused(installed: Installed) -> None:
    installed.add("good", f"{MODULE}:PLUGIN", "pkg-a")
    with pytest.raises(ValueError, match="no plugin is named 'goood'; installed: good"):
        load_plugins(disabled=["goood"])


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("name", 5, "its name is 5, not a string"),
        ("rows", 7, "its rows is 7, not a function"),
        ("name", "even", "it calls itself 'even' and its entry point 'odd'; give both one name"),
        ("options", ["depth"], "its option 'depth' is not a pv.options.Option"),
        ("options", 5, "TypeError: 'int' object is not iterable"),
    ],
)
def test_a_plugin_of_the_wrong_shape_is_reported(installed: Installed, part: str, value: object, says: str) -> None:
    shaped = types.SimpleNamespace(name="odd", rows=list, set_up=print, tear_down=print)
    setattr(shaped, part, value)
    vars(sys.modules[MODULE])["ODD"] = shaped
    installed.add("odd", f"{MODULE}:ODD", "pkg-a")
    assert [says in report for report in load_plugins().reports] == [True]


def test_a_plugin_that_exits_on_import_does_not_end_the_process(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "plugin_that_exits.py").write_text("raise SystemExit(3)", encoding="utf-8")
    installed.add("rude", "plugin_that_exits:PLUGIN", "pkg-a")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        (report,) = load_plugins().reports
    assert "rude" in report
    assert "SystemExit: 3" in report


def test_foreign_plugins_are_those_of_other_distributions(installed: Installed) -> None:
    installed.add("ours", f"{MODULE}:PLUGIN", "pvkit")
    installed.add("theirs", f"{MODULE}:PLUGIN", "pkg-a")
    assert foreign_plugins() == ("theirs",)


def test_none_is_foreign_here() -> None:
    assert "core" not in foreign_plugins()
