"""The hypercall ABI, version 1: the one contract between guests and the monitor.

Standard library only; it imports nothing of pvkit. The C and assembler headers and the reference page
are generated from these tables, and a test holds the live registry equal to them.
A number, once shipped, is never used for anything else.

Registers: number in RAX, arguments in RDI RSI RDX R10 R8 R9, result in RAX; all others keep their value.
Results of -4095..-1 are negated errno values, numbered as in Linux. Addresses of buffers are gpa.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
ARGUMENT_REGISTERS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
NUMBER_REGISTER: Final = "rax"

# Detection (CPUID) and the hypercall page.
CPUID_SIGNATURE_LEAF: Final = 0x40000000  # EAX highest leaf; EBX, ECX, EDX signature
CPUID_FEATURES_LEAF: Final = 0x40000001  # EAX feature bits 0-31, EBX ABI version, ECX bits 32-62
CPUID_HYPERCALL_LEAF: Final = 0x40000002  # EAX pages (1), EBX index of the MSR below
SIGNATURE: Final = b"pvkitpvkitpv"
HYPERCALL_PAGE_MSR: Final = 0x50564B00  # write gpa | 1 to fill the page, 0 to forget it

FEATURES: Final = {  # bit numbers in CPUID_FEATURES_LEAF EAX and in abi_features()
    "inline_vmcall": 0,
    "console": 1,
    "clock_page": 2,
    "memory": 3,
    "cpu": 4,
    "events": 5,
    "multicall": 6,
    "timer": 7,
    "ring": 8,
    "block": 9,
    "guest_calls": 10,
}
PLUGIN_FEATURE_FIRST: Final = 32  # a plugin's own bits: CPUID_FEATURES_LEAF ECX holds 32-62
PLUGIN_FEATURE_LAST: Final = 62

FOREIGN_LAST: Final = 0x0FFF
BUILT_IN_FIRST: Final = 0x1000
BUILT_IN_LAST: Final = 0x1FFF
PLUGIN_FIRST: Final = 0x8000
PLUGIN_LAST: Final = 0xFFFF

ERRNO: Final = {
    "EPERM": 1,
    "ENOENT": 2,
    "EIO": 5,
    "E2BIG": 7,
    "EAGAIN": 11,
    "ENOMEM": 12,
    "EFAULT": 14,
    "EEXIST": 17,
    "ENODEV": 19,
    "EINVAL": 22,
    "ENOSPC": 28,
    "EROFS": 30,
    "ENOSYS": 38,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One hypercall. arguments: (name, bits); a gpa and its length are two arguments of 64 bits.

    jumps: the guest jumps to the hypercall page instead of calling it, since the call takes what is on its stack.
    """

    number: int
    name: str
    arguments: tuple[tuple[str, int], ...]
    result: str
    user_allowed: bool = False
    jumps: bool = False


@dataclass(frozen=True, slots=True)
class Struct:
    """A structure in guest memory, little-endian, packed as written: (field, bytes)."""

    name: str
    fields: tuple[tuple[str, int], ...]

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.fields)

    def offset(self, field: str) -> int:
        """Where `field` starts. Raises KeyError where there is none."""
        at = 0
        for name, size in self.fields:
            if name == field:
                return at
            at += size
        raise KeyError(field)


CALLS: Final = (
    # core
    Call(0x1000, "abi_version", (), "the ABI version"),
    Call(0x1001, "abi_features", (), "the feature bits"),
    Call(0x1002, "abi_query", (("name_gpa", 64), ("name_bytes", 64)), "number of the named call, or -ENOENT"),
    Call(0x1003, "exit", (("status", 64),), "does not return"),
    Call(0x1004, "call_return", (("result", 64), ("more", 64)), "does not return: ends a call that the host made"),
    Call(0x1005, "panic", (("message_gpa", 64), ("message_bytes", 64)), "does not return: the guest gave up"),
    # console
    Call(0x1010, "console_write", (("data_gpa", 64), ("data_bytes", 64)), "bytes written"),
    # clock
    Call(0x1020, "clock_read", (), "ns since the machine started"),
    Call(0x1021, "clock_page", (("page_gpa", 64),), "0; the page then holds clock_page"),
    Call(0x1022, "timer_set", (("port", 32), ("deadline_ns", 64), ("period_ns", 64)), "0; raises the port then"),
    Call(0x1023, "timer_cancel", (("port", 32),), "0"),
    # memory
    Call(0x1030, "memory_size", (), "bytes of guest memory"),
    Call(0x1031, "map", (("gva", 64), ("gpa", 64), ("pages", 64), ("flags", 32)), "pages mapped"),
    Call(0x1032, "unmap", (("gva", 64), ("pages", 64)), "pages unmapped"),
    Call(0x1033, "space_create", (), "id of a new address space that shares the boot mappings"),
    Call(0x1034, "space_switch", (("space", 32),), "0"),
    Call(0x1035, "space_destroy", (("space", 32),), "0"),
    Call(0x1036, "page_update", (("updates_gpa", 64), ("count", 64)), "entries done"),
    # cpu
    Call(0x1040, "set_trap_table", (("entries_gpa", 64), ("count", 64)), "0"),
    Call(0x1041, "set_kernel_stack", (("rsp", 64),), "0"),
    Call(0x1042, "set_syscall_entry", (("rip", 64),), "0"),
    Call(0x1043, "set_segment_base", (("which", 32), ("base", 64)), "0"),
    Call(0x1044, "return_from_event", (), "does not return: pops rax rip cs rflags rsp ss", jumps=True),
    Call(0x1045, "cpuid", (("leaf", 32), ("subleaf", 32), ("registers_gpa", 64)), "0; the registers are written"),
    Call(0x1046, "msr_read", (("index", 32), ("value_gpa", 64)), "0; 8 bytes are written"),
    Call(0x1047, "msr_write", (("index", 32), ("value", 64)), "0"),
    # events
    Call(0x1050, "event_page", (("page_gpa", 64), ("upcall_rip", 64)), "0; the page then holds event_page"),
    Call(0x1051, "event_open", (), "a new port"),
    Call(0x1052, "event_close", (("port", 32),), "0"),
    Call(0x1053, "event_send", (("port", 32),), "0"),
    Call(0x1054, "event_mask", (("port", 32), ("masked", 32)), "0"),
    Call(0x1055, "event_wait", (), "0 once an unmasked event is pending"),
    Call(0x1056, "event_deliver", (), "0; delivers what became pending while the guest had upcalls disabled"),
    # batches
    Call(0x1060, "multicall", (("entries_gpa", 64), ("count", 64)), "entries done"),
    Call(0x1061, "ring_open", (("ring_gpa", 64), ("entries", 32), ("port", 32)), "id of a new ring of calls"),
    Call(0x1062, "ring_kick", (("ring", 32),), "submissions taken"),
    Call(0x1063, "ring_close", (("ring", 32),), "0"),
    # block
    Call(0x1070, "block_info", (("disk", 32), ("info_gpa", 64)), "0; block_info is written"),
    Call(0x1071, "block_read", (("disk", 32), ("offset", 64), ("data_gpa", 64), ("data_bytes", 64)), "bytes read"),
    Call(0x1072, "block_write", (("disk", 32), ("offset", 64), ("data_gpa", 64), ("data_bytes", 64)), "bytes written"),
    Call(0x1073, "block_flush", (("disk", 32),), "0"),
)

STRUCTS: Final = (
    # ns is the machine's time at its last exit, or when it last woke. Read sequence, ns, sequence; retry while odd or
    # changed.
    Struct("clock_page", (("sequence", 8), ("ns", 8))),
    # space: an id from space_create, 0 the boot space. flags 0 unmaps.
    Struct("page_update", (("space", 4), ("flags", 4), ("gva", 8), ("gpa", 8), ("pages", 8))),
    # flags: bits 1-0 the highest privilege (3 lets CPL 3 raise it by INT n), bit 2 disables upcalls on entry
    Struct("trap_entry", (("vector", 4), ("flags", 4), ("rip", 8))),
    # enabled is the guest's interrupt flag: written by the guest without an exit. 1 takes upcalls.
    # The monitor writes cr2 on every page fault that it hands to the guest.
    Struct(
        "event_page",
        (("enabled", 1), ("upcall_pending", 1), ("reserved", 6), ("cr2", 8), ("pending", 128), ("mask", 128)),
    ),
    # result is written back: what the call would have left in RAX.
    Struct("multicall_entry", (("number", 8), ("arguments", 48), ("result", 8))),
    Struct("cpuid_registers", (("eax", 4), ("ebx", 4), ("ecx", 4), ("edx", 4))),
    # Indices start at 0, run freely and wrap at 2**32; index i stands for slot i % entries. The guest writes the first
    # line, the monitor the second; `entries` of ring_submission follow the head, and as many of ring_completion.
    # A step of an index from old to new goes past `at` where (new - at - 1) % 2**32 < (new - old) % 2**32: where at
    # is one of old .. new - 1. kick_at: the guest kicks after a step of submit_tail past it. notify_at: the monitor
    # raises the port after a step of complete_tail past it. broken: an index was impossible, and the ring is closed.
    Struct(
        "ring",
        (
            *(("submit_tail", 4), ("complete_head", 4), ("notify_at", 4), ("guest_reserved", 52)),
            *(("submit_head", 4), ("complete_tail", 4), ("kick_at", 4), ("broken", 4), ("monitor_reserved", 48)),
        ),
    ),
    # A call as in a multicall; token comes back with its result.
    Struct("ring_submission", (("number", 8), ("arguments", 48), ("token", 8))),
    Struct("ring_completion", (("token", 8), ("result", 8))),
    Struct("block_info", (("disk_bytes", 8), ("sector_bytes", 4), ("flags", 4))),
)

MAP_FLAGS: Final = {"MAP_PRESENT": 1, "MAP_WRITE": 2, "MAP_USER": 4, "MAP_EXECUTE": 8}
SEGMENT_BASES: Final = {"SEGMENT_FS": 0, "SEGMENT_GS": 1, "SEGMENT_KERNEL_GS": 2}
SELECTORS: Final = {"KERNEL_CS": 0x09, "KERNEL_SS": 0x11, "USER_SS": 0x1B, "USER_CS": 0x23}
EVENT_PORTS: Final = 1024
TIMER_PERIOD_LEAST: Final = 10_000  # ns between two ticks of a timer, ten exits; less is -EINVAL
TIME_MOST: Final = 1 << 62  # ns: no timer is set for later
BLOCK_FLAGS: Final = {"BLOCK_READ_ONLY": 1}
SECTOR_BYTES: Final = 512  # offsets and lengths of block calls are whole sectors
BLOCK_MOST: Final = 1 << 20  # bytes of one block call; more is -E2BIG
RING_MOST: Final = 4096  # entries of one ring, a power of two
NO_PORT: Final = 0xFFFFFFFF  # a ring_open without an event
CALL_RETURN_OFFSET: Final = 64  # in the hypercall page: where a function that the host called returns to
MULTICALL_MOST: Final = 4096  # entries of one multicall; more is -E2BIG
UPDATES_MOST: Final = 4096  # entries of one page_update; more is -E2BIG

# The ELF note that an SDK guest carries: owner, type, and a descriptor of one u32, the ABI version.
NOTE_OWNER: Final = "pvkit"
NOTE_TYPE: Final = 0x50564B31

# The machine at a guest's first instruction.
LOAD_FIRST: Final = 0x100000  # guests are linked at or above; below lie the loader's tables and stack
BOOT_STACK_TOP: Final = 0x80000
DEBUG_EXIT_PORT: Final = 0xF4  # isa-debug-exit: a byte written here ends the guest with that status

BY_NAME: Final = {call.name: call for call in CALLS}
STRUCT_BY_NAME: Final = {struct.name: struct for struct in STRUCTS}
