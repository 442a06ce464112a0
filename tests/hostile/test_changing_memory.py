"""Arguments in memory that change while the host looks at them: copied in once, and the copy is what was judged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgpack
import pytest

from guest_sdk import Guest, abi
from hypercalls import hypercall
from hypercalls.arguments import BytesIn, RecordsIn, StringIn
from hypercalls.document import DocumentIn
from pv.exits import GuestError, StopWhy
from pv.machine import Machine
from pv.memory import GuestMemory
from tests.hostile.guests import run_sdk

LOOKS = 4000


@contextmanager
def flickering(memory: GuestMemory, gpa: int, faces: tuple[bytes, ...]) -> Iterator[None]:
    """Another processor's view of it: a thread that writes one face after the other."""
    done = threading.Event()

    def flicker() -> None:
        while not done.is_set():
            for face in faces:
                memory.write(gpa, face)

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    made = GuestMemory(1 << 20)
    yield made
    made.close()


def test_documents_that_flicker_between_two_and_none(memory: GuestMemory) -> None:
    faces = [msgpack.packb({"a": [1] * 40}), msgpack.packb("b" * 44), b"\xdd\xff\xff\xff\xff" * 9, b"\x91" * 45]
    size = max(map(len, faces))
    whole = tuple(face.ljust(size, b"\xc0") for face in faces)
    convert = DocumentIn().bind(memory)
    assert convert is not None
    with flickering(memory, 0x1000, whole):
        for _ in range(LOOKS):
            try:
                found = convert(0x1000, len(faces[0]))
            except GuestError:
                continue
            assert found in ({"a": [1] * 40}, "b" * 44) or isinstance(found, str | dict)


def test_text_that_flickers_out_of_utf8(memory: GuestMemory) -> None:
    convert, copy = StringIn().bind(memory), BytesIn().bind(memory)
    assert convert is not None
    assert copy is not None
    with flickering(memory, 0x1000, (b"a" * 64, b"\xff" * 64)):
        for _ in range(LOOKS):
            kept = copy(0x1000, 64)
            before = bytes(kept)
            with suppress(GuestError):
                assert len(convert(0x1000, 64)) == 64
            assert kept == before


def test_records_that_flicker(memory: GuestMemory) -> None:
    layout = abi.STRUCT_BY_NAME["page_update"]
    convert = RecordsIn(layout, 64).bind(memory)
    with flickering(memory, 0x1000, (bytes(layout.size_bytes * 8), b"\xff" * layout.size_bytes * 8)):
        for _ in range(LOOKS):
            assert len(convert(0x1000, 8)) == 8


def test_a_batch_whose_calls_rewrite_it_runs_as_it_was() -> None:
    """The first entry's handler fills the array with another call; its entries were copied in before."""
    asked: list[int] = []

    @hypercall(0x8001, "rewrite")
    def rewrite(machine: Machine, gpa: int) -> int:
        asked.append(1)
        machine.memory.write(gpa, (0x1003).to_bytes(8, "little") * 8 * 4)  # exit, exit ...
        return 5

    guest = Guest("batch", paravirt=True)
    guest.bss("space", 4096, align=4096)
    guest.asm("main:\nlea rdi, [space]\nmov ecx, 4")
    guest.asm("fill: mov qword ptr [rdi], 0x8001\nlea rax, [space]\nmov [rdi + 8], rax\nadd rdi, 64\ndec ecx\njnz fill")
    guest.call.multicall("space", 4)
    guest.asm("mov rax, [space + 248]\nret")
    outcome, _ = run_sdk(guest, hypercalls=[rewrite])
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 5), outcome.summary
    assert len(asked) == 4


def test_a_batch_whose_results_are_its_entries() -> None:
    """Arrays that overlap each other, the event page and the clock page: results go where they go, and all ends."""
    guest = Guest("batch", paravirt=True)
    guest.bss("space", 8192, align=4096)
    guest.asm("main:\nlea rdi, [space]\nmov ecx, 1024\nmov eax, 0x1020\nrep stosq")
    guest.call.clock_page("space")
    guest.call.event_page("space", 0)
    guest.asm("mov ebx, 64\nagain:")
    guest.call.multicall("space", 64)
    guest.asm("add qword ptr [space + 56], 1\ndec ebx\njnz again\nmov eax, 9\nret")
    outcome, _ = run_sdk(guest, timeout=60)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 9), outcome.summary
    assert outcome.calls["multicall"] == 64


def test_a_guest_whose_memory_the_host_changes_under_it() -> None:
    """The other way round: a thread of the host's writes over a running guest's code and data; the run has an end."""
    with Machine(memory="2MiB", technique="trap") as machine:
        machine.load(b"\x90" * 3000 + b"\xe9\x43\xf4\xff\xff")
        code = machine.memory.read(0x100000, 2048)
        with flickering(machine.memory, 0x100000, (code, b"\xf4" * 2048, b"\x0f\x0b" * 1024, code)):
            outcome = machine.run(timeout=0.1, max_exits=2000)
        assert outcome.why in (StopWhy.TIMEOUT, StopWhy.MAX_EXITS, StopWhy.SHUTDOWN, StopWhy.HALTED)
