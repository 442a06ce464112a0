"""CPUID: which processor does the guest see?

The processor beneath, less what the monitor cannot keep its word for: each bit taken away stands in HIDDEN
with the reason. Nothing is hidden from a guest that executes a feature without asking; where the engine has it,
it runs (RDRAND does). SDM vol. 2, CPUID; AMD APM vol. 3, appendix E for leaves from 0x80000000 on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pv.dispatch import ANY_KEY, Row
from pv.emulate.architecture import MASK_32
from pv.engines.base import Vcpu
from pv.exits import NEXT, ExitView, Reason, Reply

Registers = tuple[int, int, int, int]
Cpuid = Callable[[int, int], Registers]  # leaf, subleaf -> EAX EBX ECX EDX

EAX: Final = 0
EBX: Final = 1
ECX: Final = 2
EDX: Final = 3

HYPERVISOR_FIRST: Final = 0x4000_0000
HYPERVISOR_LAST: Final = 0x4FFF_FFFF
HYPERVISOR_PRESENT: Final = 1 << 31  # leaf 1 ECX
APIC_PRESENT: Final = 1 << 9  # leaves 1 and 0x80000001 EDX
X2APIC_PRESENT: Final = 1 << 21  # leaf 1 ECX

TOPOLOGY: Final = 0xB
LEVELS: Final = {0: 1, 1: 2}  # subleaf of TOPOLOGY: type of the level, thread or core; each has one processor

HIDDEN: Final[tuple[tuple[int, int, dict[str, int], str], ...]] = (
    (1, ECX, {"DTES64": 2, "DS_CPL": 4, "PDCM": 15}, "no performance monitoring"),
    (1, ECX, {"MONITOR": 3}, "undefined beneath; HLT is the way to wait"),
    (1, ECX, {"VMX": 5, "SMX": 6}, "no guests within the guest"),
    (1, ECX, {"EIST": 7, "TM2": 8}, "no power management"),
    (1, ECX, {"PCID": 17}, "shadow roots are cached by CR3 alone"),
    (1, ECX, {"X2APIC": 21}, "set below for a guest that has a local APIC"),
    (1, ECX, {"TSC_DEADLINE": 24}, "the timer of a local APIC counts only"),
    (1, ECX, {"XSAVE": 26, "OSXSAVE": 27, "FMA": 12, "AVX": 28, "F16C": 29}, "no extended state"),
    (1, ECX, {"RDRAND": 30}, "runs must repeat"),
    (1, ECX, {"HYPERVISOR": 31}, "set below for a guest that is to know"),
    (1, EDX, {"VME": 1}, "no virtual-8086 mode in 64-bit mode"),
    (1, EDX, {"MCE": 7, "MCA": 14}, "no machine-check banks"),
    (1, EDX, {"APIC": 9}, "set below for a guest that has one"),
    (1, EDX, {"SEP": 11}, "SYSENTER beneath does nothing but move RIP"),
    (1, EDX, {"DS": 21, "ACPI": 22, "TM": 29, "PBE": 31}, "no power and performance management"),
    (7, EBX, {"FSGSBASE": 0}, "undefined beneath"),
    (7, EBX, {"SGX": 2, "MPX": 14, "PT": 25}, "no such unit"),
    (7, EBX, {"SMEP": 7, "SMAP": 20}, "the shadow does not enforce them"),
    (7, EBX, {"INVPCID": 10}, "no PCID"),
    (7, EBX, {"HLE": 4, "RTM": 11}, "no transactions"),
    (7, EBX, {"AVX2": 5, "AVX512": 16, "AVX512DQ": 17, "AVX512IFMA": 21}, "no extended state"),
    (7, EBX, {"AVX512PF": 26, "AVX512ER": 27, "AVX512CD": 28, "AVX512BW": 30, "AVX512VL": 31}, "no extended state"),
    (7, EBX, {"RDSEED": 18}, "runs must repeat"),
    (7, ECX, {"UMIP": 2}, "SGDT and the like do not trap"),
    (7, ECX, {"PKU": 3, "OSPKE": 4, "LA57": 16, "CET_SS": 7}, "the page walker has four levels and no keys"),
    (7, ECX, {"WAITPKG": 5, "RDPID": 22, "SGX_LC": 30}, "no such unit"),
    (7, ECX, {"AVX512VBMI": 1, "VBMI2": 6, "VAES": 9, "VPCLMUL": 10, "VNNI": 11}, "no extended state"),
    (7, ECX, {"AVX512BITALG": 12, "VPOPCNTDQ": 14}, "no extended state"),
    (7, EDX, {"SPEC_CTRL": 26, "STIBP": 27, "L1D_FLUSH": 28, "ARCH_CAPABILITIES": 29, "SSBD": 31}, "no such MSR"),
    (7, EDX, {"CET_IBT": 20, "CORE_CAPABILITIES": 30}, "no such MSR"),
    (0x8000_0001, ECX, {"SVM": 2, "SKINIT": 12}, "no guests within the guest"),
    (0x8000_0001, ECX, {"EXTAPIC": 3}, "no AMD registers in its page"),
    (0x8000_0001, ECX, {"OSVW": 9, "IBS": 10, "WDT": 13, "LWP": 15, "TCE": 17, "NODEID": 19}, "no such MSR"),
    (0x8000_0001, ECX, {"TOPOEXT": 22, "PERFCTR": 23, "PERFCTR_NB": 24, "PERFTSC": 27}, "no such MSR"),
    (0x8000_0001, ECX, {"XOP": 11, "FMA4": 16}, "no extended state"),
    (0x8000_0001, ECX, {"MWAITX": 29}, "undefined beneath"),
    (0x8000_0001, EDX, {"VME": 1, "MCE": 7, "APIC": 9, "MCA": 14}, "as in leaf 1"),
    (0x8000_0001, EDX, {"FFXSR": 25}, "EFER.FFXSR is reserved"),
)  # fmt: skip

EMPTY_LEAVES: Final = {
    0x5: "MONITOR",
    0x6: "power management",
    0xA: "performance monitoring",
    0xB: "x2APIC topology, but for a guest that has one",
    0xD: "extended state",
    0xF: "resource monitoring",
    0x10: "resource allocation",
    0x12: "SGX",
    0x14: "processor trace",
    0x8000_000A: "SVM",
    0x8000_001B: "instruction sampling",
    0x8000_001F: "encrypted memory",
}


def _masks() -> dict[int, Registers]:
    """What remains of each leaf, as AND masks."""
    masks: dict[int, list[int]] = {leaf: [0, 0, 0, 0] for leaf in EMPTY_LEAVES}
    for leaf, register, bits, _why in HIDDEN:
        mask = masks.setdefault(leaf, [MASK_32] * 4)
        for bit in bits.values():
            mask[register] &= ~(1 << bit)
    masks[0x8000_0008] = [MASK_32, 0, MASK_32, MASK_32]  # EBX: instructions and MSRs that are not emulated
    return {leaf: (mask[0], mask[1], mask[2], mask[3]) for leaf, mask in masks.items()}


MASKS: Final = _masks()


def guest_cpuid(vcpu: Vcpu, *, hypervisor: bool, local_apic: bool = False) -> Cpuid:
    """CPUID as the guest sees it; leaves of a hypervisor are zero, a plugin's rows answer them.

    local_apic: whether it has one, enabled or not: the bit does not follow IA32_APIC_BASE.
    """
    beneath = vcpu.cpuid

    @lru_cache(maxsize=256)  # every leaf is constant, and a guest may ask for as many as it likes
    def cpuid(leaf: int, subleaf: int) -> Registers:
        if HYPERVISOR_FIRST <= leaf <= HYPERVISOR_LAST:
            return 0, 0, 0, 0
        if leaf == TOPOLOGY and local_apic:
            return _topology(subleaf)
        eax, ebx, ecx, edx = beneath(leaf, subleaf)
        mask = MASKS.get(leaf)
        if mask is not None:
            eax, ebx, ecx, edx = eax & mask[0], ebx & mask[1], ecx & mask[2], edx & mask[3]
            if leaf == 1 and hypervisor:
                ecx |= HYPERVISOR_PRESENT
            if leaf in (1, 0x8000_0001) and local_apic:
                edx |= APIC_PRESENT
            if leaf == 1 and local_apic:
                ecx |= X2APIC_PRESENT
        return eax, ebx, ecx, edx

    return cpuid


def _topology(subleaf: int) -> Registers:
    """One thread of one core, x2APIC ID 0 (SDM vol. 2, CPUID, leaf 0BH): no bits to shift off for either level."""
    level = LEVELS.get(subleaf, 0)
    return 0, 1 if level else 0, level << 8 | subleaf & 0xFF, 0


def cpuid_row(vcpu: Vcpu, cpuid: Cpuid, owner: str) -> Row:
    """The row for every leaf that no other row claims. RAX, RBX, RCX and RDX are zero-extended."""

    def handle(exit: ExitView) -> Reply:
        vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx = cpuid(exit.key, vcpu.rcx & MASK_32)
        return NEXT

    return Row(Reason.CPUID, ANY_KEY, ANY_KEY, handle, owner, "CPUID")
