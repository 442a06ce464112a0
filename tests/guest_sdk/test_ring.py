"""The guest's routines keep the ring's rules: what they give back, and how many exits that takes."""

from __future__ import annotations

import pytest

from guest_sdk import Guest, abi, ring
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome


def run(text: str, entries: int = 4) -> Outcome:
    """Run `text`, which ends with its status in EAX; `failed` is where it goes when something is wrong."""
    guest = Guest("ring", paravirt=True).bss("page", 4096, align=4096)
    guest.asm("main:")
    guest.call.event_page("page", 0)
    guest.call.event_open()
    guest.asm("xor edi, edi\ncall ring_open\ntest rax, rax\njnz failed")
    guest.asm(text)
    guest.asm("xor eax, eax\nret\nfailed: mov eax, 1\nret\nwait:")
    guest.call.event_wait()
    guest.asm("mov byte ptr [page + EVENT_PAGE_PENDING], 0\nret")
    ring.add(guest, entries=entries)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    return outcome


VERSION = "mov eax, CALL_ABI_VERSION\nmov ecx, {token}\ncall ring_submit\ncmp rax, {result}\njne failed\n"
REAP = "call ring_reap\ncmp eax, 1\njne failed\ncmp rdx, {token}\njne failed\ncmp rcx, ABI_VERSION\njne failed\n"
NOTHING = "call ring_reap\ntest eax, eax\njnz failed\n"


def submit(token: int, result: str = "0") -> str:
    return VERSION.format(token=token, result=result)


def reap(*tokens: int) -> str:
    return "".join(REAP.format(token=token) for token in tokens) + NOTHING


def test_size() -> None:
    assert ring.size_bytes(64) == 128 + 64 * 80
    for entries in (0, 3, abi.RING_MOST * 2, -1):
        with pytest.raises(ValueError, match="power of two"):
            ring.size_bytes(entries)


def test_calls_come_back_with_their_tokens_for_one_kick() -> None:
    four = "".join(submit(token) for token in (5, 6, 7, 8))
    outcome = run(four + submit(9, "-EAGAIN") + "call ring_kick_if_needed\ncmp eax, 4\njne failed\n" + reap(5, 6, 7, 8))
    assert outcome.by_key["VMCALL", "ring_kick"] == 1


def test_arguments_reach_their_call() -> None:
    made = "mov edi, 0\nmov esi, 4096\nmov eax, CALL_CLOCK_PAGE\nmov edi, page\ncall ring_submit\n"
    check = "call ring_reap\ntest rcx, rcx\njnz failed\ncmp qword ptr [page + CLOCK_PAGE_NS], 0\nje failed\n"
    assert run(made + "call ring_kick\n" + check).exits["VMCALL"] == 5


def test_slots_are_used_again() -> None:
    turn = submit(7) + "call ring_kick\ncmp eax, 1\njne failed\n" + reap(7)
    assert run(turn * 11).by_key["VMCALL", "ring_kick"] == 11


def test_a_guest_that_waits_needs_no_second_kick() -> None:
    """The monitor looks while the guest sleeps; each wait is that exit and no other."""
    turn = "mov edi, 1\ncall ring_notify_after\n" + submit(7) + "call ring_kick_if_needed\ncall wait\n" + reap(7)
    outcome = run(turn * 20)
    assert outcome.by_key["VMCALL", "ring_kick"] == 1
    assert outcome.by_key["VMCALL", "event_wait"] == 20


def test_no_event_where_none_was_asked_for() -> None:
    look = "cmp byte ptr [page + EVENT_PAGE_PENDING], {}\njne failed\n"
    one = submit(1) + "call ring_kick\n" + reap(1)
    quiet = "xor edi, edi\ncall ring_notify_after\n" + one * 3 + look.format(0)
    third = "mov edi, 3\ncall ring_notify_after\n" + one * 2 + look.format(0) + one + look.format(1)
    assert run(quiet + third).by_key["VMCALL", "ring_kick"] == 6


def test_a_ring_that_cannot_be_opened_says_why() -> None:
    text = "mov edi, 77\ncall ring_open\ncmp rax, -EINVAL\njne failed\n"
    assert run(text).by_key["VMCALL", "ring_open"] == 2


def test_two_rings_by_label() -> None:
    guest = Guest("two", paravirt=True)
    guest.asm("main:\nmov edi, NO_PORT\ncall first_open\nmov edi, NO_PORT\ncall second_open")
    guest.asm("mov rax, [second_id]\nret")
    for label in ("first", "second"):
        ring.add(guest, entries=2, label=label)
    with Machine() as machine:
        machine.load(guest.build())
        assert machine.run(timeout=10).status == 1
