"""A case in a guest whose middle page is memory or a device: the whole way of an exit, not just the operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pv.devices.bus import Window
from pv.dispatch import Row
from pv.emulate.mmio import mmio_rows
from pv.engines.unicorn import UnicornVcpu
from pv.exits import Reason, Reply, StopWhy, stop
from pv.memory import GuestMemory
from pv.techniques.controls import DEFAULT
from tests.differential.cases import CODE, DATA, DATA_END, DEVICE, FLAGS, PAGE, STACK, TARGET, Case
from tests.differential.processors import HLT, After
from tests.pv.engines.unicorn.guests import TrapGuest

GPA: Final = 0xD000_0000  # where no memory is
CR8: Final = 1 << 8  # of a control block
ENDED: Final = 0x99  # no vector that an instruction here may raise


class HardwareGuest(TrapGuest):
    """The same guest at its own CPL 0."""

    technique = "hardware"


class BareGuest(HardwareGuest):
    """The same with a control block in which nothing of control, debug and descriptor-table registers exits but CR8."""

    def __init__(self, code: str | bytes) -> None:
        super().__init__(code, engine=_bare)


def _bare(memory: GuestMemory, **options: Any) -> UnicornVcpu:
    controls = replace(DEFAULT, cr_writes=DEFAULT.cr_writes & CR8, dr_reads=0, dr_writes=0)
    return UnicornVcpu(memory, **{**options, "controls": controls})


GUESTS: Final = {"trap": TrapGuest, "hardware": HardwareGuest}


class GuestProcessor:
    """One guest for many cases. Faults go through its IDT to stubs that end it with the vector. Close it."""

    def __init__(self, technique: str, *, device: bool) -> None:
        self.guest = GUESTS[technique]("hlt")
        self.vcpu, self.memory = self.guest.vcpu, self.guest.memory
        self.device = bytearray(PAGE) if device else None
        self.accesses = 0
        for vector in range(32):
            self.guest.gate(vector, ist=1)
        self.guest.answer(
            Row(Reason.HLT, 0, 0, self._halt, "test", "HLT"),
            *mmio_rows(self.vcpu, [Window("test", GPA, GPA + PAGE - 1, self._read, self._write)]),
        )
        if device:
            at = self.guest.page_entry(DEVICE)
            self.memory.write_uint(at, 8, GPA | self.guest.word(at) & 0xFFF)
        self.vcpu.write_code(TARGET, HLT * PAGE)

    @staticmethod
    def _halt(_exit: object) -> Reply:
        return stop(ENDED)

    def _read(self, offset: int, size: int) -> int:
        assert self.device is not None
        self.accesses += 1
        return int.from_bytes(self.device[offset : offset + size], "little")

    def _write(self, offset: int, size: int, value: int) -> None:
        assert self.device is not None
        self.accesses += 1
        self.device[offset : offset + size] = value.to_bytes(size, "little")

    def run(self, case: Case) -> After:
        vcpu, memory = self.vcpu, self.memory
        vcpu.write_code(CODE, case.code + HLT * 2)
        memory.write(DATA, case.data)
        memory.write(STACK, case.stack)
        if self.device is not None:
            self.device[:] = case.data[DEVICE - DATA :][:PAGE]
        for number in range(16):
            vcpu.set(number, case.registers[number])
            vcpu.set_xmm(number, case.vectors[number])
        vcpu.rflags, vcpu.fs_base, vcpu.gs_base = case.rflags, case.fs_base, case.gs_base
        vcpu.jump(CODE)
        why, status, detail = vcpu.run(0, 0)
        assert why is StopWhy.EXITED, f"{why.value}: {detail}"
        if status != ENDED:
            return After(status)
        data = memory.read(DATA, DATA_END - DATA)
        if self.device is not None:
            data = data[:PAGE] + bytes(self.device) + data[2 * PAGE :]
        return After(
            -1,
            vcpu.rip - len(HLT),
            vcpu.rflags & FLAGS,
            tuple(vcpu.get(number) for number in range(16)),
            tuple(vcpu.xmm(number) for number in range(16)),
            data,
            memory.read(STACK, PAGE),
        )

    def close(self) -> None:
        self.guest.machine.close()
