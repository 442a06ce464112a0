"""What random programs have found in the techniques, by name: each was wrong once, under one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from pv.check import Observation
from tests.equivalence import layout as at
from tests.equivalence.campaign import TECHNIQUES
from tests.equivalence.code import memory_form, move, store, write_msr
from tests.equivalence.kinds import HOLED, Piece
from tests.equivalence.kinds_code import text
from tests.equivalence.kinds_code_pages import alias
from tests.equivalence.kinds_flags import take
from tests.equivalence.kinds_transfers import BACK, to_user
from tests.equivalence.program import Program, Slot
from tests.equivalence.runner import Bench

UD, GP, DF = 6, 13, 8
ICR: Final = at.APIC + 0x300


class Event(NamedTuple):
    """One entry of the log."""

    vector: int
    error: int
    rip: int
    cs: int
    rflags: int
    rsp: int
    ss: int
    cr2: int


@pytest.fixture(params=TECHNIQUES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.close()


def run(bench: Bench, *pieces: Piece) -> tuple[Observation, list[Event]]:
    """What a program of these pieces leaves, and its events without the last, which ends it."""
    slots = tuple(Slot("compute", piece) for piece in pieces)
    seen = bench.run(Program(0, slots, (0,) * 16, bytes(at.DATA_BYTES)))
    words = [int.from_bytes(seen.memory[gpa : gpa + 8], "little") for gpa in range(at.LOG, at.LOG + 0x1000, 8)]
    count = int.from_bytes(seen.memory[at.COUNT : at.COUNT + 4], "little")
    events = [Event(*words[8 * number : 8 * number + 8]) for number in range(count)]
    assert events[-1].vector == at.DONE
    return seen, events[:-1]


@pytest.mark.parametrize("code", ["0f20c8", "0f22ee", "440f22fd"])
def test_a_control_register_that_is_none_is_undefined(bench: Bench, code: str) -> None:
    _, (event,) = run(bench, Piece(bytes.fromhex(code)))
    assert (event.vector, event.error) == (UD, at.NO_ERROR_CODE)


def test_there_is_no_performance_counter(bench: Bench) -> None:
    _, events = run(bench, Piece(b"\x0f\x33"), Piece(to_user(), b"\x0f\x33" + BACK))
    assert [(event.vector, event.error) for event in events] == [(GP, 0), (GP, 0)]


@pytest.mark.parametrize(("flags", "vector"), [(0x3202, at.BACK), (0x1202, GP)])
def test_iopl_lets_cpl_3_have_the_interrupt_flag(bench: Bench, flags: int, vector: int) -> None:
    _, (event,) = run(bench, Piece(to_user(flags), b"\xfa" + BACK))
    assert event.vector == vector
    assert bool(event.rflags & 0x200) is (vector == GP)


def test_sysret_is_undefined_before_it_is_privileged(bench: Bench) -> None:
    _, events = run(bench, Piece(write_msr(0xC0000080, 0xD00)), Piece(to_user(), b"\x48\x0f\x07" + BACK))
    assert [event.vector for event in events] == [UD]


def test_a_far_call_that_faults_has_pushed_nothing(bench: Bench) -> None:
    begin = store(at.DATA, at.USER_CS << 32) + memory_form(b"\xff", 3, at.DATA)
    seen, (event,) = run(bench, Piece(begin))
    assert (event.vector, event.error, event.rsp) == (GP, at.USER_CS & ~3, at.STACK)
    assert seen.memory[at.STACK - 8 : at.STACK] == event.ss.to_bytes(8, "little")  # the fault's own frame lies there


def test_an_absent_segment_is_first_of_a_wrong_privilege(bench: Bench) -> None:
    """A far CALL from CPL 3 to a kernel's code segment that is not present: #GP comes before #NP (SDM vol. 2, CALL)."""
    begin = store(at.DATA, at.ABSENT_CODE << 32)
    _, events = run(bench, Piece(begin), Piece(to_user(), memory_form(b"\xff", 3, at.DATA) + BACK))
    assert [(event.vector, event.error) for event in events] == [(GP, at.ABSENT_CODE)]
    _, events = run(bench, Piece(begin + memory_form(b"\xff", 3, at.DATA)))
    assert [(event.vector, event.error) for event in events] == [(11, at.ABSENT_CODE)]


def test_segments_that_outlive_the_way_out(bench: Bench) -> None:
    """A conforming code segment does; data of the kernel's and a null selector's RPL do not (SDM vol. 2, IRET)."""
    load = move(0, at.CONFORMING) + b"\x8e\xc0" + move(0, 3) + b"\x8e\xd8"
    seen, _ = run(bench, Piece(load), Piece(to_user(), BACK))
    assert (seen.registers["es"], seen.registers["ds"]) == (at.CONFORMING, 0)
    seen, _ = run(bench, Piece(move(0, at.KERNEL_SS) + b"\x8e\xc0"), Piece(to_user(), BACK))
    assert seen.registers["es"] == 0


def test_a_double_fault_leaves_the_page_faults_address(bench: Bench) -> None:
    _, (event,) = run(bench, Piece(move(4, at.UNMAPPED) + b"\x0f\x0b"))
    assert event.vector in (DF, 14)
    assert at.UNMAPPED - 0x40 <= event.cr2 < at.UNMAPPED


def test_an_interrupt_behind_a_trap_gate_comes_before_its_handler(bench: Bench) -> None:
    """Vectors 0x55 (a trap gate) and 0x45 wait: the second interrupts the first instruction of the first's handler."""
    send = b"".join(move(3, ICR) + b"\xc7\x03" + (0x40000 | vector).to_bytes(4, "little") for vector in (0x55, 0x65))
    _, events = run(bench, Piece(b"\xfa" + send + b"\xfb\x90\x90"))
    assert [event.vector for event in events] == [0x65]
    _, events = run(bench, Piece(move(0, 0x94) + move(2, 0x21) + b"\xfa\xee\xfb\x90\x90"))
    assert [(event.vector, event.rip) for event in events] == [(0, at.CODE + 11 + 14)]


def test_a_line_unmasked_by_out_waits_for_sti(bench: Bench) -> None:
    """The interrupt becomes pending inside a block, while IF is clear; no exit follows."""
    unmask = b"\xfa" + move(0, 0x94) + move(2, 0x21) + b"\xee"
    _, events = run(bench, Piece(unmask + b"\x90\x90\xfb\x90\x90\x90"))
    assert [event.vector for event in events] == [0]
    assert events[0].rip == at.CODE + 11 + len(unmask) + 4


def traced(seen: Observation) -> list[int]:
    """RIP of the single steps that were noted."""
    return [
        int.from_bytes(seen.memory[at.TRACE + 8 * n : at.TRACE + 8 * n + 8], "little")
        for n in range(seen.memory[at.TRACED])
    ]


BEGIN: Final = at.CODE + 11  # of the first slot's piece


@pytest.mark.parametrize("save", ["fnstenv [rbx]", "fnsave [rbx]", "fxsave64 [rbx]"])
def test_an_x87_instruction_stands_where_the_guest_has_it(bench: Bench, save: str) -> None:
    seen, _ = run(bench, Piece(move(3, at.DATA) + text(f"fninit; fld1; {save}")))
    place = at.DATA + (8 if "fx" in save else 12)
    assert int.from_bytes(seen.memory[place : place + 4], "little") == BEGIN + 5 + 2


def test_a_step_at_user_level_is_taken_behind_the_instruction(bench: Bench) -> None:
    _, (event,) = run(bench, Piece(to_user(0x302), b"\xff\xc3\xff\xc1" + BACK))
    assert (event.vector, event.rip, event.rflags) == (1, at.USER + 2, 0x302)


def test_a_string_that_writes_over_itself_is_what_it_became(bench: Bench) -> None:
    """REP STOSB whose first element is its own prefix: CLD, and STOSB once more. Over and over, for that."""
    code = b"\x48\x8d\x3d" + (8).to_bytes(4, "little") + move(1, 9) + b"\xb0\xfc\x90\xf3\xaa" + b"\x90" * 12
    ends = [run(bench, Piece(code))[0].registers["rdi"] for _ in range(6)]
    assert ends == [BEGIN + len(code) - 12] * 6


def test_popf_that_sets_tf_steps_over_a_branch_that_goes_nowhere(bench: Bench) -> None:
    if bench.technique == HOLED:
        pytest.skip("POPF is a hole of trap's")
    code = take(2) + b"\x68\x02\x01\x00\x00\x9d\xeb\x00\x90\x90"
    seen, _ = run(bench, Piece(code))
    assert traced(seen) == [BEGIN + len(code) - 2, BEGIN + len(code) - 1]


def test_popf_that_lets_an_interrupt_in_is_interrupted_behind_it(bench: Bench) -> None:
    if bench.technique == HOLED:
        pytest.skip("POPF is a hole of trap's")
    send = b"\xfa" + move(3, ICR) + b"\xc7\x03" + (0x40055).to_bytes(4, "little")
    code = send + b"\x68\x02\x02\x00\x00\x9d\xeb\x01\x90"
    _, events = run(bench, Piece(code))
    assert [(event.vector, event.rip) for event in events] == [(0x55, BEGIN + len(code) - 3)]


def test_wait_looks_at_the_guests_monitor_coprocessor_bit(bench: Bench) -> None:
    """TS without MP: no #NM (SDM vol. 2, WAIT)."""
    if bench.technique == HOLED:
        pytest.skip("WAIT with CR0.TS set and CR0.MP clear is a hole of trap's")
    assert run(bench, Piece(move(0, 0x80050039) + b"\x0f\x22\xc0\x9b"))[1] == []


def test_a_call_whose_stack_has_come_down_to_its_code(bench: Bench) -> None:
    """LEA RBX, [RIP]; CALL RBX pushes until it has written over the log, the data, and itself: the log overruns."""
    slots = (Slot("compute", Piece(b"\x48\x8d\x1d" + bytes(4) + b"\xff\xd3")),)
    seen = bench.run(Program(0, slots, (0,) * 16, bytes(at.DATA_BYTES)))
    assert seen.outcome.status == at.OVERRUN


def test_a_far_return_outward_looks_at_cs_before_it_reads_a_stack(bench: Bench) -> None:
    """The new RSP and SS lie on a page that is not there, and RPL 3 is not the segment's: #GP, and CR2 is as it was."""
    frame = move(4, at.WINDOW + 0x1000 * at.FRAMES_MOST) + b"\x6a" + bytes([at.KERNEL_CS | 3]) + b"\x6a\x00\x48\xcb"
    _, (event,) = run(bench, Piece(frame))
    assert (event.vector, event.error, event.cr2) == (GP, at.KERNEL_CS, 0)


def test_code_that_is_written_by_another_address() -> None:
    """MOV AL, 1; RET, written by one address and called by another, and then MOV AL, 2: a translator sees both.

    Of translate alone: the processor wrote by that address before it ran code there, and does not see the second.
    """
    called = at.CODE_FRAMES + 0x80
    written = alias(called)
    code = b"".join(
        move(3, written) + b"\xc7\x03\xb0" + bytes([result]) + b"\xc3\x90" + move(3, called) + b"\xff\xd3\x0f\xb6\xe8"
        for result in (1, 2)
    )
    bench = Bench("translate")
    try:
        seen, _ = run(bench, Piece(code))
    finally:
        bench.close()
    assert seen.registers["rbp"] == 2


def test_code_written_while_write_protection_is_off(bench: Bench) -> None:
    """A function that has run is called, changed and called again behind MOV CR0 that clears WP."""
    place = at.CODE_FRAMES + 0x1000
    begin = move(3, place) + b"\xff\xd3" + move(0, 0x80000033) + b"\x0f\x22\xc0\xff\xd3"
    change = b"\xc6\x43\x03\x77\xff\xd3\x89\xc5"  # of its number's third byte; CALL RBX; MOV EBP, EAX
    seen, _ = run(bench, Piece(begin + change))
    assert seen.registers["rbp"] == 0x770001
