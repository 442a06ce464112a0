"""A vcpu that runs nothing: registers in a list, memory by identity, and a log of what it was asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pv.clock import Clock
from pv.devices.local_apic import LocalApic
from pv.dispatch import DispatchTable, Row
from pv.emulate.decode import KEY_IN_ECX, Instruction, decode
from pv.engines.base import GENERAL_REGISTERS, GuestFault
from pv.exits import Exit, GuestError, Reason, Reply
from pv.memory import GuestMemory
from tests.pv.devices.fakes import Line

Decoder = Callable[[bytes, int], Instruction | None]
MASK_64 = (1 << 64) - 1
GDT = 0x1000
LDT = 0x1800
STACK = 0x8000
RSP = 4
CODE = 0x4000
MEMORY_BYTES = 1 << 20
CPUID = {  # leaf: EAX EBX ECX EDX of the processor beneath; all features where nothing is said
    0: (0xD, 0, 0, 0),
    1: (0x000106A5, 0x100800, 0xFFFFFFFF, 0xFFFFFFFF),
    0x8000_0000: (0x8000_0008, 0, 0, 0),
    0x8000_0008: (0x3028, 0xFFFFFFFF, 0, 0),
}


@dataclass
class Virtual:
    cr0: int = 0x80050033
    cr2: int = 0
    cr3: int = 0x10000
    cr4: int = 0x20
    cr8: int = 0
    efer: int = 0xD01
    interrupt_flag: bool = False
    iopl: int = 0
    gdt_base: int = GDT
    gdt_limit: int = 0xFF
    idt_base: int = 0
    idt_limit: int = 0
    ldt_selector: int = 0
    ldt_base: int = 0
    ldt_limit: int = 0
    tr_selector: int = 0
    tr_base: int = 0
    tr_limit: int = 0
    star: int = 0
    lstar: int = 0
    cstar: int = 0
    fmask: int = 0
    kernel_gs_base: int = 0
    tsc_offset: int = 0
    tsc_aux: int = 0


@dataclass
class Shadow:
    log: list[tuple[Any, ...]]

    def load(self, cr3: int) -> None:
        self.log.append(("load", cr3))

    def invalidate(self, gva: int) -> None:
        self.log.append(("invalidate", gva))

    def flush(self) -> None:
        self.log.append(("flush",))

    def statistics(self) -> dict[str, int]:
        return {}


@dataclass
class RecordingVcpu:
    """What of pv.engines.base.Vcpu the emulated instructions use. `refused`: selectors that a load refuses, and how."""

    memory: GuestMemory
    registers: list[int] = field(default_factory=lambda: [0] * 16)
    virtual: Virtual = field(default_factory=Virtual)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    refused: dict[int, GuestFault] = field(default_factory=dict)
    selectors: list[int] = field(default_factory=lambda: [0, 8, 0x10, 0, 0, 0])
    fs_base: int = 0
    gs_base: int = 0
    now_ns: int = 0
    rip: int = CODE
    cpl: int = 1
    rflags: int = 2
    absent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shadow = Shadow(self.log)

    def get(self, register: int) -> int:
        return self.registers[register]

    def set(self, register: int, value: int) -> None:
        assert 0 <= value <= MASK_64
        self.registers[register] = value

    def selector(self, segment: int) -> int:
        return self.selectors[segment]

    def load_segment(self, segment: int, selector: int) -> None:
        assert 0 <= selector <= 0xFFFF
        self._refuse(selector)
        self.log.append(("load_segment", segment, selector))

    def far_transfer(self, selector: int, rip: int, rsp: int | None = None, ss: int | None = None) -> None:
        self._refuse(selector)
        self.log.append(("far_transfer", selector, rip, rsp, ss))

    def _refuse(self, selector: int) -> None:
        if selector in self.refused:
            raise self.refused[selector]

    def interrupt_return(self) -> None:
        self.log.append(("interrupt_return",))

    def system_return(self, operand_bits: int) -> None:
        self.log.append(("system_return", operand_bits))

    def swap_gs(self) -> None:
        self.log.append(("swap_gs",))

    def set_task_switched(self, on: bool) -> None:
        self.log.append(("set_task_switched", on))

    def read_linear(self, gva: int, size_bytes: int, *, write: bool = False) -> bytes:
        assert 0 <= gva <= MASK_64
        try:
            return self.memory.read(gva, size_bytes)
        except GuestError:
            raise GuestFault(14, 2 if write else 0) from None

    def translate(self, gva: int, *, write: bool = False) -> int:
        """By identity, over all that is canonical; `absent` pages fault."""
        if gva >> 12 in self.absent:
            raise GuestFault(14, 2 if write else 0)
        return gva

    def set_deadline(self, deadline_ns: int) -> None:
        self.log.append(("set_deadline", deadline_ns))

    def write_linear(self, gva: int, data: bytes) -> None:
        self.read_linear(gva, len(data), write=True)
        self.memory.write(gva, data)

    def cpuid(self, leaf: int, _subleaf: int) -> tuple[int, int, int, int]:
        return CPUID.get(leaf, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF))


def _register(number: int) -> property:
    def read(vcpu: RecordingVcpu) -> int:
        return vcpu.registers[number]

    def write(vcpu: RecordingVcpu, value: int) -> None:
        vcpu.set(number, value)

    return property(read, write)


for _number, _name in enumerate(GENERAL_REGISTERS):
    setattr(RecordingVcpu, _name, _register(_number))


class Guest:
    """A vcpu, its memory and the rows under test, and the engine's part in one exit."""

    def __init__(self) -> None:
        self.memory = GuestMemory(MEMORY_BYTES)
        self.vcpu: Any = RecordingVcpu(self.memory)
        self.vcpu.set(RSP, STACK)
        self.virtual: Virtual = self.vcpu.virtual
        self.log: list[tuple[Any, ...]] = self.vcpu.log
        self.table = DispatchTable()
        self.intr = Line()
        self.apic = LocalApic(
            self.intr, lambda value: setattr(self.virtual, "cr8", value), lambda: 0, Clock(self.vcpu).at
        )

    def add(self, rows: list[Row]) -> None:
        for row in rows:
            self.table.add(row)

    def execute(self, code: bytes | str, rip: int = CODE, decoder: Decoder = decode) -> Reply:
        """Decode `code` (bytes, or hex) at `rip` and answer its #GP as the engine does. Raises GuestFault."""
        code = bytes.fromhex(code) if isinstance(code, str) else code
        insn = decoder(code, rip)
        assert insn is not None, f"{code.hex()} is not emulated"
        key = self.vcpu.rcx & 0xFFFFFFFF if insn.key == KEY_IN_ECX else insn.key
        value = (self.vcpu.rdx & 0xFFFFFFFF) << 32 | self.vcpu.rax & 0xFFFFFFFF
        return self.answer(Exit(insn.reason, key, value, length=insn.length, insn=insn, rip=rip, cpl=self.vcpu.cpl))

    def answer(self, exit: Exit) -> Reply:
        """One lookup, one call."""
        row = self.table.find(Reason(exit.reason), exit.key)
        assert row is not None, f"no row for {exit}"
        reply = row.handler(exit)
        assert isinstance(reply, Reply)
        return reply

    def refuse(self, selector: int, vector: int = 13) -> None:
        """Make the vcpu refuse `selector` from now on."""
        self.vcpu.refused[selector] = GuestFault(vector, selector & ~3)


def descriptor(base: int = 0, limit: int = 0xFFFFF, access: int = 0x93, flags: int = 0xA, *, size: int = 8) -> bytes:
    """A descriptor of `size` bytes, its fields put where SDM vol. 3, figure 3-8 has them."""
    low = limit & 0xFFFF | (base & 0xFFFFFF) << 16 | access << 40
    low |= (limit >> 16 & 0xF) << 48 | flags << 52 | (base >> 24 & 0xFF) << 56
    return (low | base >> 32 << 64).to_bytes(size, "little")
