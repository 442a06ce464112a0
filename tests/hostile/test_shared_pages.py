"""Pages that guest and monitor share, misused: pointed at each other, at code or stack, unmapped and remapped in use.

The monitor writes them by guest-physical address and never by a mapping of the guest's, so that nothing which the guest
maps or unmaps can harm it. What the guest loses is its own.
"""

from __future__ import annotations

from itertools import permutations

import pytest

from guest_sdk import Guest, abi
from pv.exits import StopWhy
from pv.machine import Machine
from tests.fuzz.runner import Between
from tests.hostile.guests import run_sdk

CLOCK = abi.BY_NAME["clock_page"].number


def guest_of(text: str) -> Guest:
    guest = Guest("pages", paravirt=True)
    guest.bss("one", 4096, align=4096)
    guest.bss("two", 4096, align=4096)
    guest.asm("main:")
    for line in filter(None, (part.strip() for part in text.splitlines())):
        name, *arguments = line.split()
        if name in abi.BY_NAME:
            values = [int(word, 0) if word[0].isdigit() else word for word in arguments]
            getattr(guest.call, name)(*values)
        else:
            guest.asm(line)
    guest.asm("ret")
    return guest


ENDS = {
    "both pages are one": ("clock_page one\n event_page one 0\n abi_version\n mov eax, 3", StopWhy.EXITED, 3),
    "a clock page on the stack": ("clock_page 0x7f000\n abi_version\n mov eax, 4", None, None),
    "an event page on the stack": ("event_page 0x7f000 0\n abi_version\n mov eax, 4", StopWhy.EXITED, 4),
    "a clock page that is unmapped": ("clock_page one\n unmap one 1\n abi_version\n mov eax, 5", StopWhy.EXITED, 5),
    "a clock page that is unmapped and read": ("clock_page one\n unmap one 1\n mov rax, [one]", StopWhy.SHUTDOWN, None),
    "an event page that is unmapped": (
        "event_page one 0\n unmap one 1\n event_open\n event_send 0\n mov eax, 6",
        StopWhy.EXITED,
        6,
    ),
    "an event page mapped read-only": (
        "event_page one 0\n map one one 1 1\n event_open\n event_send 0\n mov eax, 7",
        StopWhy.EXITED,
        7,
    ),
    "a clock page mapped twice": (
        "clock_page one\n map 0x40000000 one 1 3\n abi_version\n mov edi, 0x40000000\n mov rax, [rdi + 8]\n"
        "sub rax, [one + 8]",
        StopWhy.EXITED,
        0,
    ),
    "a clock page where another is mapped now": (
        "clock_page one\n map one two 1 3\n abi_version\n mov rax, [one + 8]",
        StopWhy.EXITED,
        0,
    ),
    "a clock page at memory's last": ("clock_page 0x1ff000\n abi_version\n mov eax, 8", StopWhy.EXITED, 8),
    "a clock page at 0, which is not mapped": ("clock_page 0\n abi_version\n mov eax, 9", StopWhy.EXITED, 9),
    "an event page whose every bit is set": (
        "mov ecx, 512\n lea rdi, [one]\n xor eax, eax\n dec rax\n fill: mov [rdi], rax\n"
        "add rdi, 8\n dec ecx\n jnz fill\n"
        "event_page one 0\n event_wait\n mov eax, 10",
        None,
        None,
    ),
    "an upcall into data": (
        "event_page one one\n event_open\n mov byte ptr [one], 1\n event_send 0\n abi_version\n mov eax, 11",
        StopWhy.SHUTDOWN,
        None,
    ),
    "tables destroyed in use": ("space_create\n mov edi, eax\n space_switch 1\n space_destroy 1\n neg rax", None, None),
    "the program's own page unmapped": ("unmap 0x100000 16\n mov eax, 12", StopWhy.SHUTDOWN, None),
    "the program's own page without execution": ("map 0x100000 0x100000 16 3\n mov eax, 12", StopWhy.SHUTDOWN, None),
    "the stack unmapped": ("unmap 0x70000 16\n abi_version\n push rax", StopWhy.SHUTDOWN, None),
    "everything unmapped": ("unmap 0 512\n mov eax, 12", StopWhy.SHUTDOWN, None),
}
LEGAL = (StopWhy.EXITED, StopWhy.SHUTDOWN, StopWhy.HALTED, StopWhy.TIMEOUT, StopWhy.MAX_EXITS)


@pytest.mark.parametrize(("text", "why", "status"), ENDS.values(), ids=ENDS)
def test_a_page_misused_is_the_guests_own_loss(text: str, why: StopWhy | None, status: int | None) -> None:
    outcome, _ = run_sdk(guest_of(text))
    assert outcome.why in LEGAL, outcome.summary
    if why is not None:
        assert (outcome.why, outcome.status) == (why, status), outcome.summary


def fill_page(place: int) -> str:
    """The hypercall page at `place`, by its MSR."""
    return f"mov ecx, {abi.HYPERCALL_PAGE_MSR:#x}\n mov eax, {place | 1:#x}\n xor edx, edx\n wrmsr"


PLACES = {"its code": 0x100000, "its stack": 0x7F000, "the last page": 0x1FF000, "page 0": 0, "itself": 0x150000}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_hypercall_page_anywhere(place: int) -> None:
    outcome, _ = run_sdk(guest_of(f"{fill_page(place)}\n abi_version\n mov eax, 3"))
    assert outcome.why in LEGAL, outcome.summary
    assert outcome.exits["MSR_WRITE"] >= 1


@pytest.mark.parametrize("value", ["0x200001", "0x1003", "0x1ff002", "0xffffffff"])
def test_a_hypercall_page_outside_memory_is_gp(value: str) -> None:
    text = f"mov ecx, {abi.HYPERCALL_PAGE_MSR:#x}\n mov eax, {value}\n xor edx, edx\n wrmsr\n mov eax, 1"
    outcome, _ = run_sdk(guest_of(text))
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.detail.startswith("vector 13 ")


def test_all_pages_at_one_place_in_every_order() -> None:
    pages = {"clock_page": "clock_page one", "event_page": "event_page one 0", "calls": fill_page(0x140000)}
    for order in permutations(pages.values()):
        text = "\n".join(line.replace("one", "0x140000") for line in order)
        outcome, _ = run_sdk(guest_of(f"{text}\n abi_version\n event_open\n event_send 0\n mov eax, 2"))
        assert outcome.why in LEGAL, outcome.summary
        if order[-1] == pages["calls"]:  # else what the guest calls is overwritten by time or events
            assert outcome.exits["VMCALL"] >= 1


def test_a_clock_page_over_the_code_that_runs() -> None:
    """Each exit writes two words there: the guest's own instructions change under it, and it goes on as they say."""
    with Machine(memory=Between(2 << 20)) as machine:
        machine.load(
            b"\x90" * 64
            + (b"\xb8" + CLOCK.to_bytes(4, "little") + bytes.fromhex("bf00001000 0f01c1")) * 20
            + b"\xeb\xfe"
        )
        outcome = machine.run(timeout=0.1, max_exits=1000)
        assert outcome.why in LEGAL, outcome.summary
        assert outcome.calls["clock_page"] >= 1
