"""The names of a vcpu, each asked of the worker; and none that it does not have."""

from __future__ import annotations

from typing import Any

import pytest

from pv.engines.base import Vcpu, VirtualCpu
from pv.isolation.proxy import NOT_ACROSS, VCPU_VALUES, VCPU_VERBS, VIRTUAL_VALUES, RemoteClock, remote_vcpu


def test_names_are_asked_of_the_worker() -> None:
    asked: list[tuple[Any, ...]] = []

    def ask(*message: Any) -> int:
        asked.append(message)
        return 5

    vcpu = remote_vcpu(ask)
    assert vcpu.rax == 5
    vcpu.rbx = 7
    vcpu.virtual.cr3 = 9
    assert vcpu.exit.key == 5
    vcpu.read_linear(16, 4, write=True)
    assert vcpu.tables.lookup(0, 1) == 5
    assert RemoteClock(ask).now_ns == 5
    assert asked == [
        ("get", "vcpu", "rax"),
        ("set", "vcpu", "rbx", 7),
        ("set", "virtual", "cr3", 9),
        ("get", "exit", "key"),
        ("call", "vcpu", "read_linear", (16, 4), {"write": True}),
        ("call", "tables", "lookup", (0, 1), {}),
        ("get", "clock", "now_ns"),
    ]


def test_other_names_are_refused() -> None:
    vcpu = remote_vcpu(lambda *_: 0)
    for name in ("nonsense", "run"):
        with pytest.raises(AttributeError):
            getattr(vcpu, name)
    with pytest.raises(AttributeError, match="no 'nonsense' to set"):
        vcpu.nonsense = 1
    with pytest.raises(RuntimeError, match="cannot be a timer"):
        RemoteClock(lambda *_: 0).at(0, print)


def test_all_that_a_vcpu_offers_is_decided_here() -> None:
    offered = {name for name in vars(Vcpu) if not name.startswith("_")} | set(Vcpu.__annotations__)
    decided = VCPU_VALUES | VCPU_VERBS | NOT_ACROSS | {"exit", "virtual", "tables", "shadow"}
    assert {name for name in offered if name not in decided} == set()
    assert set(VirtualCpu.__annotations__) == VIRTUAL_VALUES
