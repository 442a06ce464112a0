"""Instructions answered inside a block: IN, OUT, their strings, CPUID, RDTSC; and what is told apart between blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pv.dispatch import Row, Shape
from pv.exits import NEXT, Reason, StopWhy, fault, stop
from tests.pv.engines.unicorn.guests import (
    ALWAYS,
    CODE,
    DATA,
    END,
    EXCEPTION,
    FILLS,
    GP,
    IF,
    IRETQ,
    NP,
    PF,
    PV_RETURN,
    SOFTWARE,
    TSS,
    UD,
    USER,
    Interrupts,
    ParavirtGuest,
    Ports,
    TrapGuest,
    assemble,
    to_user,
)

Trap = Callable[..., TrapGuest]
Paravirt = Callable[..., ParavirtGuest]
OLD = 0x1122334455667788
VALUE = 0xFEDCBA98
DONE = "mov edi, eax; mov al, 9; out 0xf4, al"
END_9 = "mov al, 9; out 0xf4, al"
WAIT_FOR_HANDLER = f"wait: test rbx, rbx; jz wait; {END_9}"  # looks at what the handler counts, without an exit


@pytest.mark.parametrize(
    ("code", "size", "result"),
    [("in al, dx", 1, OLD & ~0xFF | 0x98), ("in ax, dx", 2, OLD & ~0xFFFF | 0xBA98), ("in eax, dx", 4, VALUE),
     ("in al, 0x6c", 1, OLD & ~0xFF | 0x98), ("in eax, 0x6d", 4, VALUE)],
)  # fmt: skip
@pytest.mark.parametrize("leaves", [False, True])
def test_in_keeps_the_bits_that_it_does_not_read(
    unmodified: Trap, code: str, size: int, result: int, leaves: bool
) -> None:
    """Also where an interrupt becomes pending in the handler, so that the engine leaves the block."""
    guest = unmodified(
        f"sti; mov rax, {OLD}; mov edx, 0x1234; {code}; mov r8, rax; {END_9}", {DATA: "inc rbx; mov r9, [rsp]; iretq"}
    )
    guest.gate(0x20, DATA)
    ports, interrupts = Ports(guest, VALUE & (1 << 8 * size) - 1), Interrupts(guest)
    if leaves:
        ports.on_read = lambda _port, _size: interrupts.raise_()
    outcome = guest.run()
    assert outcome.status == 9
    assert (guest.vcpu.r8, guest.vcpu.rbx) == (result, int(leaves))
    port = 0x1234 if "dx" in code else int(code.split(", ")[1], 0)
    assert ports.read == [(port, size)]
    if leaves:
        assert guest.vcpu.r9 == CODE + len(assemble(f"sti; mov rax, {OLD}; mov edx, 0x1234; {code}"))


@pytest.mark.parametrize("code", ["out dx, al", "out dx, ax", "out dx, eax", "out 0x6e, al", "out 0x6f, eax"])
def test_out_says_port_size_and_value_and_is_interrupted_right_behind(unmodified: Trap, code: str) -> None:
    before = f"sti; mov rax, {OLD}; mov edx, 0x1234; "
    guest = unmodified(f"{before}{code}; inc rcx; {END_9}", {DATA: "mov r9, [rsp]; mov r10, rcx; iretq"})
    guest.gate(0x20, DATA)
    ports, interrupts = Ports(guest), Interrupts(guest)
    ports.on_write = lambda _port, _size: interrupts.raise_()
    outcome = guest.run()
    size = {"al": 1, "ax": 2, "eax": 4}[code.split(", ")[1]]
    port = 0x1234 if "dx" in code else int(code.split()[1].rstrip(","), 0)
    assert ports.written == [(port, size, OLD & (1 << 8 * size) - 1)]
    assert (outcome.status, guest.vcpu.rcx, guest.vcpu.r10) == (9, 1, 0)
    assert guest.vcpu.r9 == CODE + len(assemble(before + code))
    assert outcome.events["interrupts delivered"] == 1


@pytest.mark.parametrize(
    "setter",
    ["cmp eax, ebx", "add eax, ebx", "sub rax, rcx", "shl eax, 3", "neg ebx", "stc", "bt eax, 2",
                                    "inc cl", "imul eax, ecx", "popcnt eax, ecx"])  # fmt: skip
@pytest.mark.parametrize("code", ["out 0x10, al", "in al, 0x10", "cpuid", "rdtsc"])
def test_flags_survive_where_the_block_is_left(trap: Trap, setter: str, code: str) -> None:
    """The translator keeps flags lazily: what is interrupted there has all of them."""
    program = f"sti; mov eax, 0x80000001; mov ebx, 0x7fffffff; mov ecx, 0xff; {setter}; {code}; pushfq; pop r8; {END_9}"
    seen = []
    for leaves in (False, True):
        guest = trap(program, {DATA: "mov r9, [rsp + 16]; cmp eax, eax; iretq"})
        guest.gate(0x20, DATA)
        ports, interrupts = Ports(guest), Interrupts(guest)
        if leaves:

            def raises(_port: int, _size: int, source: Interrupts = interrupts) -> None:
                source.raise_()

            ports.on_read = ports.on_write = raises

            def answer(_exit: object, source: Interrupts = interrupts) -> object:
                source.raise_()
                return NEXT

            guest.answer(Row(Reason.CPUID, -1, -1, answer, "test"), Row(Reason.RDTSC, 0, 0, answer, "test"),
                         Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, ports._read, "test", "", Shape.READ),
                         Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, ports._write, "test", "", Shape.WRITE))  # fmt: skip
        assert guest.run().status == 9
        if leaves:
            assert guest.vcpu.r9 & 0x8D5 == guest.vcpu.r8 & 0x8D5
        seen.append(guest.vcpu.r8)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_rep_outs_and_ins_move_each_element_once(unmodified: Trap, size: int) -> None:
    suffix = {1: "b", 2: "w", 4: "d"}[size]
    guest = unmodified(
        f"mov esi, {DATA}; mov edi, {DATA + 0x100}; mov ecx, 5; mov edx, 0x77; rep outs{suffix}; "
        f"mov ecx, 3; rep ins{suffix}; {END_9}",
        {DATA: bytes(range(64))},
    )
    ports = Ports(guest, 0xA1B2C3D4 & (1 << 8 * size) - 1)
    outcome = guest.run()
    elements = [int.from_bytes(bytes(range(64))[at : at + size], "little") for at in range(0, 5 * size, size)]
    assert ports.written == [(0x77, size, element) for element in elements]
    assert ports.read == [(0x77, size)] * 3
    assert guest.memory.read(DATA + 0x100, 4 * size) == ports.value.to_bytes(size, "little") * 3 + bytes(size)
    assert (guest.vcpu.rsi, guest.vcpu.rdi, guest.vcpu.rcx) == (DATA + 5 * size, DATA + 0x100 + 3 * size, 0)
    assert outcome.by_key["IO_INSTRUCTION", "port 0x77 write"] == 5
    assert outcome.by_key["IO_INSTRUCTION", "port 0x77 read"] == 3


@pytest.mark.parametrize("code", ["rep outsb", "rep insb"])
def test_an_interrupt_within_a_string(unmodified: Trap, code: str) -> None:
    """Taken behind the element that raised it, without waiting for another exit; the rest follows."""
    guest = unmodified(
        f"sti; mov esi, {DATA}; mov edi, {DATA + 128}; mov ecx, 5; mov edx, 0x77; {code};{WAIT_FOR_HANDLER}",
        {DATA: "inc rbx; mov r8, rcx; mov r9, [rsp]; iretq"},
    )
    guest.gate(0x20, DATA)
    ports, interrupts = Ports(guest), Interrupts(guest)
    raised = []

    def on_third(_port: int, _size: int) -> None:
        raised.append(1)
        if len(raised) == 3:
            interrupts.raise_()

    ports.on_write = ports.on_read = on_third
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rbx, guest.vcpu.rcx, len(raised)) == (9, 1, 0, 5)
    assert guest.vcpu.r8 == 2
    assert guest.memory.read(guest.vcpu.r9, 2) == assemble(code)


def test_an_interrupt_of_the_last_element_needs_no_further_exit(unmodified: Trap) -> None:
    guest = unmodified(f"sti; mov esi, {DATA + 64}; mov ecx, 1; mov edx, 0x77; rep outsb; {WAIT_FOR_HANDLER}",
                 {DATA: "inc rbx; iretq"})  # fmt: skip
    guest.gate(0x20, DATA)
    ports, interrupts = Ports(guest), Interrupts(guest)
    ports.on_write = lambda _port, _size: interrupts.raise_()
    assert guest.run().status == 9


def test_a_string_obeys_the_exit_budget_and_goes_on(unmodified: Trap) -> None:
    guest = unmodified(f"mov esi, {DATA}; mov ecx, 1000; mov edx, 0x77; rep outsb; {END_9}", {DATA: bytes(1000)})
    ports = Ports(guest)
    fills = guest.run(max_exits=20)
    assert fills.why is StopWhy.MAX_EXITS
    assert fills.exits.total == 20
    assert guest.run().status == 9
    assert len(ports.written) == 1000


def test_a_string_to_an_unmapped_page_faults_at_its_element(unmodified: Trap) -> None:
    guest = unmodified("mov edi, 0x3ffffe; mov ecx, 5; mov edx, 0x77; rep insb")
    Ports(guest, 0x5A)
    assert guest.run().status == PF
    assert (guest.vcpu.rdi, guest.vcpu.rcx, guest.vcpu.virtual.cr2) == (0x400000, 3, 0x400000)
    assert guest.memory.read(0x3FFFFE, 2) == b"\x5a\x5a"


# ---- who may ----

IO_MAP = 0x68  # the offset of the bitmap in the TSS


@pytest.mark.parametrize("code", ["out dx, al", "in al, dx", "out dx, eax", "in eax, dx", "outsb", "insb"])
@pytest.mark.parametrize(
    ("iopl", "bitmap", "limit", "allowed"),
    [
        (0, None, 0x67, False), (3, None, 0x67, True), (2, None, 0x67, False),
        (0, 0x00, IO_MAP + 0x2000, True), (0, 0xFF, IO_MAP + 0x2000, False),
        (0, 0x00, IO_MAP + 0x77 // 8, False), (0, 0x00, IO_MAP + 0x77 // 8 + 1, True),
    ],
)  # fmt: skip
def test_ports_at_cpl_3(trap: Trap, code: str, iopl: int, bitmap: int | None, limit: int, allowed: bool) -> None:
    user = f"mov edi, {DATA}; mov esi, {DATA}; mov edx, 0x77; {code}; int 0x80"
    guest = trap(to_user(flags=ALWAYS | IF | iopl << 12) + IRETQ, {USER: user})
    guest.gate(0x80, dpl=3)
    guest.vcpu.virtual.tr_limit = limit
    if bitmap is not None:
        guest.memory.write(TSS + IO_MAP, bytes([bitmap]) * 0x2001)
    ports = Ports(guest)
    outcome = guest.run()
    assert outcome.status == (0x80 if allowed else GP)
    assert len(ports.read) + len(ports.written) == allowed
    if not allowed:
        frame = guest.frame(error=True)
        assert (frame.error, frame.rip) == (0, USER + len(assemble(user)) - len(assemble(code)) - 2)
        assert outcome.by_key[EXCEPTION, "#GP"] == 1


@pytest.mark.parametrize(
    ("port", "size", "denied"),
    [(0x10, 1, 0x10), (0x10, 2, 0x11), (0x10, 4, 0x13), (0x17, 2, 0x18), (0xFFFF, 1, 0xFFFF)],
)
def test_every_bit_of_the_access_counts(unmodified: Trap, port: int, size: int, denied: int) -> None:
    register = {1: "al", 2: "ax", 4: "eax"}[size]
    for bad in (denied, port + size, port - 1):
        guest = unmodified(to_user() + IRETQ, {USER: f"mov edx, {port}; in {register}, dx; int 0x80"})
        guest.gate(0x80, dpl=3)
        guest.vcpu.virtual.tr_limit = IO_MAP + 0x2000
        bitmap = bytearray(0x2002)
        bitmap[bad // 8] |= 1 << bad % 8
        guest.memory.write(TSS + IO_MAP, bytes(bitmap[:0x2001]))
        Ports(guest)
        assert guest.run().status == (GP if bad == denied else 0x80), hex(bad)


def test_a_bitmap_in_no_memory_is_a_page_fault_of_the_instruction(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "in al, 0x10"})
    guest.vcpu.virtual.tr_limit = 0xFFFF
    guest.memory.write_uint(TSS + 102, 2, 0xD000 - TSS)
    guest.protect(0xD000, clear=1)
    Ports(guest)
    assert guest.run().status == PF
    assert guest.vcpu.virtual.cr2 == 0xD002
    assert guest.frame(error=True)[:2] == (0, USER)


def test_ports_of_user_mode_are_denied_under_paravirt(paravirt: Paravirt) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: "in al, 0x10"})
    ports = Ports(guest)
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (0, USER)
    assert not ports.read


def test_sysenter_is_undefined(unmodified: Trap) -> None:
    guest = unmodified("nop; sysenter")
    assert guest.run().status == UD
    assert guest.frame().rip == CODE + 1


# ---- what a handler may answer ----


@pytest.mark.parametrize("code", ["out 0x10, al", "in al, 0x10"])
def test_a_handler_in_a_block_may_fault_and_stop(unmodified: Trap, code: str) -> None:
    guest = unmodified(f"nop; {code}")
    ports = Ports(guest)
    ports.on_read = ports.on_write = lambda _port, _size: fault(NP, 0x1234)
    assert guest.run().status == NP
    assert guest.frame(error=True)[:2] == (0x1234, CODE + 1)

    guest = unmodified(f"nop; {code}")
    ports = Ports(guest)
    ports.on_read = ports.on_write = lambda _port, _size: stop(3)
    outcome = guest.run()
    assert (outcome.why, outcome.status, outcome.rip) == (StopWhy.EXITED, 3, CODE + 1 + len(assemble(code)))


@pytest.mark.parametrize("code", ["out 0x10, al", "in al, 0x10", "cpuid", "rdtsc", "outsb", "insb", "rep outsb"])
def test_a_failing_handler_is_asked_again(trap: Trap, code: str) -> None:
    guest = trap(f"mov edx, 0x10; mov ecx, 1; mov esi, {DATA}; mov edi, {DATA}; mov eax, 5; {code}; {END_9}")
    ports = Ports(guest)
    failures = [KeyError("first")]

    def fail(*_: object) -> object:
        if failures:
            raise failures.pop()
        return None

    def fail_or_go_on(_exit: object) -> object:
        fail()
        return NEXT

    ports.on_read = ports.on_write = fail  # type: ignore[assignment]
    guest.answer(Row(Reason.CPUID, -1, -1, fail_or_go_on, "test"), Row(Reason.RDTSC, 0, 0, fail_or_go_on, "test"),
                 Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, ports._read, "test", "", Shape.READ),
                 Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, ports._write, "test", "", Shape.WRITE))  # fmt: skip
    with pytest.raises(KeyError, match="first"):
        guest.run()
    assert guest.vcpu.rax == 5
    assert guest.vcpu.rip == CODE + len(
        assemble(f"mov edx, 0x10; mov ecx, 1; mov esi, {DATA}; mov edi, {DATA}; mov eax, 5")
    )
    outcome = guest.run()
    assert outcome.status == 9
    assert len(ports.read) + len(ports.written) == (0 if code in ("cpuid", "rdtsc") else 2)


def test_cpuid_and_rdtsc_are_exits_at_every_privilege(trap: Trap) -> None:
    guest = trap("cpuid; rdtsc; rdtscp; " + to_user() + IRETQ, {USER: "mov eax, 0x80000000; cpuid; rdtsc; int 0x80"})
    guest.gate(0x80, dpl=3)
    outcome = guest.run()
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {
        ("CPUID", "leaf 0x0"): 1, ("CPUID", "leaf 0x80000000"): 1, ("RDTSC", ""): 2, ("RDTSCP", ""): 1, ("IRET", ""): 1,
        (SOFTWARE, "INT 0x80"): 1, **END,
    }  # fmt: skip


def test_rdtsc_with_tsd_is_gp_at_cpl_3(unmodified: Trap) -> None:
    guest = unmodified(f"mov rax, cr4; or eax, 4; mov cr4, rax; rdtsc; {to_user()} iretq", {USER: "nop; rdtsc"})
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (0, USER + 1)


def test_every_undefined_opcode_is_one_exit(trap: Trap) -> None:
    for code in (b"\x0f\x0b", b"\x0f\xff", b"\x06", b"\x0f\x01\xd0", b"\x0f\x01\xd9", b"\x66\x0f\x01\xc1"):
        guest = trap(code)
        outcome = guest.run()
        if code == b"\x0f\x01\xd0":  # XGETBV: the engine says #GP
            assert outcome.status in (UD, GP)
            continue
        assert (outcome.status, guest.frame().rip) == (UD, CODE), code.hex()
        assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {(EXCEPTION, "#UD"): 1, **END}


def test_a_decoded_instruction_is_not_confused_with_what_replaces_it(trap: Trap) -> None:
    """One address, two instructions in turn: the cache of decodings compares bytes."""
    guest = trap(
        f"mov ecx, 2; again: call {DATA}; mov byte ptr [{DATA}], 0xfb; dec ecx; jnz again; {END_9}", {DATA: "cli; ret"}
    )
    outcome = guest.run()
    assert outcome.status == 9
    assert outcome.by_key["INTERRUPT_FLAG", "CLI"] == outcome.by_key["INTERRUPT_FLAG", "STI"] == 1
    assert guest.vcpu.virtual.interrupt_flag
