"""What a reason and its key are called, for tables, traces and flight records.

Keys: see pv.exits.ExitView; a counted port's key is port * 2 + Direction, and so is a
device's gpa. Names after the Intel SDM: vectors vol. 3 table 6-1, MSRs vol. 4 chapter 2, APIC registers vol. 3
chapter 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from guest_sdk import abi
from pv.devices.local_apic_registers import BASE as APIC_PAGE
from pv.devices.local_apic_registers import NAMES as APIC_REGISTERS
from pv.devices.local_apic_registers import Register
from pv.devices.x2apic import FIRST, SELF_IPI
from pv.exits import Direction, Reason

VECTORS: Final = {
    0: "#DE",
    1: "#DB",
    2: "NMI",
    3: "#BP",
    4: "#OF",
    5: "#BR",
    6: "#UD",
    7: "#NM",
    8: "#DF",
    10: "#TS",
    11: "#NP",
    12: "#SS",
    13: "#GP",
    14: "#PF",
    16: "#MF",
    17: "#AC",
    18: "#MC",
    19: "#XM",
}

MSRS: Final = {
    0x10: "TSC",
    0x1B: "APIC_BASE",
    0x174: "SYSENTER_CS",
    0x175: "SYSENTER_ESP",
    0x176: "SYSENTER_EIP",
    0x1A0: "MISC_ENABLE",
    0x277: "PAT",
    0x6E0: "TSC_DEADLINE",
    0xC0000080: "EFER",
    0xC0000081: "STAR",
    0xC0000082: "LSTAR",
    0xC0000083: "CSTAR",
    0xC0000084: "FMASK",
    0xC0000100: "FS_BASE",
    0xC0000101: "GS_BASE",
    0xC0000102: "KERNEL_GS_BASE",
    0xC0000103: "TSC_AUX",
    abi.HYPERCALL_PAGE_MSR: "HYPERCALL_PAGE",
    **{FIRST + index: f"X2APIC_{name.replace(' ', '_')}" for index, name in APIC_REGISTERS.items()},
    FIRST + Register.ICR_LOW: "X2APIC_ICR",
    FIRST + SELF_IPI: "X2APIC_SELF_IPI",
}

SEGMENTS: Final = ("ES", "CS", "SS", "DS", "FS", "GS")

Calls = Mapping[int, str]  # hypercall names by number


def reason_name(reason: int) -> str:
    """The reason's name, or its number in hex where this monitor knows none."""
    known = Reason._value2member_map_.get(reason)
    return known.name if isinstance(known, Reason) else f"{reason:#x}"


def key_text(reason: int, key: int, calls: Calls | None = None) -> str:
    """The key in words: a call's name, `port 0x3f8`, `CR3 write`, `LSTAR`, `#PF`; empty where it says nothing."""
    if name := TEXTS.get(reason):
        return name(key, calls or {})
    return f"{key:#x}" if key > 0 else ""


def vector_text(vector: int) -> str:
    """`#PF`, or `vector 0x20` where the architecture gives no name."""
    return VECTORS.get(vector, f"vector {vector:#x}")


def _register(prefix: str) -> Callable[[int, Calls], str]:
    def text(key: int, _calls: Calls) -> str:
        return f"{prefix}{key >> 1} {Direction(key & 1).name.lower()}"

    return text


def _one_of(*names: str) -> Callable[[int, Calls], str]:
    return lambda key, _calls: names[key] if 0 <= key < len(names) else ""


def _call(key: int, calls: Calls) -> str:
    return calls.get(key) or BUILT_IN.get(key) or f"call {key:#x}"


def _vector(key: int, _calls: Calls) -> str:
    return vector_text(key)


def _msr(key: int, _calls: Calls) -> str:
    return MSRS.get(key, f"MSR {key:#x}")


def _device(key: int, _calls: Calls) -> str:
    """`APIC EOI write`, or the gpa where it is no register's own."""
    gpa, direction = key >> 1, Direction(key & 1).name.lower()
    index, within = divmod(gpa - APIC_PAGE, 16)
    name = f"APIC {APIC_REGISTERS[index]}" if index in APIC_REGISTERS and not within else f"gpa {gpa:#x}"
    return f"{name} {direction}"


BUILT_IN: Final = {call.number: call.name for call in abi.CALLS}

TEXTS: Final[Mapping[int, Callable[[int, Calls], str]]] = {
    Reason.EXCEPTION_NMI: _vector,
    Reason.EXTERNAL_INTERRUPT: _vector,
    Reason.SOFTWARE_INTERRUPT: lambda key, _calls: f"INT {key:#x}",
    Reason.VMCALL: _call,
    Reason.CPUID: lambda key, _calls: f"leaf {key:#x}",
    Reason.CR_ACCESS: _register("CR"),
    Reason.DR_ACCESS: _register("DR"),
    Reason.IO_INSTRUCTION: lambda key, _calls: f"port {key >> 1:#x} {Direction(key & 1).name.lower()}",
    Reason.MMIO: _device,
    Reason.INTERRUPT_FLAG: lambda key, _calls: "STI" if key else "CLI",
    Reason.GDTR_IDTR: _one_of("LGDT", "LIDT", "SGDT", "SIDT"),
    Reason.LDTR_TR: _one_of("LLDT", "LTR", "SLDT", "STR"),
    Reason.SEGMENT_LOAD: _one_of(*SEGMENTS),
    Reason.SEGMENT_READ: _one_of(*SEGMENTS, "LAR", "LSL", "VERR", "VERW"),
    Reason.FAR_TRANSFER: _one_of("JMP", "CALL", "RET"),
    Reason.MSR_READ: _msr,
    Reason.MSR_WRITE: _msr,
}
