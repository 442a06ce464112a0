"""Bad input has one outcome each, said here: an errno, a fault that ends the guest at its bytes, or one line and 2.

The guests have no handlers, so a fault that is injected into them ends them where it was raised, by its vector.
After each the host process goes on: a guest that works runs in it.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EFAULT, EINVAL, ENOENT, ENOSYS
from pathlib import Path

import pytest

from guest_sdk import Guest
from guest_sdk.examples import hello
from pv import Machine, StopWhy
from pv.cli import main
from pv.outcome import Outcome

MEMORY = "2MiB"
END = 2 << 20  # the first gpa beyond it
UD, GP, PF = 6, 13, 14
HALF = 1 << 63


def run(guest: Guest, technique: str) -> tuple[Outcome, Machine]:
    """The guest's outcome, and its machine; then another guest shows that the process lives."""
    with Machine(memory=MEMORY, technique=technique) as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=20, max_exits=10_000)
    with Machine(memory=MEMORY) as healthy:
        healthy.load(hello.build())
        assert healthy.run(timeout=20).console == "hello, world\n"
    return outcome, machine


def guest(body: str, technique: str) -> Guest:
    """`body`, then CLI and a status of 0, with a page of zeroes at `space`."""
    made = Guest("bad", paravirt=technique == "paravirt")
    made.bss("space", 4096, align=4096)
    made.asm(f"main:\n{body}\ndone:\ncli\nxor eax, eax\nret".replace(";", "\n"))
    return made


WILD = 0xDEAD_BEEF_0000
ANSWERS = [
    ("an unknown number", 0x1FFF, (), ENOSYS),
    ("a number with bits above 31", 0x1_0000_1000, (), ENOSYS),
    ("the number 0", 0, (), ENOSYS),
    ("a wild pointer", "console_write", (WILD, 8), EFAULT),
    ("a pointer that is negative", "console_write", ((1 << 64) - 8, 4), EFAULT),
    ("a buffer over the end of memory", "console_write", (END - 4, 5), EFAULT),
    ("a buffer behind the end of memory", "console_write", (END, 1), EFAULT),
    ("a length that overflows with its pointer", "console_write", ((1 << 64) - 4096, 8192), EFAULT),
    ("a length of all ones", "console_write", (0x1000, (1 << 64) - 1), E2BIG),
    ("a length that is negative", "console_write", (0x1000, HALF), E2BIG),
    ("a name in no memory", "abi_query", (WILD, 8), EFAULT),
    ("a name that nobody has", "abi_query", ("space", 4), ENOENT),
    ("a count that overflows", "multicall", ("space", 1 << 58), E2BIG),
    ("a batch in no memory", "multicall", (WILD, 1), EFAULT),
    ("a batch over the end of memory", "multicall", (END - 64, 2), EFAULT),
    ("updates in no memory", "page_update", (WILD, 1), EFAULT),
    ("a count of updates that overflows", "page_update", ("space", 1 << 59), E2BIG),
    ("a trap table in no memory", "set_trap_table", (WILD, 1), EFAULT),
    ("mapping memory that is not there", "map", (0x4000_0000, END, 1, 1), EFAULT),
    ("mapping more pages than one call may", "map", (0x4000_0000, 0, HALF, 1), E2BIG),
    ("mapping an address that is not canonical", "map", (HALF, 0, 1, 1), EINVAL),
    ("mapping with flags that mean nothing", "map", (0x4000_0000, 0, 1, 0x8000_0001), EINVAL),
    ("an argument wider than its type", "map", (0x4000_0000, 0, 1, 1 << 32), EINVAL),
    ("unmapping around the end of addresses", "unmap", ((1 << 64) - 4096, 2), EINVAL),
    ("a space that is not there", "space_switch", (77,), EINVAL),
    ("destroying the boot space", "space_destroy", (0,), EINVAL),
    ("a clock page beyond memory", "clock_page", (END,), EFAULT),
    ("a clock page that is not one", "clock_page", (0x1001,), EINVAL),
    ("an event page beyond memory", "event_page", (HALF, 0), EFAULT),
    ("an upcall to no address", "event_page", ("space", HALF), EINVAL),
    ("a port that is not open", "event_send", (5,), EINVAL),
    ("a stack at no address", "set_kernel_stack", (HALF,), EINVAL),
    ("an entry at no address", "set_syscall_entry", (HALF,), EINVAL),
    ("a base at no address", "set_segment_base", (0, HALF), EINVAL),
    ("a segment that has no base", "set_segment_base", (3, 0), EINVAL),
]


@pytest.mark.parametrize(("call", "arguments", "errno"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_a_hypercall_is_answered_by_an_errno(call: int | str, arguments: tuple[int | str, ...], errno: int) -> None:
    made = Guest("bad", paravirt=True)
    made.bss("space", 4096, align=4096)
    made.asm("main:")
    if isinstance(call, str):
        getattr(made.call, call)(*arguments)
    else:
        made.asm(f"mov rax, {call:#x}\nvmcall")
    made.asm("neg rax\nret")
    outcome, _ = run(made, "paravirt")
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, errno), outcome.summary


def gdt_at(base: int) -> str:
    """Load a GDT at `base`, then a segment from it."""
    return (
        f"mov word ptr [space], 0xffff; mov rax, {base:#x}; mov qword ptr [space + 2], rax;"
        "lgdt [space]; mov eax, 0x10; mov ds, eax"
    )


BOTH = ("trap", "paravirt")
SYSRET = "lea rcx, [done]; mov r11d, 2; sysretq"
FAULTS = [
    ("a jump into no memory", "mov rax, 0x40000000; jmp rax", BOTH, "", PF),
    ("a jump to the end of memory", f"mov eax, {END}; jmp rax", BOTH, "", PF),
    ("a jump to no address", "mov rax, 0x8000000000000000; jmp rax", BOTH, "", GP),
    ("a jump into data", "lea rax, [space]; jmp rax", BOTH, "00 00", PF),
    ("a jump into the stack", "push 0; jmp rsp", BOTH, "00 00", PF),
    ("a read of no memory", "mov rax, 0x40000000; mov rbx, [rax]", BOTH, "48 8b 18", PF),
    ("a write to code", "lea rax, [main]; mov [rax], rbx", BOTH, "48 89 18", PF),
    ("a read of no address", "mov rax, 0x8000000000000000; mov rbx, [rax]", BOTH, "48 8b 18", GP),
    ("no instruction", "ud2", BOTH, "0f 0b", UD),
    ("page tables in no memory", "mov eax, 0xfffff000; mov cr3, rax", ["trap"], "", PF),
    ("page tables at no address", "mov rax, 0x8000000000000000; mov cr3, rax", ["trap"], "0f 22 d8", GP),
    ("a GDT in no memory", gdt_at(0x40000000), ["trap"], "8e d8", PF),
    ("a GDT at no address", gdt_at(HALF), ["trap"], "0f 01", GP),
    ("a GDT of nothing", "lgdt [space]; mov eax, 0x10; mov ds, eax", ["trap"], "8e d8", GP),
    ("an IDT of nothing", "lidt [space]; int 3", ["trap"], "cd 03", 3),
    ("SYSRET, which leads to CPL 3, where nothing is to read", SYSRET, ["trap"], "", PF),
    ("SYSRET, which is not the guest's to use", SYSRET, ["paravirt"], "48 0f 07", GP),
    (
        "page tables of one's own, which are the monitor's",
        "lea rax, [space]; mov cr3, rax",
        ["paravirt"],
        "0f 22 d8",
        GP,
    ),
    ("a GDT of the guest's own", "lgdt [space]", ["paravirt"], "0f 01", GP),
]


@pytest.mark.parametrize(
    ("body", "technique", "code", "vector"),
    [
        pytest.param(body, technique, code, vector, id=f"{name}, {technique}")
        for name, body, techniques, code, vector in FAULTS
        for technique in techniques
    ],
)
def test_a_fault_ends_the_guest_at_its_bytes(body: str, technique: str, code: str, vector: int) -> None:
    outcome, _ = run(guest(body, technique), technique)
    assert outcome.why is StopWhy.SHUTDOWN, outcome.summary
    assert outcome.detail.startswith(f"vector {vector} ")
    assert outcome.code.hex(" ").startswith(code)
    assert outcome.record
    assert 0 not in {entry.cpl for entry in outcome.record}


def test_page_tables_that_are_each_their_own_child() -> None:
    """Every address is then the one page of tables: as code its bytes are what they are, and the guest ends."""
    fill = "lea rdi, [space]; mov rbx, rdi; or rbx, 7; mov ecx, 512; mov rax, rdi"
    loop = "fill: mov [rax], rbx; add rax, 8; dec ecx; jnz fill"
    outcome, _ = run(guest(f"{fill}; {loop}; mov cr3, rdi", "trap"), "trap")
    assert outcome.why is StopWhy.SHUTDOWN, outcome.summary
    assert outcome.exits["CR_ACCESS"] == 1
    assert outcome.record


# Each way that a kernel at CPL 1 might reach CPL 0. Those that go on come to CLI, which must trap.
RETURN = "lea rax, [done]; push rax"
GATE = """
    lea rax, [landed]; lea rdi, [space]
    mov word ptr [rdi + 48], ax; mov word ptr [rdi + 50], 8; mov word ptr [rdi + 52], 0x8e00
    shr eax, 16; mov word ptr [rdi + 54], ax
    mov word ptr [space + 256], 0xff; mov qword ptr [space + 258], rdi
    lidt [space + 256]; int 3
landed:
    mov rsp, [rsp + 24]
"""
GOES_ON = [
    ("MOV to SS of a null selector", "xor edx, edx; mov ss, edx", 1),
    ("MOV to SS of the boot GDT's DPL 0", "mov edx, 0x10; mov ss, edx", 0),
    ("IRETQ to the boot GDT's code of DPL 0", f"mov rbx, rsp; push 0x10; push rbx; push 2; push 8; {RETURN}; iretq", 0),
    ("IRETQ with a null SS", f"mov rbx, rsp; push 0; push rbx; push 2; push 8; {RETURN}; iretq", 0),
    ("RETFQ to the boot GDT's code of DPL 0", f"push 8; {RETURN}; retfq", 0),
    ("INT through a gate to code of DPL 0", GATE, 0),
    ("POPF of IOPL 0", "push 2; popfq", 0),
    ("POPF of IOPL 3", "push 0x3002; popfq", 0),
    ("LGDT of another table", "lgdt [space]", 0),
]


@pytest.mark.parametrize(("body", "held"), [row[1:] for row in GOES_ON], ids=[row[0] for row in GOES_ON])
def test_no_way_leads_to_cpl_0(body: str, held: int) -> None:
    outcome, machine = run(guest(body, "trap"), "trap")
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    assert outcome.by_key["INTERRUPT_FLAG", "CLI"] == 1
    assert outcome.events["ring held"] == held
    assert {entry.cpl for entry in machine.vcpu.flight_record()} == {1}


REFUSED = [
    ("clearing CR0.PE", "xor eax, eax; mov cr0, rax", "0f 22 c0", GP),
    ("clearing CR4.PAE", "xor eax, eax; mov cr4, rax", "0f 22 e0", GP),
    ("clearing EFER.LME", "mov ecx, 0xc0000080; xor eax, eax; xor edx, edx; wrmsr", "0f 30", GP),
    ("LTR of a code segment", "mov eax, 8; ltr ax", "0f 00 d8", GP),
    ("LLDT of a code segment", "mov eax, 8; lldt ax", "0f 00 d0", GP),
    ("SYSENTER", "sysenter", "0f 34", UD),
]


@pytest.mark.parametrize("technique", BOTH)
@pytest.mark.parametrize(("body", "code", "vector"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_would_change_the_ring_is_refused(body: str, code: str, vector: int, technique: str) -> None:
    outcome, machine = run(guest(body, technique), technique)
    assert outcome.why is StopWhy.SHUTDOWN, outcome.summary
    assert outcome.detail.startswith(f"vector {vector} ")
    assert outcome.code.hex(" ").startswith(code)
    assert 0 not in {entry.cpl for entry in machine.vcpu.flight_record()}


def changed(at: int, value: int) -> bytes:
    """The hello guest's file with one byte changed."""
    data = bytearray(hello.build())
    data[at] = value
    return bytes(data)


FILES = [
    ("an ELF cut in its header", lambda: hello.build()[:40], "ELF file"),
    ("an ELF cut in its program headers", lambda: hello.build()[:100], "its program headers at 0x40 are beyond"),
    ("an ELF cut in its segments", lambda: hello.build()[:8192], "are beyond its 8192 bytes; copy the file again"),
    ("an ELF for another machine", lambda: changed(18, 40), "e_machine is EM_ARM, and a guest is for x86-64"),
    ("an ELF of 32 bits", lambda: changed(4, 1), "EI_CLASS is ELFCLASS32, and a guest is 64-bit"),
    ("an empty file", lambda: b"", "the guest is an empty file"),
]


@pytest.mark.parametrize(("data", "says"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_file_that_is_no_guest_is_one_line(
    data: Callable[[], bytes], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "guest"
    file.write_bytes(data())
    check_complaint(["run", str(file)], says, capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "no-such-file"], "cannot read no-such-file: No such file or directory"),
        (["compare", "no-such"], "no workload is called 'no-such'; there are console, clock"),
        (["compare", "--technique", "no-such"], "no technique is called 'no-such'; there are paravirt, trap"),
        (["hypercalls", "show", "no-such"], "no hypercall is named 'no-such'"),
    ],
)
def test_a_name_of_nothing_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_complaint(arguments, says, capsys)


def check_complaint(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command gives 2, prints nothing, and says in one line what is wrong."""
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert says in error
