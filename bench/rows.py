"""Which kinds of exit are measured: a row each, and the guest code that makes it.

A guest sets up, runs its body `turns` times and ends. Rows of one `kind` are each other's twins: the paravirtual
way and the unmodified way to the same end, and in bench.reference the same exit on Unicorn's own binding. The rows of
`trap` are those of every other technique for unmodified guests, too; FREE says what takes no exit there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bench.reference import ARGUMENT_SETUP, CALL_RET, COMPUTE, LEAF
from guest_sdk import Guest, abi
from pv.memory import PAGE_SIZE
from pv.techniques import TECHNIQUES

SPACE: Final = "space"  # the label of the rows' data: SPACE_BYTES of zeroes
SPACE_BYTES: Final = 0x2000
UNMAPPED: Final = 0x4000_0000  # beyond the guest's memory, in no page table
NULL_CALL: Final = 0x8F01
BUFFER_CALL: Final = 0x8F02
LATCH_PORT: Final = 0x8F0  # bench.plugin's device
SCRATCH_PORT: Final = 0x3FF  # the 16550's scratch register: a PC has no latch
APIC_PAGE: Final = 0xFEE0_0000
TASK_PRIORITY: Final = 0x80  # the register that a device row writes and reads
EFER_MSR: Final = 0xC0000080
ATA_BLOCK_0: Final = ((0x1F3, 0), (0x1F4, 0), (0x1F5, 0), (0x1F6, 0x40), (0x1F7, 0xC4))  # LBA 0, READ MULTIPLE
BATCH: Final = 64
ENTRY: Final = abi.STRUCT_BY_NAME["multicall_entry"]
TRAP_ENTRY: Final = abi.STRUCT_BY_NAME["trap_entry"]
ENABLED: Final = abi.STRUCT_BY_NAME["event_page"].offset("enabled")
TURN: Final = "again"


def call(name: str) -> str:
    """The hypercall of that name; its arguments stand in their registers."""
    return f"mov eax, {abi.BY_NAME[name].number:#x}; vmcall"


PARAVIRT_END: Final = f"xor edi, edi; {call('exit')}"
UNMODIFIED_END: Final = f"mov edx, {abi.DEBUG_EXIT_PORT:#x}; xor eax, eax; out dx, al"

FILL_BATCH: Final = f"""
    mov rdi, {SPACE}
    mov ecx, {BATCH}
fill:
    mov qword ptr [rdi], {NULL_CALL:#x}
    add rdi, {ENTRY.size_bytes}
    dec ecx
    jnz fill
    mov rdi, {SPACE}
    mov esi, {BATCH}
"""

# A handler that steps over the two bytes of `mov al, [rbx]`; the error code lies on top of its frame. The paravirtual
# one puts RAX in its place, where return_from_event takes it.
STEP_OVER: Final = "add qword ptr [rsp + 8], 2"
FAULT_BODY: Final = "mov al, byte ptr [rbx]"
PARAVIRT_FAULT: Final = f"""
    lea rax, [handler]
    mov rdi, {SPACE}
    mov dword ptr [rdi + {TRAP_ENTRY.offset("vector")}], 14
    mov dword ptr [rdi + {TRAP_ENTRY.offset("flags")}], 0
    mov qword ptr [rdi + {TRAP_ENTRY.offset("rip")}], rax
    mov esi, 1
    {call("set_trap_table")}
    mov rbx, {UNMAPPED}
    jmp begin
handler:
    {STEP_OVER}
    xchg [rsp], rax
    {call("return_from_event")}
begin:
"""
# An interrupt gate (SDM vol. 3, 6.14.1) for vector 14 in an IDT at SPACE; LIDT's operand behind it.
TRAP_FAULT: Final = f"""
    lea rax, [handler]
    mov rbx, {SPACE} + {14 * 16}
    mov word ptr [rbx], ax
    mov word ptr [rbx + 2], 8
    mov word ptr [rbx + 4], 0x8e00
    shr rax, 16
    mov word ptr [rbx + 6], ax
    mov qword ptr [rbx + 8], 0
    mov rbx, {SPACE} + 0x1000
    mov word ptr [rbx], 0xfff
    mov rax, {SPACE}
    mov qword ptr [rbx + 2], rax
    lidt [rbx]
    mov rbx, {UNMAPPED}
    jmp begin
handler:
    {STEP_OVER}
    add rsp, 8
    iretq
begin:
"""
EVENT_PAGE: Final = f"mov rdi, {SPACE}; xor esi, esi; {call('event_page')}; mov rbx, {SPACE} + {ENABLED}"
# A block of 4 KiB from the machine's disk: by call, and by PIO from an ATA disk whose interrupt is off.
BLOCK: Final = 4096
BLOCK_READ: Final = f"xor edi, edi; xor esi, esi; mov rdx, {SPACE}; mov r10d, {BLOCK}; {call('block_read')}"
SET_MULTIPLE: Final = "mov edx, 0x3f6; mov al, 2; out dx, al; mov edx, 0x1f2; mov al, 8; out dx, al; " + (
    "mov edx, 0x1f7; mov al, 0xc6; out dx, al"
)
READ_MULTIPLE: Final = "; ".join(
    (
        "mov edx, 0x1f2; mov al, 8; out dx, al",
        *(f"mov edx, {port:#x}; mov al, {value:#x}; out dx, al" for port, value in ATA_BLOCK_0),
        "in al, dx",
        f"mov rdi, {SPACE}; mov ecx, {BLOCK // 2}; mov edx, 0x1f0; rep insw",
    )
)
MAP_ARGUMENTS: Final = f"mov rdi, {SPACE}; mov rsi, {SPACE}; mov edx, 1; mov r10d, 3"  # present, writable


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One row. exits: of one turn. operations: units of work in one turn, what a time is divided by."""

    kind: str
    technique: str
    body: str
    setup: str = ""
    turns: int = 200_000
    exits: int = 1
    operations: int = 1

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.technique}".replace(" ", "-")

    def build(self) -> bytes:
        """The guest, as an ELF."""
        guest = Guest(f"bench-{self.name}", paravirt=self.technique == "paravirt")
        guest.bss(SPACE, SPACE_BYTES, align=PAGE_SIZE)
        end = PARAVIRT_END if self.technique == "paravirt" else UNMODIFIED_END
        loop = f"mov rbp, {self.turns}\n{TURN}:\n{self.body}\ndec rbp\njnz {TURN}\n{end}"
        guest.asm(f"_start:\n{self.setup}\n{loop}".replace(";", "\n"))  # the builder takes one instruction a line
        return guest.build()


BUFFER: Final = f"mov rdi, {SPACE}; mov esi, 64"
LATCH: Final = f"mov edx, {LATCH_PORT}; mov eax, 0x41"
SCRATCH: Final = f"mov edx, {SCRATCH_PORT}; mov eax, 0x41"
CPUID: Final = "mov eax, 1; xor ecx, ecx; cpuid"
# The local APIC's page at its own address: a 2 MiB page, through a page directory at SPACE (SDM vol. 3, 4.5.4).
APIC: Final = f"""
    mov rax, cr3
    mov rax, [rax]
    and rax, -4096
    mov rbx, {SPACE}
    lea rcx, [rbx + 3]
    mov [rax + {APIC_PAGE >> 30} * 8], rcx
    mov ecx, {APIC_PAGE | 0xF3:#x}
    mov [rbx + {(APIC_PAGE >> 21) % 512} * 8], rcx
    mov ebx, {APIC_PAGE:#x}
    mov eax, 0x10
"""
COMPUTE_SETUP: Final = f"mov rbx, {SPACE}; mov eax, 1"

OTHERS: Final = tuple(name for name in TECHNIQUES if name not in ("paravirt", "trap"))
IN_GUEST_MODE: Final = ("mov cr3", "cli", "cli sti", "invlpg", "page fault")  # the guest's own affair there
WITH_VIRTUAL_APIC: Final = ("device write", "device read")  # its TPR; OR is the monitor's to emulate
FREE: Final = {  # kinds that exit under trap, and not there
    "translate": ("cli", "cli sti"),  # instructions of the cache; CR3, INVLPG and faults go to shadow tables as in trap
    "hardware": IN_GUEST_MODE,
    "hardware-apicv": IN_GUEST_MODE + WITH_VIRTUAL_APIC,
}

BASIC_ROWS: Final = (
    ExitRow("hypercall", "paravirt", f"mov eax, {NULL_CALL:#x}; vmcall", ARGUMENT_SETUP),
    ExitRow("hypercall with 64 bytes", "paravirt", f"mov eax, {BUFFER_CALL:#x}; vmcall", BUFFER),
    ExitRow("multicall of 64", "paravirt", call("multicall"), FILL_BATCH, turns=5_000, operations=BATCH),
    ExitRow("port out", "paravirt", "out dx, al", LATCH),
    ExitRow("port out", "trap", "out dx, al", SCRATCH),
    ExitRow("port in", "paravirt", "in al, dx", LATCH),
    ExitRow("port in", "trap", "in al, dx", SCRATCH),
    ExitRow("device write", "trap", f"mov dword ptr [rbx + {TASK_PRIORITY:#x}], eax", APIC),
    ExitRow("device read", "trap", f"mov ecx, dword ptr [rbx + {TASK_PRIORITY:#x}]", APIC),
    ExitRow("device or", "trap", f"or dword ptr [rbx + {TASK_PRIORITY:#x}], eax", APIC),
    ExitRow("cpuid", "paravirt", CPUID),
    ExitRow("cpuid", "trap", CPUID),
    ExitRow("rdmsr", "paravirt", "rdmsr", f"mov ecx, {abi.HYPERCALL_PAGE_MSR:#x}"),
    ExitRow("rdmsr", "trap", "rdmsr", f"mov ecx, {EFER_MSR:#x}"),
    ExitRow("mov cr3", "paravirt", f"xor edi, edi; {call('space_switch')}"),
    ExitRow("mov cr3", "trap", "mov cr3, rbx", "mov rbx, cr3"),
    ExitRow("cli", "paravirt", "mov byte ptr [rbx], 0", EVENT_PAGE, exits=0),
    ExitRow("cli", "trap", "cli"),
    ExitRow("cli sti", "paravirt", "mov byte ptr [rbx], 0; mov byte ptr [rbx], 1", EVENT_PAGE, exits=0),
    ExitRow("cli sti", "trap", "cli; sti", exits=2),
    ExitRow("invlpg", "paravirt", call("map"), MAP_ARGUMENTS),  # mapping anew is how a PV guest drops a translation
    ExitRow("invlpg", "trap", "invlpg [rbx]", f"mov rbx, {SPACE}"),
    ExitRow("page fault", "paravirt", FAULT_BODY, PARAVIRT_FAULT, turns=100_000, exits=2),
    ExitRow("page fault", "trap", FAULT_BODY, TRAP_FAULT, turns=100_000, exits=2),
    ExitRow("block read", "paravirt", BLOCK_READ, turns=20_000),
    ExitRow("block read", "trap", READ_MULTIPLE, SET_MULTIPLE, turns=100, exits=6 + 1 + BLOCK // 2),
    ExitRow("pushf popf", "trap", "pushfq; popfq", exits=0),  # under trap: the wrong flags, without an exit
    ExitRow("call ret", "trap", CALL_RET, LEAF, turns=2_000_000, exits=0),
    ExitRow("compute", "paravirt", COMPUTE, COMPUTE_SETUP, turns=5_000_000, exits=0),
    ExitRow("compute", "trap", COMPUTE, COMPUTE_SETUP, turns=5_000_000, exits=0),
)


def under(row: ExitRow, technique: str) -> ExitRow:
    """trap's row under `technique`."""
    return replace(row, technique=technique, exits=0 if row.kind in FREE[technique] else row.exits)


ROWS: Final = (
    *BASIC_ROWS,
    *(under(row, name) for row in BASIC_ROWS if row.technique == "trap" for name in OTHERS),
)
