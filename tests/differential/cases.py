"""A random instruction with a random state, made of a genome: what both processors are started with.

The operand's address is chosen first, then registers and displacement that lead there. Three pages of data in a row:
memory, the device (or what stands for it), memory; the stack and what a near transfer leads to have a page each.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, cast

from iced_x86 import Encoder, Instruction, MemorySizeExt, OpKind, Register

from pv.emulate.architecture import canonical
from pv.emulate.mmio_decode import MemoryInstruction, decode_memory
from pv.emulate.operands import effective_address
from pv.emulate.operations_common import RCX, RDI, RSI, RSP, signed
from tests.differential.forms import FORMS, IMMEDIATES, MEMORY, REGISTERS, STRINGS, Form, K
from tests.fuzz.genome import Genome

PAGE: Final = 0x1000
CODE, DATA, STACK, TARGET, NOWHERE = 0x100000, 0x130000, 0x134000, 0x138000, 0x500000
DEVICE, DATA_END = DATA + PAGE, DATA + 3 * PAGE
MAPPED: Final = (CODE, DATA, DEVICE, DATA + 2 * PAGE, STACK, TARGET)
GENOME_BYTES: Final = 320
MASK_64: Final = (1 << 64) - 1
FLAGS: Final = 0xCD5  # CF PF AF ZF SF DF OF
SPECIAL: Final = (
    0,
    1,
    2,
    MASK_64,
    1 << 63,
    (1 << 63) - 1,
    1 << 31,
    (1 << 31) - 1,
    0xFFFF_FFFF,
    0x7F,
    0x80,
    0xFF,
    0x8000,
)
SEGMENTS: Final = {Register.FS: "fs_base", Register.GS: "gs_base"}


@dataclass
class Case:
    """Where both begin. code: one instruction at CODE. data: the three pages at DATA; stack: the page at STACK."""

    name: str
    code: bytes
    registers: list[int]
    rflags: int = 2
    fs_base: int = 0
    gs_base: int = 0
    vectors: list[int] = field(default_factory=lambda: [0] * 16)
    data: bytes = bytes(3 * PAGE)
    stack: bytes = bytes(PAGE)

    def linear(self) -> int:
        """The linear address of the operand that is named, bit offset included."""
        insn = self.insn
        beyond = 0
        if insn.bit_string:
            size = insn.operand_bytes
            beyond = signed(self.registers[insn.register] & (1 << 8 * size) - 1, size) // (8 * size) * size
        return effective_address(cast(Any, self), insn, beyond)

    @property
    def reaches_device(self) -> bool:
        """Whether the operand that is named, not one of a string's or on the stack, has a byte in the device's page."""
        at = self.linear()
        return at < DEVICE + PAGE and at + self.insn.operand_bytes > DEVICE

    def operand(self) -> int | None:
        """What memory holds where the operand is; None where it is not, or not wholly, in the data pages."""
        at, size = self.linear() - DATA, self.insn.operand_bytes
        return int.from_bytes(self.data[at : at + size], "little") if 0 <= at <= len(self.data) - size else None

    def get(self, register: int) -> int:
        return self.registers[register]

    @property
    def insn(self) -> MemoryInstruction:
        insn = decode_memory(self.code, CODE)
        assert insn is not None, f"{self.name} {self.code.hex()} is not decoded"
        return insn

    def __str__(self) -> str:
        registers = " ".join(f"{value:x}" for value in self.registers)
        bases = f"fs {self.fs_base:#x} gs {self.gs_base:#x}"
        return f"{self.name} [{self.code.hex()}] rflags {self.rflags:#x} {bases} registers {registers}"


def make(data: bytes) -> Case | None:
    """The case that `data` draws; None where what it draws cannot be encoded."""
    genome = Genome(data)
    forms = FORMS[genome.choose(KEYS)]
    return _Maker(genome, genome.choose(forms)).case()


KEYS: Final = sorted(FORMS)


class _Maker:
    def __init__(self, genome: Genome, form: Form) -> None:
        self.genome, self.form, self.raw = genome, form, Instruction()
        self.raw.code = form.code
        self.registers = [self.value() for _ in range(16)]
        self.registers[RSP] = STACK + 0x800 + genome.number() - genome.chance(32) * 0x7FC
        self.address_registers: set[int] = set()
        self.bases = {"fs_base": self.value(), "gs_base": self.value()}
        self.noise = random.Random(genome.number(4))

    def value(self) -> int:
        kind = self.genome.number() % 4
        if kind == 0:
            return self.genome.choose(SPECIAL)
        return self.genome.number(8) if kind > 1 else self.genome.number(2)

    def case(self) -> Case | None:
        genome, form, raw = self.genome, self.form, self.raw
        self.short = genome.chance(32) and K.MEM_OFFS not in form.operands
        segment = genome.choose((Register.FS, Register.GS)) if genome.chance(48) else Register.NONE
        size = MemorySizeExt.size(raw.memory_size)
        if form.string:
            self.place_strings(segment, size)
        for position, kind in enumerate(form.operands):
            self.place_operand(position, kind)
        target = self.target(size)
        if not form.string:
            self.place_memory(segment, target, size)
        raw.has_lock_prefix = form.lockable and raw.op0_kind == OpKind.MEMORY and genome.chance(64)
        encoder = Encoder(64)
        try:
            length = encoder.encode(raw, CODE)
        except ValueError:
            return None
        code = encoder.take_buffer()
        assert length == len(code)
        case = Case(form.name, code, self.registers, genome.number(2) & FLAGS | 2, **self.bases)
        if not canonical(case.linear()) or (case.insn.stack_bytes and not canonical(case.registers[RSP])):
            return None  # which without paging is not looked at
        self.fill(case, target, size)
        return case

    def target(self, size: int) -> int:
        """Where the operand lies: in the device, across one of its ends, in memory, or nowhere."""
        genome = self.genome
        kind = genome.number() % 16
        if kind == 15:
            return DATA + genome.number(2) % (PAGE - size)
        if kind == 14:
            return NOWHERE + genome.number()
        if kind == 13:
            return DEVICE - size + genome.number() % (size + 1)
        if kind == 12:
            return DEVICE + PAGE - genome.number() % (size + 1)
        at = DEVICE + 0x400 + genome.number(2) % 0x800
        return at if kind > 8 else at & ~(size - 1)

    def place_operand(self, position: int, kind: int) -> None:
        genome, raw = self.genome, self.raw
        if kind in REGISTERS:
            first, count = REGISTERS[kind]
            raw.set_op_kind(position, OpKind.REGISTER)
            raw.set_op_register(position, first + genome.number() % count)
        elif kind in IMMEDIATES:
            op_kind, size, negative = IMMEDIATES[kind]
            value = genome.number(size) if size else 1
            if negative and value >> 8 * size - 1:
                value -= 1 << 8 * size
            raw.set_op_kind(position, op_kind)
            (raw.set_immediate_i32 if negative else raw.set_immediate_u32)(position, value)
        elif kind in STRINGS:
            raw.set_op_kind(position, STRINGS[kind][self.short])
        elif kind in MEMORY or kind == K.MEM_OFFS:
            raw.set_op_kind(position, OpKind.MEMORY)

    def place_strings(self, segment: Any, size: int) -> None:
        genome, raw, registers = self.genome, self.raw, self.registers
        raw.has_rep_prefix = genome.chance(160)
        raw.has_repne_prefix = not raw.has_rep_prefix and genome.chance(128)
        if self.form.name.startswith(("MOVS", "LODS", "STOS")) and raw.has_repne_prefix:
            raw.has_repne_prefix = False  # not one that is defined
        registers[RCX] = genome.number() % 7
        registers[RSI], registers[RDI] = (self.target(size) for _ in range(2))
        if K.SEG_RSI in self.form.operands and segment != Register.NONE:
            raw.segment_prefix = segment
            self.bases[SEGMENTS[segment]] = base = self.value() & 0xFFF_FFFF
            registers[RSI] += -base & (0xFFFF_FFFF if self.short else MASK_64)
            if registers[RSI] > (0xFFFF_FFFF if self.short else MASK_64):
                self.bases[SEGMENTS[segment]], registers[RSI] = 0, registers[RSI] + base & MASK_64
        if self.short:
            for register in (RSI, RDI, RCX):
                registers[register] = registers[register] & 0xFFFF_FFFF | genome.number(4) << 32

    def place_memory(self, segment: Any, target: int, size: int) -> None:
        """Registers, displacement and segment base that lead to `target`."""
        genome, raw, mask = self.genome, self.raw, 0xFFFF_FFFF if self.short else MASK_64
        raw.segment_prefix = segment
        moffs = K.MEM_OFFS in self.form.operands
        mode = "moffs" if moffs else genome.choose(("base", "base", "both", "both", "index", "absolute", "rip"))
        displacement = genome.choose((0, genome.number() - 128, genome.number(4) - (1 << 31)))
        offset = target
        if segment != Register.NONE:
            offset = genome.number(4) & 0x3FFF_FFFF if mode in ("absolute", "rip") or self.short else self.value()
            self.bases[SEGMENTS[segment]] = target - offset & MASK_64
        first = Register.EAX if self.short else Register.RAX
        base, index, scale = genome.number() % 16, genome.number() % 16, 1 << genome.number() % 4
        if mode in ("absolute", "rip", "moffs"):
            displacement = offset
            if mode == "rip":
                raw.memory_base = Register.EIP if self.short else Register.RIP
        elif mode == "base":
            raw.memory_base = first + base
            self.lead(base, offset - displacement - self.popped(base, size), mask)
        elif index != RSP and (mode == "index" or index != base):
            raw.memory_index, raw.memory_index_scale = first + index, scale
            self.address_registers.add(index)
            if mode == "index":
                displacement += (offset - displacement) % scale
                self.lead(index, ((offset - displacement) & mask) // scale, mask)
            else:
                raw.memory_base = first + base
                sum_of_others = displacement + self.registers[index] * scale + self.popped(base, size)
                self.lead(base, offset - sum_of_others, mask)
        else:
            raw.memory_base = first + base
            self.lead(base, offset - displacement - self.popped(base, size), mask)
        raw.memory_displacement = displacement & mask
        if mode in ("absolute", "rip", "moffs") or not -128 <= displacement < 128:
            raw.memory_displ_size = 4 if self.short else 8
        else:
            raw.memory_displ_size = int(displacement != 0)
        self.tame_bit_offset()

    def popped(self, base: int, size: int) -> int:
        return size if self.form.name.startswith("POP_") and base == RSP else 0

    def lead(self, register: int, value: int, mask: int) -> None:
        self.address_registers.add(register)
        self.registers[register] = value & mask | self.genome.number(4) << 32 & ~mask

    def tame_bit_offset(self) -> None:
        """A bit offset that stays within the pages, but for one in eight, and below 2**47."""
        if not self.form.name.startswith("BT"):
            return
        wide = self.genome.chance(32)
        register = self.raw.op1_register
        number = (register - Register.AX) % 16
        if self.raw.op1_kind == OpKind.REGISTER and number not in self.address_registers:
            offset = self.genome.number(6) - (1 << 47) if wide else (self.genome.number(2) - 0x8000) // 2
            self.registers[number] = offset & MASK_64

    def fill(self, case: Case, target: int, size: int) -> None:
        """Noise everywhere, and at the operand what makes a difference there."""
        noise, genome = self.noise, self.genome
        data, stack = bytearray(noise.randbytes(3 * PAGE)), bytearray(noise.randbytes(PAGE))
        case.vectors = [noise.getrandbits(128) for _ in range(16)]
        planted = self.planted(size)
        if planted is not None and target >= DATA and target + size <= DATA_END:
            data[target - DATA : target - DATA + size] = planted.to_bytes(size, "little")
        if self.form.string and genome.chance(128):  # long runs of equal elements
            data[:] = bytes(data[:size]) * (len(data) // size)
        case.data, case.stack = bytes(data), bytes(stack)

    def planted(self, size: int) -> int | None:
        genome, mask = self.genome, (1 << 8 * size) - 1
        if self.form.name.startswith(("CALL", "JMP")):
            return TARGET + genome.number() if genome.chance(240) else 1 << 47
        if self.form.name.startswith("CMPXCHG") and genome.chance(128):
            pair = self.form.name.startswith(("CMPXCHG8B", "CMPXCHG16B"))
            half = 4 * size if pair else 8 * size
            low = self.registers[0] & (1 << half) - 1
            return low | (self.registers[2] & (1 << half) - 1) << half if pair else low
        return self.value() & mask if genome.chance(128) else None
