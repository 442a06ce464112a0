"""Exits and replies: values that cannot be changed, Intel's numbers, errors that say why."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.exits import (
    AGAIN,
    NEXT,
    WAIT,
    Direction,
    Exit,
    GuestError,
    Reason,
    Reply,
    ReplyKind,
    StopWhy,
    fault,
    panic,
    stop,
)

INTEL = {  # SDM vol. 3, appendix C
    "EXCEPTION_NMI": 0, "EXTERNAL_INTERRUPT": 1, "TRIPLE_FAULT": 2, "INTERRUPT_WINDOW": 7, "CPUID": 10, "HLT": 12,
    "INVD": 13, "INVLPG": 14, "RDPMC": 15, "RDTSC": 16, "VMCALL": 18, "CR_ACCESS": 28, "DR_ACCESS": 29,
    "IO_INSTRUCTION": 30, "MSR_READ": 31, "MSR_WRITE": 32, "MWAIT": 36, "MONITOR": 39, "PAUSE": 40, "GDTR_IDTR": 46,
    "LDTR_TR": 47, "EPT_VIOLATION": 48, "RDTSCP": 51, "WBINVD": 54, "XSETBV": 55,
}  # fmt: skip


def test_reasons_below_0x100_are_intels() -> None:
    assert {reason.name: reason.value for reason in Reason if reason < 0x100} == INTEL


def test_every_name_is_one_number() -> None:
    for kind in (Reason, ReplyKind, Direction, StopWhy):
        assert len(kind.__members__) == len(list(kind))


@given(st.integers(0, 255), st.none() | st.integers(0, 0xFFFF))
def test_a_fault_is_a_reply(vector: int, error_code: int | None) -> None:
    assert fault(vector, error_code) == Reply(ReplyKind.FAULT, vector, error_code)


@given(st.integers(0, 255))
def test_a_stop_carries_its_status(status: int) -> None:
    assert stop(status) == Reply(ReplyKind.STOP, status=status)


def test_a_panic_carries_its_message() -> None:
    assert panic("main.c:12: x > 0") == Reply(ReplyKind.PANIC, message="main.c:12: x > 0")


@pytest.mark.parametrize(("reply", "kind"), [(NEXT, ReplyKind.NEXT), (AGAIN, ReplyKind.AGAIN), (WAIT, ReplyKind.WAIT)])
def test_ready_made_replies(reply: Reply, kind: ReplyKind) -> None:
    assert reply == Reply(kind)


def test_a_reply_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NEXT.status = 1  # type: ignore[misc]


def test_an_exit_is_refilled_in_place_and_has_no_other_fields() -> None:
    made = Exit(Reason.VMCALL, 5)
    assert (made.value, made.size, made.address, made.error_code, made.length, made.insn, made.cpl) == (
        0,
        0,
        0,
        0,
        0,
        None,
        1,
    )
    made.key = 6
    assert made.key == 6
    with pytest.raises(AttributeError):
        made.number = 7  # type: ignore[attr-defined]


def test_a_guest_error_says_why() -> None:
    assert str(GuestError(22)) == "errno 22"
    assert str(GuestError(22, "no such port")) == "no such port"
    assert GuestError(22).errno == 22


@pytest.mark.parametrize("errno", [0, -22, 4096])
def test_an_errno_that_a_guest_would_take_for_a_result_is_refused(errno: int) -> None:
    with pytest.raises(ValueError, match=rf"GuestError\({errno}\): an errno is 1 to 4095"):
        GuestError(errno)


def test_the_first_three_ways_to_stop_are_ordinary() -> None:
    assert list(StopWhy)[:3] == [StopWhy.EXITED, StopWhy.HALTED, StopWhy.MAX_EXITS]
