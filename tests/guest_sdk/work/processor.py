"""What the processor beneath says of itself: CPUID leaves as the job `cpuid-msr` asks for them."""

from __future__ import annotations

from guest_sdk.work.cpuid_msr import LEAVES
from pv.machine import Machine


def processor(technique: str) -> dict[int, tuple[int, int, int, int]]:
    """EAX, EBX, ECX and EDX of each leaf."""
    with Machine(technique=technique) as machine:
        return {leaf: machine.vcpu.cpuid(leaf, 0) for leaf in LEAVES}
