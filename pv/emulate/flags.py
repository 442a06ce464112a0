"""CLI and STI: the guest's interrupt flag, which is not the processor's.

The guest runs at an IOPL below its CPL, so both raise #GP. The real RFLAGS.IF stays 1 and the virtual one
decides when the guest takes an interrupt (SDM vol. 2, CLI and STI). STI's shadow of one instruction is the
engine's: it compares the flag before and after the handler. POPF and PUSHF do not trap: the first leaves IF as it
is without a word, the second shows the real one.
"""

from __future__ import annotations

from pv.dispatch import Row
from pv.emulate.decode import InstructionExit
from pv.engines.base import Vcpu
from pv.exits import NEXT, Reason, Reply


def flag_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """CLI (key 0) and STI (key 1). They are the most frequent exits of a kernel: nothing here but the flag."""
    virtual = vcpu.virtual

    def cli(_exit: InstructionExit) -> Reply:
        virtual.interrupt_flag = False
        return NEXT

    def sti(_exit: InstructionExit) -> Reply:
        virtual.interrupt_flag = True
        return NEXT

    return [
        Row(Reason.INTERRUPT_FLAG, 0, 0, cli, owner, "CLI"),
        Row(Reason.INTERRUPT_FLAG, 1, 1, sti, owner, "STI"),
    ]
