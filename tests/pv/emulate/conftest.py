"""A guest whose rows are those of every privileged instruction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pv.emulate.apic_registers import apic_rows
from pv.emulate.cpuid import guest_cpuid
from pv.emulate.privileged import privileged_rows
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import time_stamp_rows
from tests.pv.emulate.recording_vcpu import Guest


@pytest.fixture
def system() -> SystemRegisters:
    return SystemRegisters()


@pytest.fixture
def guest(system: SystemRegisters) -> Iterator[Guest]:
    guest = Guest()
    cpuid = guest_cpuid(guest.vcpu, hypervisor=False)
    guest.add(privileged_rows(guest.vcpu, system, cpuid))
    guest.add(time_stamp_rows(guest.vcpu, "trap"))
    guest.add(apic_rows(guest.vcpu, guest.apic, "local APIC"))
    yield guest
    guest.memory.close()
