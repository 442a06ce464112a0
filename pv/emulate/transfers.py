"""Far JMP, CALL and RET, IRETQ and SYSRET: transfers that load CS, and with it the privilege.

SDM vol. 2, JMP, CALL, RET, IRET/IRETD/IRETQ, SYSRET. The guest's ring 0 is CPL 1 beneath: the vcpu maps a
selector of RPL 0 to it and refuses call gates. Code of 32 bits within the kernel is not offered.
"""

from __future__ import annotations

from typing import Protocol, cast

from pv.dispatch import Row
from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64, canonical
from pv.emulate.decode import InstructionExit
from pv.emulate.descriptors import selector_error
from pv.emulate.operands import effective_address, read_uint
from pv.engines.base import GuestFault, Vcpu
from pv.exits import AGAIN, Reason, Reply

CS = 1
USER = 3


class OutwardReturn(Protocol):
    """Far RET to an outer ring: the engine checks CS and SS before it changes anything. Raises GuestFault."""

    def far_transfer(self, selector: int, rip: int, rsp: int, ss: int) -> None: ...


def transfer_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """Far JMP, CALL, RET (keys 0-2), IRETQ and SYSRET (key 0)."""
    interrupt_return = vcpu.interrupt_return
    outward = cast(OutwardReturn, vcpu)

    def far_pointer(exit: InstructionExit) -> tuple[int, int]:
        """Selector and offset in memory. Raises GuestFault, #GP(0) for an offset that is not canonical."""
        bits = exit.insn.operand_bytes * 8
        pointer = read_uint(vcpu, effective_address(vcpu, exit.insn), exit.insn.operand_bytes + 2)
        return pointer >> bits, checked_rip(pointer & ((1 << bits) - 1))

    def jmp(exit: InstructionExit) -> Reply:
        vcpu.far_transfer(*far_pointer(exit))
        return AGAIN

    def call(exit: InstructionExit) -> Reply:
        """Push CS and the return address, then jump. A fault of the jump leaves RSP and the stack alone."""
        size = exit.insn.operand_bytes
        selector, offset = far_pointer(exit)
        rsp = (vcpu.rsp - 2 * size) & MASK_64
        back = (exit.rip + exit.length) & ((1 << size * 8) - 1)
        frame = back.to_bytes(size, "little") + vcpu.selector(CS).to_bytes(size, "little")
        before = vcpu.read_linear(rsp, len(frame), write=True)
        vcpu.write_linear(rsp, frame)
        try:
            vcpu.far_transfer(selector, offset, rsp)
        except GuestFault:
            vcpu.write_linear(rsp, before)
            raise
        return AGAIN

    def ret(exit: InstructionExit) -> Reply:
        """Pop RIP and CS, release the immediate, and outward also pop RSP and SS."""
        size, release = exit.insn.operand_bytes, exit.insn.immediate
        rsp = vcpu.rsp
        rip, selector = popped(vcpu, rsp, size, 2)
        selector &= 0xFFFF
        if exit.cpl == USER and selector & 3 != USER:
            raise GuestFault(GENERAL_PROTECTION, selector_error(selector))  # never inward
        rip = checked_rip(rip)
        rsp = (rsp + 2 * size + release) & MASK_64
        if selector & 3 != USER or exit.cpl == USER:
            vcpu.far_transfer(selector, rip, rsp)
            return AGAIN
        check_code(selector, rip, rsp)
        user_rsp, user_ss = popped(vcpu, rsp, size, 2)
        outward.far_transfer(selector, rip, (user_rsp + release) & MASK_64, user_ss & 0xFFFF)
        return AGAIN

    def check_code(selector: int, rip: int, rsp: int) -> None:
        """Raise what CS raises in an outward return: it comes before RSP and SS are read, with a code of its own."""
        try:
            outward.far_transfer(selector, rip, rsp, 0)
        except GuestFault as fault:  # of a null SS, if of nothing else
            if fault.error_code or fault.vector != GENERAL_PROTECTION or not selector_error(selector):
                raise

    def iretq(_exit: InstructionExit) -> Reply:
        interrupt_return()
        return AGAIN

    def sysret(exit: InstructionExit) -> Reply:
        vcpu.system_return(exit.insn.operand_bytes * 8)
        return AGAIN

    return [
        Row(Reason.FAR_TRANSFER, 0, 0, jmp, owner, "JMP far"),
        Row(Reason.FAR_TRANSFER, 1, 1, call, owner, "CALL far"),
        Row(Reason.FAR_TRANSFER, 2, 2, ret, owner, "RET far"),
        Row(Reason.IRET, 0, 0, iretq, owner, "IRETQ"),
        Row(Reason.SYSRET, 0, 0, sysret, owner, "SYSRET"),
    ]


def checked_rip(rip: int) -> int:
    """`rip` itself. Raises GuestFault, #GP(0), where it is not canonical."""
    if not canonical(rip):
        raise GuestFault(GENERAL_PROTECTION, 0)
    return rip


def popped(vcpu: Vcpu, rsp: int, size_bytes: int, count: int) -> list[int]:
    """`count` values of `size_bytes` from the guest's stack at `rsp`, in one read. Raises GuestFault."""
    raw = vcpu.read_linear(rsp, size_bytes * count)
    return [int.from_bytes(raw[at : at + size_bytes], "little") for at in range(0, len(raw), size_bytes)]
