"""Segments, task state and gates: where events go, with which selectors, and on which stack."""

from __future__ import annotations

import pytest

from pv.exits import StopWhy
from pv.machine import Machine
from tests.guest_sdk.workloads.checks import run
from unmodified_guests.descriptors import KERNEL_CS, KERNEL_SS, gate
from unmodified_guests.machine import begin, finish

UNDEFINED, GENERAL_PROTECTION = 6, 13
FRAME_CS, FRAME_SS = 8, 32


def event(job: str, vector: int, read: str) -> int:
    """The result of a handler for `vector` that reads a value into RAX with its frame at RSP."""
    text = f"work:\nmov [kept], rsp\n{job}\nhandler:\n{read}\nmov rcx, kept\nmov rsp, [rcx]\njmp print_result"
    guest = begin("event", 1)
    guest.bss("kept", 8)
    return int(run(finish(guest, 1, text, {vector: "handler"}), "trap").console.removeprefix("result "))


@pytest.mark.parametrize(("at", "selector"), [(FRAME_CS, KERNEL_CS), (FRAME_SS, KERNEL_SS)])
def test_a_frame_has_the_kernels_selectors(at: int, selector: int) -> None:
    assert event("ud2", UNDEFINED, f"mov rax, [rsp + {at}]") == selector


def test_a_frame_has_the_faulting_rip() -> None:
    assert event("here:\nud2", UNDEFINED, "mov rax, [rsp]\nsub rax, here") == 0


def test_a_selector_beyond_the_gdt_faults_with_its_number() -> None:
    assert event("mov eax, 0x50\nmov ds, ax", GENERAL_PROTECTION, "mov rax, [rsp]") == 0x50


def test_the_task_register_is_loaded_once() -> None:
    job = "mov eax, 0x28\nltr ax"  # busy by now
    assert event(job, GENERAL_PROTECTION, "mov rax, [rsp]") == 0x28


def test_an_event_without_a_handler_ends_the_guest() -> None:
    with Machine(memory="16MiB", technique="trap") as machine:
        machine.load(finish(begin("lost", 1), 1, "work:\nud2"))
        outcome = machine.run(timeout=10)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 255)


def test_a_gate_is_16_bytes() -> None:
    assert sum(size for size, _ in gate("label")) == 16
