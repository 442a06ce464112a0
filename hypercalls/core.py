"""core: which ABI this is, what it offers, a call's number by its name, and the guest's end."""

from __future__ import annotations

from errno import ENOENT
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import GuestString
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import Reply, stop

# A feature is offered where its call can be made. Inline VMCALL needs no call: every engine here takes it.
FEATURE_CALLS: Final = {
    "console": "console_write",
    "clock_page": "clock_page",
    "memory": "map",
    "cpu": "set_trap_table",
    "events": "event_page",
    "multicall": "multicall",
    "timer": "timer_set",
    "ring": "ring_open",
    "block": "block_read",
}


def feature_bits(machine: MachineView) -> int:
    """The bits of abi.FEATURES for what this machine offers, and its plugins' own: a CPUID leaf gives the same."""
    offered = [name for name, call in FEATURE_CALLS.items() if call in machine.call_numbers]
    bits = [abi.FEATURES[name] for name in ["inline_vmcall", *offered]]
    return sum(1 << bit for bit in (*bits, *machine.features.values()))


@hypercall(0x1000, "abi_version", result="the ABI version")
def abi_version(machine: MachineView) -> int:  # noqa: ARG001 (a handler's signature)
    """The version of the hypercall ABI."""
    return abi.VERSION


@hypercall(0x1001, "abi_features", result="the feature bits")
def abi_features(machine: MachineView) -> int:
    """What this machine offers, as the bits that CPUID leaf 0x40000001 has: EAX bits 0-31, ECX 32-62."""
    return feature_bits(machine)


@hypercall(0x1002, "abi_query", result="number of the named call, or -ENOENT")
def abi_query(machine: MachineView, name: GuestString) -> int:
    """The number of a call by its name, so that a guest need not fix a plugin's number."""
    return machine.call_numbers.get(name, -ENOENT)


@hypercall(0x1003, "exit", batchable=False, result="does not return")
def exit_guest(machine: MachineView, status: int) -> Reply:  # noqa: ARG001 (a handler's signature)
    """End the guest. The low 8 bits of status are its exit status, as with exit(3)."""
    return stop(status & 0xFF)


PLUGIN: Final = Plugin("core", "1", (abi_version, abi_features, abi_query, exit_guest), ("inline_vmcall",))
