"""What an exit is, why it happened, and what a handler may answer.

Values only: nothing here runs a guest. The engine fills an exit, one handler answers with a reply.
Reasons below 0x100 are Intel's basic exit reasons (SDM vol. 3, appendix C). Those from 0x100 on have no
Intel number: they exist because a deprivileged guest traps on more than a processor with VT-x intercepts.
AMD's name stands beside them where the APM (vol. 2, appendix C) has one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from errno import EIO
from typing import Final, Protocol

ERRNO_MOST: Final = 4095


class Reason(enum.IntEnum):
    """Why control passed from the guest to the monitor."""

    EXCEPTION_NMI = 0
    EXTERNAL_INTERRUPT = 1
    TRIPLE_FAULT = 2
    INTERRUPT_WINDOW = 7
    CPUID = 10
    HLT = 12
    INVD = 13
    INVLPG = 14
    RDPMC = 15
    RDTSC = 16
    VMCALL = 18
    CR_ACCESS = 28
    DR_ACCESS = 29
    IO_INSTRUCTION = 30
    MSR_READ = 31
    MSR_WRITE = 32
    MWAIT = 36
    MONITOR = 39
    PAUSE = 40
    GDTR_IDTR = 46
    LDTR_TR = 47
    EPT_VIOLATION = 48
    RDTSCP = 51
    WBINVD = 54
    XSETBV = 55
    INTERRUPT_FLAG = 0x100  # CLI, STI
    IRET = 0x101  # AMD VMEXIT_IRET
    SEGMENT_LOAD = 0x102  # MOV/POP to a segment register, LSS and the like
    FAR_TRANSFER = 0x103  # far JMP, CALL, RET
    SYSCALL = 0x104
    SYSRET = 0x105
    SWAPGS = 0x106
    SOFTWARE_INTERRUPT = 0x107  # INT n, INT3, INTO; AMD VMEXIT_SWINT
    MMIO = 0x108  # an access to a device's page, its gpa the key: #PF under shadow paging, 48 under nested
    SEGMENT_READ = (
        0x109  # MOV from CS or SS, LAR, LSL, VERR, VERW: harmless, but they would show the monitor's segments
    )


class Direction(enum.IntEnum):
    """Which way an access moves its value: bit 0 of the key of CR and DR exits, and of a port's where it is counted."""

    READ = 0
    WRITE = 1


class ReplyKind(enum.IntEnum):
    """What the engine does with the guest after a handler answered."""

    NEXT = 0  # the instruction is done: move RIP past it
    AGAIN = 1  # resume where the state now points
    FAULT = 2  # inject an exception at the instruction
    WAIT = 3  # the instruction is done; sleep until an event
    STOP = 4  # leave run(); the instruction is done
    PANIC = 5  # likewise, and the guest says why it gave up


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a handler. Use the ready-made NEXT, AGAIN, WAIT, or fault(), stop() and panic()."""

    kind: ReplyKind
    vector: int = 0
    error_code: int | None = None
    status: int = 0
    message: str = ""


NEXT: Final = Reply(ReplyKind.NEXT)
AGAIN: Final = Reply(ReplyKind.AGAIN)
WAIT: Final = Reply(ReplyKind.WAIT)


def fault(vector: int, error_code: int | None = None) -> Reply:
    """Inject exception `vector` into the guest, RIP at the instruction that exited."""
    return Reply(ReplyKind.FAULT, vector, error_code)


def stop(status: int) -> Reply:
    """Leave run(): the guest ended with `status` (an exit status, 0-255)."""
    return Reply(ReplyKind.STOP, status=status)


def panic(message: str) -> Reply:
    """Leave run(): the guest gave up, and `message` is what it says of it."""
    return Reply(ReplyKind.PANIC, message=message)


class Decoded(Protocol):
    """A decoded instruction as the engine needs it; pv.emulate makes them."""

    reason: int
    key: int
    length: int


class ExitView(Protocol):
    """An exit as its handler sees it. Valid only while that handler runs: the engine refills it in place.

    key: hypercall number, port, CPUID leaf, MSR index, vector, or CR/DR number * 2 + Direction.
    value: what the guest writes (OUT, WRMSR), unsigned. size: bytes moved. address: gva of a fault.
    Of an MMIO exit: key is the gpa, address the gva, error_code that of the page fault (bit 1: a write).
    length: bytes of the instruction, 0 where it is not known. insn: its decoding, or None.
    """

    reason: int
    key: int
    value: int
    size: int
    address: int
    error_code: int
    length: int
    insn: Decoded | None

    @property
    def rip(self) -> int: ...
    @property
    def cpl(self) -> int: ...


@dataclass(slots=True)
class Exit:
    """An exit made by hand, for handlers under test and for the scripted engine."""

    reason: int
    key: int = 0
    value: int = 0
    size: int = 0
    address: int = 0
    error_code: int = 0
    length: int = 0
    insn: Decoded | None = None
    rip: int = 0
    cpl: int = 1


class GuestError(Exception):
    """The guest asked for something it may not have: becomes a negated errno in its result register.

    Raises ValueError for an errno that is not 1 to 4095: negated, a guest would take it for a result.
    """

    def __init__(self, errno: int, why: str = "") -> None:
        if not 0 < errno <= ERRNO_MOST:
            raise ValueError(f"GuestError({errno}): an errno is 1 to {ERRNO_MOST}, as in GuestError(22) for -EINVAL")
        super().__init__(why or f"errno {errno}")
        self.errno = errno


class GuestCallError(GuestError):
    """A function of the guest could not be called, or did not return what it should.

    A hypercall whose handler lets it pass answers `errno`: EAGAIN where the calls are nested too deep or the run's
    budget was used up in the function, else ENOENT for a function that is not there, and EIO.
    why, status, detail: how the guest ended instead of returning, as in an Outcome; why is None where it did not end.
    """

    def __init__(self, text: str, errno: int = EIO, ended: tuple[StopWhy, int, str] | None = None) -> None:
        super().__init__(errno, text)
        self.why: StopWhy | None = None
        self.status, self.detail = 0, ""
        if ended:
            self.why, self.status, self.detail = ended


class StopWhy(enum.Enum):
    """Why run() returned. The first three are ordinary; the others carry a flight record."""

    EXITED = "exited"  # the guest asked to end, with a status
    HALTED = "halted"  # HLT with nothing that could ever wake it
    MAX_EXITS = "exit budget used up"
    TIMEOUT = "time budget used up"
    SHUTDOWN = "triple fault"
    UNHANDLED = "unhandled exit"
    ESCAPED = "guest kernel reached CPL 0"
    ENGINE_ABORT = "engine abort"
    ENGINE_ERROR = "engine error"
    STOPPED = "stopped by the host"
    PANICKED = "guest panicked"  # the guest gave up, with a message
