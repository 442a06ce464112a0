"""Our own personality: three CPUID leaves and the MSR that fills the hypercall page.

Leaf 1 ECX[31], the hypervisor-present bit, is the monitor's. The page holds the engine's own sequence:
a guest that calls it needs not know which instruction exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from guest_sdk import abi
from hypercalls.core import feature_bits
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.dispatch import Row
from pv.exits import NEXT, ExitView, Reason, Reply, fault
from pv.memory import PAGE_SIZE

NAME: Final = "pvkit"
ENABLE: Final = 1  # bit 0 of the MSR
VMCALL_RET: Final = bytes.fromhex("0f01c1 c3")
CALL_RETURN: Final = abi.BY_NAME["call_return"].number.to_bytes(4, "little")
RETURN: Final = bytes.fromhex("4889c7 4889d6 b8") + CALL_RETURN + VMCALL_RET[:3]  # mov rdi, rax; mov rsi, rdx; vmcall
INT3: Final = b"\xcc"  # a jump anywhere else is seen
PAGE_CODE: Final = (VMCALL_RET.ljust(abi.CALL_RETURN_OFFSET, INT3) + RETURN).ljust(PAGE_SIZE, INT3)
GENERAL_PROTECTION: Final = fault(13, 0)
EBX, ECX, EDX = (int.from_bytes(abi.SIGNATURE[at : at + 4], "little") for at in (0, 4, 8))


@dataclass(slots=True)
class HypercallPage:
    """What the MSR holds: gpa | ENABLE, or 0."""

    value: int = 0


def leaves(machine: MachineView) -> dict[int, tuple[int, int, int, int]]:
    """EAX EBX ECX EDX of each leaf, as `machine` answers now."""
    features = feature_bits(machine)
    return {
        abi.CPUID_SIGNATURE_LEAF: (abi.CPUID_HYPERCALL_LEAF, EBX, ECX, EDX),
        abi.CPUID_FEATURES_LEAF: (features & 0xFFFF_FFFF, abi.VERSION, features >> 32, 0),
        abi.CPUID_HYPERCALL_LEAF: (1, abi.HYPERCALL_PAGE_MSR, 0, 0),
    }


def cpuid_handler(machine: MachineView) -> Callable[[ExitView], Reply]:
    """Answers the leaves; found out at the first question, when every call is registered."""
    known: dict[int, tuple[int, int, int, int]] = {}

    def answer_cpuid(exit: ExitView) -> Reply:
        if not known:
            known.update(leaves(machine))
        vcpu = machine.vcpu
        vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx = known[exit.key]
        return NEXT

    return answer_cpuid


def page_handlers(machine: MachineView) -> tuple[Callable[[ExitView], Reply], Callable[[ExitView], Reply]]:
    """RDMSR and WRMSR of the hypercall page."""

    def page() -> HypercallPage:
        found: HypercallPage = machine.state[NAME]
        return found

    def read_page_msr(exit: ExitView) -> Reply:
        if exit.cpl == 3:
            return GENERAL_PROTECTION
        value = page().value
        machine.vcpu.rax, machine.vcpu.rdx = value & 0xFFFF_FFFF, value >> 32
        return NEXT

    def write_page_msr(exit: ExitView) -> Reply:
        value, gpa = exit.value, exit.value & ~ENABLE
        if exit.cpl == 3:
            return GENERAL_PROTECTION
        if value:
            if not value & ENABLE or gpa % PAGE_SIZE or gpa + PAGE_SIZE > machine.memory.size_bytes:
                return GENERAL_PROTECTION
            machine.vcpu.write_code(gpa, PAGE_CODE)
        page().value = value
        machine.vcpu.set_call_return(gpa + abi.CALL_RETURN_OFFSET if value else 0)
        return NEXT

    return read_page_msr, write_page_msr


def rows(machine: MachineView) -> Iterator[Row]:
    """CPUID's leaves and the MSR, bound to `machine`."""
    first, last, msr = abi.CPUID_SIGNATURE_LEAF, abi.CPUID_HYPERCALL_LEAF, abi.HYPERCALL_PAGE_MSR
    read, write = page_handlers(machine)
    yield Row(Reason.CPUID, first, last, cpuid_handler(machine), NAME, "pvkit_leaves")
    yield Row(Reason.MSR_READ, msr, msr, read, NAME, "hypercall_page")
    yield Row(Reason.MSR_WRITE, msr, msr, write, NAME, "hypercall_page")


def set_up(machine: MachineView) -> HypercallPage:  # noqa: ARG001 (a hook's signature)
    return HypercallPage()


def save(page: HypercallPage) -> int:
    return page.value


def restore(machine: MachineView, value: int) -> None:
    """The page itself is guest memory."""
    page: HypercallPage = machine.state[NAME]
    page.value = value


PLUGIN: Final = Plugin(NAME, "1", on_set_up=set_up, further_rows=rows, on_save=save, on_restore=restore)
