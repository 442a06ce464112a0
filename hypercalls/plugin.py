"""What a package of hypercalls is: its calls under one name, with what it keeps for each machine.

The entry-point group `pvkit.hypercalls` names objects of this class; the built-in families are such objects too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hypercalls.call import Hypercall
from hypercalls.machine_view import MachineView
from pv.dispatch import Row

PLUGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def nothing(machine: MachineView) -> None:
    """The hook of a plugin that keeps nothing."""


def no_rows(machine: MachineView) -> Iterable[Row]:  # noqa: ARG001 (a hook's signature)
    """The further rows of a plugin that has hypercalls only."""
    return ()


@dataclass(frozen=True, slots=True)
class Plugin:
    """Hypercalls under one name.

    features: names of abi.FEATURES that it brings. on_set_up(machine) -> what machine.state[name] keeps, and
    on_tear_down(machine). further_rows(machine): rows of other reasons, CPUID leaves and MSRs for instance.
    """

    name: str
    version: str
    calls: tuple[Hypercall, ...] = ()
    features: tuple[str, ...] = ()
    on_set_up: Callable[[MachineView], Any] = nothing
    on_tear_down: Callable[[MachineView], None] = nothing
    further_rows: Callable[[MachineView], Iterable[Row]] = no_rows

    def __post_init__(self) -> None:
        if not PLUGIN_NAME.fullmatch(self.name):
            raise ValueError(f"plugin name {self.name!r} is not of a-z, 0-9, - and _, at most 63, a letter first")
        for call in self.calls:
            if not isinstance(call, Hypercall):
                raise TypeError(f"plugin {self.name!r}: {call!r} is not a hypercall; decorate it with @hypercall")

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
