"""Functions of a guest that runs in a worker process: called from the parent, in a handler of its or between runs."""

from __future__ import annotations

import time
from errno import EIO
from typing import Any

from pv.exits import GuestCallError, StopWhy
from pv.isolation.errors import WorkerEnded
from pv.isolation.link import Link


class Functions:
    """What pv.guest_call asks of a vcpu (pv.engines.calling.CallsGuest), asked of the worker's."""

    def __init__(self, link: Link, vcpu: Any) -> None:
        self._link = link
        self._vcpu = vcpu

    @property
    def running(self) -> bool:
        return self._link.running

    def set_call_return(self, rip: int) -> None:
        self._vcpu.set_call_return(rip)

    def end_call(self, result: int, more: int) -> None:
        self._vcpu.end_call(result, more)

    def call_guest(
        self, rip: int, arguments: tuple[int | bytes | str, ...], read_most: int = -1, timeout_ns: int = 0
    ) -> Any:
        """As the vcpu's. A worker that ends meanwhile, or is not back in time, is GuestCallError with ENGINE_ABORT."""
        link = self._link
        before = link.deadline
        if timeout_ns:
            latest = time.monotonic() + timeout_ns / 1e9 + link.grace_s
            link.deadline = latest if before is None else min(before, latest)
        try:
            return self._vcpu.call_guest(rip, arguments, read_most, timeout_ns)
        except WorkerEnded as ended:
            raise GuestCallError(str(ended), EIO, (StopWhy.ENGINE_ABORT, 0, str(ended))) from None
        finally:
            link.deadline = before
