"""RDTSC and RDTSCP: a time-stamp counter that only the guest moves on.

It counts the vcpu's virtual clock at 1 GHz, one tick a nanosecond, so that two runs read the same values.
SDM vol. 3, 18.17.
"""

from __future__ import annotations

from collections.abc import Callable

from pv.dispatch import Row
from pv.emulate.architecture import CR4_TSD, GP_0, MASK_32, MASK_64
from pv.engines.base import Vcpu
from pv.exits import NEXT, ExitView, Reason, Reply


def read_tsc(vcpu: Vcpu) -> int:
    """IA32_TIME_STAMP_COUNTER, 64-bit unsigned."""
    return (vcpu.now_ns + vcpu.virtual.tsc_offset) & MASK_64


def time_stamp_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """RDTSC and RDTSCP (key 0). CR4.TSD takes both away from CPL 3."""

    def rdtsc(exit: ExitView) -> Reply:
        if exit.cpl == 3 and vcpu.virtual.cr4 & CR4_TSD:
            return GP_0
        ticks = read_tsc(vcpu)
        vcpu.rax = ticks & MASK_32
        vcpu.rdx = ticks >> 32
        return NEXT

    def rdtscp(exit: ExitView) -> Reply:
        reply = rdtsc(exit)
        if reply is NEXT:
            vcpu.rcx = vcpu.virtual.tsc_aux
        return reply

    handlers: tuple[tuple[Reason, Callable[[ExitView], Reply]], ...] = (
        (Reason.RDTSC, rdtsc),
        (Reason.RDTSCP, rdtscp),
    )
    return [Row(reason, 0, 0, handler, owner, reason.name) for reason, handler in handlers]
