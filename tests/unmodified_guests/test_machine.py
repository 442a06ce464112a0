"""The kernel of a plain PC comes up: its job runs in 64-bit mode at ring 0, on its own tables, interrupts on."""

from __future__ import annotations

import importlib

import pytest

from bench import compare
from guest_sdk.work import map as work
from tests.guest_sdk.workloads.checks import run
from unmodified_guests.machine import begin, finish

WORKLOADS = tuple(name.replace("-", "_") for name in compare.WORKLOADS)
RFLAGS_IF = 0x200


def result(set_up: str, job: str) -> int:
    """What the guest printed as its result."""
    guest = begin("probe", 1).asm(set_up)
    return int(run(finish(guest, 1, f"work:\n{job}\njmp print_result"), "trap").console.removeprefix("result "))


def test_set_up_comes_before_the_job() -> None:
    assert result("mov ebx, 41", "lea eax, [rbx + OPERATIONS]") == 42


def test_interrupts_are_on_as_an_events_frame_shows() -> None:
    guest = begin("flags", 1)
    image = finish(
        guest, 1, "work:\nint 0x21\nseen:\nmov rax, [rsp + 16]\nmov rsp, [rsp + 24]\njmp print_result", {0x21: "seen"}
    )
    assert int(run(image, "trap").console.removeprefix("result ")) & RFLAGS_IF


def test_the_tables_are_the_kernels_own() -> None:
    assert result("", "mov rax, cr3\nsub rax, root") == 0


def test_a_bad_number_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ValueError, match="operations: 0 is not a whole number from 1 to 1000000000"):
        begin("none", 0)


@pytest.mark.parametrize("name", WORKLOADS)
def test_both_forms_print_the_same(name: str) -> None:
    consoles = {
        run(importlib.import_module(f"{package}.{name}").build(77), technique).console
        for package, technique in (("guest_sdk.workloads", "paravirt"), ("unmodified_guests", "trap"))
    }
    assert len(consoles) == 1


@pytest.mark.parametrize("name", WORKLOADS)
def test_an_unmodified_guest_makes_no_hypercall(name: str) -> None:
    image = importlib.import_module(f"unmodified_guests.{name}").build(3)
    assert b"pvkit" not in image
    assert "VMCALL" not in run(image, "trap").exits


def test_frames_lie_beyond_every_image() -> None:
    guest = begin(work.NAME, 1)
    finish(guest, 1, "work:\njmp print_result")
    assert max(section.address + section.size_bytes for section in guest.link().sections) <= 2 << 20
