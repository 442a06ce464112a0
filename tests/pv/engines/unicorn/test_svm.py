"""Guest mode: a guest at its own CPL 0, what the control block has exit, nested paging, the interrupt window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from guest_sdk.abi import MAP_FLAGS
from pv.dispatch import DispatchTable, Row, Shape
from pv.emulate.decode import decode
from pv.engines.unicorn import UnicornVcpu
from pv.exits import AGAIN, NEXT, GuestError, Reason, StopWhy, stop
from pv.loaders import load
from pv.loaders.boot import write_boot_tables
from pv.memory import GuestMemory
from tests.pv.engines.unicorn.guests import CODE, DATA, GP, IDT, IMAGE_END, PF, UD, assemble, gate

CPUID, HLT, INVLPG, MSR, VMMCALL = (1 << code - 0x60 for code in (0x72, 0x78, 0x79, 0x7C, 0x81))
ALL_RIGHTS = sum(MAP_FLAGS.values())
PAGES = 1024


class Seen(NamedTuple):
    reason: Reason
    key: int
    rip: int
    length: int
    mnemonic: str | None = None


class HardwareGuest:
    """A vcpu in guest mode and what it exited with. Every reason but a shadow's page fault is answered by `answer`."""

    def __init__(
        self, code: str | bytes, intercepts: int = 0, *, cr_reads: int = 0, cr_writes: int = 0, exceptions: int = 0,
        nested: bool = False, hole: int | None = None, pieces: dict[int, bytes] | None = None,
    ) -> None:  # fmt: skip
        self.memory = GuestMemory(4 << 20)
        self.vcpu: Any = UnicornVcpu(
            self.memory, decode=decode, monitor_pages=256, translation_buffer_bytes=1 << 20,
            mode="paravirt" if nested else "trap",
        )  # fmt: skip
        self.seen: list[Seen] = []
        self.details: list[tuple[int, int, int]] = []
        self.replies: list[Any] = []
        native, any_key = self.vcpu.native, (-1, -1)
        rows = [Row(reason, *any_key, self.answer, "test") for reason in Reason]
        if not nested:
            rows.append(Row(Reason.EXCEPTION_NMI, PF, PF, native.shadow_fault, "test", "", Shape.NATIVE))
        self.vcpu.bind(DispatchTable(rows))
        program = assemble(code) if isinstance(code, str) else code
        image = load(program.ljust(IMAGE_END - CODE, b"\x90"), self.memory.size_bytes)
        image.place(self.memory)
        for at, piece in (pieces or {}).items():
            self.memory.write(at, piece)
        state = write_boot_tables(self.memory, image)
        root = 0
        if nested:
            self.vcpu.tables.map(0, 0, 0, PAGES, ALL_RIGHTS)
            if hole is not None:
                self.vcpu.tables.unmap(0, hole, 1)
            root = self.vcpu.tables.root_gpa(0)
        self.vcpu.guest_mode(intercepts, cr_reads, cr_writes, exceptions, root)
        self.vcpu.start_guest_tables(state.rip, state.rsp, state.cr3, state.gdt_base, state.gdt_limit)

    def answer(self, exit: Any) -> Any:
        assert exit.cpl == self.vcpu.cpl
        self.seen.append(Seen(Reason(exit.reason), exit.key, exit.rip, exit.length, exit.insn and exit.insn.mnemonic))
        self.details.append((exit.address, exit.error_code, exit.value))
        if self.replies:
            return self.replies.pop(0)
        return NEXT if exit.length else stop(1)

    def run(self) -> StopWhy:
        why: StopWhy = self.vcpu.run(10_000, 20 * 10**9)[0]
        return why

    def close(self) -> None:
        self.vcpu.close()
        self.memory.close()


@pytest.fixture
def hardware() -> Iterator[Callable[..., HardwareGuest]]:
    made: list[HardwareGuest] = []

    def make(*arguments: Any, **options: Any) -> HardwareGuest:
        made.append(HardwareGuest(*arguments, **options))
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("code", "expected", "intercepts", "reads", "writes"),
    [
        (b"\x0f\xa2", (Reason.CPUID, 5, 2, None), CPUID, 0, 0),
        (b"\x66\x0f\xa2", (Reason.CPUID, 5, 3, None), 0, 0, 0),
        (b"\x0f\x20\xd8", (Reason.CR_ACCESS, 6, 3, "mov"), 0, 8, 0),
        (b"\x41\x0f\x20\xd9", (Reason.CR_ACCESS, 6, 4, "mov"), 0, 8, 0),
        (b"\x0f\x22\xd8", (Reason.CR_ACCESS, 7, 3, "mov"), 0, 0, 8),
        (b"\x0f\x20\xc0", (Reason.CR_ACCESS, 0, 3, "mov"), 0, 1, 0),
        (b"\x0f\x06", (Reason.CR_ACCESS, 1, 2, "clts"), 0, 0, 1),
        (b"\xf4", (Reason.HLT, 0, 1, "hlt"), HLT, 0, 0),
        (b"\x0f\x01\x3b", (Reason.INVLPG, 0, 3, "invlpg"), INVLPG, 0, 0),
        (b"\x0f\x01\x7c\x8b\x40", (Reason.INVLPG, 0, 5, "invlpg"), INVLPG, 0, 0),
        (b"\x0f\x32", (Reason.MSR_READ, 0xC0000082, 2, "rdmsr"), MSR, 0, 0),
        (b"\x0f\x30", (Reason.MSR_WRITE, 0xC0000082, 2, "wrmsr"), MSR, 0, 0),
        (b"\x0f\x01\xd9", (Reason.VMCALL, 5, 3, None), VMMCALL, 0, 0),
        (b"\x0f\x01\xc1", (Reason.VMCALL, 5, 3, None), VMMCALL, 0, 0),
    ],
)  # fmt: skip
def test_what_is_intercepted_exits_and_goes_on_behind(
    hardware: Callable[..., HardwareGuest], nested: bool, code: bytes, expected: tuple[Reason, int, int, str | None],
    intercepts: int, reads: int, writes: int,
) -> None:  # fmt: skip
    setup = assemble("mov eax, 5; mov ecx, 0xc0000082; mov ebx, 0x100000")
    guest = hardware(
        setup + code + b"\x0f\x0b", intercepts, cr_reads=reads, cr_writes=writes, exceptions=1 << UD, nested=nested
    )
    assert guest.run() is StopWhy.EXITED
    reason, key, length, mnemonic = expected
    rip = CODE + len(setup)
    assert guest.seen == [Seen(reason, key, rip, length, mnemonic), Seen(Reason.EXCEPTION_NMI, UD, rip + len(code), 0)]
    assert guest.vcpu.cpl == 0
    if reason is Reason.MSR_WRITE:
        assert guest.details[0][2] == 5
    fills = {} if nested else {(Reason.EXCEPTION_NMI, PF): guest.vcpu.counters()[Reason.EXCEPTION_NMI, PF]}
    assert guest.vcpu.counters() == {(reason, key): 1, (Reason.EXCEPTION_NMI, UD): 1, **fills}


def test_what_is_not_intercepted_runs_at_cpl_0(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware(
        "cli; sti; mov rax, cr4; mov rbx, cr0; lidt [rsp - 16]; invlpg [rax]; mov ecx, 0xc0000082; rdmsr; wrmsr;"
        "mov rdx, cs; ud2",
        exceptions=1 << UD,
        nested=True,
    )
    assert guest.run() is StopWhy.EXITED
    assert [entry.reason for entry in guest.seen] == [Reason.EXCEPTION_NMI]
    assert guest.vcpu.rdx == 8  # and CS says so
    assert guest.vcpu.rflags & 1 << 9


def test_a_hypercall_that_nobody_takes_is_undefined(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware("nop; vmmcall", exceptions=1 << UD)
    guest.run()
    assert guest.seen == [Seen(Reason.EXCEPTION_NMI, UD, CODE + 1, 0)]


def test_a_hypercall_number_with_bits_above_31(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware("mov rax, 0x100000005; vmmcall; ud2", VMMCALL, exceptions=1 << UD, nested=True)
    guest.run()
    assert guest.seen[0].key == 0xFFFFFFFF


HOLE = 0x200000


@pytest.mark.parametrize(
    ("code", "access"),
    [("mov al, [rbx]", 4), ("mov [rbx], al", 6), ("lock inc dword ptr [rbx]", 4), ("jmp rbx", 0x14)],
)
def test_a_hole_in_nested_paging(hardware: Callable[..., HardwareGuest], code: str, access: int) -> None:
    guest = hardware(f"mov ebx, {HOLE + 0x123}; {code}; ud2", exceptions=1 << UD, nested=True, hole=HOLE)
    if code.startswith("jmp"):  # the loader's tables make all but the image no-execute
        for table in range(0x10000, 0x20000, 8):
            entry = guest.memory.read_uint(table, 8)
            guest.memory.write_uint(table, 8, entry & ~(1 << 63))
    guest.run()
    rip = CODE + 5 if not code.startswith("jmp") else HOLE + 0x123
    assert guest.seen == [Seen(Reason.EPT_VIOLATION, 0, rip, 0)]
    address, error, _ = guest.details[0]
    assert (address & ~0xFFF, error & 0x16) == (HOLE, access)
    assert address == HOLE + 0x123


def test_a_hole_that_is_filled_lets_the_guest_go_on(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware(
        f"mov ebx, {HOLE}; mov [rbx], rbx; mov rcx, [rbx]; ud2", exceptions=1 << UD, nested=True, hole=HOLE
    )

    def fill(exit: Any) -> Any:
        guest.seen.append(Seen(Reason(exit.reason), exit.key, exit.rip, exit.length))
        guest.vcpu.tables.map(0, HOLE, HOLE, 1, ALL_RIGHTS)
        return AGAIN

    rows = [Row(reason, -1, -1, guest.answer, "test") for reason in Reason if reason is not Reason.EPT_VIOLATION]
    guest.vcpu.bind(DispatchTable([*rows, Row(Reason.EPT_VIOLATION, -1, -1, fill, "test")]))
    guest.run()
    assert [entry.reason for entry in guest.seen] == [Reason.EPT_VIOLATION, Reason.EXCEPTION_NMI]
    assert guest.vcpu.rcx == guest.memory.read_uint(HOLE, 8) == HOLE


def test_a_page_table_in_the_hole_is_a_nested_fault_too(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware("nop", nested=True, hole=0x11000)  # the loader's second table
    guest.run()
    assert guest.seen[0].reason is Reason.EPT_VIOLATION
    assert guest.details[0][0] & ~0xFFF == 0x11000


IDTR = DATA + 0x40
HANDLER = DATA + 0x80


def interrupted(hardware: Callable[..., HardwareGuest], code: str, nested: bool = True) -> HardwareGuest:
    """A guest with an interrupt pending from the start, and a handler at vector 0x20 that notes where it came."""
    return hardware(
        f"mov ebx, {IDTR}; lidt [rbx]; {code}; ud2", exceptions=1 << UD, nested=nested,
        pieces={IDTR: b"\xff\x0f" + IDT.to_bytes(8, "little"), IDT + 16 * 0x20: gate(HANDLER),
                IDT + 16 * GP: gate(HANDLER),
                HANDLER: assemble("inc rbp; mov r9, [rsp]; mov r10, [rsp + 16]; iretq", HANDLER)},
    )  # fmt: skip


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("code", "behind"),
    [("cli; nop; sti; inc rcx; inc rdx", "cli; nop; sti; inc rcx"), ("push 0x202; popfq; inc rcx", "push 0x202; popfq"),
     ("inc rcx; cli; inc rdx", None), ("sti; cli; inc rdx", None)],
)  # fmt: skip
def test_the_interrupt_window_opens_where_the_guest_can_take_one(
    hardware: Callable[..., HardwareGuest], code: str, behind: str | None, nested: bool
) -> None:
    guest = interrupted(hardware, code, nested)
    pending = [0x20]
    guest.vcpu.set_interrupt_source(lambda: pending.pop() if pending else -1)
    guest.vcpu.request_interrupt()
    assert guest.run() is StopWhy.EXITED
    start = f"mov ebx, {IDTR}; lidt [rbx]; "
    if behind is None:
        assert (pending, guest.vcpu.rbp) == ([0x20], 0)
        return
    assert (pending, guest.vcpu.rbp) == ([], 1)
    assert guest.vcpu.r9 == CODE + len(assemble(start + behind))
    assert guest.vcpu.r10 & 0x200
    assert guest.vcpu.events()["interrupts delivered"] == 1
    assert [entry.reason for entry in guest.seen] == [Reason.EXCEPTION_NMI]  # the window is no exit of the guest's


def test_intercepts_are_still_there_after_the_window(hardware: Callable[..., HardwareGuest]) -> None:
    guest = interrupted(hardware, "sti; nop; mov rax, cr3; cpuid")
    guest.vcpu.guest_mode(0, 8, 0, 1 << UD, guest.vcpu.tables.root_gpa(0))
    pending = [0x20]
    guest.vcpu.set_interrupt_source(lambda: pending.pop() if pending else -1)
    guest.vcpu.request_interrupt()
    guest.run()
    assert [entry.reason for entry in guest.seen] == [Reason.CR_ACCESS, Reason.CPUID, Reason.EXCEPTION_NMI]
    assert guest.vcpu.rbp == 1


def test_the_control_block_survives_the_shadow(hardware: Callable[..., HardwareGuest]) -> None:
    """Its pages are not of the pool that a flush of the shadow hands out again."""
    guest = hardware(
        "again: mov ecx, 0xc0000082; rdmsr; mov rax, [rsp + rbx]; add ebx, 4096; dec ebp; jnz again; ud2",
        MSR,
        exceptions=1 << UD,
    )
    guest.vcpu.rbp, guest.vcpu.rbx = 100, 0
    flushes = [0]

    def flush(_exit: Any) -> Any:
        flushes[0] += 1
        guest.vcpu.shadow.flush()
        return NEXT

    rows = [Row(reason, -1, -1, guest.answer, "test") for reason in Reason if reason is not Reason.MSR_READ]
    rows.append(Row(Reason.MSR_READ, -1, -1, flush, "test"))
    rows.append(Row(Reason.EXCEPTION_NMI, PF, PF, guest.vcpu.native.shadow_fault, "test", "", Shape.NATIVE))
    guest.vcpu.bind(DispatchTable(rows))
    assert guest.run() is StopWhy.EXITED
    assert flushes == [100]


def test_a_space_that_is_not_there_has_no_root(hardware: Callable[..., HardwareGuest]) -> None:
    guest = hardware("nop", nested=True)
    for space in (1, 4095, 4096):
        with pytest.raises(GuestError):
            guest.vcpu.tables.root_gpa(space)
