"""Native handlers that only have names."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.pv.emulate.recording_vcpu import Guest


def named(name: str) -> object:
    def handler() -> str:
        return name

    return handler


@pytest.fixture
def native() -> SimpleNamespace:
    names = ("reflect", "shadow_fault", "syscall", "trap_table", "syscall_entry")
    return SimpleNamespace(**{name: named(name) for name in names})


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.memory.close()
