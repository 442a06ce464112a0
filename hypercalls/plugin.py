"""What a package of hypercalls is: its calls under one name, with what it keeps for each machine.

The entry-point group `pvkit.hypercalls` names objects of this class; the built-in families are such objects too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guest_sdk import abi
from hypercalls.call import Hypercall
from hypercalls.feature import Feature
from hypercalls.machine_view import MachineView
from pv.dispatch import Row
from pv.options import Option

PLUGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def nothing(machine: MachineView) -> None:
    """The hook of a plugin that keeps nothing."""


def no_rows(machine: MachineView) -> Iterable[Row]:  # noqa: ARG001 (a hook's signature)
    """The further rows of a plugin that has hypercalls only."""
    return ()


@dataclass(frozen=True, slots=True)
class Plugin:
    """Hypercalls under one name, and what guests and machines have of them.

    features: names of abi.FEATURES, or Feature(name, bit) of its own. options: what may be set for it on a machine,
    which machine.options["<plugin>.<option>"] holds. on_set_up(machine) -> what machine.state[name] keeps, and
    on_tear_down(machine). further_rows(machine): rows of other reasons, CPUID leaves and MSRs for instance.

    For guests: c_include is a directory for a C guest's include path, c_sources are compiled and linked into it;
    guest_routines(guest) adds routines to a guest_sdk.Guest. Raises ValueError, TypeError for what cannot be used.

    For snapshots: on_save(state) -> what msgpack can hold of the state, and on_restore(machine, that); a plugin without
    them must keep no state, or no snapshot is taken of its machine.
    """

    name: str
    version: str
    calls: tuple[Hypercall, ...] = ()
    features: tuple[str | Feature, ...] = ()
    on_set_up: Callable[[MachineView], Any] = nothing
    on_tear_down: Callable[[MachineView], None] = nothing
    further_rows: Callable[[MachineView], Iterable[Row]] = no_rows
    options: tuple[Option, ...] = ()
    c_include: Path | None = None
    c_sources: tuple[Path, ...] = ()
    guest_routines: Callable[[Any], None] | None = None
    on_save: Callable[[Any], Any] | None = None
    on_restore: Callable[[MachineView, Any], None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not PLUGIN_NAME.fullmatch(self.name):
            raise ValueError(f"plugin name {self.name!r} is not of a-z, 0-9, - and _, at most 63, a letter first")
        for part in ("calls", "features", "options", "c_sources"):
            value = getattr(self, part)
            if not isinstance(value, tuple | list):
                raise TypeError(f"plugin {self.name!r}: {part}={value!r:.80} is no tuple; write {part}=({part[:-1]},)")
        for call in self.calls:
            if not isinstance(call, Hypercall):
                raise TypeError(f"plugin {self.name!r}: {call!r} is not a hypercall; decorate it with @hypercall")
        for feature in self.features:
            if not isinstance(feature, Feature) and feature not in abi.FEATURES:
                raise ValueError(
                    f"plugin {self.name!r}: {feature!r} is no feature of pvkit; give it a bit of its own, "
                    f"Feature({feature!r}, bit)"
                )
        for option in self.options:
            if not isinstance(option, Option):
                raise TypeError(f"plugin {self.name!r}: {option!r} is not an option; write Option(name, type)")
        for what, names in (
            ("call", [call.name for call in self.calls]),
            ("call", [f"number {call.number:#x}" for call in self.calls]),
            ("feature", [feature.name for feature in self.own_features]),
            ("feature", [f"bit {feature.bit}" for feature in self.own_features]),
            ("option", [option.name for option in self.options]),
        ):
            if twice := sorted(name for name, times in Counter(names).items() if times > 1):
                raise ValueError(f"plugin {self.name!r} has two {what}s called {twice[0]!r}")
        self._check_files()

    def _check_files(self) -> None:
        """Raises ValueError for a header directory or source that is not there: packages forget to ship them."""
        files = [] if self.c_include is None else [("c_include", self.c_include, Path.is_dir, "directory")]
        files += [("c_sources", source, Path.is_file, "file") for source in self.c_sources]
        for what, path, is_there, kind in files:
            if not isinstance(path, Path):
                raise TypeError(f"plugin {self.name!r}: {what} {path!r} is not a pathlib.Path")
            if not is_there(path):
                raise ValueError(f"plugin {self.name!r}: {what} {path} is no {kind}; does the package ship it?")

    @property
    def own_features(self) -> tuple[Feature, ...]:
        """The feature bits that are the plugin's own."""
        return tuple(feature for feature in self.features if isinstance(feature, Feature))

    def set_up(self, machine: MachineView) -> Any:
        """Make what the plugin keeps for `machine`, in its state under the plugin's name. Comes before rows()."""
        machine.state[self.name] = kept = self.on_set_up(machine)
        return kept

    def tear_down(self, machine: MachineView) -> None:
        """The machine ends."""
        self.on_tear_down(machine)

    def rows(self, machine: MachineView) -> Iterator[Row]:
        """Every row of the plugin, bound to `machine`."""
        for call in self.calls:
            yield from call.rows(machine, self.name)
        yield from self.further_rows(machine)
