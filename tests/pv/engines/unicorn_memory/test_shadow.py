"""Shadow page tables against a model of the architecture, and their exact cost in the canonical cases."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.exits import StopWhy
from pv.machine import Machine
from tests.pv.engines.unicorn_memory import paging_guest as guest
from tests.pv.engines.unicorn_memory.paging_guest import DONE, Record, fixed_entries, prepare, records
from tests.pv.engines.unicorn_memory.paging_model import D
from tests.pv.engines.unicorn_memory.paging_program import ROOTS, Program, fresh_memory


def load(program: Program, **options: object) -> Machine:
    made = prepare(program.steps, ROOTS[0] << 12, **options)
    for frame, words in fresh_memory().items():
        if frame != 1:  # the loader's GDT
            made.memory.write(frame << 12, struct.pack("<512Q", *words))
    return made


def comparable(record: Record, mask: int) -> Record:
    return Record(record.kind, record.value & mask if record.kind == DONE else record.value, record.error)


def differs(program: Program, **options: object) -> str:
    """Run `program`; what its guest saw that the architecture does not say, or nothing."""
    with load(program, **options) as made:
        outcome = made.run(timeout=60)
        # CR0.WP clear: nothing faults on a later first write, so dirty may be set early
        mask = ~0 if program.write_protect else ~D
        seen = [comparable(record, mask) for record in records(made)]
        expected = [comparable(record, mask) for record in program.expected]
        if seen != expected:
            at = next((i for i, pair in enumerate(zip(seen, expected, strict=False)) if pair[0] != pair[1]), 0)
            return f"access {at}: {outcome.summary}: seen {seen[at : at + 3]}, expected {expected[at : at + 3]}"
        if program.unhandled is not None:
            if outcome.why is not StopWhy.UNHANDLED or f"{program.unhandled:#x}" not in outcome.detail:
                return f"no stop at {program.unhandled:#x}: {outcome.summary}"
        elif outcome.why is not StopWhy.HALTED:
            return outcome.summary
        for frame, words in program.model.memory.items():
            found = struct.unpack("<512Q", made.memory.read(frame << 12, 4096))
            for index, (one, other) in enumerate(zip(found, words, strict=True)):
                if frame != 1 and one & mask != other & mask:
                    return f"frame {frame:#x} entry {index}: {one:#x}, not {other:#x}"
    return ""


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1 << 64),
    length=st.integers(20, 300),
    write_protect=st.sampled_from((True, True, True, False)),
    no_execute=st.sampled_from((True, True, True, False)),
)
def test_every_access_comes_to_what_the_architecture_says(
    seed: int, length: int, write_protect: bool, no_execute: bool
) -> None:
    program = Program(random.Random(seed), write_protect, no_execute).build(length)
    assert not differs(program)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 64))
def test_the_same_with_the_smallest_pool(seed: int) -> None:
    program = Program(random.Random(seed)).build(400)
    assert not differs(program, options={"monitor_pages": 16})


# ---- what it costs ----

ROOT = 0x500000
TABLES = 0x510000  # of the window at 2 << 39
WINDOW = 2 << 39
DATA = 0x600000


def window(steps: list[tuple[int, int, int]], roots: int = 1, **options: object) -> Machine:
    """A machine about to do `steps`; the window's page tables are shared by `roots` roots from ROOT on."""
    made = prepare(steps, ROOT, **options)
    memory = made.memory
    for at in range(ROOT, ROOT + roots * 4096, 4096):
        memory.write(at, struct.pack("<3Q", *fixed_entries(), TABLES | 0x67))
    memory.write_uint(TABLES, 8, TABLES + 0x1000 | 0x67)
    memory.write_uint(TABLES + 0x1000, 8, TABLES + 0x2000 | 0x67)
    return made


def pte(page: int) -> int:
    """Where the entry of a page of the window lies."""
    return TABLES + 0x2000 + page * 8


def cost(
    steps: list[tuple[int, int, int]], before: list[tuple[int, int, int]] | None = None, **options: int
) -> dict[str, int]:
    """Exits and events that `steps` take, less those of `before`, which is part of them."""
    counted = []
    for each in (before or [], steps):
        with window(each, **options) as made:
            guest.finish(made)
            assert made.outcome is not None
            counted.append({**made.outcome.exits, **made.outcome.events})
    return {name: counted[1][name] - counted[0].get(name, 0) for name in counted[1]}


def test_map_touch_unmap_costs_a_fault_and_an_invlpg_a_page() -> None:
    def rounds(pages: range) -> list[tuple[int, int, int]]:
        steps = []
        for page in pages:
            gva = WINDOW + page * 4096
            steps += [(guest.EDIT, pte(page), DATA + page * 4096 | 3), (guest.WRITE, gva, 1)]
            steps += [(guest.EDIT, pte(page), 0), (guest.INVLPG, gva, 0)]
        return steps

    spent = cost(rounds(range(300)), rounds(range(100)))
    assert spent["EXCEPTION_NMI"] <= 200 + 1  # the fill; the log's page faults in once more
    assert spent["INVLPG"] == 200
    assert spent["shadow fills"] <= 200 + 1
    assert spent["page-table writes"] == 0
    assert spent["guest page faults"] == 0


def test_a_first_touched_page_costs_two_exits_at_most() -> None:
    pages = 200
    mapped = [(guest.EDIT, pte(page), DATA + page * 4096 | 3) for page in range(pages)]
    touched = [
        (kind, WINDOW + page * 4096, 5) for page in range(pages) for kind in (guest.READ, guest.WRITE, guest.READ)
    ]
    spent = cost(mapped + touched, mapped)
    assert spent["EXCEPTION_NMI"] <= 2 * pages + 8  # tables, and what the log and the list need
    again = cost(mapped + touched + touched, mapped + touched)
    assert again["EXCEPTION_NMI"] <= 8


def test_address_spaces_stay_filled_while_others_run() -> None:
    spaces = 8
    mapped = [(guest.EDIT, pte(page), DATA + page * 4096 | 3) for page in range(4)]

    def rounds(count: int) -> list[tuple[int, int, int]]:
        one = []
        for space in range(spaces):
            one += [(guest.LOAD_CR3, ROOT + space * 4096, 0)]
            one += [(guest.WRITE, WINDOW + page * 4096, space) for page in range(4)]
        return mapped + one * count

    spent = cost(rounds(22), rounds(2), roots=spaces)
    assert spent["CR_ACCESS"] == 20 * spaces
    assert spent["address-space hits"] == 20 * spaces
    assert spent["guest page faults"] == 0
    assert spent["shadow drops"] == 0
    assert spent["shadow fills"] <= 10  # pages of the list and the log that come into use


SPACES, TABLES_APART, PAGES = 8, 0x3000, 32
OTHER_PAGE = 500  # of a window, in no working set


def own_windows(rounds: int, *, edits: bool) -> dict[str, int]:
    """What `rounds` of switching among 8 spaces, each with 32 pages in tables of its own, take beyond the first two."""

    def steps(count: int) -> list[tuple[int, int, int]]:
        one = []
        for space in range(SPACES):
            one += [(guest.LOAD_CR3, ROOT + space * 4096, 0)]
            one += [(guest.EDIT, TABLES + 0x2000 + space * TABLES_APART + OTHER_PAGE * 8, 0)] * edits
            one += [(guest.WRITE, WINDOW + page * 4096, space) for page in range(PAGES)]
        return one * count

    counted = []
    for count in (2, 2 + rounds):
        with prepare(steps(count), ROOT) as made:
            for space in range(SPACES):
                at, frames = TABLES + space * TABLES_APART, DATA + space * PAGES * 4096
                made.memory.write(ROOT + space * 4096, struct.pack("<3Q", *fixed_entries(), at | 0x67))
                made.memory.write_uint(at, 8, at + 0x1000 | 0x67)
                made.memory.write_uint(at + 0x1000, 8, at + 0x2000 | 0x67)
                entries = [frames + page * 4096 | 0x63 for page in range(PAGES)]
                made.memory.write(at + 0x2000, struct.pack(f"<{PAGES}Q", *entries))
            guest.finish(made)
            assert made.outcome is not None
            counted.append({**made.outcome.exits, **made.outcome.events})
    return {name: counted[1][name] - counted[0].get(name, 0) for name in counted[1]}


def test_a_working_set_in_eight_spaces_is_never_filled_again() -> None:
    rounds = 5
    spent = own_windows(rounds, edits=False)
    assert spent["CR_ACCESS"] == spent["address-space hits"] == rounds * SPACES
    log_pages = rounds * SPACES * PAGES * 24 / 4096
    assert spent["EXCEPTION_NMI"] == spent["shadow fills"] <= log_pages + rounds * SPACES * PAGES * 32 / 4096 + 2
    assert spent["page-table writes"] == spent["shadow syncs"] == spent["shadow drops"] == 0


def test_a_table_in_use_that_is_written_in_every_turn_stays_filled() -> None:
    """Each turn changes an entry that nobody uses: one fault makes the table writable, its other 32 pages stay."""
    rounds = 12
    still, edited = own_windows(rounds, edits=False), own_windows(rounds, edits=True)
    assert edited["page-table writes"] == rounds * SPACES
    list_pages = rounds * SPACES * 32 / 4096 + 1  # where the steps of the edits lie
    assert 0 <= edited["EXCEPTION_NMI"] - still["EXCEPTION_NMI"] - rounds * SPACES <= list_pages


def test_a_page_that_was_a_table_stops_costing_faults() -> None:
    """Tables, then data in the same frames, the address space loaded again and again in between."""
    old = TABLES + 0x2000
    as_table = [(guest.EDIT, pte(0), DATA | 3), (guest.WRITE, WINDOW, 1), (guest.EDIT, TABLES + 0x1000, 0)]
    as_data = [step for at in range(8) for step in ((guest.LOAD_CR3, ROOT, 0), (guest.EDIT, old + 64 * at, at))]
    more = [step for at in range(100) for step in ((guest.LOAD_CR3, ROOT, 0), (guest.EDIT, old + 8 * at, at))]
    spent = cost(as_table + as_data + more, as_table + as_data)
    assert spent["CR_ACCESS"] == 100
    assert spent["page-table writes"] == 0
    assert spent["EXCEPTION_NMI"] <= 3


def test_tables_written_by_two_ways_are_followed_after_each_load() -> None:
    """Each table is mapped writable three times; what is changed by any of them holds after a load of CR3."""
    pages, tables = 40, 0x580000
    windows = [WINDOW + (1 + page << 21) for page in range(pages)]
    steps = [(guest.EDIT, TABLES + 0x1000 + (1 + page) * 8, tables + page * 4096 | 0x67) for page in range(pages)]
    steps += [(guest.EDIT, tables + page * 4096, DATA + page * 4096 | 0x63) for page in range(pages)]
    steps += [(guest.EDIT, pte(way + page), tables + page * 4096 | 0x63) for way in (100, 200) for page in range(pages)]
    steps += [(guest.WRITE, at, page) for page, at in enumerate(windows)]
    expected = [0] * pages
    for turn in range(1, 7):
        for page in range(pages):
            entry = DATA + (page + turn) % pages * 4096 | 0x63
            ways = [WINDOW + (way + page << 12) for way in (100, 200)]
            steps += [(guest.WRITE, ways[turn % 2] + 8, entry), (guest.WRITE, ways[1 - turn % 2] + 16, entry)]
        steps += [(guest.LOAD_CR3, ROOT, 0)]
        steps += [(guest.READ, at + offset, 0) for at in windows for offset in (4096, 8192)]
        expected += [0] * (2 * pages) + [(page + turn) % pages for page in range(pages) for _ in range(2)]
    with window(steps) as made:
        assert guest.finish(made) == [Record(DONE, value, 0) for value in expected]


def test_the_pool_used_up_is_only_slower() -> None:
    """Each page of the window in a table of its own, many times the pool."""
    pages = 64
    tables = [(guest.EDIT, TABLES + 0x1000 + page * 8, 0x580000 + page * 4096 | 0x67) for page in range(pages)]
    entries = [(guest.EDIT, 0x580000 + page * 4096, DATA + page * 4096 | 3) for page in range(pages)]
    written = [(guest.WRITE, WINDOW + (page << 21), page * 7) for page in range(pages)]
    read = [(guest.READ, WINDOW + (page << 21), 0) for page in range(pages)]
    with window(tables + entries + (written + read) * 3, options={"monitor_pages": 64}) as made:
        seen = guest.finish(made)
        assert seen == ([Record(DONE, 0, 0)] * pages + [Record(DONE, page * 7, 0) for page in range(pages)]) * 3
        assert made.outcome is not None
        assert made.outcome.events["shadow drops"] > 1


@pytest.mark.parametrize("kind", [guest.READ, guest.WRITE, guest.EXECUTE, guest.USER_READ])
@pytest.mark.parametrize("gpa", [16 << 20, (1 << 36), (1 << 36) + 0x1000, (1 << 40) - 4096])
def test_a_page_beyond_memory_ends_the_guest_with_its_address(kind: int, gpa: int) -> None:
    with window([(guest.EDIT, pte(7), gpa | 7), (kind, WINDOW + 0x7010, 5)]) as made:
        outcome = made.run(timeout=20)
        assert outcome.why is StopWhy.UNHANDLED
        assert f"{WINDOW + 0x7010:#x}" in outcome.detail
        assert records(made) == []


def test_the_kernel_writes_read_only_pages_where_wp_is_clear() -> None:
    page = [(guest.EDIT, pte(0), DATA | 5)]
    tries = [(guest.WRITE, WINDOW, 5), (guest.USER_WRITE, WINDOW, 6), (guest.USER_READ, WINDOW, 0)]
    wp_off, wp_on = (guest.LOAD_CR0, 0x80040033 & ~(1 << 16), 0), (guest.LOAD_CR0, 0x80050033, 0)
    with window([*page, *tries, wp_off, *tries, wp_on, *tries]) as made:
        denied, fault = Record(guest.FAULTED, WINDOW, 3), Record(guest.FAULTED, WINDOW, 7)
        assert guest.finish(made) == [
            denied, fault, Record(DONE, 0, 0),
            Record(DONE, 0, 0), fault, Record(DONE, 5, 0),
            denied, fault, Record(DONE, 5, 0),
        ]  # fmt: skip


def test_a_shared_table_changed_in_another_space_is_seen_by_its_next_user() -> None:
    """Filled through one root, changed under a second that never reached it, then reached: no INVLPG is due."""
    steps = [
        (guest.EDIT, pte(0), DATA | 3),
        (guest.WRITE, WINDOW, 5),
        (guest.LOAD_CR3, ROOT + 4096, 0),
        (guest.EDIT, pte(0), DATA + 4096 | 0x63),
        (guest.EDIT, pte(1), DATA + 8192 | 3),
        (guest.READ, WINDOW + 4096, 0),
        (guest.READ, WINDOW, 0),
    ]
    with window(steps, roots=2) as made:
        assert guest.finish(made) == [Record(DONE, 0, 0)] * 3
        assert made.memory.read_uint(DATA, 8) == 5


def test_a_table_reached_by_a_new_way_shows_nothing_stale() -> None:
    """A leaf filled by one way, which is taken down with it; then the same table by another way: no INVLPG is due."""
    other = TABLES + 0x3000  # a second page directory over the same page table, for the GiB after the window's
    beyond = WINDOW + (1 << 30)
    steps = [
        (guest.EDIT, pte(0), DATA | 3),
        (guest.WRITE, WINDOW, 5),
        (guest.EDIT, pte(0), 0),
        (guest.EDIT, TABLES, 0),
        (guest.INVLPG, WINDOW, 0),
        (guest.EDIT, other, TABLES + 0x2000 | 0x67),
        (guest.EDIT, TABLES + 8, other | 0x67),
        (guest.EDIT, pte(1), DATA + 4096 | 3),
        (guest.READ, beyond + 4096, 0),
        (guest.READ, beyond, 0),
    ]
    with window(steps) as made:
        assert guest.finish(made) == [Record(DONE, 0, 0), Record(DONE, 0, 0), Record(guest.FAULTED, beyond, 0)]


def test_a_fault_gives_no_permission_back_that_the_guest_has_taken() -> None:
    """A table is written by one way, shadowed, and the way made read-only: then a fault announces a write to it."""
    table, way, beyond = 0x580000, WINDOW + (100 << 12), WINDOW + (1 << 21)
    steps = [
        (guest.EDIT, pte(100), table | 0x63),
        (guest.WRITE, way, DATA | 0x63),
        (guest.EDIT, TABLES + 0x1008, table | 0x67),
        (guest.READ, beyond, 0),
        (guest.EDIT, pte(100), table | 0x61),
        (guest.INVLPG, way, 0),
        (guest.READ, beyond + 4096, 0),
        (guest.WRITE, way + 8, DATA | 0x63),
    ]
    with window(steps) as made:
        denied = [Record(guest.FAULTED, beyond + 4096, 0), Record(guest.FAULTED, way + 8, 3)]
        assert guest.finish(made) == [Record(DONE, 0, 0), Record(DONE, 0, 0), *denied]


@pytest.mark.parametrize("bit", [13, 20, 40, 51])
def test_a_large_page_that_gains_a_reserved_bit_faults(bit: int) -> None:
    entry = TABLES + 0x1000
    large = (guest.EDIT, entry, 0x600000 | 0xE7), (guest.READ, WINDOW, 0)
    with window([*large, (guest.EDIT, entry, 0x600000 | 1 << bit | 0xE7), (guest.INVLPG, WINDOW, 0), large[1]]) as made:
        assert guest.finish(made) == [Record(DONE, 0, 0), Record(guest.FAULTED, WINDOW, 9)]


def test_no_execute_is_reserved_where_it_is_off() -> None:
    entry = DATA | 0x63  # accessed and dirty, so that nothing but the new bit differs
    steps = [(guest.LOAD_EFER, 0x501, 0), (guest.EDIT, pte(0), entry), (guest.READ, WINDOW, 0)]
    steps += [(guest.EDIT, pte(0), entry | 1 << 63), (guest.INVLPG, WINDOW, 0), (guest.READ, WINDOW, 0)]
    with window(steps) as made:
        assert guest.finish(made) == [Record(DONE, 0, 0), Record(guest.FAULTED, WINDOW, 9)]
