"""Hypercalls entry by entry: what Vcpu.call_batch and Vcpu.call_ring do, for engines that are not native."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EFAULT, EINVAL, EIO
from typing import Final

from guest_sdk import abi
from pv.engines.base import GuestFault, RingState
from pv.exits import GuestError
from pv.memory import GuestMemory

WORDS: Final = 8  # number, six arguments, result: abi's multicall_entry
ENTRY: Final = struct.Struct(f"<{WORDS}Q")
MASK: Final = (1 << 64) - 1

RING: Final = abi.STRUCT_BY_NAME["ring"]
GUEST_INDICES: Final = struct.Struct("<II")  # submit_tail, complete_head: the ring's first words
MONITOR_INDICES: Final = struct.Struct("<II")  # submit_head, complete_tail
MONITOR_LINE: Final = RING.offset("submit_head")
COMPLETION: Final = struct.Struct("<QQ")
INDEX_MASK: Final = (1 << 32) - 1

Call = Callable[[int, tuple[int, ...]], int]


def call_batch(
    memory: GuestMemory,
    call: Call,
    entries_gpa: int,
    count: int,
) -> int:
    """Copy `count` entries in once, make each call, write its result back to its entry. The entries done.

    Raises GuestError(EFAULT) unless all entries are inside memory.
    """
    entries = memory.read(entries_gpa, count * ENTRY.size)
    if not entries:
        return 0
    # That read proved the span to be inside memory, so results go straight to their words of it.
    with memory.view[entries_gpa : entries_gpa + len(entries)].cast("Q") as words:
        at = WORDS - 1
        for entry in ENTRY.iter_unpack(entries):
            words[at] = answer(call, entry)
            at += WORDS
    return count


def answer(call: Call, entry: tuple[int, ...]) -> int:
    """What RAX would hold after the call of `entry`."""
    try:
        return call(entry[0], entry[1:7]) & MASK
    except GuestError as error:
        return -error.errno & MASK
    except GuestFault:  # there is no instruction of the guest's that it could be injected at
        return -EFAULT & MASK


def call_ring(memory: GuestMemory, call: Call, ring: RingState) -> int:
    """See Vcpu.call_ring."""
    gpa, entries = ring.gpa, ring.entries
    size_bytes = RING.size_bytes + entries * (ENTRY.size + COMPLETION.size)
    if gpa % 8 or entries <= 0 or entries & entries - 1 or gpa + size_bytes > memory.size_bytes:
        raise GuestError(EFAULT, f"no ring of {entries} entries at gpa {gpa:#x}")
    view, calls = memory.view, gpa + RING.size_bytes
    submit_tail, complete_head = GUEST_INDICES.unpack_from(view, gpa)
    waiting, held = submit_tail - ring.submit_head & INDEX_MASK, ring.complete_tail - complete_head & INDEX_MASK
    if max(waiting, held) > entries:
        raise GuestError(EINVAL, f"an index of the ring at gpa {gpa:#x} is impossible")
    ring.left = 0
    taken: int = min(waiting, entries - held)
    if not taken:
        return 0
    try:
        for _ in range(taken):
            entry = ENTRY.unpack_from(view, calls + ring.submit_head % entries * ENTRY.size)
            ring.submit_head = ring.submit_head + 1 & INDEX_MASK
            result = -EIO & MASK  # of a handler that raises: it is not asked again
            try:
                result = answer(call, entry)
            finally:
                at = calls + entries * ENTRY.size + ring.complete_tail % entries * COMPLETION.size
                COMPLETION.pack_into(view, at, entry[WORDS - 1], result)
                ring.complete_tail = ring.complete_tail + 1 & INDEX_MASK
    finally:
        MONITOR_INDICES.pack_into(view, gpa + MONITOR_LINE, ring.submit_head, ring.complete_tail)
    return taken
