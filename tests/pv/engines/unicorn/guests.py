"""Guests for the core's processor side: code at fixed addresses, descriptor tables written by the host.

A trap guest has a GDT, an IDT whose every gate ends the guest with its vector as status, and a TSS. A paravirtual
one has a trap table that does the same. What an event left on the stack is read where RSP then stands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, Self

from keystone import KS_ARCH_X86, KS_MODE_64, Ks

from pv.dispatch import DispatchTable, Row, Shape
from pv.exits import Reason, Reply, stop
from pv.machine import Machine
from pv.outcome import Outcome

GDT, IDT, TSS, LDT = 0x2000, 0x3000, 0x4000, 0x6800  # what they hold ends before 0x7000
KERNEL_STACK, IST1, IST2, USER_STACK = 0x8000, 0x9000, 0xA000, 0xC000  # tops; each has a page
BOOT_STACK: Final = 0x80000
TABLES, TABLES_END = 0x10000, 0x7C000  # the loader's page tables
CODE, STUBS, USER, DATA, IMAGE_END = 0x100000, 0x110000, 0x120000, 0x130000, 0x140000
STUB_BYTES: Final = 16

KERNEL_CS, KERNEL_SS, USER_SS, USER_CS = 0x08, 0x10, 0x1B, 0x23
TSS_SELECTOR, LDT_SELECTOR = 0x28, 0x38
CONFORMING, ABSENT_DATA, ABSENT_CODE, EXECUTE_ONLY, READ_ONLY, CODE_32, BASED, CODE_DPL1, USER_BASED, LOW_DATA = (
    0x48, 0x50, 0x58, 0x60, 0x68, 0x70, 0x78, 0x80, 0x88, 0x90
)  # fmt: skip
BEYOND: Final = 0x98  # the first selector past the GDT's limit

IF, TF, NT, AC, ID, ALWAYS = 1 << 9, 1 << 8, 1 << 14, 1 << 18, 1 << 21, 1 << 1
RF: Final = 1 << 16
IOPL3: Final = 3 << 12

DE, DB, BP, UD, NM, DF, TS, NP, SS, GP, PF = 0, 1, 3, 6, 7, 8, 10, 11, 12, 13, 14
EXCEPTION, SOFTWARE = "EXCEPTION_NMI", "SOFTWARE_INTERRUPT"
END: Final = {("IO_INSTRUCTION", "port 0xf4 write"): 1}  # how a trap guest ends
PV_END: Final = {("VMCALL", "exit"): 1}
FILLS: Final = (EXCEPTION, "#PF")

Kinds = Mapping[tuple[str, str], int]


@cache
def assemble(text: str, at: int = CODE) -> bytes:
    """Machine code of Intel-syntax `text` at linear address `at`."""
    code, _ = Ks(KS_ARCH_X86, KS_MODE_64).asm(text, at, as_bytes=True)
    assert code, f"nothing assembled: {text}"
    return bytes(code)


def segment(access: int, *, base: int = 0, limit: int = 0xFFFFF, long: bool = False, big: bool = False) -> int:
    """A descriptor of 8 bytes; access is its byte 5. The granularity is 4 KiB."""
    flags = 0x8 | (0x2 if long else 0) | (0x4 if big else 0)
    return (
        limit & 0xFFFF
        | (base & 0xFFFFFF) << 16
        | access << 40
        | (limit >> 16 & 0xF) << 48
        | flags << 52
        | (base >> 24 & 0xFF) << 56
    )


def system_segment(kind: int, base: int, limit: int) -> tuple[int, int]:
    """The 16 bytes of a TSS (9) or LDT (2) descriptor."""
    low = limit & 0xFFFF | (base & 0xFFFFFF) << 16 | (0x80 | kind) << 40 | (base >> 24 & 0xFF) << 56
    return low, base >> 32


GDT_WORDS: Final = (
    0, segment(0x9B, long=True), segment(0x93, big=True), segment(0xF3, big=True), segment(0xFB, long=True),
    *system_segment(9, TSS, 0x67), *system_segment(2, LDT, 0x1F),
    segment(0x9F, long=True), segment(0x13, big=True), segment(0x1B, long=True), segment(0x99, long=True),
    segment(0x91, big=True), segment(0x9B, big=True), segment(0x92, base=0x12345000, big=True),
    segment(0xBB, long=True), segment(0xF2, base=0x54321000, big=True), segment(0xB3, big=True),
)  # fmt: skip


class Frame(NamedTuple):
    """What an event pushed, lowest address first."""

    error: int | None
    rip: int
    cs: int
    rflags: int
    rsp: int
    ss: int


def gate(
    rip: int, *, selector: int = KERNEL_CS, kind: int = 14, dpl: int = 0, ist: int = 0, present: bool = True
) -> bytes:
    """A gate of 16 bytes; kind 14 is an interrupt gate, 15 a trap gate."""
    low = rip & 0xFFFF | selector << 16 | ist << 32 | kind << 40 | dpl << 45 | present << 47
    return struct.pack("<QQ", low | (rip >> 16 & 0xFFFF) << 48, rip >> 32)


class Guest:
    """A machine with a guest of `pieces` (address: assembly or bytes), and `code` at CODE. Close it."""

    technique = ""

    def __init__(self, code: str | bytes, pieces: Mapping[int, str | bytes] | None = None, **options: Any) -> None:
        image = bytearray(IMAGE_END - CODE)
        for vector in range(256):
            at = STUBS + STUB_BYTES * vector
            self.put(image, at, assemble(self.stub(vector), at))
        for at, piece in {CODE: code, **(pieces or {})}.items():
            self.put(image, at, piece if isinstance(piece, bytes) else assemble(piece, at))
        options = {"memory": "4MiB", "technique": self.technique, "plugins": False, **options}
        self.machine = Machine(**options)
        self.machine.load(bytes(image))
        self.vcpu = self.machine.vcpu
        self.memory = self.machine.memory

    @staticmethod
    def put(image: bytearray, at: int, code: bytes) -> None:
        image[at - CODE : at - CODE + len(code)] = code

    @staticmethod
    def stub(vector: int) -> str:
        raise NotImplementedError

    def run(self, timeout: float = 20, max_exits: int | None = 100_000) -> Outcome:
        return self.machine.run(timeout=timeout, max_exits=max_exits)

    def answer(self, *rows: Row) -> None:
        """Bind the machine's table again with these rows in place of those of the same reason and shape."""
        claimed = {(row.reason, row.shape) for row in rows}
        self.vcpu.bind(
            DispatchTable([*(row for row in self.machine.table if (row.reason, row.shape) not in claimed), *rows])
        )

    def word(self, gpa: int, size: int = 8) -> int:
        return self.memory.read_uint(gpa, size)

    def frame(self, *, error: bool = False, at: int | None = None) -> Frame:
        """The frame at RSP (or `at`), which the stub that ended the guest has left alone."""
        at = self.vcpu.rsp if at is None else at
        words = struct.unpack("<6Q", self.memory.read(at, 48))
        return Frame(words[0], *words[1:]) if error else Frame(None, *words[:5])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.close()


class TrapGuest(Guest):
    """Under trap: CPL 3 may use every page, so that tables decide who may do what."""

    technique = "trap"

    def __init__(self, code: str | bytes, pieces: Mapping[int, str | bytes] | None = None, **options: Any) -> None:
        super().__init__(code, pieces, **options)
        virtual = self.vcpu.virtual
        entries = struct.unpack(f"<{(TABLES_END - TABLES) // 8}Q", self.memory.read(TABLES, TABLES_END - TABLES))
        for at, entry in zip(range(TABLES, TABLES_END, 8), entries, strict=True):
            if entry & 1:
                self.memory.write_uint(at, 8, entry | 4)
        self.memory.write(GDT, struct.pack(f"<{len(GDT_WORDS)}Q", *GDT_WORDS))
        self.memory.write(LDT, struct.pack("<4Q", 0, segment(0x93, big=True), segment(0x92, base=0x777000), 0))
        for vector in range(256):
            self.gate(vector)
        self.memory.write_uint(TSS + 4, 8, KERNEL_STACK)
        self.memory.write_uint(TSS + 36, 8, IST1)
        self.memory.write_uint(TSS + 44, 8, IST2)
        self.memory.write_uint(TSS + 102, 2, 0x68)
        virtual.gdt_base, virtual.gdt_limit = GDT, len(GDT_WORDS) * 8 - 1
        virtual.idt_base, virtual.idt_limit = IDT, 0xFFF
        virtual.tr_selector, virtual.tr_base, virtual.tr_limit = TSS_SELECTOR, TSS, 0x67

    @staticmethod
    def stub(vector: int) -> str:
        return f"mov al, {vector}; out 0xf4, al"

    def gate(self, vector: int, rip: int | None = None, **fields: Any) -> None:
        """Write one gate; without `rip`, to the stub that ends the guest."""
        rip = STUBS + STUB_BYTES * vector if rip is None else rip
        self.memory.write(IDT + 16 * vector, gate(rip, **fields))

    def page_entry(self, gva: int) -> int:
        """gpa of the 4 KiB page's entry in the loader's tables."""
        table: int = self.vcpu.virtual.cr3
        for level in (3, 2, 1):
            entry = self.word(table + (gva >> 12 + 9 * level & 511) * 8)
            assert entry & 0x81 == 1, "mapped by no 4 KiB page"
            table = entry & 0xFFFFFFFFF000
        return table + (gva >> 12 & 511) * 8

    def protect(self, gva: int, *, clear: int = 0, put: int = 0) -> None:
        """Change bits of a page's entry before the guest runs."""
        at = self.page_entry(gva)
        self.memory.write_uint(at, 8, self.word(at) & ~clear | put)


class ParavirtGuest(Guest):
    """Under paravirt: the image and the user stack belong to CPL 3 as well; every vector ends the guest."""

    technique = "paravirt"

    def __init__(self, code: str | bytes, pieces: Mapping[int, str | bytes] | None = None, **options: Any) -> None:
        super().__init__(code, pieces, **{"plugins": True, **options})
        for vector in range(256):
            self.trap(vector)
        self.vcpu.set_kernel_stack(KERNEL_STACK)
        self.vcpu.tables.map(0, CODE, CODE, (IMAGE_END - CODE) >> 12, 15)
        self.vcpu.tables.map(0, USER_STACK - 0x1000, USER_STACK - 0x1000, 1, 7)

    @staticmethod
    def stub(vector: int) -> str:
        return f"mov edi, {vector}; mov eax, 0x1003; vmcall"

    def trap(self, vector: int, rip: int | None = None, flags: int = 4) -> None:
        """Set one entry of the trap table; without `rip`, to the stub that ends the guest."""
        self.vcpu.set_trap(vector, STUBS + STUB_BYTES * vector if rip is None else rip, flags)


def to_user(rip: int = USER, flags: int = ALWAYS | IF, cs: int = USER_CS, ss: int = USER_SS) -> str:
    """An IRETQ frame for CPL 3."""
    return (
        f"mov rax, {ss}; push rax; mov rax, {USER_STACK}; push rax; mov rax, {flags}; push rax; "
        f"mov rax, {cs}; push rax; mov rax, {rip}; push rax; "
    )


IRETQ: Final = "iretq;"
PV_RETURN: Final = "push rax; mov eax, 0x1044; vmcall;"  # RAX, then the frame, are what it pops


class Ports:
    """One device on every port: what was written, and what is to be read. A write to 0xf4 ends the guest.

    on_write, on_read: called on each access to a port other than 0xf4, with (port, size).
    """

    def __init__(self, guest: Guest, value: int = 0) -> None:
        self.value = value
        self.written: list[tuple[int, int, int]] = []
        self.read: list[tuple[int, int]] = []
        self.on_write: Callable[[int, int], Reply | None] = lambda _port, _size: None
        self.on_read: Callable[[int, int], Reply | None] = lambda _port, _size: None
        guest.answer(
            Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, self._read, "test", "ports", Shape.READ),
            Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, self._write, "test", "ports", Shape.WRITE),
        )

    def _read(self, port: int, size: int) -> int | Reply:
        self.read.append((port, size))
        return self.on_read(port, size) or self.value

    def _write(self, port: int, size: int, value: int) -> Reply | None:
        if port == 0xF4:
            return stop(value & 0xFF)
        self.written.append((port, size, value))
        return self.on_write(port, size)


class Interrupts:
    """An interrupt source: raise_(vector) makes one pending, and the engine takes it when it can."""

    def __init__(self, guest: Guest) -> None:
        self.pending: list[int] = []
        self.request = guest.vcpu.request_interrupt
        guest.vcpu.set_interrupt_source(self.acknowledge)

    def raise_(self, vector: int = 0x20) -> None:
        self.pending.append(vector)
        self.request()

    def acknowledge(self) -> int:
        return self.pending.pop(0) if self.pending else -1
