"""What does a guest find in the MSRs of its local APIC? x2APIC mode: which register each is, and what may be written.

Intel SDM vol. 3, 11.12, table 11-6. An MSR's number is 0x800 and that of the register in the page; what reading and
writing does is the page's table, pv.devices.local_apic. Different are the ICR, one register of 64 bits; the LDR, which
is derived and read-only; SELF IPI, which is new; and that what is reserved raises #GP(0) and is no error in the ESR.
"""

from __future__ import annotations

from typing import Final

from pv.devices.local_apic import READERS, WRITERS, LocalApic, Reader, Writer
from pv.devices.local_apic_registers import LVT_WRITABLE, MASK_32, PROCESSOR_ID, Icr, Lvt, Mode, Register, Svr

FIRST, LAST = 0x800, 0x83F
SELF_IPI: Final = 0x3F
STATUS: Final = 1 << 12  # delivery status, in LVT entries and the ICR: read-only, and idle
REFUSED: Final = -1  # no such register, or not in this mode: the processor must get #GP(0)

NOT_THERE: Final = frozenset((Register.APR, Register.RRD, Register.DFR, Register.ICR_HIGH))
READ: Final[dict[int, Reader]] = {
    **{index: reader for index, reader in READERS.items() if index not in NOT_THERE},
    Register.ID: lambda _apic: PROCESSOR_ID,
    Register.ICR_LOW: lambda apic: apic.command,
}
LINT: Final = LVT_WRITABLE[Register.LVT_LINT0] | STATUS | Lvt.REMOTE_IRR
# Which bits may be set: none where the register is written as zero. What is not here cannot be written.
WRITABLE: Final = {
    Register.TPR: 0xFF,
    Register.EOI: 0,
    Register.SVR: Svr.WRITABLE,
    Register.ESR: 0,
    Register.ICR_LOW: MASK_32 << 32 | Icr.WRITABLE | STATUS,
    **{index: mask | STATUS for index, mask in LVT_WRITABLE.items()},
    Register.LVT_LINT0: LINT,
    Register.LVT_LINT1: LINT,
    Register.INITIAL_COUNT: MASK_32,
    Register.DIVIDE: 0b1011,
    SELF_IPI: Lvt.VECTOR,
}
WRITE: Final[dict[int, Writer]] = {
    **WRITERS,
    Register.ICR_LOW: lambda apic, value: apic.send(value & ~STATUS),
    SELF_IPI: LocalApic.send_to_self,
}


def read_msr(apic: LocalApic, msr: int) -> int:
    """RDMSR of FIRST to LAST: the value, 64 bits, or REFUSED."""
    reader = READ.get(msr - FIRST)
    if apic.mode != Mode.MSRS or reader is None:
        return REFUSED
    return reader(apic)


def write_msr(apic: LocalApic, msr: int, value: int) -> bool:
    """WRMSR of FIRST to LAST with 64 bits. False where the processor must get #GP(0) instead."""
    index = msr - FIRST
    mask = WRITABLE.get(index)
    if apic.mode != Mode.MSRS or mask is None or value & ~mask:
        return False
    WRITE[index](apic, value)
    return True
