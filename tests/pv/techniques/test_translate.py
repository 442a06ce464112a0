from __future__ import annotations

from types import SimpleNamespace

import pytest

from guest_sdk import Guest as GuestImage
from pv.dispatch import DispatchTable
from pv.emulate.decode import FORMS, TRANSLATED_FORMS
from pv.emulate.mmio_decode import decode_translated
from pv.emulate.system_registers import SystemRegisters
from pv.exits import Reason
from pv.machine import Machine
from pv.techniques import trap
from pv.techniques.translate import TECHNIQUE
from tests.differential.guests import HardwareGuest
from tests.pv.emulate.recording_vcpu import Guest
from tests.pv.engines.unicorn.guests import DATA, TrapGuest


@pytest.fixture
def table(guest: Guest, native: SimpleNamespace) -> DispatchTable:
    guest.add(TECHNIQUE.rows(guest.vcpu, native, SystemRegisters()))
    return guest.table


def test_every_emulated_instruction_has_a_row(table: DispatchTable) -> None:
    """But of IN and OUT: their rows are the devices'."""
    for form in (*FORMS.values(), *TRANSLATED_FORMS.values()):
        if form.reason is not Reason.IO_INSTRUCTION:
            key = form.key if form.key >= 0 else int(form.reason is Reason.SEGMENT_READ)
            assert table.find(form.reason, key) is not None, form


def test_it_has_every_row_of_trap(table: DispatchTable, native: SimpleNamespace) -> None:
    plain = Guest()
    for row in trap.TECHNIQUE.rows(plain.vcpu, native, SystemRegisters()):
        mine = table.find(row.reason, max(row.first, 0))
        assert mine is not None
        assert (mine.name, mine.owner) == (row.name, "translate")


BRANCHES = (  # none may touch the bounds that are the interrupt flag
    "mov ecx, 3; l: loop l",
    "mov ecx, 3; l: dec ecx; jrcxz m; jmp l; m: nop",
    "call f; jmp e; f: ret; e: nop",
    "lea rax, [rip + f]; call rax; jmp e; f: ret; e: nop",
    "lea rax, [rip + e]; jmp rax; e: nop",
    "lea rax, [rip + e]; push rax; ret; e: nop",
    "mov edx, 2; l: dec edx; jnz l",
    "mov eax, 0; cpuid; mov edx, 0",
    "mov [r15], rsp; mov ecx, 8; lea rdi, [r15]; rep stosb",
    ".byte 0xf3, 0x0f, 0x1b, 0x04, 0x25; .long 0",
    ".byte 0xf3, 0x0f, 0x1b, 0x04, 0x25; .long 1",
)


class Translated(TrapGuest):
    technique = "translate"


STORED = "; mov rcx, [r15]; mov rdx, [r15 + 8]"


@pytest.mark.parametrize(
    "text",
    [
        f"sgdt [r15]{STORED}", f"sidt [r15]{STORED}", f"sldt [r15]{STORED}", f"smsw [r15]{STORED}",
        f"mov [r15], cs{STORED}", f"mov [r15], ss{STORED}", f"lea rax, [rip + 0x20000]; sgdt [rax - 7]{STORED}",
        "sldt ecx", "str rcx", "smsw rcx", "mov rcx, cs", "mov ecx, ss", "mov cx, ds",
        "mov eax, 0x38; lldt ax; sldt ecx", "mov rax, cr0; or eax, 8; mov cr0, rax; smsw ecx; clts; smsw edx",
        *(f"{flag}; {branches}; pushfq; pop rcx" for flag in ("cli", "sti") for branches in BRANCHES),
        "cli; pushfq; pop rcx", "push 0x202; popfq; pushfq; pop rcx", "cli; push 0x3202; popfq; pushfq; pop rcx; cli",
        *(f"mov edx, {selector}; {name} ecx, edx; pushfq; pop rdx"
          for name in ("lar", "lsl") for selector in (0, 8, 0xB, 0x1B, 0x28, 0x38, 0x48, 0x60, 0x98)),
        *(f"mov edx, {selector}; {name} dx; pushfq; pop rdx"
          for name in ("verr", "verw") for selector in (0, 8, 0x10, 0x13, 0x1B, 0x28, 0x60, 0x68)),
        "xor edx, edx; mov ss, dx; mov ecx, ss", "push 0x77; push 0; mov ecx, esp; mov edx, 0; mov fs, dx; mov ecx, fs",
    ],
)  # fmt: skip
def test_what_a_kernel_sees_is_its_own(text: str) -> None:
    """As under hardware, where the processor's state is the guest's. Each is a hole under trap, or near one."""
    seen = []
    for kind in (HardwareGuest, Translated):
        with kind(f"{text}; int 0x40") as guest:
            guest.vcpu.r15 = DATA
            outcome = guest.run()
            assert outcome.status == 0x40, outcome
            seen.append((guest.vcpu.rcx, guest.vcpu.rdx))
    assert seen[0] == seen[1]


def test_the_fpu_says_where_the_guest_has_its_instructions() -> None:
    """FNSTENV and FXSAVE store the address of the last x87 instruction, which ran in the cache."""
    made = GuestImage("fpu", paravirt=False)
    made.bss("area", 1024)
    code = "main:\nfninit\nfld1\nhere:\nfld1\nnop\nfnstenv [area]\n.byte 0x48, 0x0f, 0xae, 0x04, 0x25\n.long area + 512"
    image = made.asm(code + "\nxor eax, eax\nret").build()
    with Machine(technique="translate", memory="4MiB", plugins=False) as machine:
        machine.load(image)
        assert machine.run(timeout=20).status == 0
        symbols = machine.image.symbols if machine.image else {}
        assert machine.memory.read_uint(symbols["area"] + 12, 4) == symbols["here"]
        assert machine.memory.read_uint(symbols["area"] + 512 + 8, 8) == symbols["here"]


def test_what_a_device_needs_is_decoded_too() -> None:
    insn = decode_translated(bytes.fromhex("8908"), 0x1000)
    assert insn is not None
    assert insn.reason == Reason.MMIO
    assert TECHNIQUE.decode is decode_translated
