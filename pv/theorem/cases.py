"""Which instructions are run, and in which state? A row an instruction: its bytes, and what it finds.

The classes are those of Intel SDM vol. 3, 5.9 (privileged instructions) and of Robin and Irvine, "Analysis of the Intel
Pentium's ability to support a secure virtual machine monitor" (USENIX Security 2000), as far as they exist in 64-bit
mode, and what came after: SWAPGS, SYSCALL, XSETBV, SVM. A few that nobody holds for sensitive stand beside them, so
that the program can be seen to find that too. What each ought to do stands in pv.theorem.manual and nowhere here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from pv.theorem import ground
from pv.theorem.ground import CONFORMING, DATA_SEGMENT, DPL3, LANDING, STACK, SUBJECT, WATCHED

LSTAR: Final = 0xC000_0082
USER_CS, USER_SS = ground.CODE_SELECTORS[3], ground.STACK_SELECTORS[3]
BASED: Final = DATA_SEGMENT | DPL3 | 0x34_5000 << 16  # base 0x345000
CONFORMING_32: Final = CONFORMING & ~(1 << 53) | 1 << 54
NOTHING: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class Case:
    """One instruction. RBX and RSI point at `data`, RSP at `stack`; state is by the names of pv.theorem.fields.

    subject: the descriptor of selector ground.SUBJECT, as a monitor has it and as another monitor might.
    """

    name: str
    code: bytes
    family: str
    state: Mapping[str, int] = field(default_factory=dict)
    data: bytes = b""
    stack: tuple[int, ...] = ()
    subject: tuple[tuple[int, int], tuple[int, int]] = (NOTHING, NOTHING)

    @property
    def stack_bytes(self) -> bytes:
        """What stands at RSP."""
        return struct.pack(f"<{len(self.stack)}Q", *self.stack)


def family(name: str, rows: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[Case]:
    """Cases of one family, from (name, bytes in hex, the other fields)."""
    return [Case(title, bytes.fromhex(code), name, **fields) for title, code, fields in rows]


def far(offset: int, selector: int) -> bytes:
    """A far pointer m16:32."""
    return struct.pack("<IH", offset, selector)


def table(base: int, limit: int) -> bytes:
    """A pseudo-descriptor: what LGDT loads."""
    return struct.pack("<HQ", limit, base)


ASKED: Final[Mapping[str, Any]] = {"state": {"rcx": SUBJECT}, "subject": ((DATA_SEGMENT, 0), (DATA_SEGMENT | DPL3, 0))}
LOADED: Final[Mapping[str, Any]] = {"state": {"rcx": SUBJECT | 3}, "subject": ((DATA_SEGMENT | DPL3, 0), (BASED, 0))}

CASES: Final[tuple[Case, ...]] = (
    *family("descriptor tables", [
        ("SGDT", "0f0103", {}),
        ("SIDT", "0f010b", {}),
        ("SLDT", "0f00c1", {}),
        ("STR", "0f00c9", {}),
        ("LGDT", "0f0113", {"data": table(ground.GDT_ELSEWHERE, ground.GDT_LIMIT)}),
        ("LIDT", "0f011b", {"data": table(ground.IDT_ELSEWHERE, ground.IDT_LIMIT)}),
        ("LLDT", "0f00d1", {"state": {"rcx": ground.OTHER_LDT}}),
        ("LTR", "0f00d9", {"state": {"rcx": ground.TSS_SELECTOR, "tr.selector": 0, "tr.base": 0, "tr.limit": 0xFFFF}}),
    ]),
    *family("segments", [
        ("LAR", "0f02c1", ASKED),
        ("LSL", "0f03c1", ASKED),
        ("VERR", "0f00e1", ASKED),
        ("VERW", "0f00e9", ASKED),
        ("MOV from CS", "8cc9", {}),
        ("MOV from SS", "8cd1", {}),
        ("MOV from DS", "8cd9", {}),
        ("MOV to DS", "8ed9", LOADED),
        ("MOV to FS", "8ee1", LOADED),
        ("MOV to SS", "8ed1", {"state": {"rcx": 0}}),
        ("PUSH FS", "0fa0", {}),
        ("PUSH CS", "0e", {}),
        ("POP FS", "0fa1", {"stack": (SUBJECT | 3,), "subject": LOADED["subject"]}),
        ("LFS", "0fb40b", {"data": far(0x9000, SUBJECT | 3), "subject": LOADED["subject"]}),
        ("LSS", "0fb20b", {"data": far(0x9000, 0)}),
        ("LSS r64", "480fb20b", {"data": struct.pack("<QH", 0x9000, ground.STACK_SELECTORS[0])}),
        ("RDFSBASE", "f3480faec1", {"state": {"fs.base": 0x7700}}),
        ("WRFSBASE", "f3480faed1", {"state": {"rcx": 0x8800}}),
        ("SWAPGS", "0f01f8", {}),
    ]),
    *family("flags and interrupts", [
        ("PUSHF", "9c", {}),
        ("POPF", "9d", {"stack": (0x3002,)}),
        ("CLI", "fa", {}),
        ("STI", "fb", {"state": {"rflags": 0x2}}),
        ("CLAC", "0f01ca", {"state": {"rflags": 0x40202}}),
        ("STAC", "0f01cb", {}),
        ("HLT", "f4", {}),
        ("PAUSE", "f390", {}),
        ("MONITOR", "0f01c8", {"state": {"rax": ground.DATA, "rcx": 0, "rdx": 0}}),
        ("MWAIT", "0f01c9", {"state": {"rax": 0, "rcx": 0}}),
    ]),
    *family("transfers", [
        ("far CALL", "ff1b", {"data": far(0, SUBJECT | 3), "subject": (ground.call_gate(0x08, LANDING), NOTHING)}),
        ("far JMP", "ff2b", {"data": far(LANDING, SUBJECT), "subject": ((CONFORMING, 0), (CONFORMING_32, 0))}),
        ("far RET", "48cb", {"stack": (LANDING, USER_CS, STACK + 0x20, USER_SS)}),
        ("IRET", "48cf", {"stack": (LANDING, USER_CS, 0x2, STACK + 0x28, USER_SS)}),
        ("INT n", "cd80", {}),
        ("INT3", "cc", {}),
        ("SYSCALL", "0f05", {}),
        ("SYSRET", "480f07", {"state": {"rcx": LANDING, "r11": 0x2}}),
        ("SYSENTER", "0f34", {}),
        ("SYSEXIT", "480f35", {"state": {"rdx": LANDING, "rcx": STACK}}),
    ]),
    *family("control registers", [
        ("SMSW", "0f01e1", {}),
        ("LMSW", "0f01f1", {"state": {"rcx": 0x3B}}),
        ("CLTS", "0f06", {"state": {"cr0": 0x8005003B}}),
        ("MOV from CR0", "0f20c1", {}),
        ("MOV to CR0", "0f22c1", {"state": {"rcx": 0x8005003B}}),
        ("MOV from CR2", "0f20d1", {"state": {"cr2": 0x4000}}),
        ("MOV to CR2", "0f22d1", {"state": {"rcx": 0x5000}}),
        ("MOV from CR3", "0f20d9", {}),
        ("MOV to CR3", "0f22d9", {"state": {"rcx": ground.ROOT_ELSEWHERE}}),
        ("MOV from CR4", "0f20e1", {}),
        ("MOV to CR4", "0f22e1", {"state": {"rcx": 0x6A0}}),
        ("MOV from CR8", "440f20c1", {"state": {"cr8": 3}}),
        ("MOV to CR8", "440f22c1", {"state": {"rcx": 4}}),
        ("MOV from DR0", "0f21c1", {"state": {"dr0": 0x4400}}),
        ("MOV to DR0", "0f23c1", {"state": {"rcx": 0x5500}}),
        ("XGETBV", "0f01d0", {"state": {"rcx": 0}}),
        ("XSETBV", "0f01d1", {"state": {"rax": 1, "rcx": 0, "rdx": 0}}),
    ]),
    *family("processor", [
        ("CPUID", "0fa2", {"state": {"rax": 1, "rcx": 0}}),
        ("RDMSR", "0f32", {"state": {"rcx": LSTAR}}),
        ("WRMSR", "0f30", {"state": {"rcx": LSTAR, "rax": 0x6000, "rdx": 0}}),
        ("RDTSC", "0f31", {}),
        ("RDTSCP", "0f01f9", {}),
        ("RDPMC", "0f33", {"state": {"rcx": 0}}),
        ("RDRAND", "0fc7f1", {}),
        ("INVLPG", "0f0139", {"state": {"rcx": WATCHED}}),
        ("INVPCID", "660f388203", {"state": {"rax": 2}}),
        ("INVD", "0f08", {}),
        ("WBINVD", "0f09", {}),
        ("CLFLUSH", "0fae3b", {}),
        ("VZEROUPPER", "c5f877", {}),
        ("ADD", "01d1", {}),
    ]),
    *family("input and output", [
        ("IN", "ec", {"state": {"rdx": 0x80}}),
        ("OUT", "ee", {"state": {"rdx": 0x80}}),
        ("INS", "6c", {"state": {"rdx": 0x80}}),
        ("OUTS", "6e", {"state": {"rdx": 0x80}}),
    ]),
    *family("virtualization", [
        ("VMCALL", "0f01c1", {}),
        ("VMMCALL", "0f01d9", {}),
        ("VMRUN", "0f01d8", {"state": {"rax": ground.DATA}}),
        ("VMLOAD", "0f01da", {"state": {"rax": ground.DATA}}),
        ("VMSAVE", "0f01db", {"state": {"rax": ground.DATA}}),
        ("STGI", "0f01dc", {}),
        ("CLGI", "0f01dd", {}),
        ("VMLAUNCH", "0f01c2", {}),
        ("RSM", "0faa", {}),
    ]),
)  # fmt: skip

NAMES: Final = tuple(case.name for case in CASES)


def find_case(name: str) -> Case:
    """The case of that name, in whatever case and with - for a space. Raises ValueError that names what is near."""
    known = {normal(case.name): case for case in CASES}
    wanted = normal(name)
    if wanted in known:
        return known[wanted]
    near = [one for one in known if wanted and wanted in one] or get_close_matches(wanted, known)
    hint = f"near it: {', '.join(known[one].name for one in near)}" if near else "`pvkit theorem` lists them"
    raise ValueError(f"no instruction {name!r}; {hint}")


def normal(name: str) -> str:
    """A name as it is compared."""
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())
