"""MOV to and from DR0-DR7: debug registers that hold what the guest wrote.

SDM vol. 2, MOV - Move to/from Debug Registers, and vol. 3, 18.2. They are values only: no breakpoint of
the guest's is armed on the processor beneath, where its address would fall in the monitor's world as well.
"""

from __future__ import annotations

from collections.abc import Callable

from pv.dispatch import Row
from pv.emulate.architecture import (
    CR4_DE,
    DEBUG,
    DR6_BD,
    DR6_ONES,
    DR6_WRITABLE,
    DR7_GD,
    DR7_ONES,
    DR7_WRITABLE,
    GP_0,
    MASK_32,
    UD,
)  # fmt: skip
from pv.emulate.decode import InstructionExit
from pv.emulate.system_registers import SystemRegisters
from pv.engines.base import Vcpu
from pv.exits import NEXT, Direction, Reason, Reply, fault

Handler = Callable[[InstructionExit], Reply]


def debug_register_rows(vcpu: Vcpu, system: SystemRegisters, owner: str) -> list[Row]:
    """A row for each debug register and direction. DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them #UD."""
    rows = []
    for number in range(8):
        for direction in Direction:
            key = number * 2 + direction
            name = f"DR{number} {direction.name.lower()}"
            handler = _accessor(vcpu, system, number, direction)
            rows.append(Row(Reason.DR_ACCESS, key, key, handler, owner, name))
    return rows


def _accessor(vcpu: Vcpu, system: SystemRegisters, number: int, direction: Direction) -> Handler:
    target = number + 2 if number in (4, 5) else number
    alias = target != number

    def access(exit: InstructionExit) -> Reply:
        if alias and vcpu.virtual.cr4 & CR4_DE:
            return UD
        if system.dr7 & DR7_GD:  # general detect: #DB before the access, and detection goes off
            system.dr6 |= DR6_BD
            system.dr7 &= ~DR7_GD
            return fault(DEBUG)
        if direction is Direction.READ:
            vcpu.set(exit.insn.register, read_debug(system, target))
            return NEXT
        return NEXT if write_debug(system, target, vcpu.get(exit.insn.register)) else GP_0

    return access


def read_debug(system: SystemRegisters, number: int) -> int:
    """DR0-DR3, DR6 or DR7."""
    if number < 4:
        return system.breakpoints[number]
    return system.dr6 if number == 6 else system.dr7


def write_debug(system: SystemRegisters, number: int, value: int) -> bool:
    """Write DR0-DR3, DR6 or DR7, fixed bits kept. False where bits 63-32 of DR6 or DR7 are set."""
    if number < 4:
        system.breakpoints[number] = value
        return True
    if value > MASK_32:
        return False
    if number == 6:
        system.dr6 = value & DR6_WRITABLE | DR6_ONES
    else:
        system.dr7 = value & DR7_WRITABLE | DR7_ONES
    return True
