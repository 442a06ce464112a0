"""msgpack bombs: deep, wide, long or of no type, through a call that takes a document: an errno, and little memory."""

from __future__ import annotations

import tracemalloc
from errno import E2BIG, EINVAL

import pytest

from guest_sdk import Guest
from hypercalls import Document, ReplyDocument, hypercall
from pv.exits import StopWhy
from pv.machine import Machine
from tests.fuzz.arguments import DOCUMENTS
from tests.hostile.guests import run_sdk

MOST_BYTES = 48 << 20  # hypercalls.document says 32 MiB, and Python's own lists have room to grow

BOMBS = {
    "nested beyond every bound": (b"\x91" * 60_000, EINVAL),
    "nested as deep as msgpack goes, each list as long as allowed": (b"\xdd\x00\x00\x10\x00" * 1023, EINVAL),
    "maps nested": (b"\x81\xa1a" * 20_000, EINVAL),
    "a list of 4 Gi items": (b"\xdd\xff\xff\xff\xff", EINVAL),
    "a map of 4 Gi items": (b"\xdf\xff\xff\xff\xff", EINVAL),
    "a string of 4 GiB": (b"\xdb\xff\xff\xff\xff", EINVAL),
    "bytes of 4 GiB": (b"\xc6\xff\xff\xff\xff", EINVAL),
    "an extension of 4 GiB": (b"\xc9\xff\xff\xff\xff\x01", EINVAL),
    "a timestamp": (b"\xd6\xff\x00\x00\x00\x01", EINVAL),
    "an empty extension": (b"\xc7\x00\x05", EINVAL),
    "a byte that means nothing": (b"\xc1", EINVAL),
    "nothing": (b"", EINVAL),
    "two documents": (b"\xc0\xc0", EINVAL),
    "keys that are lists": (b"\x81\x90\x01", EINVAL),
    "keys that are numbers": (b"\x81\x01\x01", EINVAL),
    "text that is not UTF-8": (b"\xa2\xff\xfe", EINVAL),
    "more than a document may have": (b"\xc6\x00\x01\x00\x00" + bytes(1 << 16), E2BIG),
}


@hypercall(0x8001, "take")
def take(machine: Machine, document: Document) -> int:
    machine.state["taken"] = document
    return 0


@hypercall(0x8002, "give")
def give(machine: Machine, reply: ReplyDocument) -> int:
    return reply.send(machine.state.get("taken"))


@pytest.mark.parametrize(("bomb", "errno"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_an_errno(bomb: bytes, errno: int) -> None:
    guest = Guest("bomb", paravirt=True)
    guest.data("bomb", bomb or b"\0")
    guest.asm(f"main: lea rdi, [bomb]\nmov esi, {len(bomb)}\nmov eax, 0x8001\nvmcall\nneg rax\nret")
    tracemalloc.start()
    outcome, _ = run_sdk(guest, timeout=60, hypercalls=[take])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, errno), outcome.summary
    assert peak < MOST_BYTES


def test_every_bomb_of_the_fuzz_is_taken_or_refused() -> None:
    with Machine(memory="2MiB", hypercalls=[take, give]) as machine:
        machine.load(b"\x90")
        for document in DOCUMENTS:
            machine.memory.write(0x120000, document)
            answer = machine.vcpu.call(0x8001, (0x120000, len(document)))
            assert answer in (0, -EINVAL)
            if answer == 0:
                assert machine.vcpu.call(0x8002, (0x130000, 4096)) > 0
                assert machine.vcpu.call(0x8002, (0x130000, 0)) == -E2BIG
