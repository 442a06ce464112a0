"""Every privileged instruction, in one list of rows.

The families stand in a file each: this one only puts them together for one vcpu. A handler is a closure over
what it needs, bound here and never looked up on an exit. Each answers a Reply or raises GuestFault.
"""

from __future__ import annotations

from pv.dispatch import Row
from pv.emulate.control_registers import control_register_rows
from pv.emulate.cpuid import Cpuid, guest_cpuid
from pv.emulate.debug_registers import debug_register_rows
from pv.emulate.descriptor_tables import descriptor_table_rows
from pv.emulate.flags import flag_rows
from pv.emulate.msrs import msr_rows
from pv.emulate.processor import processor_rows
from pv.emulate.segments import segment_rows
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.transfers import transfer_rows
from pv.engines.base import Vcpu


def privileged_rows(
    vcpu: Vcpu,
    system: SystemRegisters | None = None,
    cpuid: Cpuid | None = None,
    owner: str = "trap",
) -> list[Row]:
    """The rows of all instructions in pv.emulate.decode.FORMS.

    system: registers shared with other rows of this vcpu (RDTSC reads IA32_TSC_AUX); a fresh set by default.
    cpuid: what the guest is offered, which decides on the reserved bits of CR3, CR4 and EFER.
    """
    system = SystemRegisters() if system is None else system
    cpuid = guest_cpuid(vcpu, hypervisor=False) if cpuid is None else cpuid
    return [
        *flag_rows(vcpu, owner),
        *control_register_rows(vcpu, cpuid, owner),
        *debug_register_rows(vcpu, system, owner),
        *msr_rows(vcpu, system, cpuid, owner),
        *descriptor_table_rows(vcpu, owner),
        *segment_rows(vcpu, owner),
        *transfer_rows(vcpu, owner),
        *processor_rows(vcpu, owner),
    ]
