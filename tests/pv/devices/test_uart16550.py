"""The 16550A by its data sheet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.uart16550 import FIFO_BYTES, Register, Uart16550
from tests.pv.devices.fakes import Line

RX, THRE, STATUS, MODEM = 1, 2, 4, 8
OUT2, LOOP = 0x08, 0x10


class Port:
    """A port with its wires, and short names for its registers."""

    def __init__(self, pending: bytes = b"") -> None:
        self.sent: list[int] = []
        self.line = Line()
        self.pending = bytearray(pending)
        self.uart = Uart16550(self.sent.append, self.line, self.more)

    def more(self, most: int) -> bytes:
        taken = bytes(self.pending[:most])
        del self.pending[:most]
        return taken

    def __getitem__(self, register: int) -> int:
        return self.uart.read(register, 1)

    def __setitem__(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value)


def test_a_byte_written_is_sent_at_once_and_the_transmitter_is_always_empty() -> None:
    port = Port()
    assert port[Register.LSR] == 0x60
    for byte in b"hi":
        port[Register.RBR_THR] = byte
        assert port[Register.LSR] == 0x60
    assert bytes(port.sent) == b"hi"


def test_dlab_shows_the_divisor_and_hides_data_and_ier() -> None:
    port = Port()
    port[Register.IER] = 0x0F
    port[Register.LCR] = 0x83
    port[0], port[1] = 0x0C, 0x34
    assert (port[0], port[1], port.sent) == (0x0C, 0x34, [])
    port[Register.LCR] = 0x03
    assert (port[Register.IER], port[Register.LCR]) == (0x0F, 0x03)


@pytest.mark.parametrize(("register", "kept"), [(Register.IER, 0x0F), (Register.MCR, 0x1F), (Register.SCR, 0xFF)])
def test_registers_keep_the_bits_that_exist(register: Register, kept: int) -> None:
    port = Port()
    port[register] = 0xFF
    assert port[register] == kept


def test_lsr_and_msr_are_not_written() -> None:
    port = Port()
    port[Register.LSR], port[Register.MSR] = 0, 0
    assert (port[Register.LSR], port[Register.MSR]) == (0x60, 0xB0)


def test_transmitter_interrupt_rises_when_enabled_and_falls_when_iir_is_read() -> None:
    port = Port()
    port[Register.MCR] = OUT2
    port[Register.IER] = THRE
    assert (port.line.level, port.line.rises) == (True, 1)
    assert port[Register.IIR_FCR] == 0x02
    assert not port.line.level
    assert port[Register.IIR_FCR] == 0x01, "reading it as the source has reset it"
    port[Register.RBR_THR] = ord("a")
    assert (port.line.level, port.line.rises) == (True, 2)


def test_each_byte_written_gives_a_new_edge_though_iir_was_not_read() -> None:
    port = Port()
    port[Register.MCR], port[Register.IER] = OUT2, THRE
    for count in range(3):
        port[Register.RBR_THR] = 0x41
        assert port.line.rises == 2 + count


def test_enabling_again_what_is_enabled_raises_nothing() -> None:
    port = Port()
    port[Register.MCR], port[Register.IER] = OUT2, THRE
    port[Register.IIR_FCR]
    port[Register.IER] = THRE
    assert not port.line.level


def test_out2_gates_the_line() -> None:
    port = Port()
    port[Register.IER] = THRE
    assert not port.line.level
    port[Register.MCR] = OUT2
    assert port.line.level
    port[Register.MCR] = 0
    assert not port.line.level


def test_receiver_without_fifo_holds_one_byte() -> None:
    port = Port()
    port[Register.MCR], port[Register.IER] = OUT2, RX
    assert port.uart.receive(b"ab") == 1
    assert (port[Register.IIR_FCR], port[Register.LSR] & 1, port.line.level) == (0x04, 1, True)
    assert port[Register.RBR_THR] == ord("a")
    assert (port[Register.IIR_FCR], port[Register.LSR] & 1, port.line.level) == (0x01, 0, False)
    assert port[Register.RBR_THR] == 0


@pytest.mark.parametrize(("fcr", "level"), [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_fifo_trigger_level_tells_data_from_timeout(fcr: int, level: int) -> None:
    port = Port()
    port[Register.IIR_FCR] = fcr
    port[Register.MCR], port[Register.IER] = OUT2, RX
    assert port[Register.IIR_FCR] == 0xC1
    for count in range(1, FIFO_BYTES + 1):
        assert port.uart.receive(b"x") == 1
        assert port[Register.IIR_FCR] == (0xC4 if count >= level else 0xCC)
    assert port.uart.receive(b"y") == 0, "the sender keeps what there is no room for"


def test_fifo_is_first_in_first_out_and_reset_by_fcr() -> None:
    port = Port()
    port[Register.IIR_FCR] = 0x01
    port.uart.receive(b"abc")
    assert port[0] == ord("a")
    port[Register.IIR_FCR] = 0x03
    assert (port[Register.LSR] & 1, port[0]) == (0, 0)
    port.uart.receive(b"abc")
    port[Register.IIR_FCR] = 0x00
    assert port[Register.LSR] & 1 == 0, "turning the FIFO off clears it"


def test_an_emptied_receiver_is_refilled_with_what_waits() -> None:
    port = Port(b"hello, this is more than one FIFO full")
    port[Register.IIR_FCR] = 0x01
    got = bytearray()
    while port[Register.LSR] & 1:
        got.append(port[0])
    assert got == b"hello, this is more than one FIFO full"


def test_loopback_returns_bytes_and_modem_lines_and_cuts_the_wire() -> None:
    port = Port()
    port[Register.MCR] = LOOP | 0x0F
    assert port[Register.MSR] & 0xF0 == 0xF0
    port[Register.MCR] = LOOP | 0x0A  # RTS and OUT2, as Linux probes
    assert port[Register.MSR] & 0xF0 == 0x90
    port[0] = 0x5A
    assert (port.sent, port.uart.receive(b"x"), port[0]) == ([], 0, 0x5A)


def test_deltas_are_cleared_by_reading_and_ring_counts_only_its_trailing_edge() -> None:
    port = Port()
    port[Register.MCR] = LOOP | 0x04  # RI on; CTS DSR DCD fall
    assert port[Register.MSR] == 0x4B
    assert port[Register.MSR] == 0x40
    port[Register.MCR] = LOOP
    assert port[Register.MSR] == 0x04


def test_modem_status_interrupt() -> None:
    port = Port()
    port[Register.IER] = MODEM
    port[Register.MCR] = LOOP | OUT2
    assert (port[Register.IIR_FCR], port.line.level) == (0x00, True)
    port[Register.MSR]
    assert (port[Register.IIR_FCR], port.line.level) == (0x01, False)


def test_overrun_in_loopback_interrupts_first_and_is_cleared_by_reading_lsr() -> None:
    port = Port()
    port[Register.MCR], port[Register.IER] = LOOP | OUT2, RX | STATUS | THRE
    port[0], port[0] = 1, 2
    assert port[Register.IIR_FCR] == 0x06
    assert port[Register.LSR] == 0x63
    assert (port[Register.LSR], port[Register.IIR_FCR]) == (0x61, 0x04)
    assert port[0] == 2, "without a FIFO the new byte replaces the old one"


OPERATION = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("write"), st.integers(0, 7), st.integers(0, 255)),
    st.tuples(st.just("receive"), st.integers(0, 20), st.just(0)),
)


@given(st.lists(OPERATION, max_size=80))
def test_any_accesses_stay_in_range_and_the_line_agrees_with_iir(operations: list[tuple[str, int, int]]) -> None:
    port = Port(b"waiting" * 9)
    for kind, number, value in operations:
        if kind == "read":
            assert 0 <= port[number] <= 255
        elif kind == "write":
            port[number] = value
        else:
            assert 0 <= port.uart.receive(bytes(number)) <= FIFO_BYTES
        pending = port.uart._source() & 1 == 0
        assert port.line.level == (pending and bool(port[Register.MCR] & OUT2))
