"""Guest code as it is, and translated, on a bare engine at CPL 0: the core's part of translation in a page of Python.

What stands in the cache is executed by the engine; each callout stops it and is answered here. An instruction callout
and a step run the guest's instruction where the guest has it: at CPL 0 that is what the guest would get.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from unicorn import UC_ARCH_X86, UC_HOOK_INSN, UC_MODE_64, Uc, UcError
from unicorn import x86_const as x86

from pv.engines.base import GENERAL_REGISTERS
from pv.translate.block import MOST, STUB, Translation, Translator
from pv.translate.callouts import IN_REGISTER, IS_CALL, SHORT_ADDRESS, Callout, Kind, decode

MASK_64: Final = (1 << 64) - 1
PAGE: Final = 0x1000
LOW, KERNEL, FAR = (
    0x10_0000,
    0xFFFF_FFFF_8100_0000,
    0xFFFF_9000_0010_0000,
)  # where code may be: in reach of disp32 or not
DATA_OFFSET, STACK_OFFSET, REGION = 0x4000, 0x8000, 0xC000  # from where the code is
CACHE, CACHE_BYTES = 0xFFFF_E000_0000_0000, 0x4_0000
TABLES, MEMORY, MEMORY_BYTES = 0x1000, 0x10_0000, 0x10_0000  # gpa: page tables, and what they map
ROOM: Final = 4096
GDT_BASE, GDT_LIMIT, IDT_BASE, IDT_LIMIT = 0xFFFF_FFFF_8765_4321, 0x7F, 0x1234_5678, 0xFFF

GENERAL: Final = tuple(getattr(x86, f"UC_X86_REG_{name.upper()}") for name in GENERAL_REGISTERS)
RSP: Final = 4
RIP, FLAGS = x86.UC_X86_REG_RIP, x86.UC_X86_REG_RFLAGS
CR0, CR4 = 0x8000_0011, 0x620
VISIBLE_FLAGS: Final = 0xCD5  # the status flags and DF


class Faulted(Exception):
    """The engine stopped at an instruction that faulted."""


class State(NamedTuple):
    """What a boundary of the guest's is compared by."""

    rip: int
    registers: tuple[int, ...]
    flags: int
    memory: bytes

    def without_memory(self) -> State:
        return self._replace(memory=b"")


@dataclass
class Virtual:
    """What the engine itself holds, so that original and translated code must show the same."""

    cr0: int = CR0
    cr4: int = CR4
    gdt_base: int = GDT_BASE
    gdt_limit: int = GDT_LIMIT
    idt_base: int = IDT_BASE
    idt_limit: int = IDT_LIMIT
    ldt_selector: int = 0
    tr_selector: int = 0


class Memory:
    """What an engine maps, by linear address: four levels of tables that are filled once."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.free_table, self.free = TABLES + PAGE, MEMORY
        self.pages: dict[int, int] = {}  # linear page number -> gpa
        engine.mem_map(0, MEMORY + MEMORY_BYTES)
        engine.reg_write(x86.UC_X86_REG_CR3, TABLES)
        engine.reg_write(x86.UC_X86_REG_CR4, CR4)
        engine.reg_write(x86.UC_X86_REG_CR0, CR0)

    def map(self, address: int, size: int) -> None:
        for at in range(address, address + size, PAGE):
            table = TABLES
            for shift in (39, 30, 21):
                entry = table + (at >> shift & 511) * 8
                if not self.engine.mem_read(entry, 1)[0]:
                    self.engine.mem_write(entry, (self.free_table | 7).to_bytes(8, "little"))
                    self.free_table += PAGE
                table = int.from_bytes(self.engine.mem_read(entry, 8), "little") & ~0xFFF
            self.engine.mem_write(table + (at >> 12 & 511) * 8, (self.free | 7).to_bytes(8, "little"))
            self.pages[at >> 12] = self.free
            self.free += PAGE

    def _gpa(self, address: int, size: int) -> int:
        """Pages that follow each other do so in memory. Raises Faulted where nothing is mapped."""
        first, last = address >> 12, address + size - 1 >> 12
        if first not in self.pages or last not in self.pages:
            raise Faulted(f"{address:#x}")
        return self.pages[first] + address % PAGE

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.engine.mem_read(self._gpa(address, size), size))

    def write(self, address: int, data: bytes) -> None:
        self.engine.mem_write(self._gpa(address, len(data)), data)


class Bench:
    """One engine with code, data and stack around `base`, and a cache. registers: what a run begins with."""

    def __init__(self, base: int = LOW) -> None:
        self.base, self.data, self.stack = base, base + DATA_OFFSET, base + STACK_OFFSET
        self.engine = Uc(UC_ARCH_X86, UC_MODE_64)
        self.memory = Memory(self.engine)
        self.memory.map(base, REGION)
        self.memory.map(CACHE, CACHE_BYTES)
        self.engine.reg_write(x86.UC_X86_REG_GDTR, (0, GDT_BASE, GDT_LIMIT, 0))
        self.engine.reg_write(x86.UC_X86_REG_IDTR, (0, IDT_BASE, IDT_LIMIT, 0))
        self.engine.hook_add(UC_HOOK_INSN, self._on_syscall, None, 1, 0, x86.UC_X86_INS_SYSCALL)
        self.virtual = Virtual()
        self.cs = self.engine.reg_read(x86.UC_X86_REG_CS)
        self.at_callout = False

    def _on_syscall(self, engine: Any, _user: object) -> None:
        self.at_callout = True
        engine.emu_stop()

    def load(self, code: bytes, registers: tuple[int, ...], flags: int = 2) -> None:
        """Code at `base`, which begins on a page; what ends a run is the address behind the code's pages."""
        self.code = code
        self.engine.ctl_flush_tb()
        self.memory.write(self.base, code.ljust(DATA_OFFSET, b"\xf4"))
        self.memory.write(self.data, bytes(range(256)) * ((REGION - DATA_OFFSET) // 256))
        for register, value in zip(GENERAL, registers, strict=True):
            self.engine.reg_write(register, value)
        self.engine.reg_write(FLAGS, flags)
        self.engine.reg_write(RIP, self.base)

    def state(self, rip: int | None = None, undo: int = 0) -> State:
        registers = [self.engine.reg_read(register) for register in GENERAL]
        registers[RSP] = registers[RSP] + undo & MASK_64
        return State(
            self.engine.reg_read(RIP) if rip is None else rip,
            tuple(registers),
            self.engine.reg_read(FLAGS) & VISIBLE_FLAGS,
            self.memory.read(self.data, REGION - DATA_OFFSET),
        )

    def code_at(self, rip: int, size: int) -> bytes:
        """What was loaded there."""
        return self.code.ljust(DATA_OFFSET, b"\xf4")[rip - self.base :][:size]

    def step(self, rip: int) -> None:
        """One instruction of the engine's. Raises Faulted, the state as before it."""
        self.at_callout = False
        try:
            self.engine.emu_start(rip, 0, 0, 1)
        except UcError as error:
            raise Faulted(str(error)) from None

    def original(self, end: int, most: int = 2000) -> Iterator[State]:
        """The states at every boundary until RIP is `end`; the last one is where it faulted, if it did."""
        for _ in range(most):
            state = self.state()
            yield state
            if state.rip == end:
                return
            try:
                self.step(state.rip)
            except Faulted:
                return
        raise AssertionError(f"no end after {most} instructions")


class Placed(NamedTuple):
    """A block in the cache."""

    at: int
    rip: int
    block: Translation


class Cache:
    """Translated code on a bench, chained as it goes where `chain` says so."""

    def __init__(self, bench: Bench, *, chain: bool = True, checked: bool = False, most: int = MOST) -> None:
        self.bench, self.chain, self.checked, self.most = bench, chain, checked, most
        self.translator = Translator(bench.virtual)
        self.blocks: dict[int, Placed] = {}
        self.free = CACHE
        self.kinds: list[Kind] = []  # the callouts that were made

    def enter(self, rip: int) -> int:
        """The address in the cache where guest address `rip` is translated."""
        placed = self.blocks.get(rip)
        if placed is None:
            source = self.bench.memory.read(rip, PAGE - rip % PAGE)
            block = self.translator.translate(rip, source, ROOM, self.bench.cs, self.checked, self.most)
            if not block.source_bytes:
                source = self.bench.memory.read(rip, 15)
                block = self.translator.translate(rip, source, ROOM, self.bench.cs, True, 1)
            placed = self.blocks[rip] = Placed(self.free, rip, block)
            self.bench.memory.write(self.free, block.code)
            self.free += len(block.code) + 7
        return placed.at

    def find(self, address: int) -> tuple[Placed, int]:
        """The block that `address` in the cache is in, and the index of its entry there."""
        for placed in self.blocks.values():
            if placed.at <= address < placed.at + len(placed.block.code):
                offsets = [offset for offset, _, _ in placed.block.map]
                return placed, bisect_right(offsets, address - placed.at) - 1  # WINDOW is two instructions
        raise AssertionError(f"{address:#x} is in no block")

    def mapped(self, address: int) -> tuple[int, int]:
        """The guest's address, and what RSP lacks, at an instruction of the cache."""
        placed, index = self.find(address)
        offset, guest, undo = placed.block.map[index]
        if guest == STUB:
            return next(target for stub, target, _ in placed.block.links if stub == offset), 0
        return placed.rip + guest & MASK_64, undo

    def run(self, rip: int, end: int, most: int = 20_000) -> Iterator[tuple[State, bool]]:
        """States at every instruction of the cache, mapped; whether one begins there for the guest, too.

        Ends at guest address `end`, or where an instruction faults.
        """
        address, guest = self.enter(rip), -1
        for _ in range(most):
            before, (guest, undo) = guest, self.mapped(address)
            placed, index = self.find(address)
            yield (
                self.bench.state(guest, undo),
                not undo and not (index and placed.block.map[index - 1][1] == placed.block.map[index][1]),
            )
            if guest == end:
                return
            try:
                address = self._advance(address, guest)
            except Faulted:
                return
        raise AssertionError(f"no end after {most} instructions; was at {before:#x}")

    def _advance(self, address: int, guest: int) -> int:
        """Execute one instruction of the cache, or answer a callout. Where it goes on in the cache."""
        bench = self.bench
        bench.step(address)
        if not bench.at_callout:
            rip: int = bench.engine.reg_read(RIP)
            return rip
        callout = decode(bench.memory.read(address, 32))
        assert callout is not None
        self.kinds.append(callout.kind)
        return self._answer(callout, address, guest)

    def _answer(self, callout: Callout, address: int, guest: int) -> int:
        bench, fields, behind = self.bench, callout.fields, address + callout.size
        match callout.kind:
            case Kind.LINK:
                target = self.enter(fields[1])
                if self.chain:
                    self._chain(address, fields[0], target)
                return target
            case Kind.RETURN:
                return self.enter(self._pop(8 + fields[0]))
            case Kind.BRANCH:
                return self.enter(self._branch(fields, guest))
            case Kind.PUSHF:
                self._push(bench.engine.reg_read(FLAGS), fields[0])
                return behind
            case Kind.POPF:
                size = fields[0]
                kept = 0 if size == 8 else bench.engine.reg_read(FLAGS) & ~0xFFFF
                bench.engine.reg_write(FLAGS, kept | self._pop(size) & 0x24_7DD7 | 2)
                return behind
            case Kind.CHECK:
                placed, _ = self.find(address)
                assert bench.memory.read(placed.rip, fields[0]) == bench.code_at(placed.rip, fields[0])
                return behind
        bench.step(guest)  # INSTRUCTION, STEP
        rip: int = bench.engine.reg_read(RIP)
        placed, _ = self.find(address)
        on = any(offset == behind - placed.at for offset, _, _ in placed.block.map)
        return behind if on and self.mapped(behind)[0] == rip else self.enter(rip)

    def _chain(self, stub: int, patch: int, target: int) -> None:
        at, code = (stub + patch, b"") if patch else (stub, b"\xf2\xe9")
        distance = target - (at + len(code) + 4)
        self.bench.memory.write(at, code + distance.to_bytes(4, "little", signed=True))
        self.bench.engine.ctl_flush_tb()  # the engine does not see what the host writes

    def _push(self, value: int, size: int) -> None:
        rsp = self.bench.engine.reg_read(GENERAL[RSP]) - size & MASK_64
        self.bench.memory.write(rsp, (value & (1 << size * 8) - 1).to_bytes(size, "little"))
        self.bench.engine.reg_write(GENERAL[RSP], rsp)

    def _pop(self, released: int) -> int:
        rsp = self.bench.engine.reg_read(GENERAL[RSP])
        value = int.from_bytes(self.bench.memory.read(rsp, min(released, 8)), "little")
        self.bench.engine.reg_write(GENERAL[RSP], rsp + released & MASK_64)
        return value

    def _branch(self, fields: tuple[int, ...], guest: int) -> int:
        flags, base, index, segment, scale, length, displacement = fields
        assert segment == -1, "segments have no base here"
        target: int
        if flags & IN_REGISTER:
            target = self.bench.engine.reg_read(GENERAL[base])
        else:
            address = displacement + (self.bench.engine.reg_read(GENERAL[base]) if base >= 0 else 0)
            address += self.bench.engine.reg_read(GENERAL[index]) * scale if index >= 0 else 0
            address &= 0xFFFF_FFFF if flags & SHORT_ADDRESS else MASK_64
            target = int.from_bytes(self.bench.memory.read(address, 8), "little")
        if flags & IS_CALL:
            self._push(guest + length, 8)
        return target
