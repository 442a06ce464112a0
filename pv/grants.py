"""What one machine may ask for: hypercalls granted by name, and how often.

Both wrap a row's handler when the machine is put together; a machine without them pays nothing.
Seconds are of virtual time, counted from the machine's start, so a quota bites at the same call in every run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from guest_sdk import abi
from pv.dispatch import Row, Shape
from pv.exits import Reason

SECOND_NS: Final = 1_000_000_000


class NowSource(Protocol):
    @property
    def now_ns(self) -> int: ...


def limit_calls(
    rows: Iterable[Row],
    grants: Iterable[str] | None,
    quotas: Mapping[str, int] | None,
    clock: NowSource,
    usage: dict[str, list[int]] | None = None,
) -> list[Row]:
    """`rows` with those not granted answering -EPERM and those over their quota -EAGAIN.

    grants: names of calls, None for all. quotas: most calls a second by name. usage: gets, by the name of each call
    that has a quota, the second that it was last made in and how often in it.
    Raises ValueError for a name that no row has, and for a quota that is not a whole number, zero or more.
    """
    rows = list(rows)
    if grants is None and not quotas:
        return rows
    known = {row.name for row in rows if row.reason is Reason.VMCALL}
    granted = known if grants is None else frozenset(grants)
    quotas = quotas or {}
    for what, names in (("grants", granted), ("quotas", quotas)):
        if unknown := sorted(set(names) - known):
            raise ValueError(f"{what}: no hypercall is named {unknown[0]!r}; `pvkit hypercalls list` shows all")
    for name, most in quotas.items():
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise ValueError(f"quotas: {name} allows {most!r} calls a second, which is not a whole number from 0 on")
    return [
        _limit(row, granted, quotas, clock, {} if usage is None else usage) if row.reason is Reason.VMCALL else row
        for row in rows
    ]


def _limit(
    row: Row, granted: Iterable[str], quotas: Mapping[str, int], clock: NowSource, usage: dict[str, list[int]]
) -> Row:
    if row.name not in granted:
        # No argument is looked at: a call that is not granted is refused before it can be wrong.
        return dataclasses.replace(row, handler=_refused, shape=Shape.CALL, argument_bits=())
    if row.name not in quotas:
        return row
    if row.shape is Shape.NATIVE:
        raise ValueError(f"quotas: {row.name} is answered inside the engine and cannot have one")
    return dataclasses.replace(
        row, handler=_counted(row.handler, quotas[row.name], clock, usage.setdefault(row.name, [-1, 0]))
    )


def _refused(*_arguments: int) -> int:
    return -abi.ERRNO["EPERM"]


def _counted(handler: Callable[..., Any], most: int, clock: NowSource, usage: list[int]) -> Callable[..., Any]:
    """`handler` for the first `most` calls of each second, -EAGAIN after them. usage: [second, calls made in it]."""

    def count_then_call(*arguments: int) -> Any:
        now = clock.now_ns // SECOND_NS
        if now != usage[0]:
            usage[:] = now, 0
        if usage[1] >= most:
            return -abi.ERRNO["EAGAIN"]
        usage[1] += 1
        return handler(*arguments)

    return count_then_call
