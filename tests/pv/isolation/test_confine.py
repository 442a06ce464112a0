"""What a worker process is kept from, seen from inside: in a forked child, whose findings come back as its status."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

from pv.isolation.confine import HEADROOM_BYTES, die_with, give_up_rights, keep_only, limit_address_space


def in_child(look: Callable[[], bool]) -> bool:
    """Whether `look` finds what it should, in a process of its own."""
    child = os.fork()
    if not child:
        status = 2
        try:
            status = 0 if look() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_only_what_is_named_stays_open() -> None:
    read, write = os.pipe()

    def look() -> bool:
        keep_only({0, 1, 2, write})
        left = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
        return write in left and read not in left and Path("/proc/self/fd/0").readlink() == Path(os.devnull)

    assert in_child(look)
    os.close(read)
    os.close(write)


def test_no_core_no_new_rights_and_a_bound_on_memory() -> None:
    def look() -> bool:
        give_up_rights()
        limit_address_space(1 << 20)
        status = Path("/proc/self/status").read_text()
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        try:
            bytearray(2 * HEADROOM_BYTES)
        except MemoryError:
            return (
                "NoNewPrivs:\t1" in status
                and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
                and limit > HEADROOM_BYTES
            )
        return False

    assert in_child(look)


def test_a_child_of_somebody_else_ends_at_once() -> None:
    def orphaned() -> bool:
        die_with(1 << 30)
        os._exit(7)

    assert in_child(orphaned)


def test_a_child_ends_with_its_parent() -> None:
    read, write = os.pipe()
    parent = os.fork()
    if not parent:
        mother = os.getpid()
        ready, tell = os.pipe()
        if not os.fork():
            die_with(mother)
            os.write(tell, b"x")
            os.read(os.pipe()[0], 1)
        os.read(ready, 1)
        os._exit(0)
    os.close(write)
    os.waitpid(parent, 0)
    assert os.read(read, 1) == b"", "the grandchild, which had the other end open, is gone"
    os.close(read)
