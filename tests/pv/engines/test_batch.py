"""A batch in Python and the native one give the same results for the same entries."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOSYS

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import abi
from pv import Machine
from pv.engines.batch import ENTRY, call_batch
from pv.exits import GuestError

GPA = 0x4003  # entries need no alignment
HARMLESS = [abi.BY_NAME[name].number for name in ("abi_version", "abi_features", "memory_size", "set_kernel_stack")]
NUMBER = st.sampled_from([*HARMLESS, 0x9999, abi.BY_NAME["exit"].number, 1 << 31, (1 << 64) - 1])
WORD = st.sampled_from([0, 1, 1 << 32, 1 << 47, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)
REFUSED = {abi.BY_NAME["exit"].number}


def results(memory: bytes) -> list[int]:
    return [struct.unpack_from("<q", memory, at)[0] for at in range(56, len(memory), 64)]


@given(st.lists(st.tuples(NUMBER, *[WORD] * 7), max_size=20))
@settings(max_examples=60, deadline=None)
def test_both_give_the_same(entries: list[tuple[int, ...]]) -> None:
    image = b"".join(ENTRY.pack(*entry) for entry in entries)
    seen = []
    for native in (True, False):
        with Machine() as machine:
            machine.memory.write(GPA, image)
            vcpu = machine.vcpu
            if native:
                assert vcpu.call_batch(GPA, len(entries), REFUSED) == len(entries)
            else:
                assert call_batch(machine.memory, vcpu.call, GPA, len(entries), REFUSED) == len(entries)
            seen.append((machine.memory.read(GPA, len(image)), vcpu.calls()))
    assert seen[0] == seen[1]


def test_results_are_those_of_the_calls() -> None:
    with Machine() as machine:
        entries = [(HARMLESS[0], 0), (0x9999, 0), (next(iter(REFUSED)), 0)]
        machine.memory.write(GPA, b"".join(ENTRY.pack(number, *[0] * 7) for number, _ in entries))
        machine.vcpu.call_batch(GPA, 3, REFUSED)
        assert results(machine.memory.read(GPA, 3 * 64)) == [abi.VERSION, -ENOSYS, -EINVAL]


@pytest.mark.parametrize(("gpa", "count"), [(0, 1 << 40), ((1 << 64) - 64, 2), ((16 << 20) - 64, 2), (16 << 20, 1)])
def test_entries_outside_memory_are_refused(gpa: int, count: int) -> None:
    with Machine() as machine, pytest.raises(GuestError):
        machine.vcpu.call_batch(gpa, count, ())
