"""A batch of hypercalls, entry by entry: what Vcpu.call_batch does, for engines that are not native."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from errno import EINVAL
from typing import Final

from pv.exits import GuestError
from pv.memory import GuestMemory

WORDS: Final = 8  # number, six arguments, result: abi's multicall_entry
ENTRY: Final = struct.Struct(f"<{WORDS}Q")
MASK: Final = (1 << 64) - 1
REFUSED: Final = -EINVAL & MASK


def call_batch(
    memory: GuestMemory,
    call: Callable[[int, tuple[int, ...]], int],
    entries_gpa: int,
    count: int,
    refused: Container[int],
) -> int:
    """Copy `count` entries in once, make each call, write its result back to its entry. The entries done.

    A number in `refused` gets -EINVAL. Raises GuestError(EFAULT) unless all entries are inside memory.
    """
    entries = memory.read(entries_gpa, count * ENTRY.size)
    if not entries:
        return 0
    # That read proved the span to be inside memory, so results go straight to their words of it.
    with memory.view[entries_gpa : entries_gpa + len(entries)].cast("Q") as words:
        at = WORDS - 1
        for entry in ENTRY.iter_unpack(entries):
            number = entry[0]
            try:
                words[at] = REFUSED if number in refused else call(number, entry[1:7]) & MASK
            except GuestError as error:  # one entry's answer, as RAX would hold it
                words[at] = -error.errno & MASK
            at += WORDS
    return count
