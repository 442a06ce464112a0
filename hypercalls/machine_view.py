"""What a handler may ask of the machine that it answers for. pv.machine.Machine has this shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pv.clock import Clock
from pv.disk import Disk
from pv.dispatch import DispatchTable
from pv.engines.base import Vcpu
from pv.memory import GuestMemory


class ConsoleView(Protocol):
    """Where a guest's text goes."""

    def write(self, text: str | bytes, /) -> int: ...


class MachineView(Protocol):
    """A machine as handlers see it.

    state: what each plugin keeps for this machine, by plugin name. options: a value for each option, the plugins' as
    `PLUGIN.OPTION`. features: the plugins' own feature bits by name.
    """

    @property
    def memory(self) -> GuestMemory: ...
    @property
    def vcpu(self) -> Vcpu: ...
    @property
    def console(self) -> ConsoleView: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def state(self) -> dict[str, Any]: ...
    @property
    def disks(self) -> tuple[Disk, ...]: ...
    def call(self, name: str | int, *arguments: Any, returns: Any = int, timeout: float | None = None) -> Any: ...
    @property
    def table(self) -> DispatchTable: ...
    @property
    def call_numbers(self) -> Mapping[str, int]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def features(self) -> Mapping[str, int]: ...
