"""HLT, INVLPG, the cache instructions, and those that this processor does not offer.

SDM vol. 2 under each name. Guest memory is always coherent, so WBINVD and INVD have nothing to do.
"""

from __future__ import annotations

from pv.dispatch import Row
from pv.emulate.architecture import GP_0, UD, canonical
from pv.emulate.decode import InstructionExit
from pv.emulate.operands import effective_address
from pv.engines.base import Vcpu
from pv.exits import NEXT, WAIT, Reason, Reply


def processor_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """One row each, key 0."""
    invalidate = vcpu.shadow.invalidate

    def invlpg(exit: InstructionExit) -> Reply:
        address = effective_address(vcpu, exit.insn)
        if canonical(address):  # any other is not translated by anything: no fault and no effect
            invalidate(address)
        return NEXT

    handlers = {
        Reason.HLT: halt,
        Reason.INVLPG: invlpg,
        Reason.WBINVD: no_effect,
        Reason.INVD: no_effect,
        Reason.XSETBV: undefined,  # CR4.OSXSAVE cannot be set
        Reason.MONITOR: undefined,  # CPUID does not offer it
        Reason.MWAIT: undefined,
        Reason.RDPMC: no_counter,
    }
    return [Row(reason, 0, 0, handler, owner, reason.name) for reason, handler in handlers.items()]


def halt(_exit: InstructionExit) -> Reply:
    return WAIT


def no_effect(_exit: InstructionExit) -> Reply:
    return NEXT


def undefined(_exit: InstructionExit) -> Reply:
    return UD


def no_counter(_exit: InstructionExit) -> Reply:
    """ECX names a performance counter that does not exist, whatever it holds."""
    return GP_0
