"""The faults of the engine beneath that a guest can provoke, by name: what each comes to here.

The engine is Unicorn 2.1.4. Each row is a fault that was seen to abort, corrupt or mislead a host that drives the
engine plainly. More on single ones: tests/pv/engines/unicorn_memory/test_guard.py (aborts), test_watchdog.py (stops),
tests/pv/engines/unicorn/test_hooks.py (ports), tests/house/test_bad_input.py (ways to CPL 0).
"""

from __future__ import annotations

import struct

import pytest

from pv.exits import Reason, StopWhy
from pv.machine import Machine
from tests.fuzz.runner import Between
from tests.hostile.guests import MEMORY_BYTES, run_flat
from tests.pv.engines.unicorn_memory.machines import BASE, assemble

TECHNIQUES = ("paravirt", "trap", "hardware")
UD, GP, PF = 6, 13, 14

LOCKED_BITS = [
    *(f"f0 0f {code} c8" for code in ("a3", "ab", "b3", "bb")),
    *(f"f0 0f ba {modrm} 05" for modrm in ("e0", "e8", "f0", "f8")),
    *("f0 48 0f ab c0", "f0 66 0f bb c0", "f3 f0 0f a3 c8"),
]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("code", LOCKED_BITS)
def test_lock_bt_of_a_register_aborts_the_translator(code: str, technique: str) -> None:
    """SIGABRT in the engine ends the run with its place; architecturally it is #UD (SDM vol. 2, LOCK)."""
    outcome, _ = run_flat(b"\x90\x90" + bytes.fromhex(code), technique)
    assert outcome.why is StopWhy.ENGINE_ABORT
    assert outcome.rip == BASE
    assert outcome.code[2:].startswith(bytes.fromhex(code))


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_lock_bt_of_memory_is_an_instruction_like_others(technique: str) -> None:
    outcome, machine = run_flat(b"\xf0\x0f\xab\x03" + b"\x0f\x0b", technique)
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.rip in (BASE, BASE + 4)
    assert machine.outcome is outcome


SVM = {"vmrun": "d8", "vmload": "da", "vmsave": "db", "stgi": "dc", "clgi": "dd", "skinit": "de", "invlpga": "df"}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("name", SVM)
@pytest.mark.parametrize("place", [0, 0x1000, 0x110000, 1 << 36, (1 << 36) + 4096])
def test_svm_instructions_are_undefined(name: str, place: int, technique: str) -> None:
    """VMSAVE would write the monitor's memory, and VMRUN lead where nothing stops it: EFER.SVME is never set."""
    code = b"\x48\xb8" + place.to_bytes(8, "little") + bytes.fromhex("0f01" + SVM[name])
    outcome, machine = run_flat(code, technique)
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.detail.startswith(f"vector {UD} ")
    assert outcome.rip == BASE + 10
    assert not outcome.events.get("ring held")
    assert machine.memory is not None


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_guest_cannot_switch_svm_on(technique: str) -> None:
    outcome, _ = run_flat("mov ecx, 0xc0000080; xor edx, edx; mov eax, 0x1d01; wrmsr", technique)
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.detail.startswith(f"vector {GP} ")


def test_an_exit_after_int_n_has_its_own_rip() -> None:
    """The engine leaves `exception_is_int` set, and every later exit would have a stale RIP."""
    code = assemble("mov rsp, 0x180000; int 0x80; mov rax, cr0; cli; int 0x81; mov rax, cr3; ud2")
    with Machine(memory=Between(MEMORY_BYTES), technique="trap") as machine:
        load_with_handler(machine, code, "iretq")
        machine.run(timeout=60, max_exits=30)
        record = machine.vcpu.flight_record()
    for reason, wanted in ((Reason.CR_ACCESS, b"\x0f\x20"), (Reason.INTERRUPT_FLAG, b"\xfa")):
        taken = [entry for entry in record if entry.reason == reason]
        assert taken
        assert all(entry.code.startswith(wanted) for entry in taken)
        assert taken[0].rip == BASE + code.index(wanted)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_fcmov_without_end_stays_within_the_translators_temporaries(technique: str) -> None:
    """Each leaves two of the 512 behind; the engine does not look, and overwrites what is beside them."""
    for code in ("dac0", "dac8", "dad0", "dad8", "dbc0", "dbc8", "dbd0", "dbd8"):
        outcome, machine = run_flat(b"\x90" + bytes.fromhex(code) * 3000 + b"\x0f\x0b", technique)
        assert outcome.why is StopWhy.SHUTDOWN
        assert outcome.rip == BASE + 1 + 6000
        assert outcome.detail.startswith(f"vector {UD} ")
        assert machine.outcome is outcome


def test_faults_in_a_row_are_not_one_double_fault() -> None:
    """Left to itself the engine takes a second contributory fault for #DF, and stops at the third."""
    with Machine(memory=Between(MEMORY_BYTES), technique="trap") as machine:
        code = assemble("mov rsp, 0x180000; mov rax, 0x8000000000000000; again: mov rbx, [rax]; jmp again")
        load_with_handler(machine, code, "pop rcx; add qword ptr [rsp], 3; iretq")
        outcome = machine.run(timeout=60, max_exits=300)
        assert outcome.why is StopWhy.MAX_EXITS
        assert 140 < outcome.exits["IRET"] < outcome.exits["EXCEPTION_NMI"]
        assert outcome.events["double faults"] == 0


def test_code_that_the_host_wrote_over_runs_as_written() -> None:
    """The engine does not notice a write by pointer to what it has translated; patch() tells it."""
    with Machine(memory="2MiB", technique="trap") as machine:
        machine.load(assemble("again: jmp again"))
        assert machine.run(timeout=0.02).why is StopWhy.TIMEOUT
        machine.patch(BASE, bytes.fromhex("b007e6f4"))
        assert machine.run(timeout=60).status == 7


@pytest.mark.parametrize("load", ["xor eax, eax; mov ss, eax", "lss edx, [rcx]"])
@pytest.mark.parametrize("behind", ["the same page", "a page that is not there yet"])
def test_a_null_ss_does_not_lead_to_cpl_0(load: str, behind: str) -> None:
    """The engine goes to CPL 0; the block after it is never run there, even where reading its bytes faults first."""
    code = assemble(f"mov rcx, 0x150000; {load}")
    room = 4096 - len(code) - (2 if behind != "the same page" else 64)
    code = b"\x90" * room + code + b"\x90" * 70 + assemble("cli; mov al, 5; out 0xf4, al")
    outcome, machine = run_flat(code, "trap", timeout=60)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 5), outcome.summary
    assert outcome.events["ring held"] >= 1
    assert {entry.cpl for entry in outcome.record} <= {1}
    assert machine.outcome is outcome


def test_a_guest_stopped_on_its_way_to_cpl_0_is_not_there() -> None:
    with Machine(memory="2MiB", technique="trap") as machine:
        machine.load(assemble("again: xor eax, eax; mov ss, eax; jmp again"))
        for _ in range(30):
            assert machine.run(timeout=0.001).why is StopWhy.TIMEOUT
            assert machine.vcpu.cpl == 1


def test_an_abort_right_behind_a_null_ss_does_not_leave_the_guest_at_cpl_0() -> None:
    outcome, machine = run_flat(assemble("xor eax, eax; mov ss, eax") + bytes.fromhex("f0480fb3d7"), "trap")
    assert outcome.why is StopWhy.ENGINE_ABORT
    assert machine.vcpu.cpl == 1


def test_in_at_cpl_3_without_permission_is_a_fault() -> None:
    """The engine's IN and OUT look at neither IOPL nor the TSS's bitmap."""
    text = """
        mov rsp, 0x180000
        push 0x23
        push 0x170000
        push 0x202
        push 0x2b
        mov rax, 0x100100
        push rax
        iretq
    """
    code = assemble(text).ljust(0x100, b"\x90") + bytes.fromhex("e464")  # in al, 0x64
    with Machine(memory=Between(MEMORY_BYTES), technique="trap") as machine:
        machine.load(code)
        user_tables(machine)
        outcome = machine.run(timeout=60)
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.detail.startswith(f"vector {GP} "), outcome.summary
    assert outcome.rip == BASE + 0x100
    assert outcome.record[-1].cpl == 3


HANDLER = BASE + 0x800
GATES = 0x121000
TABLES = 0x140000


def load_with_handler(machine: Machine, code: bytes, handler: str) -> None:
    """Load `code`, and an IDT of which each gate leads to `handler`."""
    machine.load(code.ljust(HANDLER - BASE, b"\x90") + assemble(handler, HANDLER))
    gate = struct.pack("<HHHHQ", HANDLER & 0xFFFF, 8, 0xEE00, HANDLER >> 16 & 0xFFFF, 0)
    machine.memory.write(GATES, gate * 256)
    machine.vcpu.virtual.idt_base, machine.vcpu.virtual.idt_limit = GATES, 0xFFF


def user_tables(machine: Machine) -> None:
    """Page tables and a GDT by which CPL 3 may run and read all of memory."""
    words = {TABLES: TABLES + 0x1007, TABLES + 0x1000: TABLES + 0x2007, TABLES + 0x2000: 0x87}
    gdt = (0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF)
    for at, word in (words | {TABLES + 0x3000 + 8 * index: word for index, word in enumerate(gdt)}).items():
        machine.memory.write_uint(at, 8, word)
    machine.vcpu.virtual.gdt_base, machine.vcpu.virtual.gdt_limit = TABLES + 0x3000, 8 * len(gdt) - 1
    machine.vcpu.shadow.load(TABLES)
    machine.vcpu.virtual.cr3 = TABLES
