"""What a machine's processor and clock look like from the parent: the same names, each asked of the worker.

Every access is a message there and back, some 20 us. Handlers are given their arguments with the request and share the
guest's memory, so most need none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pv.engines import base
from pv.engines.base import GENERAL_REGISTERS

Ask = Callable[..., Any]

VCPU_VALUES: Final = frozenset({*GENERAL_REGISTERS, "rflags", "fs_base", "gs_base", "rip", "cpl", "now_ns"})
VIRTUAL_VALUES: Final = frozenset(base.VirtualCpu.__annotations__)
EXIT_VALUES: Final = frozenset({"reason", "key", "value", "size", "address", "error_code", "length", "rip", "cpl"})
TABLES_VERBS: Final = frozenset({"create", "destroy", "activate", "map", "unmap", "lookup"})
SHADOW_VERBS: Final = frozenset({"load", "invalidate", "flush", "statistics"})
VCPU_VERBS: Final = frozenset(
    {
        *("xmm", "set_xmm", "jump"),
        *("get", "set", "selector", "load_segment", "far_transfer", "interrupt_return", "system_return", "swap_gs"),
        *("read_linear", "write_linear", "cpuid", "set_task_switched", "write_code", "inject", "request_interrupt"),
        *("set_trap", "set_kernel_stack", "set_syscall_entry", "call", "set_clock_page", "set_event_page"),
        *("counters", "calls", "events", "latencies", "flight_record", "stop"),
        *("translation_statistics", "translations"),
        *("call_guest", "end_call", "set_call_return", "note_write", "translate", "withdraw_interrupt"),
    }
)
# What takes a function of the parent's, or what the worker's machine does itself.
NOT_ACROSS: Final = frozenset(
    {
        "bind",
        "run",
        "close",
        "call_batch",
        "call_ring",
        "set_deadline",
        "set_timer_source",
        "set_interrupt_source",
        "time_exits",
        "interrupt_queue",
        "describe_apic",
    }
)


class Remote:
    """An object of the worker's machine, called `root` in messages: `values` are read and set, `verbs` called."""

    def __init__(
        self, ask: Ask, root: str, values: frozenset[str], verbs: frozenset[str] = frozenset(), **parts: Any
    ) -> None:
        self.__dict__.update(_ask=ask, _root=root, _values=values, _verbs=verbs, **parts)

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._ask("get", self._root, name)
        if name in self._verbs:
            return lambda *arguments, **named: self._ask("call", self._root, name, arguments, named)
        if name in NOT_ACROSS:
            raise AttributeError(f"{self._root}.{name} is the worker process's own: isolation='process' has it there")
        raise AttributeError(f"{self._root} has no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._values:
            raise AttributeError(f"{self._root} has no {name!r} to set")
        self._ask("set", self._root, name, value)


def remote_vcpu(ask: Ask) -> Remote:
    """The worker's vcpu, in the shape of pv.engines.base.Vcpu."""
    return Remote(
        ask,
        "vcpu",
        VCPU_VALUES,
        VCPU_VERBS,
        exit=Remote(ask, "exit", EXIT_VALUES),
        virtual=Remote(ask, "virtual", VIRTUAL_VALUES),
        tables=Remote(ask, "tables", frozenset({"active"}), TABLES_VERBS),
        shadow=Remote(ask, "shadow", frozenset(), SHADOW_VERBS),
    )


class RemoteClock:
    """The worker's clock: what time it is in the guest. Timers are set where the machine is."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    @property
    def now_ns(self) -> int:
        found: int = self._ask("get", "clock", "now_ns")
        return found

    def at(self, _deadline_ns: int, _callback: Callable[[], object]) -> None:
        """Raises RuntimeError: a timer's callback would have to run in the worker."""
        raise RuntimeError("clock.at(): a callback of this process cannot be a timer of the worker's machine")
