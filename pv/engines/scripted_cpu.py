"""The processor beneath the scripted engine: registers, memory, and a note of every act it is told to do.

There is no execution and no translation: linear addresses are guest-physical. What a handler has a real processor
do (load a segment, return from an interrupt, map a page) is appended to `done` as (name, arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from guest_sdk import abi
from pv.devices.interrupt_queue import PlainQueue
from pv.engines.base import GENERAL_REGISTERS, GuestFault
from pv.exits import Exit, GuestCallError, GuestError, Reason
from pv.memory import GuestMemory

MASK: Final = (1 << 64) - 1
PAGE_FAULT: Final = 14
CODE_SEGMENT: Final = 1
Done = list[tuple[str, tuple[Any, ...]]]


@dataclass(slots=True)
class VirtualRecord:
    """VirtualCpu, as a plain record."""

    cr0: int = 0x80000011  # PE, ET, PG
    cr2: int = 0
    cr3: int = 0
    cr4: int = 0x20  # PAE
    cr8: int = 0
    efer: int = 0xD01  # SCE, LME, LMA, NXE
    interrupt_flag: bool = False
    iopl: int = 0
    gdt_base: int = 0
    gdt_limit: int = 0
    idt_base: int = 0
    idt_limit: int = 0
    ldt_selector: int = 0
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


class Recorder:
    """Any method may be called on it: it notes (prefix.name, arguments) in `done` and answers 0."""

    def __init__(self, prefix: str, done: Done) -> None:
        self._prefix = prefix
        self._done = done
        self.active = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("_"):
            raise AttributeError(name)

        def note(*arguments: Any) -> int:
            self._done.append((f"{self._prefix}.{name}", arguments))
            return 0

        return note


class NotedCpu:
    """The state view of a vcpu over plain attributes.

    injected: (vector, error code) of every event that the guest would get. done: what handlers had it do.
    """

    rax: int
    rcx: int
    rdx: int
    rbx: int
    rsp: int
    rbp: int
    rsi: int
    rdi: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int

    def __init__(self, memory: GuestMemory) -> None:
        self.memory = memory
        self.injected: list[tuple[int, int | None]] = []
        self.done: Done = []
        for name in GENERAL_REGISTERS:
            setattr(self, name, 0)
        self.vectors = [0] * 16
        self.rflags = 2
        self.fs_base = 0
        self.gs_base = 0
        self.rip = abi.LOAD_FIRST
        self.exit: Any = Exit(Reason.VMCALL)
        self.virtual: Any = VirtualRecord()
        self.native: Any = Recorder("native", self.done)
        self.tables: Any = Recorder("tables", self.done)
        self.shadow: Any = Recorder("shadow", self.done)
        self.interrupt_queue = PlainQueue()

    @property
    def cpl(self) -> int:
        return int(self.exit.cpl)

    def get(self, register: int) -> int:
        return int(getattr(self, GENERAL_REGISTERS[register]))

    def set(self, register: int, value: int) -> None:
        setattr(self, GENERAL_REGISTERS[register], value & MASK)

    def xmm(self, register: int) -> int:
        return self.vectors[register]

    def set_xmm(self, register: int, value: int) -> None:
        self.vectors[register] = value & (1 << 128) - 1

    def jump(self, rip: int) -> None:
        self.rip = rip

    def selector(self, segment: int) -> int:
        return abi.SELECTORS["KERNEL_CS"] if segment == CODE_SEGMENT else 0

    def describe_apic(self, mode: int, svr: int, ldr: int, dfr: int, timer_vector: int) -> None:
        self.done.append(("describe_apic", (mode, svr, ldr, dfr, timer_vector)))

    def read_linear(self, gva: int, size_bytes: int, *, write: bool = False) -> bytes:
        try:
            return self.memory.read(gva, size_bytes)
        except GuestError:
            raise GuestFault(PAGE_FAULT, 2 * write) from None

    def write_linear(self, gva: int, data: bytes) -> None:
        self.read_linear(gva, len(data), write=True)
        self.memory.write(gva, data)

    def translate(self, gva: int, *, write: bool = False) -> int:  # noqa: ARG002 (the protocol's)
        return gva

    def write_code(self, gpa: int, data: bytes) -> None:
        self.memory.write(gpa, data)

    def note_write(self, gpa: int, size_bytes: int) -> None:
        """Nothing is translated here."""

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:  # noqa: ARG002 (the protocol's)
        return (0, 0, 0, 0)

    def start_guest_tables(self, rip: int, rsp: int, cr3: int, gdt_base: int, gdt_limit: int) -> None:
        self.rip, self.rsp, self.virtual.cr3 = rip, rsp, cr3
        self.virtual.gdt_base, self.virtual.gdt_limit = gdt_base, gdt_limit

    def start_monitor_tables(self, rip: int, rsp: int, segments: list[tuple[int, int, int]]) -> None:
        self.rip, self.rsp = rip, rsp
        self.done.append(("start_monitor_tables", tuple(segments)))

    def load_segment(self, segment: int, selector: int) -> None:
        self.done.append(("load_segment", (segment, selector)))

    def far_transfer(self, selector: int, rip: int, rsp: int | None = None) -> None:
        self.done.append(("far_transfer", (selector, rip, rsp)))
        self.rip = rip

    def interrupt_return(self) -> None:
        self.done.append(("interrupt_return", ()))

    def system_return(self, operand_bits: int) -> None:
        self.done.append(("system_return", (operand_bits,)))

    def swap_gs(self) -> None:
        self.gs_base, self.virtual.kernel_gs_base = self.virtual.kernel_gs_base, self.gs_base

    def set_task_switched(self, on: bool) -> None:
        self.done.append(("set_task_switched", (on,)))

    def set_trap(self, vector: int, rip: int, flags: int) -> None:
        self.done.append(("set_trap", (vector, rip, flags)))

    def set_kernel_stack(self, rsp: int) -> None:
        self.done.append(("set_kernel_stack", (rsp,)))

    def set_syscall_entry(self, rip: int) -> None:
        self.done.append(("set_syscall_entry", (rip,)))

    def call_guest(self, rip: int, *_arguments: Any) -> Any:
        """Refused: a script has no guest code."""
        raise GuestCallError(f"the scripted engine has no code at {rip:#x} to run")

    def end_call(self, result: int, more: int) -> None:
        """Refused, since no call can be under way."""
        raise GuestError(abi.ERRNO["EPERM"], f"no call of the host's can return {result:#x} and {more:#x}")

    def set_call_return(self, rip: int) -> None:
        self.done.append(("set_call_return", (rip,)))

    def set_clock_page(self, gpa: int) -> None:
        self.done.append(("set_clock_page", (gpa,)))

    def set_event_page(self, gpa: int, upcall_rip: int) -> None:
        self.done.append(("set_event_page", (gpa, upcall_rip)))

    def inject(self, vector: int, error_code: int | None = None) -> None:
        self.injected.append((vector, error_code))
