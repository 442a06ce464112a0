"""The monitor's page tables against a dict, and what a paravirtual guest sees of them."""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EFAULT, EINVAL, ENOMEM

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.exits import GuestError, StopWhy, stop
from pv.machine import Machine
from tests.pv.engines.unicorn_memory.machines import BASE, PAGE, HostCalls, assemble, call, machine

MEMORY = 8 << 20
PRESENT, WRITE, USER, EXECUTE = 1, 2, 4, 8
LARGE_PAGES = 512
WIDEST = 1 << 18  # pages: 1 GiB
SHARED_END = 1 << 39
PLACES = (0x4000_0000, 0x7F_FFE0_0000, 1 << 39, 0x7FFF_FFC0_0000, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_FF80_0000)
Space = dict[int, tuple[int, int]]


def empty() -> Machine:
    return Machine(memory=MEMORY, technique="paravirt", plugins=False)


def errno_of(function: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(GuestError) as caught:
        function(*arguments)
    return caught.value.errno


class Model:
    """Spaces as dicts of gva to (gpa, flags); what lies below 512 GiB is one dict for all."""

    def __init__(self) -> None:
        self.shared: Space = {}
        self.private: dict[int, Space] = {0: {}}
        self.active = 0

    def part(self, space: int, gva: int) -> Space:
        return self.shared if gva < SHARED_END else self.private[space]

    def map(self, space: int, gva: int, gpa: int, pages: int, flags: int) -> None:
        for at in range(0, pages * PAGE, PAGE):
            self.part(space, gva + at)[gva + at] = gpa + at, flags

    def unmap(self, space: int, gva: int, pages: int) -> int:
        return sum(self.part(space, at).pop(at, None) is not None for at in range(gva, gva + pages * PAGE, PAGE))

    def lookup(self, space: int, gva: int) -> tuple[int, int] | None:
        found = self.part(space, gva).get(gva & ~(PAGE - 1))
        return None if found is None else (found[0] + gva % PAGE, found[1])


spaces = st.integers(0, 3)
pages = st.sampled_from((1, 2, 3, 511, 512, 513, 1024, 1100))
where = st.builds(
    lambda place, page: place + page * PAGE, st.sampled_from(PLACES), st.sampled_from((0, 1, 511, 512, 700))
)
frames = st.sampled_from((0, PAGE, 2 << 20, (2 << 20) + PAGE, 4 << 20))
flags = st.sampled_from((0, WRITE, USER, EXECUTE, WRITE | USER)).map(lambda bits: bits | PRESENT)
operations = st.one_of(
    st.tuples(st.just("map"), spaces, where, frames, pages, flags),
    st.tuples(st.just("unmap"), spaces, where, pages),
    st.tuples(st.just("create")),
    st.tuples(st.just("destroy"), spaces),
    st.tuples(st.just("activate"), spaces),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=30))
def test_tables_are_a_dict(steps: list[tuple[object, ...]]) -> None:
    model = Model()
    with empty() as made:
        tables = made.vcpu.tables
        for step in steps:
            do(model, tables, *step)
        assert tables.active == model.active
        for space in model.private:
            for gva in interesting(model, space):
                assert tables.lookup(space, gva) == model.lookup(space, gva), (space, hex(gva))


def do(model: Model, tables: object, verb: object, *arguments: object) -> None:
    """One step on both; they must answer alike."""
    method = getattr(tables, str(verb))
    if verb == "create":
        model.private[method()] = {}
        return
    space = arguments[0]
    assert isinstance(space, int)
    refused = space not in model.private or (verb == "destroy" and space in (0, model.active))
    if verb in ("map", "unmap"):
        gva, count = arguments[1], arguments[3 if verb == "map" else 2]
        assert isinstance(gva, int)
        assert isinstance(count, int)
        end = gva + count * PAGE
        refused |= end > 1 << 64 or gva < 1 << 47 < end
    if refused:
        assert errno_of(method, *arguments) == EINVAL
    elif verb == "map" and arguments[2] + arguments[3] * PAGE > MEMORY:  # type: ignore[operator]
        assert errno_of(method, *arguments) == EFAULT
    elif verb == "map":
        assert method(*arguments) == arguments[3]
        model.map(*arguments)  # type: ignore[arg-type]
    elif verb == "unmap":
        assert method(*arguments) == model.unmap(*arguments)  # type: ignore[arg-type]
    elif verb == "activate":
        method(space)
        model.active = space
    else:
        method(space)
        del model.private[space]


def interesting(model: Model, space: int) -> set[int]:
    """Each mapped page of a small part, the pages around the ends of every mapping, an address inside a page."""
    mapped = sorted({**model.shared, **model.private[space]})
    ends = [gva for gva in mapped if gva - PAGE not in mapped[:1] or gva % (64 * PAGE) == 0]
    around = {gva + step for gva in ends[::37] + ends[:3] + ends[-3:] for step in (-PAGE, 0, 0x123, PAGE)}
    return {gva for gva in around | set(PLACES) if 0 <= gva < 1 << 47 or 0xFFFF_8000 << 32 <= gva < 1 << 64}


@pytest.mark.parametrize(
    ("gva", "gpa", "count", "bits", "errno"),
    [
        (1, 0, 1, PRESENT, EINVAL),
        (0, 1, 1, PRESENT, EINVAL),
        (0, 0, 0, PRESENT, EINVAL),
        (0, 0, 1, 0, EINVAL),
        (0, 0, 1, WRITE, EINVAL),
        (0, 0, 1, PRESENT | 16, EINVAL),
        (1 << 47, 0, 1, PRESENT, EINVAL),
        ((1 << 47) - PAGE, 0, 2, PRESENT, EINVAL),
        ((1 << 64) - PAGE, 0, 2, PRESENT, EINVAL),
        (0, 0, 1 << 52, PRESENT, E2BIG),
        (0, 0, (1 << 64) - 1, PRESENT, E2BIG),
        (0, MEMORY, 1, PRESENT, EFAULT),
        (0, MEMORY - PAGE, 2, PRESENT, EFAULT),
        (0, (1 << 64) - PAGE, 1, PRESENT, EFAULT),
        (0, 1 << 36, 1, PRESENT, EFAULT),
        (0, 0, 1 << 35, PRESENT, E2BIG),
    ],
)
def test_bad_mappings_are_refused(gva: int, gpa: int, count: int, bits: int, errno: int) -> None:
    with empty() as made:
        assert errno_of(made.vcpu.tables.map, 0, gva, gpa, count, bits) == errno
        assert made.vcpu.tables.lookup(0, 0) is None


def test_spaces_that_are_not() -> None:
    with empty() as made:
        tables = made.vcpu.tables
        for space in (1, 4095, 4096, (1 << 32) - 1):
            assert errno_of(tables.map, space, 0, 0, 1, PRESENT) == EINVAL
            assert errno_of(tables.unmap, space, 0, 1) == EINVAL
            assert errno_of(tables.activate, space) == EINVAL
            assert errno_of(tables.destroy, space) == EINVAL
            assert tables.lookup(space, 0) is None


def test_the_widest_range_is_unmapped_whatever_it_holds() -> None:
    with empty() as made:
        tables = made.vcpu.tables
        for place in PLACES:
            tables.map(0, place, 0, 3, PRESENT)
            first = place & ~((1 << 30) - 1)
            assert tables.unmap(0, first, WIDEST) == 3
            assert tables.unmap(0, first, WIDEST) == 0
        assert errno_of(tables.unmap, 0, 0, (1 << 64) - 1) == E2BIG


def test_the_pool_is_used_up_and_given_back() -> None:
    with Machine(memory=MEMORY, technique="paravirt", plugins=False, options={"monitor_pages": 64}) as made:
        tables, errors = made.vcpu.tables, set()

        def fill() -> int:
            space, mapped = tables.create(), 0
            try:
                while True:
                    mapped += tables.map(space, (1 << 39) + (mapped << 30), 0, 1, PRESENT)
            except GuestError as error:
                errors.add(error.errno)
            assert tables.lookup(space, (1 << 39) + (mapped << 30)) is None
            tables.destroy(space)
            return mapped

        assert {fill() for _ in range(50)} == {(64 - 1 - 2 - 2) // 2}
        assert errors == {ENOMEM}


def test_tables_that_map_nothing_are_given_back() -> None:
    with Machine(memory=MEMORY, technique="paravirt", plugins=False, options={"monitor_pages": 64}) as made:
        tables = made.vcpu.tables
        for place in range(2000):
            gva = place * (1 << 30) + place * PAGE
            assert tables.map(0, gva, 0, 1, PRESENT) == 1
            assert tables.unmap(0, gva, 1) == 1
            assert tables.lookup(0, gva) is None


def test_small_pages_become_a_large_one_and_small_again() -> None:
    with Machine(memory=MEMORY, technique="paravirt", plugins=False, options={"monitor_pages": 64}) as made:
        tables = made.vcpu.tables
        for round_number in range(200):
            gva = (1 << 39) + (round_number << 21)
            for page in range(0, LARGE_PAGES, 100):
                tables.map(0, gva + page * PAGE, page * PAGE, 1, PRESENT)
            tables.map(0, gva, 2 << 20, LARGE_PAGES, PRESENT | WRITE)
            assert tables.lookup(0, gva + 0x1234) == ((2 << 20) + 0x1234, PRESENT | WRITE)
        assert tables.unmap(0, gva + 5 * PAGE, 1) == 1
        assert tables.lookup(0, gva + 4 * PAGE) == ((2 << 20) + 4 * PAGE, PRESENT | WRITE)
        assert tables.lookup(0, gva + 5 * PAGE) is None
        assert tables.lookup(0, gva + 6 * PAGE) == ((2 << 20) + 6 * PAGE, PRESENT | WRITE)


# ---- as a guest sees it ----

WINDOW = 0x4000_0000
FAULTED = 0x77


def watched(host: Callable[[Machine], object], access: str) -> tuple[StopWhy, int | None, int]:
    """A guest that touches WINDOW, has the host call `host`, touches it again: how it ended, and CR2 of its #PF."""
    text = f"mov rbx, {WINDOW}; {access}; {call(0)}; {access}; {call(2)}"
    calls = HostCalls(lambda: host(made) and 0, lambda: stop(FAULTED), lambda: stop(1))
    made = machine(assemble(text).ljust(0x800, b"\xcc") + assemble(call(1)), "paravirt", hypercalls=[calls])
    with made:
        made.vcpu.set_trap(14, BASE + 0x800, 0)
        made.vcpu.tables.map(0, WINDOW, 0x200000, 1, PRESENT | WRITE)
        made.memory.write_uint(0x200000, 8, 0x1111)
        made.memory.write_uint(0x201000, 8, 0x2222)
        outcome = made.run(timeout=20)
        return outcome.why, outcome.status, made.vcpu.virtual.cr2 if outcome.status == FAULTED else made.vcpu.rdx


@pytest.mark.parametrize(
    ("host", "access", "came_to"),
    [
        (lambda m: m.vcpu.tables.unmap(0, WINDOW, 1), "mov rdx, [rbx]", (FAULTED, WINDOW)),
        (lambda m: m.vcpu.tables.map(0, WINDOW, 0x200000, 1, PRESENT), "mov [rbx], rdx", (FAULTED, WINDOW)),
        (lambda m: m.vcpu.tables.map(0, WINDOW, 0x201000, 1, PRESENT), "mov rdx, [rbx]", (1, 0x2222)),
        (lambda m: m.vcpu.tables.map(0, WINDOW - (1 << 20), 0, 512, PRESENT), "mov [rbx], rdx", (FAULTED, WINDOW)),
        (lambda m: m.vcpu.tables.map(0, WINDOW, 0x200000, 512, PRESENT), "mov [rbx], rdx", (FAULTED, WINDOW)),
        (lambda m: m.vcpu.tables.unmap(0, WINDOW - 20 * PAGE, 40), "mov rdx, [rbx]", (FAULTED, WINDOW)),
        (lambda m: m.vcpu.tables.activate(m.vcpu.tables.create()) or 1, "mov rdx, [rbx]", (1, 0x1111)),
        (lambda _: 1, "mov rdx, [rbx]", (1, 0x1111)),
    ],
    ids=[
        "unmap",
        "read-only",
        "elsewhere",
        "range read-only",
        "large read-only",
        "range",
        "shared low part",
        "nothing",
    ],
)
def test_a_change_is_seen_at_once(host: Callable[[Machine], object], access: str, came_to: tuple[int, int]) -> None:
    assert watched(host, access) == (StopWhy.EXITED, *came_to)


def test_what_was_changed_before_the_pool_ran_out_is_seen() -> None:
    def host(made: Machine) -> int:
        tables = made.vcpu.tables
        space = tables.create()
        try:
            for at in range(1 << 39, 1 << 47, 1 << 30):
                tables.map(space, at, 0, 1, PRESENT)
        except GuestError:
            pass
        return errno_of(tables.map, 0, WINDOW, 0x201000, 600, PRESENT)

    assert watched(host, "mov [rbx], rdx") == (StopWhy.EXITED, FAULTED, WINDOW)


def test_spaces_run_out() -> None:
    with empty() as made:
        tables = made.vcpu.tables
        assert [tables.create() for _ in range(1, 500)] == list(range(1, 500))
        with Machine(memory=MEMORY, technique="paravirt", plugins=False, options={"monitor_pages": 64}) as small:
            assert [small.vcpu.tables.create() for _ in range(61)] == list(range(1, 62))
            assert errno_of(small.vcpu.tables.create) == ENOMEM
            small.vcpu.tables.destroy(7)
            assert small.vcpu.tables.create() == 7
