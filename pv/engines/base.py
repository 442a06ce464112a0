"""What an engine offers: the protocol between the monitor and a virtual processor.

An engine only translates: native event to Exit, Reply to registers. Only the engine moves RIP.
A difference between engines is a value offered here, never an `if` in a caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pv.devices.interrupt_queue import InterruptQueue
from pv.dispatch import DispatchTable
from pv.engines.calling import CallsGuest
from pv.exits import ExitView, StopWhy

GENERAL_REGISTERS = (  # in the order of their encoding
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Latency:
    """Host ns that exits of one kind took in the monitor. buckets[i] counts those in [2**(i/4), 2**((i+1)/4))."""

    count: int
    total_ns: int
    min_ns: int
    max_ns: int
    buckets: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecordedExit:
    """One line of the flight record: registers as they were when the exit was taken."""

    number: int
    reason: int
    key: int
    rip: int
    rflags: int
    cpl: int
    registers: tuple[int, ...]  # in the order of GENERAL_REGISTERS
    code: bytes  # what stands at rip now, up to 15 bytes


class VirtualCpu(Protocol):
    """The privileged state that the guest believes in. The engine reads it when it delivers events.

    interrupt_flag and iopl are RFLAGS.IF and IOPL as the guest sees them: its real IF stays 1.
    Selectors of gdtr/idtr are (base, limit); ldtr and tr are (selector, base, limit).
    star, lstar, cstar, fmask, kernel_gs_base and tsc_aux are the MSRs; tsc_offset is in ticks of 1 ns.
    """

    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    efer: int
    interrupt_flag: bool
    iopl: int
    gdt_base: int
    gdt_limit: int
    idt_base: int
    idt_limit: int
    ldt_selector: int
    ldt_base: int
    ldt_limit: int
    tr_selector: int
    tr_base: int
    tr_limit: int
    star: int
    lstar: int
    cstar: int
    fmask: int
    kernel_gs_base: int
    tsc_offset: int
    tsc_aux: int


class Tables(Protocol):
    """Page tables that the monitor owns (paravirt): roots are small integers, 0 the boot space.

    flags are abi.MAP_FLAGS. Each raises GuestError: EINVAL for a bad root, alignment or address that is not
    canonical or for no pages, E2BIG for more than 2**20 pages, EFAULT for a gpa outside memory, ENOMEM when the pool is
    used up.
    """

    def create(self) -> int: ...
    def destroy(self, root: int) -> None: ...
    def activate(self, root: int) -> None: ...
    @property
    def active(self) -> int: ...
    def map(self, root: int, gva: int, gpa: int, pages: int, flags: int) -> int: ...
    def unmap(self, root: int, gva: int, pages: int) -> int: ...
    def lookup(self, root: int, gva: int) -> tuple[int, int] | None: ...


class Shadow(Protocol):
    """Shadow page tables (trap): the processor's tables, filled from the guest's on demand."""

    def load(self, cr3: int) -> None: ...
    def invalidate(self, gva: int) -> None: ...
    def flush(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...


# A block of the translation cache: rip, guest code there, address and code of the cache; then by instruction of the
# cache (offset in it, offset in the guest's or -1, what RSP lacks), its links (stub, target, offset of what is patched
# or -1, whether chained), and whether it checks its source.
Translated = tuple[int, bytes, int, bytes, list[tuple[int, int, int]], list[tuple[int, int, int, bool]], bool]


class RingState(Protocol):
    """Where the monitor stands in a ring of calls: abi's `ring`, whose own copies of these are never read back.

    left: calls that could have been made and were not, since run() is to end.
    """

    gpa: int
    entries: int
    submit_head: int
    complete_tail: int
    left: int


class Vcpu(CallsGuest, Protocol):
    """One virtual processor. General registers are properties of their name, 64-bit unsigned.

    fs_base and gs_base are the live segment bases. rip and cpl are read-only: cpl is the processor's own (1 or 3).
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
    rflags: int  # as the guest sees it: IF and IOPL virtual
    fs_base: int
    gs_base: int
    exit: ExitView
    virtual: VirtualCpu
    tables: Tables
    shadow: Shadow
    interrupt_queue: InterruptQueue  # the registers of the local APIC that a processor may change by itself

    @property
    def rip(self) -> int: ...
    @property
    def cpl(self) -> int: ...
    def get(self, register: int) -> int:
        """A general register by its encoding, 0-15."""
        ...

    def set(self, register: int, value: int) -> None: ...
    def xmm(self, register: int) -> int:
        """An XMM register, 0-15, 128-bit unsigned."""
        ...

    def set_xmm(self, register: int, value: int) -> None: ...
    def jump(self, rip: int) -> None:
        """Near JMP: where the guest is to go on, for an exit that is answered AGAIN. Raises GuestFault (#GP)."""
        ...

    def selector(self, segment: int) -> int:
        """The visible selector of ES CS SS DS FS GS (0-5)."""
        ...

    def load_segment(self, segment: int, selector: int) -> None:
        """Load ES SS DS FS GS from the guest's own GDT, as the processor would at the guest's privilege.

        Raises GuestFault with the vector and error code that the guest must get.
        """
        ...

    def far_transfer(self, selector: int, rip: int, rsp: int | None = None, ss: int | None = None) -> None:
        """Far JMP or RET within the guest's privilege; with rsp and ss, RET outward. Raises GuestFault."""
        ...

    def interrupt_return(self) -> None:
        """IRETQ: pop RIP CS RFLAGS RSP SS from the guest's stack. Raises GuestFault."""
        ...

    def system_return(self, operand_bits: int) -> None:
        """SYSRET to CPL 3 by STAR. Raises GuestFault."""
        ...

    def swap_gs(self) -> None: ...
    def read_linear(self, gva: int, size_bytes: int, *, write: bool = False) -> bytes:
        """Copy guest memory by linear address, at the guest's privilege. Raises GuestFault (#PF, #GP)."""
        ...

    def write_linear(self, gva: int, data: bytes) -> None: ...
    def translate(self, gva: int, *, write: bool = False) -> int:
        """The gpa of memory or a device that the guest's own tables map `gva` to, at its privilege.

        Raises GuestFault; where neither is, the run ends with a line that says so, and the guest gets no fault.
        """
        ...

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """EAX EBX ECX EDX of the processor beneath, without what the monitor hides."""
        ...

    def set_task_switched(self, on: bool) -> None:
        """Make FPU use raise #NM, or not (CR0.TS)."""
        ...

    def write_code(self, gpa: int, data: bytes) -> None:
        """Write guest memory that may hold translated code."""
        ...

    def note_write(self, gpa: int, size_bytes: int) -> None:
        """Guest memory was written past the vcpu: forget what was translated from there. Raises GuestError(EFAULT)."""
        ...

    def bind(self, table: DispatchTable) -> None: ...
    def inject(self, vector: int, error_code: int | None = None) -> None: ...
    def set_interrupt_source(self, acknowledge: Callable[[], int]) -> None:
        """Who names the vector when an interrupt can be taken: acknowledge() -> vector, or -1 for none."""
        ...

    def request_interrupt(self) -> None:
        """An interrupt is pending: acknowledge() will be asked at the first moment the guest can take one."""
        ...

    def withdraw_interrupt(self) -> None:
        """What was pending fell before the guest took it: it wakes no guest that sleeps."""
        ...

    def describe_apic(self, mode: int, svr: int, ldr: int, dfr: int, timer_vector: int) -> None:
        """Tell the processor what APIC virtualization needs to know of the chip: pv.devices.local_apic.Describe."""
        ...

    def set_trap(self, vector: int, rip: int, flags: int) -> None:
        """One entry of the paravirtual trap table; rip 0 removes it."""
        ...

    def set_kernel_stack(self, rsp: int) -> None: ...
    def set_syscall_entry(self, rip: int) -> None: ...
    def call(self, number: int, arguments: tuple[int, ...]) -> int:
        """Make one hypercall from inside another (multicall): same table, same checks, counted in calls();
        -EINVAL, uncounted, where it is not batchable."""
        ...

    def call_batch(self, entries_gpa: int, count: int) -> int:
        """Make the calls of an array of abi's multicall_entry, copied in once; each result goes to its entry.

        One that is not batchable gets -EINVAL, one that comes when run() is to end -EAGAIN. Raises GuestError(EFAULT)
        unless all entries are inside memory.
        """
        ...

    def call_ring(self, ring: RingState) -> int:
        """Make the calls that wait in a ring and whose completions have room, for the guest's kernel. The calls made.

        The guest's indices are read once, each call is copied in as its turn comes, and the ring's state is moved on
        even where a handler raises; its call then completes with -EIO. When run() is to end, what is left stays queued.
        Raises GuestError: EINVAL for an index that is impossible, EFAULT for a ring that is not inside memory.
        """
        ...

    # time: a virtual clock that each exit and each skipped idle stretch moves on, never the host's
    @property
    def now_ns(self) -> int: ...
    def set_deadline(self, deadline_ns: int) -> None:
        """When the timer source is next to be called; -1 for never."""
        ...

    def set_timer_source(self, on_deadline: Callable[[], None]) -> None: ...
    def set_clock_page(self, gpa: int) -> None:
        """Keep abi's clock_page up to date at `gpa` on every exit; -1 for none. Raises GuestError(EFAULT)."""
        ...

    def set_event_page(self, gpa: int, upcall_rip: int) -> None:
        """Take the guest's interrupt flag and leave CR2 in abi's event_page at `gpa` (paravirt)."""
        ...

    # what is counted: always on, except the histograms
    def counters(self) -> dict[tuple[int, int], int]:
        """Exits by (reason, key)."""
        ...

    def calls(self) -> dict[int, int]:
        """Hypercalls by number, those inside a multicall included."""
        ...

    def events(self) -> dict[str, int]:
        """What the processor would do by itself and what the monitor did unseen: deliveries, shadow fills ..."""
        ...

    def translation_statistics(self) -> dict[str, int]:
        """What the translation cache did, by name; empty where the technique has none."""
        ...

    def translations(self) -> list[Translated]:
        """The blocks that are in the translation cache, by rip."""
        ...

    def time_exits(self, on: bool) -> None: ...
    def latencies(self) -> dict[tuple[int, int], Latency]: ...
    def flight_record(self) -> list[RecordedExit]:
        """The last 64 exits, oldest first."""
        ...

    def run(self, max_exits: int, timeout_ns: int) -> tuple[StopWhy, int, str]:
        """Run until something ends it: why, exit status, and one line of detail. 0 means no limit for either.

        A handler's exception leaves here with its own traceback; the guest can be run again.
        """
        ...

    def stop(self, status: int) -> None:
        """Ask a running guest to stop, from any thread: run() returns STOPPED."""
        ...

    def close(self) -> None: ...


class GuestFault(Exception):
    """An exception that belongs to the guest: the engine injects it where the handler was answering."""

    def __init__(self, vector: int, error_code: int | None = None) -> None:
        super().__init__(f"vector {vector}")
        self.vector = vector
        self.error_code = error_code
