"""core: which ABI this is, what it offers, a call's number by its name, and the guest's end."""

from __future__ import annotations

from errno import ENOENT
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import GuestString
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import AGAIN, GuestError, Reply, panic, stop

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
    "guest_calls": "call_return",
}
PANIC_MOST: Final = 4096  # bytes of a panic's message that are kept


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


@hypercall(0x1004, "call_return", batchable=False, result="does not return: ends a call that the host made")
def call_return(machine: MachineView, result: int, more: int) -> Reply:
    """A function that the host called returns RAX and RDX. The innermost one: without any, -EPERM."""
    machine.vcpu.end_call(result, more)
    return AGAIN


@hypercall(0x1005, "panic", batchable=False, result="does not return: the guest gave up")
def panic_guest(machine: MachineView, message_gpa: int, message_bytes: int) -> Reply:
    """End the guest, which says in its message why. What is longer than 4096 bytes is cut; what is no text is shown.

    A message that lies outside memory keeps no guest from giving up.
    """
    try:
        message = machine.memory.read(message_gpa, min(message_bytes, PANIC_MOST)).decode("utf-8", "backslashreplace")
    except GuestError:
        message = f"(its message at {message_gpa:#x} is outside guest memory)"
    return panic(message)


CALLS: Final = (abi_version, abi_features, abi_query, exit_guest, call_return, panic_guest)
PLUGIN: Final = Plugin("core", "1", CALLS, ("inline_vmcall", "guest_calls"))
