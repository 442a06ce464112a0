"""How does a machine begin and end? What it must give back, in which order, and what it has to tell a person.

Nothing that a machine owns keeps it alive, so one that is dropped is freed at once, as close() frees it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from os import PathLike
from types import TracebackType
from typing import Any, Self

from pv.assembly import ask
from pv.disk import Disk, as_disk
from pv.plugin import LoadedPlugin, PluginError

log = logging.getLogger("pvkit")


class Life:
    """What every kind of machine has from its first moment to its last."""

    vcpu: Any  # a pv.engines.base.Vcpu, with how it is started and its native handlers

    def _begin(self) -> None:
        """Nothing is owned yet. Comes before anything that could fail, so that what follows can always be freed."""
        self._closed = False
        self._cleanup = ExitStack()
        self._set_up: list[LoadedPlugin] = []
        self.disks: tuple[Disk, ...] = ()
        self.notes: list[str] = []  # what a person should know and nothing fails for
        self.state: dict[str, Any] = {}  # what each plugin keeps for this machine, by the plugin's name

    def close(self) -> None:
        """Free everything: plugins are torn down, engine and memory given back. Further calls do nothing.

        Raises PluginError for a plugin that could not be torn down, once all is freed.
        """
        errors = self._free()
        self._log_all(errors[1:])
        if errors:
            raise errors[0]

    def _free(self) -> list[PluginError]:
        """What close() does, and why plugins could not be torn down."""
        errors: list[PluginError] = []
        if self._closed:
            return errors
        if self._running:
            raise RuntimeError("close(): the machine is running; call stop(), and close() once run() has returned")
        self._closed = True
        for member in self._set_up:
            self._cleanup.callback(self._tear_down_plugin, member, errors)
        self._set_up.clear()
        self._cleanup.close()
        self.state.clear()
        return errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # which is what its caller should see
            self._log_all(self._free())

    def __del__(self) -> None:
        if hasattr(self, "_cleanup"):  # an argument of no use is refused before there is anything to close
            self._log_all(self._free())

    @property
    def _running(self) -> bool:
        """Whether run(), or a call of one of the guest's functions, is under way."""
        return hasattr(self, "vcpu") and self.vcpu.running

    def _check_open(self, what: str) -> None:
        """Raises RuntimeError where the machine is closed."""
        if self._closed:
            raise RuntimeError(f"{what}: the machine is closed")

    def _note_once(self, line: str) -> None:
        if line not in self.notes:
            self._note(line)

    def _note(self, line: str) -> None:
        self.notes.append(line)
        log.info("%s", line)

    def _log_all(self, errors: Iterable[PluginError]) -> None:
        for error in errors:
            log.warning("%s", error)

    def own(self, disks: Iterable[Disk]) -> None:
        """Close these disks with the machine."""
        for disk in disks:
            self._cleanup.callback(disk.close)

    def _add_disk(self, disk: Disk | str | PathLike[str]) -> None:
        opened = as_disk(disk)
        if opened is not disk:
            self._cleanup.callback(opened.close)
        self.disks += (opened,)

    @property
    def for_plugins(self) -> Any:
        """The machine as its plugins have it: nothing of theirs keeps it alive."""
        return weakref.proxy(self)

    def _set_up_plugin(self, member: LoadedPlugin) -> None:
        if not hasattr(member.plugin, "set_up"):
            return
        kept = ask(member, "cannot be set up", member.plugin.set_up, self.for_plugins)
        self.state[member.plugin.name] = kept
        self._set_up.append(member)

    def _tear_down_plugin(self, member: LoadedPlugin, errors: list[PluginError]) -> None:
        if not hasattr(member.plugin, "tear_down"):
            return
        try:
            ask(member, "cannot be torn down", member.plugin.tear_down, self)
        except PluginError as error:
            errors.append(error)
