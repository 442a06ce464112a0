"""The engine with a guest alone: events by the guest's own IDT, SYSCALL by its MSRs, a bus without chips."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guest_sdk.abi import DEBUG_EXIT_PORT
from guest_sdk.builder import Guest
from guest_sdk.work import fault as fault_work
from guest_sdk.work import syscall as syscall_work
from pv.boot import start_guest
from pv.engines.unicorn import BareEngine, EngineError
from pv.loaders import load
from pv.memory import GuestMemory
from unmodified_guests import fault, syscall

BUFFER = 1 << 20


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    made = GuestMemory(16 << 20)
    yield made
    made.close()


def start(memory: GuestMemory, image: bytes) -> BareEngine:
    engine = BareEngine(memory, exit_port=DEBUG_EXIT_PORT, translation_buffer_bytes=BUFFER)
    start_guest(engine, memory, load(image, memory.size_bytes), "guest tables")
    return engine


def text(lines: str) -> bytes:
    return Guest("bare", paravirt=False).asm(f"_start:\n{lines}\nout DEBUG_EXIT_PORT, al\nhlt").build()


def test_page_faults_go_through_the_guests_idt(memory: GuestMemory) -> None:
    engine = start(memory, fault.build(130))
    assert engine.run() > 0
    assert engine.console.endswith(f"result {fault_work.expected(130)}\n".encode())
    assert (engine.events, engine.status) == (130, 0)
    engine.close()


def test_system_calls_go_by_the_guests_registers(memory: GuestMemory) -> None:
    engine = start(memory, syscall.build(50))
    engine.run()
    assert engine.console.endswith(f"result {syscall_work.expected(50)}\n".encode())
    assert engine.events == 51
    engine.close()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("in al, 0x60", 0xFF),
        ("mov edx, 0x1234\nin eax, dx\nshr eax, 24", 0xFF),
        ("mov al, 7\nout 0x80, al\nmov al, 5", 5),
        ("mov ax, cs\nand al, 3", 0),  # it runs where it thinks
    ],
)
def test_what_a_guest_finds(memory: GuestMemory, lines: str, status: int) -> None:
    engine = start(memory, text(lines))
    engine.run()
    assert engine.status == status
    engine.close()


def test_it_may_be_closed_twice_and_keeps_no_status_it_has_not(memory: GuestMemory) -> None:
    engine = start(memory, text("hlt"))
    engine.run()
    assert engine.status is None
    engine.close()
    engine.close()


def test_the_console_is_bounded(memory: GuestMemory) -> None:
    lines = "mov ecx, 5000\nmov edx, 0x3f8\nmov al, 0x41\nmore:\nout dx, al\ndec ecx\njnz more"
    engine = start(memory, text(lines))
    engine.run()
    assert engine.console == b"A" * 256
    engine.close()


def test_an_instruction_that_it_does_not_know_is_an_error(memory: GuestMemory) -> None:
    engine = start(memory, text("ud2"))
    with pytest.raises(EngineError, match="cannot run the guest: Invalid instruction"):
        engine.run()
    engine.close()
