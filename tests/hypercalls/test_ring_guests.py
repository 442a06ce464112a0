"""Rings of real guests: what the monitor's looks do while a program runs, and while the guest sleeps."""

from guest_sdk import Guest, ring
from hypercalls.ring import POLL_NS
from pv.clock import NEVER
from pv.exits import StopWhy
from pv.machine import Machine

SUBMIT = "mov eax, CALL_MEMORY_SIZE\nmov ecx, 7\ncall ring_submit\n"


def begin(name):
    guest = Guest(name, paravirt=True).bss("page", 4096, align=4096)
    guest.asm("main:")
    guest.call.event_page("page", 0)
    guest.asm("mov edi, NO_PORT\ncall ring_open")
    return guest


def test_a_look_makes_the_kernel_s_calls_whoever_runs():
    """The kernel submits and goes to a program at CPL 3, whose exits let time pass: memory_size is no call for it."""
    guest = begin("kernel")
    guest.call.map("program", "program", 1, "MAP_PRESENT | MAP_USER | MAP_EXECUTE")
    guest.asm(SUBMIT + "call ring_kick\ncall ring_reap\n" + SUBMIT)
    guest.asm("push USER_SS\npush 0\npush 0x202\npush USER_CS\nlea rax, [program]\npush rax\npush 0")
    guest.call.return_from_event()
    guest.asm(".align 4096\nprogram: xor eax, eax\ncpuid\njmp program\n.align 4096")
    ring.add(guest, entries=4)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10, max_exits=60)
        assert outcome.why is StopWhy.MAX_EXITS
        assert machine.vcpu.cpl == 3
        assert outcome.exits["CPUID"] > POLL_NS // 1000
        at = machine.state["ring"].open[0].gpa
        results = [machine.memory.read_uint(at + 128 + 4 * 64 + 16 * index + 8, 8) for index in range(2)]
        assert results == [machine.memory.size_bytes] * 2
        assert (outcome.by_key["VMCALL", "ring_kick"], outcome.calls["memory_size"]) == (1, 2)


def test_a_guest_that_sleeps_over_an_idle_ring_is_halted():
    """The looks at the ring end by themselves: they do not keep asleep for ever a guest that nothing will wake."""
    guest = begin("sleeper")
    guest.asm(SUBMIT + "call ring_kick\n" + SUBMIT)
    guest.call.event_wait()
    guest.asm("ret")
    ring.add(guest, entries=4)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.why, machine.clock.deadline_ns) == (StopWhy.HALTED, NEVER)
        assert outcome.calls["memory_size"] == 2


def test_a_broken_ring_is_the_guest_s_loss_alone():
    guest = begin("breaker")
    guest.asm("mov dword ptr [ring + RING_SUBMIT_TAIL], 77\ncall ring_kick\nmov ebx, eax")
    guest.asm("cmp dword ptr [ring + RING_BROKEN], 1\nsete al\nneg ebx\nadd eax, ebx\nmovzx eax, al\nret")
    ring.add(guest, entries=4)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 22 + 1)


def test_two_runs_look_at_the_same_moments():
    guest = begin("busy")
    guest.asm("mov ebx, 100\nagain:\n" + SUBMIT + "call ring_kick_if_needed")
    guest.call.abi_version()
    guest.asm("call ring_reap\nmov [stamps + rbx*8], rdx\ndec ebx\njnz again\nxor eax, eax\nret")
    guest.bss("stamps", 8 * 101)
    ring.add(guest, entries=32)
    image, seen = guest.build(), []
    for _ in range(2):
        with Machine() as machine:
            machine.load(image)
            outcome = machine.run(timeout=10)
            assert outcome.status == 0
            seen.append((dict(outcome.exits), outcome.calls, machine.vcpu.now_ns, bytes(machine.memory.view)))
    assert seen[0] == seen[1]
