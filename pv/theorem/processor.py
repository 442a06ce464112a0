"""The bare processor: Unicorn as it is, no monitor in between, one instruction at a time at any privilege level.

CPL and hidden state are set by patching a saved context and restoring it (pv.theorem.fields). Events come to hooks
before anything is delivered: they are what a monitor would be told. Nothing here knows what an instruction ought to do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import unicorn
from unicorn import x86_const as x86

from pv.engines.unicorn import EngineError  # importing it proves the library to be the one that is known
from pv.memory import GuestMemory
from pv.theorem import ground
from pv.theorem.fields import (
    CODE_64,
    CPL,
    FIELDS,
    FLAGS_HELD,
    IOPL,
    LONG_MODE,
    MSRS,
    SEGMENTS,
    SIZES_32,
    STATE_BYTES,
)

CONTEXT_STATE: Final = 40  # where CPUX86State starts in a saved context
BUFFER_BYTES: Final = 1 << 20  # of translations
DONE: Final = 0xFE  # the vector of the INT that stands where an instruction is to come to
CR0, CR4, EFER = 0x80050033, 0x50624, 0xD01  # CR4: TSD, PAE, PGE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE
ARITHMETIC: Final = 0x8D5
IF, ALWAYS = 1 << 9, 1 << 1
MODELS: Final = {"Haswell": x86.UC_CPU_X86_HASWELL, "EPYC": x86.UC_CPU_X86_EPYC}
"""Processor models by name; the first is the engine's default, which machines of pv.engines run on."""
DEFAULT_MODEL: Final = next(iter(MODELS))

VECTORS: Final = {
    0: "#DE", 1: "#DB", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP", 12: "#SS",
    13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 19: "#XM",
}  # fmt: skip
MARK: Final = 0x1234_5678_9ABC_D000


@dataclass(frozen=True, slots=True)
class Run:
    """What one instruction did.

    event: "runs", a fault's name, "INT n" or "halts". error_code: of a fault.
    state: by the names of FIELDS, and rflags and cpl. ports: what reached a port, "in 0x71" or "out 0x71".
    """

    event: str
    error_code: int
    state: Mapping[str, int]
    ports: tuple[str, ...]

    @property
    def ran(self) -> bool:
        """Whether no fault and no software interrupt called for the monitor."""
        return self.event in ("runs", "halts")


class BareProcessor:
    """An engine of its own on `memory`, which holds a ground. Close it before the memory.

    Raises EngineError where the engine's state does not lie where pv.theorem.fields says.
    """

    def __init__(self, memory: GuestMemory, model: str = DEFAULT_MODEL) -> None:
        self.model: Final = model
        self.port_value = 0x5A
        self._events: list[int] = []
        self._ports: list[str] = []
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, MODELS[model])
        self._uc.ctl_set_tcg_buffer_size(BUFFER_BYTES)
        self._shared: Any = ctypes.c_char.from_buffer(memory.view)
        address = ctypes.addressof(self._shared)
        self._uc.mem_map_ptr(0, memory.size_bytes, unicorn.UC_PROT_ALL, address)
        self._prove()
        self._uc.reg_write(x86.UC_X86_REG_CR4, CR4)
        self._uc.msr_write(0xC0000080, EFER)
        self._uc.reg_write(x86.UC_X86_REG_CR0, CR0)
        self._base = self._saved()
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_event)
        self._uc.hook_add(unicorn.UC_HOOK_INSN, self._on_in, None, 1, 0, x86.UC_X86_INS_IN)
        self._uc.hook_add(unicorn.UC_HOOK_INSN, self._on_out, None, 1, 0, x86.UC_X86_INS_OUT)

    def close(self) -> None:
        """Give the engine back."""
        self._uc = self._shared = None

    def forget_code(self) -> None:
        """Drop what was translated: the code has been written over."""
        self._uc.ctl_flush_tb()

    def run(self, state: Mapping[str, int], *, keep_tlb: bool = False) -> Run:
        """Run the instruction at state["rip"]. state: FIELDS and rflags, over initial_state()."""
        context = self._uc.context_save()
        self._patch(context, state)
        self._uc.context_restore(context)
        if not keep_tlb:
            self._uc.reg_write(x86.UC_X86_REG_CR3, state["cr3"])
        for register, name in ((x86.UC_X86_REG_CR4, "cr4"), (x86.UC_X86_REG_CR0, "cr0")):
            if self._uc.reg_read(register) != state[name]:
                self._uc.reg_write(register, state[name])
        self._events.clear()
        self._ports.clear()
        undefined = False
        try:
            self._uc.emu_start(state["rip"], 0)
        except unicorn.UcError as error:
            undefined = error.errno == unicorn.UC_ERR_INSN_INVALID
            if not undefined:
                raise EngineError(
                    f"the bare processor stopped at {self._uc.reg_read(x86.UC_X86_REG_RIP):#x}: {error}"
                ) from error
        after = self._read()
        return Run(self._event(undefined, after), after["error_code"], after, tuple(self._ports))

    def _event(self, undefined: bool, after: Mapping[str, int]) -> str:
        if undefined:
            return "#UD"
        if not self._events:
            return "halts"
        vector = self._events[0]
        if not after["is_int"]:
            return VECTORS.get(vector, f"vector {vector}")
        return "runs" if vector == DONE else f"INT {vector:#x}"

    def _saved(self) -> bytes:
        return self._bytes_of(self._uc.context_save())

    @staticmethod
    def _bytes_of(context: Any) -> bytes:
        return ctypes.string_at(_address(context), STATE_BYTES)

    def _patch(self, context: Any, state: Mapping[str, int]) -> None:
        blob = bytearray(self._base)
        for name, value in state.items():
            if name in FIELDS:
                field = FIELDS[name]
                blob[field.offset : field.offset + field.size] = value.to_bytes(field.size, "little")
        flags = state["rflags"]
        hflags = int.from_bytes(blob[0xB0:0xB4], "little")
        hflags = hflags & ~(CPL | IOPL) | state["cpl"] | flags & IOPL | LONG_MODE | CODE_64 | SIZES_32
        for name, value in {
            "eflags": flags, "cc_src": flags & ARITHMETIC, "cc_op": FLAGS_HELD, "hflags": hflags,
            "cr0": CR0, "cr4": CR4, "is_int": 0, "error_code": 0,
        }.items():  # fmt: skip
            field = FIELDS[name]
            blob[field.offset : field.offset + field.size] = value.to_bytes(field.size, "little")
        ctypes.memmove(_address(context), bytes(blob), STATE_BYTES)

    def _read(self) -> dict[str, int]:
        blob = self._saved()
        state = {name: int.from_bytes(blob[at : at + size], "little") for name, (at, size) in FIELDS.items()}
        state["cpl"] = state["hflags"] & CPL
        state["rflags"] = self._uc.reg_read(x86.UC_X86_REG_EFLAGS)
        return state

    def _on_event(self, uc: Any, vector: int, _data: object) -> None:
        self._events.append(vector)
        uc.emu_stop()

    def _on_in(self, _uc: Any, port: int, _size: int, _data: object) -> int:
        self._ports.append(f"in {port:#x}")
        return self.port_value

    def _on_out(self, _uc: Any, port: int, _size: int, _value: int, _data: object) -> None:
        self._ports.append(f"out {port:#x}")

    def _prove(self) -> None:
        """Write marks through the engine's API, and find each where FIELDS says. Raises EngineError."""
        marks = {name: MARK + 0x10 * index for index, name in enumerate(MSRS)}
        for name, index in MSRS.items():
            self._uc.msr_write(index, marks[name])
        for register, name in ((x86.UC_X86_REG_CR2, "cr2"), (x86.UC_X86_REG_DR0, "dr0"), (x86.UC_X86_REG_RIP, "rip")):
            marks[name] = MARK + register
            self._uc.reg_write(register, marks[name])
        self._uc.reg_write(x86.UC_X86_REG_GDTR, (0, MARK, 0x77, 0))
        marks |= {"gdtr.base": MARK, "gdtr.limit": 0x77, "sysenter_cs": marks["sysenter_cs"] & 0xFFFF}
        found = self._read()
        wrong = [name for name, mark in marks.items() if found[name] != mark & (1 << 8 * FIELDS[name].size) - 1]
        if wrong:
            raise EngineError(
                f"this Unicorn keeps {', '.join(wrong)} elsewhere; mend it with: pip install unicorn==2.1.4"
            )


def _address(context: Any) -> int:
    """Where a saved context keeps the state."""
    return (ctypes.cast(context.context, ctypes.c_void_p).value or 0) + CONTEXT_STATE


def initial_state(cpl: int, cr3: int) -> dict[str, int]:
    """The processor on its ground at `cpl`, as a monitor sets it: IF set, IOPL 0, its own tables, RIP at CODE."""
    return dict(_initial_state(cpl, cr3))


@cache
def _initial_state(cpl: int, cr3: int) -> Mapping[str, int]:
    state = {name: 0 for name in FIELDS if not name.startswith(("cc_", "eflags", "hflags", "is_int", "error_code"))}
    state |= {name: 0x1111 * (index + 1) for index, name in enumerate(("rax", "rcx", "rdx", "rbx"))}
    for name in SEGMENTS:
        state[f"{name}.limit"] = 0xFFFF_FFFF
        state[f"{name}.flags"] = 0x00CF_9300 | cpl << 13
    state |= {
        "rsp": ground.STACK, "rbx": ground.DATA, "rsi": ground.DATA, "rdi": ground.DATA + 0x100, "rip": ground.CODE,
        "rflags": IF | ALWAYS, "cpl": cpl, "cr0": CR0, "cr3": cr3, "cr4": CR4, "efer": EFER | 1 << 10,
        "cs.selector": ground.CODE_SELECTORS[cpl], "cs.flags": 0x00AF_9B00 | cpl << 13,
        "ss.selector": ground.STACK_SELECTORS[cpl],
        "gdtr.base": ground.GDT, "gdtr.limit": ground.GDT_LIMIT,
        "idtr.base": ground.IDT, "idtr.limit": ground.IDT_LIMIT,
        "tr.selector": ground.TSS_SELECTOR, "tr.base": ground.TSS, "tr.limit": 0x67, "tr.flags": 0x8B00,
        "ldtr.selector": ground.LDT_SELECTOR, "ldtr.base": ground.LDT, "ldtr.limit": 0x1F, "ldtr.flags": 0x8200,
        "star": 0x0020_0008 << 32, "lstar": ground.LANDING, "sysenter_cs": 0x08, "sysenter_eip": ground.LANDING,
        "sysenter_esp": ground.STACK, "kernel_gs_base": 0x7000, "tsc_aux": 5, "xcr0": 3,
        "dr6": 0xFFFF0FF0, "dr7": 0x400,
    }  # fmt: skip
    return state


@contextmanager
def bare_processor(model: str = DEFAULT_MODEL) -> Iterator[tuple[BareProcessor, GuestMemory, int]]:
    """A processor on a ground of its own: it, its memory, and CR3."""
    memory = GuestMemory(ground.MEMORY_BYTES)
    code = ground.image(b"\x90", bytes([0xCD, DONE]), b"")
    boot = ground.lay_ground(memory, code)
    processor = BareProcessor(memory, model)
    try:
        yield processor, memory, boot.cr3
    finally:
        processor.close()
        del processor
        memory.close()
