"""Counts do not depend on when the slicer stops the guest: every kind of exit, under slices of a few dozen us."""

from __future__ import annotations

import pytest

from guest_sdk import Guest
from pv import Machine, StopWhy
from pv.exits import Reason

TURNS = 30_000
SLICE_NS = 20_000  # thousands of stops in one run

BODIES = {
    "cpuid": ("mov eax, 1\n xor ecx, ecx\n cpuid", Reason.CPUID, 1),
    "rdtsc": ("rdtsc", Reason.RDTSC, 1),
    "out": ("mov edx, 0x3ff\n out dx, al", Reason.IO_INSTRUCTION, 1),
    "in": ("mov edx, 0x3ff\n in al, dx", Reason.IO_INSTRUCTION, 1),
    "cli": ("cli\n sti", Reason.INTERRUPT_FLAG, 2),
    "cr3": ("mov rax, cr3", Reason.CR_ACCESS, 1),
}


def loop(name: str, body: str) -> bytes:
    guest = Guest(name, paravirt=False)
    guest.asm(f"main:\n mov ebp, {TURNS}\n.again:\n{body}\n inc r15\n dec ebp\n jnz .again\n xor eax, eax\n ret")
    return guest.build()


@pytest.mark.parametrize("kind", BODIES)
def test_no_exit_is_lost_or_counted_twice(kind: str) -> None:
    body, reason, each = BODIES[kind]
    slices = runs = 0
    while slices <= 20:  # a busy host lets the slicer run late: how often it stopped a guest is the host's affair
        with Machine(technique="trap") as machine:
            machine.load(loop(kind, body))
            machine.vcpu.set_slice(SLICE_NS)
            outcome = machine.run(timeout=60)
            assert outcome.why is StopWhy.EXITED, outcome.summary
            assert machine.vcpu.r15 == TURNS
            slices, runs = slices + machine.vcpu.slices, runs + 1
            ports = 1 if reason is Reason.IO_INSTRUCTION else 0  # the debug exit
            assert outcome.exits[reason.name] == TURNS * each + ports
            assert runs < 100, "the slicer stops no guest"


def test_no_system_call_is_lost() -> None:
    guest = Guest("calls", paravirt=True)
    guest.bss("kernel", 8192).bss("user", 8192)
    guest.asm("main:")
    guest.call.set_kernel_stack("kernel + 8192")
    guest.call.set_syscall_entry("entry")
    guest.call.map("program", "program", 1, "MAP_PRESENT | MAP_USER | MAP_EXECUTE")
    guest.asm("""
        push USER_SS
        push 0
        push 0x202
        push USER_CS
        lea rax, [program]
        push rax
        push 0
    """)
    guest.call.return_from_event()
    guest.asm("entry:\n cmp rdi, 1\n je .done")
    guest.asm("inc r15\n push rax")
    guest.call.return_from_event()
    guest.asm(".done:\n xor edi, edi")
    guest.call.exit(0)
    guest.asm(f"""
        .align 4096
    program:
        mov ebp, {TURNS}
        xor edi, edi
    .again:
        syscall
        dec ebp
        jnz .again
        mov edi, 1
        syscall
        .align 4096
    """)
    with Machine() as machine:
        machine.load(guest.build())
        machine.vcpu.set_slice(SLICE_NS)
        outcome = machine.run(timeout=60)
        assert outcome.why is StopWhy.EXITED, outcome.summary
        assert machine.vcpu.r15 == TURNS
        assert outcome.exits["SYSCALL"] == TURNS + 1
