"""Which plugins are installed: hypercall families by entry point, the built-in ones among them.

The group is `pvkit.hypercalls`; each entry point names a Plugin. Entry points are scanned and imported once a
process. A plugin that fails to import is reported and left out, or fatal under `strict`; two of one name are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import TYPE_CHECKING, Any, Final, Protocol

from pv.dispatch import Row
from pv.options import Option

if TYPE_CHECKING:
    from pv.machine import Machine

GROUP: Final = "pvkit.hypercalls"
OWN: Final = "pvkit"  # the distribution whose plugins are the built-in families
log = logging.getLogger("pvkit")


class Plugin(Protocol):
    """A family of hypercalls. set_up comes before rows, tear_down when the machine closes."""

    @property
    def name(self) -> str: ...
    def rows(self, machine: Machine) -> Iterable[Row]: ...
    def set_up(self, machine: Machine) -> None: ...
    def tear_down(self, machine: Machine) -> None: ...


class PluginError(ValueError):
    """A plugin that cannot be used: the entry point and its distribution are named."""


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin and where it came from: `source` is its entry point and distribution, for messages."""

    name: str
    plugin: Any
    source: str


@dataclass(frozen=True, slots=True)
class LoadedPlugins:
    """What load_plugins found: the plugins by name, and a line for each that was left out."""

    plugins: tuple[LoadedPlugin, ...]
    reports: tuple[str, ...]


def load_plugins(disabled: Collection[str] = (), strict: bool = False) -> LoadedPlugins:
    """All installed plugins but the `disabled` ones, by entry point's name.

    Raises ValueError for a disabled name that none has; PluginError where two distributions claim one name, and,
    under `strict`, where one fails to import.
    """
    return _load(frozenset(disabled), strict)


@lru_cache(maxsize=1)
def foreign_plugins() -> tuple[str, ...]:
    """Names of the installed plugins that are not pvkit's own: what a comparison of techniques leaves out."""
    return tuple(point.name for point in _scan() if _origin(point.dist).partition(" ")[0] != OWN)


def rescan() -> None:
    """Forget what was scanned and imported: distributions were installed while this process ran."""
    _scan.cache_clear()
    _import.cache_clear()
    _load.cache_clear()
    foreign_plugins.cache_clear()


@lru_cache(maxsize=64)
def _load(disabled: frozenset[str], strict: bool) -> LoadedPlugins:
    found = _scan()
    if unknown := sorted(disabled - {point.name for point in found}):
        names = ", ".join(point.name for point in found) or "none"
        raise ValueError(f"no plugin is named {unknown[0]!r}; installed: {names}")
    plugins: list[LoadedPlugin] = []
    reports: list[str] = []
    taken: dict[str, EntryPoint] = {}
    for point in found:
        if point.name in disabled:
            continue
        if other := taken.get(point.name):
            raise PluginError(
                f"two plugins are named {point.name!r}: {source(other)} and {source(point)}; "
                f"uninstall one, or leave {point.name!r} out with --no-plugin or disabled_plugins="
            )
        taken[point.name] = point
        plugin, error = _import(point)
        if error is None:
            plugins.append(LoadedPlugin(point.name, plugin, source(point)))
        elif strict:
            raise PluginError(f"plugin {source(point)} cannot be used: {describe(error)}") from error
        else:
            reports.append(f"plugin {source(point)} left out: {describe(error)}")
            log.warning("%s", reports[-1])
    return LoadedPlugins(tuple(plugins), tuple(reports))


@lru_cache(maxsize=1)
def _scan() -> tuple[EntryPoint, ...]:
    try:
        found = entry_points(group=GROUP)
    except Exception as error:  # one damaged file keeps importlib from reading any; what it raises differs
        whose = f"{_damaged()} has entry points that cannot be read"
        raise PluginError(f"{whose}: {describe(error)}; reinstall it") from error
    return tuple(sorted(found, key=lambda point: (point.name, point.value)))


def _damaged() -> str:
    """The installed distribution whose entry points cannot be read."""
    for distribution in distributions():
        try:
            _ = distribution.entry_points
        except Exception:  # as in _scan
            return _origin(distribution)
    return "an installed package"


def _origin(distribution: Distribution | None) -> str:
    """`name version`, as far as its metadata tells them."""
    try:
        name = distribution and distribution.metadata["Name"]
        return f"{name} {distribution.version}" if distribution and name else "a package of no name"
    except Exception:  # metadata that is not there raises what each Python likes
        return "a package of no name"


@cache
def _import(point: EntryPoint) -> tuple[Any, BaseException | None]:
    """The plugin that `point` names, or why there is none."""
    try:
        if not EntryPoint.pattern.match(point.value):
            return None, ValueError("its entry point is not of the form module:ATTRIBUTE")
        plugin = point.load()
        return plugin, shape_error(point, plugin)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever else a stranger's module raises is that plugin's failure, not ours
        return None, error


def shape_error(point: EntryPoint, plugin: Any) -> TypeError | ValueError | None:
    """What keeps the object that `point` names from being a plugin; None for a plugin."""
    value = point.value
    for part in ("name", "rows", "set_up", "tear_down"):
        if not hasattr(plugin, part):
            return TypeError(f"{value} is of type {type(plugin).__name__} and has no {part}, so it is not a plugin")
        found = getattr(plugin, part)
        if not (isinstance(found, str) if part == "name" else callable(found)):
            return TypeError(f"{value}: its {part} is {found!r}, not a {'string' if part == 'name' else 'function'}")
    if plugin.name != point.name:  # --no-plugin takes the one, options and messages the other
        return ValueError(f"it calls itself {plugin.name!r} and its entry point {point.name!r}; give both one name")
    if wrong := [option for option in getattr(plugin, "options", ()) if not isinstance(option, Option)]:
        return TypeError(f"{value}: its option {wrong[0]!r} is not a pv.options.Option")
    return None


def source(point: EntryPoint) -> str:
    """`name (module:ATTRIBUTE, from distribution version)`."""
    return f"{point.name} ({point.value}, from {_origin(point.dist)})"


def describe(error: BaseException) -> str:
    """The error on one line, with its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
