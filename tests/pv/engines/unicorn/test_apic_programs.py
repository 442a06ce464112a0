"""APIC virtualization against the chip: whatever a guest does, it sees the same with it and without, but for exits."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pv.engines.unicorn.apic_guests import (
    DFR,
    EOI,
    ICR,
    ICR_HIGH,
    ID,
    IRR,
    ISR,
    LDR,
    OFF,
    ON,
    PPR,
    SELF,
    SELF_IPI,
    SVR,
    TMR,
    TPR,
    VERSION,
    apic_guest,
    end,
    get,
    put,
)
from tests.pv.engines.unicorn.guests import DATA

LOG: Final = DATA + 0x8000
VECTORS: Final = (0x31, 0x41, 0x4F, 0x52, 0xF3)
NOTE: Final = "mov dword ptr [r13], eax; add r13, 4; "
READ: Final = (
    *(ID, VERSION, TPR, PPR, LDR, DFR, SVR, ICR, ICR_HIGH, 0x280),
    *(first + 0x10 * word for first in (ISR, TMR, IRR) for word in range(8)),
)
Step = tuple[str, int]
STEPS: Final = st.one_of(
    st.tuples(st.just("tpr"), st.integers(0, 255)),
    st.tuples(st.just("cr8"), st.integers(0, 15)),
    st.tuples(st.just("eoi"), st.just(0)),
    st.tuples(st.just("self"), st.sampled_from([*VECTORS, 0x0F])),
    st.tuples(st.just("all"), st.sampled_from(VECTORS)),
    st.tuples(st.just("short"), st.sampled_from(VECTORS)),
    st.tuples(st.just("read"), st.sampled_from(READ)),
    st.tuples(st.just("high"), st.integers(0, 255)),
    st.tuples(st.just("ldr"), st.integers(0, 255)),
    st.tuples(st.just("svr"), st.sampled_from([0xFF, 0x1FF])),
    st.tuples(st.just("flag"), st.integers(0, 1)),
    st.tuples(st.just("readcr8"), st.just(0)),
)  # fmt: skip


def compiled(step: Step, msrs: bool) -> str:
    """One step as code; what it reads is noted in the log."""
    kind, value = step
    page_only = {"high": put(ICR_HIGH, value << 24), "ldr": put(LDR, value << 24)}
    if kind in page_only:
        return "" if msrs else page_only[kind]
    if kind == "read":
        there = not msrs or value not in (DFR, ICR_HIGH)
        return get(value, msrs=msrs) + NOTE if there else ""
    return {
        "tpr": put(TPR, value, msrs=msrs),
        "cr8": f"mov eax, {value}; mov cr8, rax; ",
        "eoi": put(EOI, 0, msrs=msrs),
        "self": put(ICR, SELF | value | (7 << 32 if msrs else 0), msrs=msrs),
        "all": put(ICR, 0x80000 | value, msrs=msrs),
        "short": put(SELF_IPI if msrs else ICR, value if msrs else SELF | 0x4800 | value, msrs=msrs),
        "svr": put(SVR, value, msrs=msrs),
        "flag": "sti; nop; " if value else "cli; ",
        "readcr8": f"mov rax, cr8; {NOTE}",
    }[kind]


def observed(steps: list[Step], technique: str, *, msrs: bool) -> dict[str, Any]:
    """All that a guest of these steps sees and leaves."""
    nests = {0x41: "sti; nop; cli; "}
    handlers = {
        vector: f"push rax; mov eax, {vector}; {NOTE} pop rax; {nests.get(vector, '')}{end(msrs=msrs)}"
        for vector in VECTORS
    }
    code = f"mov r13d, {LOG}; " + "".join(compiled(step, msrs) for step in steps)
    with apic_guest(code, handlers, technique, msrs=msrs) as made:
        outcome = made.run()
        assert outcome.status == 0xEE, outcome.summary
        apic = made.machine.pc.apic.save()
        return {
            "log": made.memory.read(LOG, made.vcpu.get(13) - LOG), "apic": apic, "cr8": made.vcpu.virtual.cr8,
            "delivered": outcome.events["interrupts delivered"],
        }  # fmt: skip


@pytest.mark.parametrize("msrs", [False, True], ids=["page", "MSRs"])
@settings(deadline=None, max_examples=25)
@given(steps=st.lists(STEPS, max_size=40))
def test_any_program_sees_the_same_with_it_and_without(msrs: bool, steps: list[Step]) -> None:
    assert observed(steps, ON, msrs=msrs) == observed(steps, OFF, msrs=msrs) == observed(steps, "trap", msrs=msrs)
