"""Pages that machines share until they write them, against a model: plain bytearrays that are copied."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pv.pages
from pv.pages import EXTENTS_MOST, PAGE_BYTES, FrozenPages, PageFile, Pages, merge, thaw, union

SIZE = 64 * PAGE_BYTES
Model = list[tuple[Pages, bytearray]]


def check(pages: Pages, model: bytearray) -> None:
    assert bytes(pages.view) == bytes(model)


@pytest.fixture(params=["scanned", "not scanned"])
def scanning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the ioctl that says which pages were written, and as on a kernel without it."""
    if request.param == "not scanned":
        monkeypatch.setattr(pv.pages, "scan", lambda _address, _size: None)
    elif Pages(SIZE).written() is None:
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
    return str(request.param)


WRITES = st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, SIZE - 9), st.binary(min_size=1, max_size=9))
OTHERS = st.tuples(st.sampled_from(["freeze", "restore", "fork"]), st.integers(0, 3), st.integers(0, 5), st.just(b""))


@pytest.mark.usefixtures("scanning")
def test_any_order_of_writes_freezes_restores_and_forks() -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(WRITES | OTHERS, max_size=40))
    def follow(steps: list[tuple[str, int, int, bytes]]) -> None:
        live: Model = [(Pages(SIZE), bytearray(SIZE))]
        frozen: list[tuple[FrozenPages, bytes]] = []
        for what, which, number, data in steps:
            pages, model = live[which % len(live)]
            if what == "write":
                pages.view[number : number + len(data)] = data
                model[number : number + len(data)] = data
            elif what == "freeze":
                frozen.append((pages.freeze(PageFile(), 0), bytes(model)))
            elif frozen and what == "restore":
                was, held = frozen[number % len(frozen)]
                changed = pages.restore(was)
                for at in range(0, SIZE if changed is not None else 0, PAGE_BYTES):
                    same = model[at : at + PAGE_BYTES] == held[at : at + PAGE_BYTES]
                    assert same or any(start <= at < end for start, end in changed or ()), (
                        "a change that nobody heard of"
                    )
                model[:] = held
            elif frozen and len(live) < 4:
                was, held = frozen[number % len(frozen)]
                live.append((Pages(SIZE, was), bytearray(held)))
            for one, expected in live:
                check(one, expected)
        for was, held in frozen:
            content = bytearray(SIZE)
            for page, data in was.filled():
                content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = data
            assert content == held
        for one, _ in live:
            one.close()

    follow()


def test_only_what_was_written_counts() -> None:
    pages = Pages(SIZE)
    if pages.written() is None:
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
    pages.view[5 * PAGE_BYTES] = 1
    frozen = pages.freeze(PageFile(), 0)
    assert pages.view[0] == 0
    assert pages.written() == []  # a read of zeroes and a frozen page are not the mapping's own
    pages.view[7 * PAGE_BYTES] = pages.view[8 * PAGE_BYTES] = 1
    assert pages.written() == [(7 * PAGE_BYTES, 9 * PAGE_BYTES)]
    assert pages.restore(frozen) == [(7 * PAGE_BYTES, 9 * PAGE_BYTES)]


def test_what_did_not_change_is_frozen_once() -> None:
    pages = Pages(SIZE)
    if pages.written() is None:
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
    pages.view[0] = 1
    assert pages.freeze(PageFile(), 0) is pages.freeze(PageFile(), 0)


def test_a_restore_of_more_pages_than_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pv.pages, "COPIED_MOST", 3)
    pages = Pages(SIZE)
    pages.view[0] = 9
    frozen = pages.freeze(PageFile(), 0)
    for at in range(0, SIZE, PAGE_BYTES):
        pages.view[at] = 1
    pages.restore(frozen)
    assert bytes(pages.view) == b"\x09" + bytes(SIZE - 1)


def test_one_file_holds_several() -> None:
    file, one, other = PageFile(), Pages(SIZE), Pages(SIZE)
    one.view[:3], other.view[:3] = b"one", b"two"
    frozen = one.freeze(file, 0), other.freeze(file, SIZE)
    assert [bytes(Pages(SIZE, part).view[:3]) for part in frozen] == [b"one", b"two"]


def test_pages_do_not_fit_memory_of_another_size() -> None:
    frozen = Pages(SIZE).freeze(PageFile(), 0)
    with pytest.raises(ValueError, match=f"pages of {SIZE} bytes do not fit memory of {2 * SIZE}"):
        Pages(2 * SIZE).restore(frozen)


def test_the_file_is_given_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    pages = Pages(SIZE)
    pages.view[0] = 1
    frozen = pages.freeze(PageFile(), 0)
    child = Pages(SIZE, frozen)
    pages.close()
    child.close()
    del frozen, pages, child
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the page map, opened once a process


def test_thaw_is_the_inverse_of_filled() -> None:
    pages = Pages(SIZE)
    pages.view[3 * PAGE_BYTES : 3 * PAGE_BYTES + 4] = b"here"
    frozen = pages.freeze(PageFile(), 0)
    again = thaw(PageFile(), 0, SIZE, frozen.filled())
    assert bytes(Pages(SIZE, again).view) == bytes(pages.view)


@given(st.sets(st.integers(0, 5000)))
def test_merging_keeps_all_and_stays_few(numbers: set[int]) -> None:
    spans = [(number * PAGE_BYTES, (number + 1) * PAGE_BYTES) for number in sorted(numbers)]
    merged = merge(spans)
    assert len(merged) <= EXTENTS_MOST
    assert all(any(start <= first < end for start, end in merged) for first, _ in spans)
    assert all(before[1] < after[0] for before, after in pairwise(merged))


def test_union_of_spans() -> None:
    assert union([(0, 2), (6, 8)], [(1, 4), (8, 9)]) == [(0, 4), (6, 9)]


def test_a_mapping_that_the_host_refuses_says_so() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(OSError, match="cannot map 4096 bytes of a snapshot"):
            pv.pages.map_at(0, PAGE_BYTES, 0, descriptor, 0)
    finally:
        os.close(descriptor)


def test_a_view_that_is_held_keeps_its_memory() -> None:
    pages = Pages(4 * PAGE_BYTES)
    held = pages.view[:PAGE_BYTES]
    held[:4] = b"kept"
    pages.close()
    assert bytes(held[:4]) == b"kept"


OUT_OF_MAPPINGS = """
import ctypes
from pv.pages import PageFile, Pages
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
one, other = Pages(64 * 4096), Pages(64 * 4096)
for number in range(0, 64, 8):
    one.view[number * 4096] = number + 1
frozen = one.freeze(PageFile(), 0)
split = libc.mmap(None, 1 << 30, 0, 0x4022, -1, 0)  # private, anonymous, not reserved
at = split
while libc.mprotect(at, 4096, 1) == 0:  # every other page has rights of its own, until there is no room for more
    at += 8192
for last in range(4):  # but for a few: what is there can be replaced, and not be cut into all of its pieces
    at -= 8192
    libc.mprotect(at, 4096, 0)
other.restore(frozen)
shared = other._frozen is not None
libc.munmap(ctypes.c_void_p(split), ctypes.c_size_t(1 << 30))
print(shared, bytes(other.view) == bytes(one.view))
other.view[0] = 200
other.restore(frozen)
print(bytes(other.view) == bytes(one.view))
"""


def test_a_process_without_mappings_left_copies() -> None:
    """The kernel allows a process 65,530 of them: a restore must not leave half of a machine's memory."""
    done = subprocess.run([sys.executable, "-c", OUT_OF_MAPPINGS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False True\nTrue\n", "")
