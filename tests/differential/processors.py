"""One case, run twice: by the engine on memory, and by the emulator's operation on a device that behaves as memory."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

from unicorn import UC_ARCH_X86, UC_HOOK_INTR, UC_MODE_64, Uc, UcError
from unicorn import x86_const as x86
from unicorn.unicorn_const import (
    UC_ERR_FETCH_UNMAPPED,
    UC_ERR_INSN_INVALID,
    UC_ERR_READ_UNMAPPED,
    UC_ERR_WRITE_UNMAPPED,
)

from pv.devices.bus import Window
from pv.emulate.architecture import GENERAL_PROTECTION, canonical
from pv.emulate.bus import GuestBus
from pv.engines.base import GuestFault
from pv.exits import AGAIN, NEXT
from tests.differential.cases import CODE, DATA, DATA_END, DEVICE, FLAGS, MAPPED, PAGE, STACK, TARGET, Case

PF, UD = 14, 6
HLT: Final = b"\xf4"
GENERAL: Final = tuple(
    getattr(x86, f"UC_X86_REG_{name}")
    for name in ("RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", *(f"R{number}" for number in range(8, 16)))
)
XMM: Final = tuple(getattr(x86, f"UC_X86_REG_XMM{number}") for number in range(16))
UNMAPPED: Final = (UC_ERR_READ_UNMAPPED, UC_ERR_WRITE_UNMAPPED, UC_ERR_FETCH_UNMAPPED)


class After(NamedTuple):
    """What a case left. fault: the vector, or -1; then nothing else counts."""

    fault: int
    rip: int = 0
    rflags: int = 0
    registers: tuple[int, ...] = ()
    vectors: tuple[int, ...] = ()
    data: bytes = b""
    stack: bytes = b""

    def difference(self, other: After) -> str:
        """The first thing that differs, in words; empty for none."""
        for name in self._fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine == theirs or (name != "fault" and self.fault >= 0):
                continue
            if isinstance(mine, int):
                return f"{name} {mine:#x} against {theirs:#x}"
            at = next(i for i, (one, two) in enumerate(zip(mine, theirs, strict=True)) if one != two)
            return f"{name}[{at:#x}] {mine[at]:#x} against {theirs[at]:#x}"
        return ""


class Native:
    """The engine's processor at CPL 0 in 64-bit mode, without paging, with every feature that the table has."""

    def __init__(self) -> None:
        self.engine = Uc(UC_ARCH_X86, UC_MODE_64)
        self.engine.ctl_set_cpu_model(x86.UC_CPU_X86_HASWELL)
        for page in MAPPED:
            self.engine.mem_map(page, PAGE)
        self.engine.mem_write(TARGET, HLT * PAGE)
        self.engine.hook_add(UC_HOOK_INTR, self._interrupt)
        self.fresh = self.engine.context_save()
        self.fault = -1

    def _interrupt(self, engine: Any, vector: int, _data: object) -> None:
        self.fault = vector
        engine.emu_stop()

    def run(self, case: Case) -> After:
        engine = self.engine
        engine.context_restore(self.fresh)  # or a second fault counts as a double fault
        engine.mem_write(CODE, case.code + HLT * 2)
        engine.ctl_remove_cache(CODE, CODE + PAGE)
        engine.mem_write(DATA, case.data)
        engine.mem_write(STACK, case.stack)
        for register, value in zip((*GENERAL, *XMM), (*case.registers, *case.vectors), strict=True):
            engine.reg_write(register, value)
        engine.reg_write(x86.UC_X86_REG_RFLAGS, case.rflags)
        engine.reg_write(x86.UC_X86_REG_FS_BASE, case.fs_base)
        engine.reg_write(x86.UC_X86_REG_GS_BASE, case.gs_base)
        self.fault = -1
        try:
            engine.emu_start(CODE, 0)
        except UcError as error:
            if error.errno in UNMAPPED:
                return After(PF)
            if error.errno == UC_ERR_INSN_INVALID:
                return After(UD)
            raise
        if self.fault >= 0:
            return After(self.fault)
        return After(
            -1,
            engine.reg_read(x86.UC_X86_REG_RIP) - len(HLT),
            engine.reg_read(x86.UC_X86_REG_RFLAGS) & FLAGS,
            tuple(engine.reg_read(register) for register in GENERAL),
            tuple(engine.reg_read(register) for register in XMM),
            bytes(engine.mem_read(DATA, DATA_END - DATA)),
            bytes(engine.mem_read(STACK, PAGE)),
        )


@cache
def native() -> Native:
    return Native()


class PlainCpu:
    """What of pv.engines.base.Vcpu an operation uses, over plain values; linear addresses are guest-physical."""

    def __init__(self, case: Case, features: int = 0xFFFF_FFFF) -> None:
        self.registers, self.vectors, self.features = list(case.registers), list(case.vectors), features
        self.rflags, self.fs_base, self.gs_base, self.rip = case.rflags, case.fs_base, case.gs_base, CODE
        self.pages = {at: bytearray(case.data[at - DATA :][:PAGE]) for at in range(DATA, DATA_END, PAGE)}
        self.pages[STACK] = bytearray(case.stack)
        self.device = self.pages.pop(DEVICE)
        self.cycles = 0
        self.located: dict[int, bool] = {}  # the gva of each piece that was asked for: whether to write it

    def get(self, register: int) -> int:
        return self.registers[register]

    def set(self, register: int, value: int) -> None:
        assert 0 <= value < 1 << 64
        self.registers[register] = value

    def xmm(self, register: int) -> int:
        return self.vectors[register]

    def set_xmm(self, register: int, value: int) -> None:
        assert 0 <= value < 1 << 128
        self.vectors[register] = value

    def jump(self, rip: int) -> None:
        if not canonical(rip):
            raise GuestFault(GENERAL_PROTECTION, 0)
        self.rip = rip

    def cpuid(self, _leaf: int, _subleaf: int) -> tuple[int, int, int, int]:
        return (self.features,) * 4

    def translate(self, gva: int, *, write: bool = False) -> int:
        self.located[gva] = self.located.get(gva, False) or write
        if gva & ~(PAGE - 1) not in MAPPED:
            raise GuestFault(PF, 2 * write)
        return gva

    def read_linear(self, gva: int, size_bytes: int) -> bytes:
        at = gva % PAGE
        return bytes(self.pages[gva - at][at : at + size_bytes])

    def write_linear(self, gva: int, data: bytes) -> None:
        at = gva % PAGE
        self.pages[gva - at][at : at + len(data)] = data

    def read_device(self, offset: int, size: int) -> int:
        assert size in (1, 2, 4, 8)
        self.cycles += 1
        return int.from_bytes(self.device[offset : offset + size], "little")

    def write_device(self, offset: int, size: int, value: int) -> None:
        assert size in (1, 2, 4, 8)
        self.cycles += 1
        self.device[offset : offset + size] = value.to_bytes(size, "little")


def bus_of(cpu: Any) -> GuestBus:
    """Its memory, and the device in the middle of it."""
    return GuestBus(cpu, [Window("test", DEVICE, DEVICE + PAGE - 1, cpu.read_device, cpu.write_device)])


def emulate(case: Case, features: int = 0xFFFF_FFFF) -> tuple[After, PlainCpu]:
    """What the operation leaves, and the processor that it left it in. features: every word of its CPUID."""
    cpu: Any = PlainCpu(case, features)
    insn, bus = case.insn, bus_of(cpu)
    try:
        while True:
            reply = insn.operation(bus, insn)
            if reply is NEXT:
                cpu.rip += insn.length
            if reply is not AGAIN or cpu.rip != CODE:
                break
    except GuestFault as fault:
        return After(fault.vector), cpu
    data = b"".join(bytes(cpu.pages.get(at, cpu.device)) for at in range(DATA, DATA_END, PAGE))
    registers, vectors = tuple(cpu.registers), tuple(cpu.vectors)
    return After(-1, cpu.rip, cpu.rflags & FLAGS, registers, vectors, data, bytes(cpu.pages[STACK])), cpu
