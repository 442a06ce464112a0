"""Guest mode: a guest at its own CPL 0, what the control block has exit, nested paging, the interrupt window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pv.dispatch import DispatchTable, Row, Shape
from pv.emulate.mmio_decode import decode_trapped
from pv.engines.unicorn import UnicornVcpu
from pv.exits import NEXT, Reason, StopWhy, stop
from pv.loaders import load
from pv.loaders.boot import write_boot_tables
from pv.memory import GuestMemory
from pv.techniques.controls import ControlBlock
from tests.pv.engines.unicorn.guests import CODE, DATA, GP, IDT, IMAGE_END, PF, UD, assemble, gate

CPUID, HLT, INVLPG, VMMCALL, PAUSE, RDTSC, RDPMC, INVD, WBINVD, GDTR, LDTR = (
    1 << code - 0x60 for code in (0x72, 0x78, 0x79, 0x81, 0x77, 0x6E, 0x6F, 0x76, 0x89, 0x6B, 0x6C)
)
STAR = 0xC0000081
PAGES = 1024
BEYOND = PAGES * 4096  # the first gpa behind memory


class Seen(NamedTuple):
    reason: Reason
    key: int
    rip: int
    length: int
    mnemonic: str | None = None


class HardwareGuest:
    """A vcpu under hardware and what it exited with. Every reason is answered by `answer`."""

    def __init__(
        self, code: str | bytes, pieces: dict[int, bytes] | None = None, device: int = 0, **controls: Any
    ) -> None:
        self.memory = GuestMemory(PAGES * 4096)
        self.vcpu: Any = UnicornVcpu(
            self.memory, decode=decode_trapped, monitor_pages=256, translation_buffer_bytes=1 << 20, mode="hardware",
            controls=ControlBlock(**controls),
        )  # fmt: skip
        self.seen: list[Seen] = []
        self.details: list[tuple[int, int, int]] = []
        self.replies: list[Any] = []
        rows = [Row(reason, -1, -1, self.answer, "test") for reason in Reason if reason is not Reason.MMIO]
        if device:
            rows.append(Row(Reason.MMIO, device, device + 4095, self.answer, "test"))
        self.vcpu.bind(DispatchTable(rows))
        program = assemble(code) if isinstance(code, str) else code
        image = load(program.ljust(IMAGE_END - CODE, b"\x90"), self.memory.size_bytes)
        image.place(self.memory)
        for at, piece in (pieces or {}).items():
            self.memory.write(at, piece)
        state = write_boot_tables(self.memory, image)
        self.vcpu.start_guest_tables(state.rip, state.rsp, state.cr3, state.gdt_base, state.gdt_limit)

    def map(self, gva: int, gpa: int) -> None:
        """Have the guest's own table map the 2 MiB at `gva` to `gpa`, executable."""
        table = self.vcpu.virtual.cr3
        for _level in range(2):
            table = self.memory.read_uint(table, 8) & ~0xFFF & (1 << 51) - 1
        self.memory.write_uint(table + gva // (1 << 21) * 8, 8, gpa | 0x83)

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


Make = Callable[..., HardwareGuest]


@pytest.fixture
def hardware() -> Iterator[Make]:
    made: list[HardwareGuest] = []

    def make(*arguments: Any, **options: Any) -> HardwareGuest:
        made.append(HardwareGuest(*arguments, **options))
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.mark.parametrize(
    ("code", "expected", "controls"),
    [
        (b"\x0f\xa2", (Reason.CPUID, 5, 2, None), {}),
        (b"\x66\x0f\xa2", (Reason.CPUID, 5, 3, None), {}),
        (b"\x0f\x20\xd8", (Reason.CR_ACCESS, 6, 3, "mov"), {"cr_reads": 8}),
        (b"\x41\x0f\x20\xd9", (Reason.CR_ACCESS, 6, 4, "mov"), {"cr_reads": 8}),
        (b"\x0f\x22\xd8", (Reason.CR_ACCESS, 7, 3, "mov"), {"cr_writes": 8}),
        (b"\x0f\x20\xc0", (Reason.CR_ACCESS, 0, 3, "mov"), {"cr_reads": 1}),
        (b"\x0f\x06", (Reason.CR_ACCESS, 1, 2, "clts"), {"cr_writes": 1}),
        (b"\x44\x0f\x20\xc0", (Reason.CR_ACCESS, 16, 4, "mov"), {"cr_reads": 1 << 8}),
        (b"\x44\x0f\x22\xc0", (Reason.CR_ACCESS, 17, 4, "mov"), {"cr_writes": 1 << 8}),
        (b"\x0f\x21\xf8", (Reason.DR_ACCESS, 14, 3, "mov"), {"dr_reads": 1 << 7}),
        (b"\x0f\x23\xf8", (Reason.DR_ACCESS, 15, 3, "mov"), {"dr_writes": 1 << 7}),
        (b"\xf4", (Reason.HLT, 0, 1, None), {"instructions": HLT}),
        (b"\xf3\x90", (Reason.PAUSE, 0, 2, None), {"instructions": PAUSE}),
        (b"\x0f\x01\x3b", (Reason.INVLPG, 0, 3, "invlpg"), {"instructions": INVLPG}),
        (b"\x0f\x01\x7c\x8b\x40", (Reason.INVLPG, 0, 5, "invlpg"), {"instructions": INVLPG}),
        (b"\x0f\x08", (Reason.INVD, 0, 2, None), {"instructions": INVD}),
        (b"\x0f\x09", (Reason.WBINVD, 0, 2, None), {"instructions": WBINVD}),
        (b"\x0f\x33", (Reason.RDPMC, 0, 2, None), {"instructions": RDPMC}),
        (b"\x0f\x31", (Reason.RDTSC, 0, 2, None), {"instructions": RDTSC}),
        (b"\x0f\x01\xf9", (Reason.RDTSCP, 0, 3, None), {"instructions": RDTSC}),
        (b"\x0f\x01\x13", (Reason.GDTR_IDTR, 0, 3, "lgdt"), {"instructions": GDTR}),
        (b"\x0f\x00\xd0", (Reason.LDTR_TR, 0, 3, "lldt"), {"instructions": LDTR}),
        (b"\x0f\x32", (Reason.MSR_READ, STAR, 2, None), {"msrs": frozenset({STAR})}),
        (b"\x0f\x30", (Reason.MSR_WRITE, STAR, 2, None), {"msrs": frozenset({STAR})}),
        (b"\xb1\x80\x0f\x32", (Reason.MSR_READ, 0xC0000080, 2, None), {}),
        (b"\x31\xc9\x0f\x30", (Reason.MSR_WRITE, 0, 2, None), {}),
        (b"\x0f\x01\xd9", (Reason.VMCALL, 5, 3, None), {"instructions": VMMCALL}),
        (b"\x0f\x01\xc1", (Reason.VMCALL, 5, 3, None), {"instructions": VMMCALL}),
        (b"\xe6\x80", (Reason.IO_INSTRUCTION, 0x80, 0, None), {}),
    ],
)  # fmt: skip
def test_what_is_intercepted_exits_and_goes_on_behind(
    hardware: Make, code: bytes, expected: tuple[Reason, int, int, str | None], controls: dict[str, Any]
) -> None:
    setup = assemble(f"mov eax, 5; mov ecx, {STAR}; mov ebx, 0x100000")
    guest = hardware(setup + code + b"\x0f\x0b", exceptions=1 << UD, **controls)
    guest.replies = [NEXT]
    assert guest.run() is StopWhy.EXITED
    reason, key, length, mnemonic = expected
    end = CODE + len(setup) + len(code)
    assert guest.seen[0][:2] == (reason, key)
    assert guest.seen[0].rip == end - (length or len(code))
    assert guest.seen[0][3:] == (length, mnemonic)
    assert guest.seen[1] == Seen(Reason.EXCEPTION_NMI, UD, end, 0)
    assert guest.vcpu.cpl == 0
    if reason is Reason.MSR_WRITE:
        assert guest.details[0][2] == 5
    counted = key * 2 + 1 if reason is Reason.IO_INSTRUCTION else key
    assert guest.vcpu.counters() == {(reason, counted): 1, (Reason.EXCEPTION_NMI, UD): 1}


def test_what_is_not_intercepted_runs_at_cpl_0(hardware: Make) -> None:
    guest = hardware(
        "cli; sti; mov rax, cr4; mov rbx, cr0; mov rax, cr3; mov cr3, rax; lidt [rsp - 16]; invlpg [rax];"
        f"mov eax, 5; xor edx, edx; mov ecx, {STAR}; wrmsr; rdmsr; mov rbp, cr8; mov rdi, rax; rdtsc; mov rdx, cs; ud2",
        exceptions=1 << UD,
    )
    assert guest.run() is StopWhy.EXITED
    assert [entry.reason for entry in guest.seen] == [Reason.EXCEPTION_NMI]
    assert (guest.vcpu.rdx, guest.vcpu.rdi, guest.vcpu.virtual.star) == (8, 5, 5)  # and CS says so
    assert guest.vcpu.rflags & 1 << 9


def test_the_time_stamp_counter_is_virtual_and_moves_on(hardware: Make) -> None:
    guest = hardware("rdtsc; mov ebx, eax; rdtscp; sub eax, ebx; ud2", exceptions=1 << UD)
    guest.vcpu.virtual.tsc_offset, guest.vcpu.virtual.tsc_aux = 1 << 32, 7
    assert guest.run() is StopWhy.EXITED
    assert (guest.vcpu.rax, guest.vcpu.rdx, guest.vcpu.rcx) == (200, 1, 7)
    assert guest.vcpu.rbx == 200


@pytest.mark.parametrize(
    "code",
    [
        "mov rax, 0x8000000000000000; mov cr3, rax",  # reserved bits
        f"mov eax, 1; mov edx, 0x800000; mov ecx, {STAR + 1}; wrmsr",  # no canonical address
        f"mov eax, 1; mov edx, 1; mov ecx, {STAR + 3}; wrmsr",  # FMASK: bits 63-32 are reserved
    ],
)
def test_what_the_engine_does_not_check_is_checked(hardware: Make, code: str) -> None:
    guest = hardware(code, exceptions=1 << GP)
    before = guest.vcpu.virtual.cr3
    assert guest.run() is StopWhy.EXITED
    at = CODE + len(assemble(code)) - len(assemble(code.rpartition(";")[2]))
    assert guest.seen == [Seen(Reason.EXCEPTION_NMI, GP, at, 0)]
    assert (guest.vcpu.virtual.cr3, guest.vcpu.virtual.lstar, guest.vcpu.virtual.fmask) == (before, 0, 0)


def test_a_hypercall_that_nobody_takes_is_undefined(hardware: Make) -> None:
    guest = hardware("nop; vmmcall", exceptions=1 << UD)
    guest.run()
    assert guest.seen == [Seen(Reason.EXCEPTION_NMI, UD, CODE + 1, 0)]


def test_a_hypercall_number_with_bits_above_31(hardware: Make) -> None:
    guest = hardware("mov rax, 0x100000005; vmmcall; ud2", instructions=VMMCALL, exceptions=1 << UD)
    guest.run()
    assert guest.seen[0].key == 0xFFFFFFFF


def test_a_page_fault_that_exits_says_where_and_leaves_cr2_alone(hardware: Make) -> None:
    guest = hardware("mov rax, 0x123456789000; mov [rax], al", exceptions=1 << PF)
    assert guest.run() is StopWhy.EXITED
    assert [entry.key for entry in guest.seen] == [PF]
    assert guest.details[0][:2] == (0x123456789000, 2)
    assert guest.vcpu.virtual.cr2 == 0


def test_a_fetch_that_exits_is_a_page_fault_like_another(hardware: Make) -> None:
    guest = hardware("mov rax, 0x123456789000; jmp rax", exceptions=1 << PF)
    assert guest.run() is StopWhy.EXITED
    assert guest.seen == [Seen(Reason.EXCEPTION_NMI, PF, 0x123456789000, 0)]
    assert guest.details[0][:2] == (0x123456789000, 0x10)


def test_code_whose_tables_are_gone_when_it_exits_faults_on_its_fetch(hardware: Make) -> None:
    """The block runs on from the TLB, as it may; the exit cannot read its instruction any more."""
    guest = hardware(
        f"mov ebx, {IDTR}; lidt [rbx]; mov rcx, cr3; mov qword ptr [rcx], 0; wbinvd; rdtsc; mov rax, cr3; mov cr3, rax",
        pieces={IDTR: b"\xff\x0f" + IDT.to_bytes(8, "little"), IDT + 16 * PF: gate(HANDLER), HANDLER: b"\x0f\x0b"},
        exceptions=1 << PF | 1 << UD,
    )
    why, _, _ = guest.vcpu.run(1000, 10**10)
    assert why in (StopWhy.EXITED, StopWhy.SHUTDOWN)
    assert guest.vcpu.exits <= 2


def test_ports_that_are_passed_through_do_not_exit(hardware: Make) -> None:
    guest = hardware(
        "out 0x80, al; out 0x81, al; out 0x81, ax; ud2", exceptions=1 << UD, ports_passed=frozenset({0x81})
    )
    guest.replies = [NEXT] * 3
    guest.run()
    assert [(entry.reason, entry.key) for entry in guest.seen] == [
        (Reason.IO_INSTRUCTION, 0x80), (Reason.IO_INSTRUCTION, 0x81), (Reason.IO_INSTRUCTION, 0x81),
        (Reason.EXCEPTION_NMI, UD),
    ]  # fmt: skip
    assert guest.vcpu.exits == 3  # port 0x81 alone was passed through: the word goes to 0x82 as well
    assert guest.vcpu.events()["accesses to ports passed through"] == 1


HOLE = 0x200000


@pytest.mark.parametrize(
    "code", ["mov al, [rbx]", "mov [rbx], al", "lock inc dword ptr [rbx]", "jmp rbx", "push [rbx]"]
)
def test_a_hole_behind_the_guests_own_tables_ends_it(hardware: Make, code: str) -> None:
    guest = hardware(f"mov ebx, {HOLE + 0x123}; {code}; ud2", exceptions=1 << UD)
    guest.map(HOLE, BEYOND)
    why, _, detail = guest.vcpu.run(1000, 10**10)
    assert why is StopWhy.UNHANDLED
    assert f"{BEYOND + 0x123:#x}" in detail
    assert guest.seen == []


@pytest.mark.parametrize(
    ("code", "write", "length"),
    [("mov eax, [rbx]", 0, 2), ("mov [rbx], eax", 1, 2), ("lock inc dword ptr [rbx]", 1, 3), ("stosd", 1, 1)],
)
def test_a_device_behind_the_guests_own_tables_exits_with_the_access(
    hardware: Make, code: str, write: int, length: int
) -> None:
    setup = f"mov ebx, {HOLE + 0x120}; mov edi, ebx"
    guest = hardware(f"{setup}; {code}; ud2", exceptions=1 << UD, device=BEYOND)
    guest.map(HOLE, BEYOND)
    assert guest.run() is StopWhy.EXITED
    name = assemble(code) and code.split()[-3 if "lock" in code else 0].rstrip("d")
    assert guest.seen[0][:4] == (Reason.MMIO, BEYOND + 0x120, CODE + len(assemble(setup)), length)
    assert guest.seen[0].mnemonic in (name, "inc")
    assert guest.details[0][:2] == (HOLE + 0x120, 2 * write)
    assert (Reason.MMIO, (BEYOND + 0x120) * 2 + write) in guest.vcpu.counters()


def test_a_device_in_the_middle_of_memory_is_not_memory(hardware: Make) -> None:
    guest = hardware(f"mov ebx, {HOLE}; mov [rbx], eax; mov [rbx + 4096], eax; ud2", exceptions=1 << UD, device=HOLE)
    guest.vcpu.rax = 0x55
    guest.run()
    assert [entry.key for entry in guest.seen] == [HOLE, UD]
    assert guest.memory.read_uint(HOLE + 4096, 4) == 0x55


def test_tables_where_no_memory_is_read_as_ones(hardware: Make) -> None:
    """The guest gets the page fault of a reserved bit, as it does under trap, from the access and from the fetch."""
    guest = hardware(
        f"mov ebx, {IDTR}; lidt [rbx]; mov rbx, 0x8000000000; mov al, [rbx]",
        pieces={IDTR: b"\xff\x0f" + IDT.to_bytes(8, "little"), IDT + 16 * PF: gate(HANDLER),
                HANDLER: assemble("mov r9, [rsp]; mov r10, cr2; ud2", HANDLER)},
        exceptions=1 << UD,
    )  # fmt: skip
    guest.memory.write_uint(guest.vcpu.virtual.cr3 + 8, 8, BEYOND | 7)  # 512 GiB on
    assert guest.run() is StopWhy.EXITED
    assert (guest.vcpu.r9, guest.vcpu.r10) == (9, 0x8000000000)


IDTR = DATA + 0x40
HANDLER = DATA + 0x80


def interrupted(hardware: Make, code: str, **controls: Any) -> HardwareGuest:
    """A guest with an interrupt pending from the start, and a handler at vector 0x20 that notes where it came."""
    return hardware(
        f"mov ebx, {IDTR}; lidt [rbx]; {code}; ud2", exceptions=1 << UD, **controls,
        pieces={IDTR: b"\xff\x0f" + IDT.to_bytes(8, "little"), IDT + 16 * 0x20: gate(HANDLER),
                IDT + 16 * GP: gate(HANDLER),
                HANDLER: assemble("inc rbp; mov r9, [rsp]; mov r10, [rsp + 16]; iretq", HANDLER)},
    )  # fmt: skip


@pytest.mark.parametrize("apic_virtual", [False, True])
@pytest.mark.parametrize(
    ("code", "behind"),
    [("cli; nop; sti; inc rcx; inc rdx", "cli; nop; sti; inc rcx"), ("push 0x202; popfq; inc rcx", "push 0x202; popfq"),
     ("inc rcx; cli; inc rdx", None), ("sti; cli; inc rdx", None)],
)  # fmt: skip
def test_the_interrupt_window_opens_where_the_guest_can_take_one(
    hardware: Make, code: str, behind: str | None, apic_virtual: bool
) -> None:
    guest = interrupted(hardware, code, apic_virtual=apic_virtual)
    pending = [0x20]
    guest.vcpu.set_interrupt_source(lambda: pending.pop() if pending else -1)
    guest.vcpu.request_interrupt()
    assert guest.run() is StopWhy.EXITED
    start = f"mov ebx, {IDTR}; lidt [rbx]; "
    window = guest.vcpu.counters().get((Reason.INTERRUPT_WINDOW, 0), 0)
    if behind is None:
        assert (pending, guest.vcpu.rbp, window) == ([0x20], 0, 0)
        return
    assert (pending, guest.vcpu.rbp, window) == ([], 1, 0 if apic_virtual else 1)
    assert guest.vcpu.r9 == CODE + len(assemble(start + behind))
    assert guest.vcpu.r10 & 0x200
    assert guest.vcpu.events()["interrupts delivered"] == 1
    assert [entry.reason for entry in guest.seen] == [Reason.EXCEPTION_NMI]


def test_an_interrupt_that_is_withdrawn_opens_no_window(hardware: Make) -> None:
    guest = interrupted(hardware, "out 0x80, al; sti; nop; nop")
    guest.vcpu.request_interrupt()

    def withdraw(_offset: int, _size: int, _value: int) -> None:
        guest.vcpu.withdraw_interrupt()

    rows = [Row(Reason.EXCEPTION_NMI, -1, -1, guest.answer, "test")]
    guest.vcpu.bind(DispatchTable([*rows, Row(Reason.IO_INSTRUCTION, 0x80, 0x80, withdraw, "test", "", Shape.WRITE)]))
    assert guest.run() is StopWhy.EXITED
    assert (Reason.INTERRUPT_WINDOW, 0) not in guest.vcpu.counters()
    assert guest.vcpu.rbp == 0


def test_intercepts_are_still_there_after_the_window(hardware: Make) -> None:
    guest = interrupted(hardware, "sti; nop; mov rax, cr3; cpuid", cr_reads=8)
    pending = [0x20]
    guest.vcpu.set_interrupt_source(lambda: pending.pop() if pending else -1)
    guest.vcpu.request_interrupt()
    guest.run()
    assert [entry.reason for entry in guest.seen] == [Reason.CR_ACCESS, Reason.CPUID, Reason.EXCEPTION_NMI]
    assert guest.vcpu.rbp == 1


def test_a_control_block_of_what_always_exits_is_refused() -> None:
    memory = GuestMemory(1 << 20)
    for wrong in ({"msrs": frozenset({0x10})}, {"ports_passed": frozenset({0x10000})}):
        with pytest.raises(ValueError, match=r"exits whatever|not 0-0xffff"):
            UnicornVcpu(memory, decode=decode_trapped, monitor_pages=256, translation_buffer_bytes=1 << 20,
                        mode="hardware", controls=ControlBlock(**wrong))  # type: ignore[arg-type]  # wrong on purpose  # fmt: skip
    memory.close()
