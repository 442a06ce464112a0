"""Between two instructions of a block stands the guest: at each boundary, a fault, an interrupt, a stop, a snapshot.

BLOCK has every class of the policy table. What the guest is before each of its instructions is what hardware says.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from threading import Timer
from typing import Any, Final

import pytest

from pv.check.state import registers
from pv.exits import StopWhy
from pv.machine import Machine
from tests.hostile.translated import HARDWARE, TRANSLATE, same
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    DE,
    IF,
    PF,
    UD,
    USER,
    Interrupts,
    Ports,
    TrapGuest,
    assemble,
    to_user,
)

START: Final = CODE + 0x1000
BLOCK: Final = (
    "inc eax", "mov ebx, 0x130000", "mov [rbx + 8], rax", "add ecx, [rip - 20]", "lea rdx, [rip + 0x7f000]", "cli",
    "pushfq", "inc edx", "sti", "nop", "popfq", "pushfq", "popfq", "mov esi, cs", "mov [rbx + 16], cs",
    "sgdt [rbx + 24]", "sidt [rbx + 40]", "sldt edi", "str ebp", "smsw r8d", "smsw word ptr [rbx + 64]",
    "mov r9d, ss", "mov ecx, 8", "lar r10d, ecx", "lsl r11d, ecx", "verr cx", "jc {0}", "cmp eax, eax", "jz {0}",
    "jnz {0}", "call {0}", "pop r12", "lea r13, [rip + 3]", "call r13", "pop r14", "lea r13, [rip + 5]", "push r13",
    "ret 0", "lea r13, [rip + 3]", "jmp r13", "mov ecx, 2", "xor eax, eax", "cpuid", "mov rax, cr0",
    "mov ebx, 0x130000", "out 0x80, al", "in al, 0x80", "mov ecx, 0xc0000080", "rdmsr", "mov edi, 0x130200",
    "mov esi, 0x130300", "mov ecx, 3", "rep movsb", "lock xadd [rbx], rax", "fninit", "bndmk bnd0, [rbx]", "push 7",
    "pop rax", "mov ecx, 2", "loop {0}", "jrcxz {0}", "invlpg [rbx]", "clts", "sti", "mov eax, 0x10", "mov ss, eax",
    "nop", "cli", "sti", "cli",
)  # fmt: skip
UNKNOWN: Final = {"bndmk bnd0, [rbx]": bytes.fromhex("f30f1b03")}  # to the assembler


def instructions(place: int) -> list[bytes]:
    """The block's instructions at `place`. {0} is the address behind the instruction, so that a branch goes nowhere."""
    made: list[bytes] = []
    for text in BLOCK:
        if text in UNKNOWN:
            made.append(UNKNOWN[text])
            continue
        at = place + sum(map(len, made))
        code = assemble(text.format(at), at)
        for _ in range(2):
            code = assemble(text.format(at + len(code)), at)
        made.append(code)
    return made


CODES: Final = instructions(START)
PLACES: Final = [START + offset for offset in accumulate(map(len, CODES), initial=0)]  # and that behind the last
OTHER_FLAGS: Final = 0x2F7702 & ~(1 << 16)  # those that do not depend on what was computed, nor RF
HALT: Final = b"\xf4"
GO: Final = f"sti; mov eax, 5; jmp {START}"


def guest_of(technique: str, code: bytes, begin: str = GO, **options: Any) -> TrapGuest:
    guest = TrapGuest(begin, {START: code}, technique=technique, **options)
    guest.memory.write(DATA + 0x300, bytes(range(16)))
    return guest


def state(guest: TrapGuest) -> dict[str, int]:
    """The registers that a boundary has to have right; of RFLAGS all but RF."""
    seen = dict(registers(guest.machine))
    seen["rflags"] &= ~(1 << 16)
    return {name: value for name, value in seen.items() if name != "rip"}


@cache
def before(number: int) -> dict[str, int]:
    """The registers before an instruction of the block, under hardware: HLT stands there."""
    with guest_of(HARDWARE, b"".join(CODES[:number]) + HALT) as guest:
        outcome = guest.run()
        assert outcome.why is StopWhy.HALTED, outcome.summary
        return state(guest)


ONCE: Final = BLOCK.index("jmp r13") + 1  # what is run over and over, without an exit that makes it slow
NUMBERS: Final = range(len(CODES) + 1)


def test_the_block_runs_from_end_to_end() -> None:
    assert [before(number)["rsp"] for number in (0, len(CODES))] == [before(0)["rsp"]] * 2
    assert before(len(CODES))["rflags"] & IF == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_halt_before_each_instruction(number: int) -> None:
    with guest_of(TRANSLATE, b"".join(CODES[:number]) + HALT) as guest:
        assert guest.run().why is StopWhy.HALTED
        assert state(guest) == before(number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_fault_before_each_instruction(number: int) -> None:
    """UD2 in its place: the frame has its address, and nothing behind it has happened."""
    left = same(GO, {START: b"".join(CODES[:number]) + b"\x0f\x0b" + b"".join(CODES[number:])})
    assert left.status == UD
    frame = int.from_bytes(left.seen.memory[left.seen.registers["rsp"] :][:8], "little")
    assert frame == PLACES[number]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_division_by_zero_before_each_instruction(number: int) -> None:
    left = same(GO, {START: b"".join(CODES[:number]) + b"\x41\xf6\xf0\xf6\x35\0\0\0\0" + b"\0" * 8})
    assert left.status == DE or number < 20
    assert left.seen.complete


@pytest.mark.parametrize("number", NUMBERS[1:])
def test_the_page_of_each_instruction_taken_away(number: int) -> None:
    """The block ends with its page, and the next is not there: the fault is at the first byte of that."""
    page = START + 0x1000
    place = page - sum(map(len, CODES[:number]))
    code = b"".join(instructions(place))
    with TrapGuest(f"sti; mov eax, 5; jmp {place}", {place: code}, technique=TRANSLATE) as guest:
        guest.memory.write(DATA + 0x300, bytes(range(16)))
        guest.protect(page, clear=1)
        assert guest.run().status == PF
        frame = guest.frame(error=True)
        assert (frame.error, frame.rip, guest.vcpu.virtual.cr2) == (0x10, page, page)
        assert frame.rsp == before(number)["rsp"]
        assert frame.rflags & OTHER_FLAGS == before(number)["rflags"] & OTHER_FLAGS
        moved = {
            name: value for name, value in before(number).items() if name in ("rdi", "rbp", "r8", "r9", "r10", "r11")
        }
        assert {name: getattr(guest.vcpu, name) for name in moved} == moved


FAULTING: Final = (
    "mov [r15], eax", "add eax, [r15]", "lock inc dword ptr [r15]", "push [r15]", "pop qword ptr [r15]", "call [r15]",
    "jmp [r15]", "sgdt [r15]", "sidt [r15]", "sldt [r15]", "str [r15]", "smsw [r15]", "mov [r15], cs",
    "mov [r15], ss", "lar eax, [r15]", "verr [r15]", "mov rsp, r15; pushfq", "mov rsp, r15; popfq",
    "mov rsp, r15; call 0x101100", "mov rsp, r15; ret", "mov rsp, r15; ret 8", "mov rsp, r15; push rax",
    "mov rsp, r15; call rbx", "mov rsp, r15; iretq", "mov rdi, r15; stosq", "mov rdi, r15; mov ecx, 4; rep stosb",
    "mov rsi, r15; lodsb", "lgdt [r15]", "lldt [r15]", "fnstenv [r15]", "fxsave [r15]", "movups [r15], xmm0",
    "cmpxchg16b [r15]", "lss eax, [r15]", "enter 8, 0; mov [r15], al", "mov rsp, r15; leave", "clflush [r15]",
    "bt [r15], eax", "xlatb", "out 0x80, al; inc dword ptr [r15]", "outsb", "insb",
)  # fmt: skip


@pytest.mark.parametrize("where", [0x6_0000_0000, 1 << 63, DATA + 0x8000 - 4])
@pytest.mark.parametrize("text", FAULTING)
def test_a_memory_operand_that_faults_in_the_middle_of_a_block(text: str, where: int) -> None:
    """Not mapped, not canonical, and across the end of what may be written."""
    begin = f"mov rbx, {DATA}; mov r15, {where}; mov edx, 0x80; inc eax; cli; sti; inc eax;"
    same(
        f"{begin} {text}; inc eax; mov [rbx + 8], eax; {'nop;' * 3} ud2",
        None,
        lambda guest: guest.protect(DATA + 0x8000, clear=1),
    )


def interrupted(technique: str, number: int, first: str) -> tuple[Any, ...]:
    """A line that rises in an OUT before an instruction: status, frame, and the other registers."""
    code = b"".join(CODES[:number]) + b"\xe6\x81" + b"".join(CODES[number:]) + b"\xcd\x63"
    with guest_of(technique, code, begin=f"{first}; mov eax, 5; jmp {START}") as guest:
        ports, source = Ports(guest), Interrupts(guest)
        ports.on_write = lambda port, _size: source.raise_(0x20) if port == 0x81 else None
        outcome = guest.run()
        assert outcome.status is not None, outcome.summary
        kept = {name: value for name, value in state(guest).items() if name not in ("rax", "rflags")}
        assert outcome.exits.get("INTERRUPT_WINDOW", 0) <= 1
        return outcome.status, tuple(guest.frame())[1:], kept


@pytest.mark.parametrize("first", ["cli", "sti"])
@pytest.mark.parametrize("number", NUMBERS)
def test_an_interrupt_that_comes_before_each_instruction(number: int, first: str) -> None:
    """It waits for the first boundary at which IF is set, and no STI's shadow is left."""
    assert interrupted(TRANSLATE, number, first) == interrupted(HARDWARE, number, first)


def test_a_stop_at_each_exit_and_a_snapshot_of_it() -> None:
    """What the host then sees is the guest before one of its instructions, and a machine made of it goes on alike."""
    code = b"".join(CODES) + HALT
    with guest_of(TRANSLATE, code) as guest:
        number_of_exits = sum(guest.run().exits.values())
        end = state(guest)
    assert end == before(len(CODES))
    seen = set()
    for exits in range(1, number_of_exits):
        with guest_of(TRANSLATE, code) as guest:
            outcome = guest.run(max_exits=exits)
            if outcome.why is StopWhy.MAX_EXITS and guest.vcpu.rip in PLACES:
                number = PLACES.index(guest.vcpu.rip)
                assert state(guest) == before(number), BLOCK[number - 1]
                seen.add(number)
            else:
                assert not START <= guest.vcpu.rip < PLACES[-1], hex(guest.vcpu.rip)
            with Machine.from_snapshot(guest.machine.snapshot(), plugins=False) as again:
                assert again.run(timeout=20).why is StopWhy.HALTED
                left = dict(registers(again))
                assert {
                    name: value & ~(1 << 16) if name == "rflags" else value
                    for name, value in left.items()
                    if name in end
                } == end
    assert len(seen) > 10


def test_slices_of_a_few_microseconds_leave_no_trace() -> None:
    """The block 3,000 times over, stopped some thousand times: it ends like under hardware, exits and all."""
    text = b"".join(CODES[:ONCE]) + assemble(
        f"sti; add qword ptr [rbx + 0x80], 1; cmp qword ptr [rbx + 0x80], 3000; jb {START}; hlt", PLACES[ONCE]
    )
    ends = []
    for technique, slice_ns in ((HARDWARE, 0), (TRANSLATE, 0), (TRANSLATE, 20_000)):
        with guest_of(technique, text) as guest:
            if slice_ns:
                guest.vcpu.set_slice(slice_ns)
            outcome = guest.run(timeout=60)
            assert outcome.status == 0 or outcome.why is StopWhy.HALTED, outcome.summary
            ends.append((state(guest), guest.memory.read(DATA, 0x400), dict(outcome.exits)))
    assert ends[0][:2] == ends[1][:2]
    assert ends[1] == ends[2]


def test_stops_from_another_thread_find_the_guest_at_an_instruction_of_its_own() -> None:
    text = b"".join(CODES[:ONCE]) + assemble(f"sti; jmp {START}", PLACES[ONCE])
    here = {CODE, *PLACES[: ONCE + 1], PLACES[ONCE] + 1}
    with guest_of(TRANSLATE, text) as guest:
        for _ in range(40):
            timer = Timer(0.002, guest.machine.stop)
            timer.start()
            outcome = guest.machine.run(timeout=20)
            timer.join()
            assert outcome.why is StopWhy.STOPPED, outcome.summary
            assert guest.vcpu.rip in here, hex(guest.vcpu.rip)
            assert guest.vcpu.cpl in (0, 1)


MODES: Final = f"""
    mov ecx, 0xc0000080; rdmsr; or eax, 1; wrmsr
    mov ecx, 0xc0000081; xor eax, eax; mov edx, 0x130008; wrmsr
    inc ecx; mov eax, {CODE + 0x800}; xor edx, edx; wrmsr
    mov ecx, 0xc0000084; mov eax, 0x200; wrmsr; mov ebx, {DATA}
""".replace("\n", ";")


@pytest.mark.parametrize("back", ["sysretq", "iretq"])
def test_levels_in_turn(back: str) -> None:
    """A program calls the kernel by SYSCALL, INT and a fault, 300 times; the kernel shows that it is between blocks."""
    kernel = "inc dword ptr [rbx]; pushfq; pop rax; add [rbx + 8], rax; sti; mov eax, cs; add [rbx + 16], eax; cli;"
    leave = (
        b"\x48\x0f\x07" if back == "sysretq" else assemble("push 0x1b; push r10; push r11; push 0x23; push rcx; iretq")
    )
    program = "mov r10, rsp; mov ebp, 300; again: syscall; int 0x80; ud2; inc dword ptr [rbx + 0x20]; dec ebp;"
    program += "jnz again; int 0x81"
    pieces = {
        CODE + 0x800: assemble(kernel, CODE + 0x800) + leave,
        CODE + 0x900: kernel + "iretq",
        CODE + 0xA00: kernel + "add qword ptr [rsp], 2; mov byte ptr [rsp + 18], 0; iretq",
        USER: program,
    }

    def prepare(guest: TrapGuest) -> None:
        guest.gate(0x80, CODE + 0x900, dpl=3)
        guest.gate(0x81, dpl=3)
        guest.gate(UD, CODE + 0xA00)

    left = same(MODES + to_user() + "iretq", pieces, prepare)
    assert left.status == 0x81
    assert [int.from_bytes(left.seen.memory[DATA + at :][:4], "little") for at in (0, 0x20)] == [900, 300]
