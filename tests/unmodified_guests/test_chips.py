"""The chips are ready: the timer runs, its interrupt arrives at its vector, nothing else is unmasked."""

from __future__ import annotations

from tests.guest_sdk.workloads.checks import run
from unmodified_guests.chips import MASTER, SLAVE
from unmodified_guests.machine import begin, finish


def result(job: str) -> int:
    """What the guest printed as its result."""
    image = finish(begin("chips", 1), 1, f"work:\n{job}\njmp print_result")
    return int(run(image, "trap").console.removeprefix("result "))


def test_the_timer_ticks_once_its_line_is_unmasked() -> None:
    job = f"""
        mov al, 0xfe
        out {MASTER + 1:#x}, al
    .sleep:
        hlt
        cmp qword ptr [ticks], 3
        jb .sleep
        mov al, 0xff
        out {MASTER + 1:#x}, al
        mov rax, [ticks]
    """
    assert result(job) == 3


def test_every_line_is_masked() -> None:
    assert result(f"in al, {MASTER + 1:#x}\nmov ah, al\nin al, {SLAVE + 1:#x}\nmovzx eax, ax") == 0xFFFF


def test_the_counter_goes_down() -> None:
    read = "xor eax, eax\nout 0x43, al\nin al, 0x40\nmov cl, al\nin al, 0x40\nshl eax, 8\nmov al, cl\nmovzx eax, ax"
    assert result(f"{read}\nmov ebx, eax\n{read}\nsub ebx, eax\nmov eax, ebx") in range(1, 100)


def test_the_line_control_register_says_8n1() -> None:
    assert result("mov edx, 0x3fb\nin al, dx\nmovzx eax, al") == 3
