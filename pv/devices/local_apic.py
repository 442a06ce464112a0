"""What does a guest find in the page of its local APIC? Every register of one, and what writing it does.

Intel SDM vol. 3, chapter 11 (10 in older editions); names and sections are its own. One processor, so an interprocessor
interrupt reaches this one or nobody. Registers are numbered by their offset / 16, as the MSRs of x2APIC are from 0x800:
in that mode they are read and written by pv.devices.x2apic, and the page is nobody's.
The SDM leaves undefined what an access that is not 32 bits at a multiple of 16 does: here a load reads what
stands at those bytes, and a store other than of the first four or eight bytes of a register is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.bus import all_ones
from pv.devices.deadline import At
from pv.devices.interprocessor import send
from pv.devices.interrupt_queue import NO_VECTOR, InterruptQueue, restore_queue, save_queue, word
from pv.devices.local_apic_registers import (
    BASE,
    BASE_BOOT_PROCESSOR,
    BASE_ENABLE,
    BASE_EXTENDED,
    DFR_ONES,
    EXTENDED_LDR,
    LEGAL_FIRST,
    LVT_OF_PIN,
    LVT_WRITABLE,
    MASK_32,
    PROCESSOR_ID,
    VERSION,
    Esr,
    Icr,
    Lvt,
    Mode,
    Register,
    Svr,
)
from pv.devices.local_interrupts import LocalInterrupts
from pv.devices.state import SavedFields, State, StateError, check_like, check_range, part_of

Describe = Callable[[int, int, int, int, int], None]
"""describe(mode, SVR, LDR, DFR, the timer's vector): what a processor with APIC virtualization must know."""


def describe_to_nobody(*_told: int) -> None:
    """The Describe of a processor that leaves the APIC to the chip."""


class LocalApic(LocalInterrupts, SavedFields):
    """The chip: LocalInterrupts by its registers. `describe` is called at each change of what it tells."""

    saved_fields: ClassVar = ("_pins", "_enabled", "_extended", "_svr", "_ldr", "_dfr", "_errors", "_esr")
    saved_ranges: ClassVar = dict.fromkeys(("_svr", "_ldr", "_dfr", "_errors", "_esr"), range(1 << 32))
    wiring_fields: ClassVar = (
        "_interrupt", "_tell_priority", "_describe", "_timer", "_queue", "_lvt",  # the last three: see save()
    )  # fmt: skip

    def __init__(
        self,
        interrupt: Callable[[bool], None],
        task_priority: Callable[[int], None],
        now_ns: Callable[[], int],
        at: At,
        queue: InterruptQueue | None = None,
        describe: Describe = describe_to_nobody,
    ) -> None:
        self._describe = describe
        self._extended = False
        super().__init__(interrupt, task_priority, now_ns, at, queue)

    def reset(self) -> None:
        self._ldr = 0
        self._dfr = MASK_32
        self._esr = 0
        super().reset()
        self._changed()

    def _changed(self) -> None:
        self._describe(self.mode, self._svr, self._ldr, self._dfr, self._lvt[Register.LVT_TIMER] & Lvt.VECTOR)

    def save(self) -> State:
        parts = {"timer": self._timer.save(), "queue": save_queue(self._queue)}
        return {**super().save(), **parts, "lvt": [self._lvt[index] for index in sorted(self._lvt)]}

    def restore(self, saved: State) -> None:
        entries = check_like(saved.get("lvt"), [0] * len(LVT_WRITABLE), "LocalApic.lvt")
        super().restore(saved)
        check_range(entries, range(1 << 32), "LocalApic.lvt")
        self._lvt = dict(zip(sorted(LVT_WRITABLE), entries, strict=True))
        if self._extended and not self._enabled:
            raise StateError("LocalApic.extended is set in a disabled one")
        restore_queue(self._queue, part_of(saved, "queue", "LocalApic"))
        self._queue.external = self._passes_external()
        self._timer.restore_for(part_of(saved, "timer", "LocalApic"), self._expired)
        self._changed()

    # ---- the processor's side ----

    @property
    def mode(self) -> int:
        """One of Mode."""
        if not self._enabled:
            return Mode.DISABLED
        return Mode.MSRS if self._extended else Mode.PAGE

    @property
    def base(self) -> int:
        """IA32_APIC_BASE."""
        return BASE | BASE_BOOT_PROCESSOR | MODE_BITS[self.mode]

    def write_base(self, value: int) -> bool:
        """Write IA32_APIC_BASE: only the mode may change, in a legal way (11.12.5, figure 11-27). False where the
        processor must get #GP instead; the page does not move, and there is one processor."""
        before, bits = self.mode, value & MODE_MASK
        if (value ^ self.base) & ~MODE_MASK or (MODE_BITS[before], bits) not in TRANSITIONS:
            return False
        self._enabled, self._extended = bool(bits & BASE_ENABLE), bool(bits & BASE_EXTENDED)
        if (before == Mode.DISABLED) is self._enabled:
            self.reset()
        elif self.mode != before:  # to x2APIC mode: all else stays as it was programmed (11.12.5.1)
            self._ldr = EXTENDED_LDR
            self._changed()
        return True

    @property
    def command(self) -> int:
        """The ICR, 64 bits."""
        return self._queue.command

    # ---- the page ----

    def read(self, offset: int, size: int) -> int:
        """`size` bytes at `offset` of the page; all ones where it is not the APIC's, since nobody else is there."""
        if self.mode != Mode.PAGE:
            return all_ones(size)
        index, byte = divmod(offset, 16)
        value = self._read_register(index)
        if byte + size > 16:
            value |= self._read_register(index + 1) << 128
        return value >> 8 * byte & all_ones(size)

    def write(self, offset: int, size: int, value: int) -> None:
        if self.mode != Mode.PAGE or offset % 16 or size < 4:
            return
        index = offset // 16
        writer = WRITERS.get(index)
        if writer is not None:
            writer(self, value & MASK_32)
        elif index not in READERS:
            self._error(Esr.ILLEGAL_REGISTER)

    def _read_register(self, index: int) -> int:
        reader = READERS.get(index)
        if reader is not None:
            return reader(self)
        if index not in WRITERS:
            self._error(Esr.ILLEGAL_REGISTER)
        return 0

    def _write_tpr(self, value: int) -> None:
        before, self._queue.task_priority = self._queue.task_priority, value & 0xFF
        if before >> 4 != value >> 4 & 0xF:
            self._tell_priority(value >> 4 & 0xF)
            self._update()

    def _write_eoi(self, _value: int) -> None:
        vector = self._queue.end()
        if vector != NO_VECTOR and self._queue.is_level(vector):
            self._end_level(vector)
        self._update()

    def _write_svr(self, value: int) -> None:
        self._svr = value & Svr.WRITABLE
        if not value & Svr.ENABLED:
            for index in self._lvt:
                self._lvt[index] |= Lvt.MASKED
        self._reschedule()
        self._update()
        self._changed()

    def _write_esr(self, _value: int) -> None:
        self._esr, self._errors = self._errors, 0

    def _write_lvt(self, index: int, value: int) -> None:
        kept = self._lvt[index] & Lvt.REMOTE_IRR if value & Lvt.LEVEL else 0
        if not self._svr & Svr.ENABLED:
            value |= Lvt.MASKED
        self._lvt[index] = value & LVT_WRITABLE[index] | kept
        if index == Register.LVT_TIMER:
            self._timer.set_periodic(bool(value & Lvt.PERIODIC))
            self._reschedule()
            self._changed()
        elif index in LVT_OF_PIN and self._pins[LVT_OF_PIN.index(index)] and value & Lvt.LEVEL:
            self._pin_requests(LVT_OF_PIN.index(index))
        self._update()

    def _write_icr_low(self, value: int) -> None:
        self.send(self._queue.command & ~Icr.LOW | value & Icr.WRITABLE)

    def send(self, command: int) -> None:
        """An interprocessor interrupt (11.6.1). INIT, start-up, SMI and NMI have no effect on this processor."""
        self._queue.command = command
        sent, arrives = send(command, self._ldr, self._dfr, extended=self._extended)
        if sent and command & Lvt.VECTOR < LEGAL_FIRST:
            self._error(Esr.SEND_ILLEGAL_VECTOR)
        elif arrives:
            self._accept(command & Lvt.VECTOR)

    def send_to_self(self, vector: int) -> None:
        """SELF IPI (11.12.11): the same interrupt, and the ICR keeps what it has."""
        if vector < LEGAL_FIRST:
            self._error(Esr.SEND_ILLEGAL_VECTOR)
        else:
            self._accept(vector)

    def _write_icr_high(self, value: int) -> None:
        self._queue.command = value << 32 & Icr.DESTINATION | self._queue.command & Icr.LOW

    def _write_logical(self, name: str, value: int) -> None:
        """LDR or DFR."""
        setattr(self, name, value)
        self._changed()

    def _start_timer(self, count: int) -> None:
        self._timer.start(count)
        self._reschedule()

    def _set_divide(self, value: int) -> None:
        self._timer.set_divide(value)
        self._reschedule()


MODE_MASK: Final = BASE_ENABLE | BASE_EXTENDED
MODE_BITS: Final = {Mode.DISABLED: 0, Mode.PAGE: BASE_ENABLE, Mode.MSRS: MODE_MASK}
TRANSITIONS: Final = {  # from, to; staying where one is changes nothing
    (0, 0), (0, BASE_ENABLE), (BASE_ENABLE, BASE_ENABLE), (BASE_ENABLE, 0), (BASE_ENABLE, MODE_MASK),
    (MODE_MASK, MODE_MASK), (MODE_MASK, 0),
}  # fmt: skip

Reader = Callable[[LocalApic], int]
Writer = Callable[[LocalApic, int], None]


def _words(first: int, name: str) -> dict[int, Reader]:
    def reader(index: int) -> Reader:
        return lambda apic: word(getattr(apic._queue, name), index)

    return {first + index: reader(index) for index in range(8)}


def _read_lvt(index: int) -> Reader:
    return lambda apic: apic._lvt[index]


def _write_lvt(index: int) -> Writer:
    return lambda apic, value: apic._write_lvt(index, value)


READERS: Final[dict[int, Reader]] = {
    Register.ID: lambda _apic: PROCESSOR_ID << 24,
    Register.VERSION: lambda _apic: VERSION,
    Register.TPR: lambda apic: apic._queue.task_priority,
    Register.APR: lambda _apic: 0,  # not on processors with a version of 0x14, and no error (table 11-1, note 3)
    Register.PPR: lambda apic: apic._queue.processor_priority,
    Register.RRD: lambda _apic: 0,  # as APR
    Register.LDR: lambda apic: apic._ldr,
    Register.DFR: lambda apic: apic._dfr,
    Register.SVR: lambda apic: apic._svr,
    **_words(Register.ISR, "in_service"),
    **_words(Register.TMR, "level_triggered"),
    **_words(Register.IRR, "requested"),
    Register.ESR: lambda apic: apic._esr,
    Register.ICR_LOW: lambda apic: apic._queue.command & Icr.LOW,
    Register.ICR_HIGH: lambda apic: apic._queue.command >> 32,
    **{index: _read_lvt(index) for index in LVT_WRITABLE},
    Register.INITIAL_COUNT: lambda apic: apic._timer.initial,
    Register.CURRENT_COUNT: lambda apic: apic._timer.current(),
    Register.DIVIDE: lambda apic: apic._timer.divide,
}
WRITERS: Final[dict[int, Writer]] = {
    Register.ID: lambda _apic, _value: None,  # the identity is fixed, as on later processors
    Register.TPR: LocalApic._write_tpr,
    Register.EOI: LocalApic._write_eoi,
    Register.LDR: lambda apic, value: apic._write_logical("_ldr", value & 0xFF00_0000),
    Register.DFR: lambda apic, value: apic._write_logical("_dfr", value | DFR_ONES),
    Register.SVR: LocalApic._write_svr,
    Register.ESR: LocalApic._write_esr,
    Register.ICR_LOW: LocalApic._write_icr_low,
    Register.ICR_HIGH: LocalApic._write_icr_high,
    **{index: _write_lvt(index) for index in LVT_WRITABLE},
    Register.INITIAL_COUNT: LocalApic._start_timer,
    Register.DIVIDE: LocalApic._set_divide,
}
