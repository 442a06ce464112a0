"""What does a 16550A serial port do? Registers, FIFO and interrupts of the chip; bytes come and go as callables.

National Semiconductor PC16550D data sheet, section 8 (registers). A byte written is on the wire at once, so the
transmitter is always empty; a byte received below the FIFO's trigger level times out at once.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.state import SavedFields, State, StateError

FIFO_BYTES: Final = 16


class Register(enum.IntEnum):
    """Offsets (table 2). Where reading and writing differ, both names stand: RBR is read, THR written."""

    RBR_THR = 0  # divisor latch, low, while LCR.DLAB
    IER = 1  # divisor latch, high, while LCR.DLAB
    IIR_FCR = 2
    LCR = 3
    MCR = 4
    LSR = 5
    MSR = 6
    SCR = 7


class Ier:  # 8.7
    RECEIVED_DATA = 1 << 0
    TRANSMITTER_EMPTY = 1 << 1
    LINE_STATUS = 1 << 2
    MODEM_STATUS = 1 << 3


class Iir(enum.IntEnum):  # 8.6, table 4
    MODEM_STATUS = 0b0000
    NONE = 0b0001
    TRANSMITTER_EMPTY = 0b0010
    RECEIVED_DATA = 0b0100
    LINE_STATUS = 0b0110
    CHARACTER_TIMEOUT = 0b1100


IIR_FIFO_ON: Final = 0b1100_0000


class Fcr:  # 8.5
    ENABLE = 1 << 0
    RESET_RECEIVER = 1 << 1


TRIGGER_SHIFT: Final = 6
TRIGGER_LEVELS: Final = (1, 4, 8, 14)  # by FCR bits 7-6

LCR_DLAB: Final = 1 << 7  # 8.1


class Mcr:  # 8.8
    DTR = 1 << 0
    RTS = 1 << 1
    OUT1 = 1 << 2
    OUT2 = 1 << 3
    LOOP = 1 << 4


class Lsr:  # 8.4
    DATA_READY = 1 << 0
    OVERRUN = 1 << 1
    TRANSMITTER_EMPTY = 1 << 5
    TRANSMITTER_IDLE = 1 << 6


class Msr:  # 8.9
    DELTA_CTS = 1 << 0
    DELTA_DSR = 1 << 1
    TRAILING_RI = 1 << 2
    DELTA_DCD = 1 << 3
    CTS = 1 << 4
    DSR = 1 << 5
    RI = 1 << 6
    DCD = 1 << 7


IER_BITS: Final = Ier.RECEIVED_DATA | Ier.TRANSMITTER_EMPTY | Ier.LINE_STATUS | Ier.MODEM_STATUS
MCR_BITS: Final = Mcr.DTR | Mcr.RTS | Mcr.OUT1 | Mcr.OUT2 | Mcr.LOOP
CONNECTED: Final = Msr.CTS | Msr.DSR | Msr.DCD  # a terminal is always there and always ready
LOOPED: Final = {Mcr.RTS: Msr.CTS, Mcr.DTR: Msr.DSR, Mcr.OUT1: Msr.RI, Mcr.OUT2: Msr.DCD}  # 8.8, bit 4
CHANGES: Final = Msr.DELTA_CTS | Msr.DELTA_DSR | Msr.TRAILING_RI | Msr.DELTA_DCD
DELTAS: Final = {Msr.CTS: Msr.DELTA_CTS, Msr.DSR: Msr.DELTA_DSR, Msr.DCD: Msr.DELTA_DCD}


class Uart16550(SavedFields):
    """One port. transmit(byte) takes what the guest sends; line(level) is INTR behind the gate of OUT2.

    Every PC lets INTR through to the interrupt controller only while MCR.OUT2 is set; so does this.
    more(most) is asked for what else has arrived, up to `most` bytes, whenever the receiver has become empty.
    """

    saved_fields: ClassVar = (
        "_fifo_on", "_trigger", "_empty_pending", "_ier", "_lcr", "_mcr", "_line_errors", "_msr", "_scr", "_divisor",
    )  # fmt: skip
    saved_ranges: ClassVar = dict.fromkeys(
        ("_trigger", "_ier", "_lcr", "_mcr", "_line_errors", "_msr", "_scr", "_divisor"), range(0x100)
    )
    wiring_fields: ClassVar = ("_transmit", "_line", "_more", "_fifo")

    def __init__(
        self,
        transmit: Callable[[int], object],
        line: Callable[[bool], None],
        more: Callable[[int], bytes] | None = None,
    ) -> None:
        self._transmit = transmit
        self._line = line
        self._more = more
        self._fifo: deque[int] = deque()
        self._fifo_on = False
        self._trigger = TRIGGER_LEVELS[0]
        self._empty_pending = False  # the transmitter-empty interrupt; LSR.THRE itself is always set
        self._ier = 0
        self._lcr = 0
        self._mcr = 0
        self._line_errors = 0
        self._msr = CONNECTED
        self._scr = 0
        self._divisor = [1, 0]

    def save(self) -> State:
        return {**super().save(), "fifo": bytes(self._fifo)}

    def restore(self, saved: State) -> None:
        received = saved.get("fifo")
        if not isinstance(received, bytes) or len(received) > FIFO_BYTES:
            raise StateError("Uart16550.fifo is no FIFO's content")
        super().restore(saved)
        self._fifo = deque(received)

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """A register, 0-255."""
        if offset <= Register.IER and self._lcr & LCR_DLAB:
            return self._divisor[offset]
        return READS[offset](self)

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        if offset <= Register.IER and self._lcr & LCR_DLAB:
            self._divisor[offset] = value
        elif offset in WRITES:
            WRITES[offset](self, value)

    def receive(self, data: bytes) -> int:
        """Bytes arrive on the wire. Returns how many there was room for; the sender keeps the rest."""
        taken = data[: self._room_for_wire()]
        self._fifo.extend(taken)
        self._update()
        return len(taken)

    def refill(self) -> None:
        """Receive what `more` has, if there is room."""
        room = self._room_for_wire()
        if room and self._more is not None:
            self.receive(self._more(room))

    def _refill_if_empty(self) -> None:
        if not self._fifo:
            self.refill()

    def _room_for_wire(self) -> int:
        return 0 if self._mcr & Mcr.LOOP else max(0, self._room())  # looped, the receiver is off the wire (8.8)

    def _room(self) -> int:
        return (FIFO_BYTES if self._fifo_on else 1) - len(self._fifo)

    def _source(self) -> Iir:
        """The interrupt of highest priority that is pending and enabled (table 4)."""
        ier = self._ier
        if ier & Ier.LINE_STATUS and self._line_errors:
            return Iir.LINE_STATUS
        if ier & Ier.RECEIVED_DATA and self._fifo:
            enough = not self._fifo_on or len(self._fifo) >= self._trigger
            return Iir.RECEIVED_DATA if enough else Iir.CHARACTER_TIMEOUT
        if ier & Ier.TRANSMITTER_EMPTY and self._empty_pending:
            return Iir.TRANSMITTER_EMPTY
        if ier & Ier.MODEM_STATUS and self._msr & CHANGES:
            return Iir.MODEM_STATUS
        return Iir.NONE

    def _update(self) -> None:
        self._line(bool(self._mcr & Mcr.OUT2) and self._source() is not Iir.NONE)

    def _read_rbr(self) -> int:
        if not self._fifo:
            return 0
        byte = self._fifo.popleft()
        self._update()
        self._refill_if_empty()
        return byte

    def _read_ier(self) -> int:
        return self._ier

    def _read_iir(self) -> int:
        source = self._source()
        if source is Iir.TRANSMITTER_EMPTY:  # reading it, if it is the source, resets it (table 4)
            self._empty_pending = False
            self._update()
        return source | (IIR_FIFO_ON if self._fifo_on else 0)

    def _read_lcr(self) -> int:
        return self._lcr

    def _read_mcr(self) -> int:
        return self._mcr

    def _read_lsr(self) -> int:
        status = self._line_errors | Lsr.TRANSMITTER_EMPTY | Lsr.TRANSMITTER_IDLE
        if self._fifo:
            status |= Lsr.DATA_READY
        if self._line_errors:
            self._line_errors = 0
            self._update()
        return status

    def _read_msr(self) -> int:
        status = self._msr
        self._msr &= ~CHANGES
        self._update()
        return status

    def _read_scr(self) -> int:
        return self._scr

    def _write_thr(self, value: int) -> None:
        if self._empty_pending and self._ier:
            self._empty_pending = False  # INTR falls while the byte is sent: an edge for the interrupt controller
            self._update()
        if self._mcr & Mcr.LOOP:
            self._loop_back(value)
        else:
            self._transmit(value)
        self._empty_pending = True
        if self._ier:
            self._update()

    def _loop_back(self, value: int) -> None:
        if self._room() > 0:
            self._fifo.append(value)
        else:
            self._line_errors |= Lsr.OVERRUN
            if not self._fifo_on:  # the new character destroys the old one, unless there is a FIFO (8.4, bit 1)
                self._fifo[-1] = value

    def _write_ier(self, value: int) -> None:
        before, self._ier = self._ier, IER_BITS & value
        if self._ier & ~before & Ier.TRANSMITTER_EMPTY:
            self._empty_pending = True  # enabling it while the transmitter is empty raises it
        self._update()

    def _write_fcr(self, value: int) -> None:
        enable = bool(value & Fcr.ENABLE)
        if enable is not self._fifo_on or value & Fcr.RESET_RECEIVER:
            self._fifo.clear()
        self._fifo_on = enable
        self._trigger = TRIGGER_LEVELS[value >> TRIGGER_SHIFT]
        self._update()
        self._refill_if_empty()

    def _write_lcr(self, value: int) -> None:
        self._lcr = value

    def _write_mcr(self, value: int) -> None:
        self._mcr = MCR_BITS & value
        lines = CONNECTED
        if self._mcr & Mcr.LOOP:
            lines = sum(to for pin, to in LOOPED.items() if self._mcr & pin)
        changed = lines ^ (self._msr & ~CHANGES)
        deltas = self._msr & CHANGES
        for pin, delta in DELTAS.items():
            if changed & pin:
                deltas |= delta
        if changed & self._msr & Msr.RI:
            deltas |= Msr.TRAILING_RI
        self._msr = lines | deltas
        self._update()
        self._refill_if_empty()

    def _write_scr(self, value: int) -> None:
        self._scr = value


READS: Final = (
    Uart16550._read_rbr, Uart16550._read_ier, Uart16550._read_iir, Uart16550._read_lcr,
    Uart16550._read_mcr, Uart16550._read_lsr, Uart16550._read_msr, Uart16550._read_scr,
)  # fmt: skip
WRITES: Final[dict[int, Callable[[Uart16550, int], None]]] = {  # LSR and MSR are not written (8.4, 8.9)
    Register.RBR_THR: Uart16550._write_thr,
    Register.IER: Uart16550._write_ier,
    Register.IIR_FCR: Uart16550._write_fcr,
    Register.LCR: Uart16550._write_lcr,
    Register.MCR: Uart16550._write_mcr,
    Register.SCR: Uart16550._write_scr,
}
