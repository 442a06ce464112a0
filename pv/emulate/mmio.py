"""How does an instruction reach a device through memory? One exit of reason MMIO carried out.

The engine took the exit because the guest's tables map the operand to a device's window (native/device.c); the row
of that window calls `access`. A plain MOV goes straight to the device. All else goes by OPERATIONS: SDM vol. 2 under
each name, flags by pv.emulate.alu. An operand that crosses a page is made of what each page leads to, device or
memory, after both were found accessible. A repeated string move does one element an exit, and is interruptible
between two. LOCK changes nothing: there is one processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from iced_x86 import Mnemonic

from pv.devices.bus import Window
from pv.dispatch import Row
from pv.emulate import alu
from pv.emulate.architecture import MASK_64
from pv.emulate.decode import FS, NO_REGISTER
from pv.emulate.operands import effective_address
from pv.engines.base import Vcpu
from pv.exits import AGAIN, NEXT, ExitView, Reason, Reply
from pv.memory import PAGE_SIZE

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction

CYCLES: Final = frozenset((1, 2, 4, 8))  # bytes that a device takes at once
RCX, RSI, RDI, ACCUMULATOR = 1, 6, 7, 0


class MmioExit(ExitView):
    """An exit whose instruction pv.emulate.mmio_decode made."""

    insn: MemoryInstruction


class Piece(NamedTuple):
    """The part of an operand that lies in one page."""

    gva: int
    gpa: int
    size: int


class GuestBus:
    """What the guest's linear addresses lead to: its memory, or one of `windows`."""

    def __init__(self, vcpu: Vcpu, windows: Sequence[Window]) -> None:
        self.vcpu: Final = vcpu
        self._windows: Final = windows

    def locate(self, gva: int, size: int, *, write: bool = False) -> list[Piece]:
        """The pieces of an operand, first address first. Raises the GuestFault of the first page that forbids it."""
        first = min(size, PAGE_SIZE - gva % PAGE_SIZE)
        parts = [(gva, first)] if first == size else [(gva, first), ((gva + first) & MASK_64, size - first)]
        return [Piece(at, self.vcpu.translate(at, write=write), length) for at, length in parts]

    def load(self, pieces: Iterable[Piece]) -> int:
        """The operand's value, unsigned."""
        value = shift = 0
        for piece in pieces:
            window = self._window(piece.gpa)
            if window is None:
                part = int.from_bytes(self.vcpu.read_linear(piece.gva, piece.size), "little")
            else:
                part = 0
                for at, size in _cycles(piece):
                    part |= window.read(at - window.first, size) << 8 * (at - piece.gpa)
            value |= part << shift
            shift += 8 * piece.size
        return value

    def store(self, pieces: Iterable[Piece], value: int) -> Reply:
        """Write the operand. A device's reply ends it; NEXT where none has one."""
        for piece in pieces:
            window = self._window(piece.gpa)
            if window is None:
                self.vcpu.write_linear(piece.gva, (value & (1 << 8 * piece.size) - 1).to_bytes(piece.size, "little"))
            else:
                for at, size in _cycles(piece):
                    reply = window.write(at - window.first, size, value >> 8 * (at - piece.gpa) & (1 << 8 * size) - 1)
                    if reply is not None:
                        return reply
            value >>= 8 * piece.size
        return NEXT

    def _window(self, gpa: int) -> Window | None:
        return next((window for window in self._windows if window.first <= gpa <= window.last), None)


def _cycles(piece: Piece) -> list[tuple[int, int]]:
    """(gpa, size) of each cycle: one where a device takes the piece whole, else one a byte."""
    if piece.size in CYCLES:
        return [(piece.gpa, piece.size)]
    return [(piece.gpa + byte, 1) for byte in range(piece.size)]


def mmio_rows(vcpu: Vcpu, windows: Sequence[Window]) -> list[Row]:
    """One row a window, for both directions. The dispatch table refuses what two owners claim."""
    bus = GuestBus(vcpu, windows)
    return [Row(Reason.MMIO, w.first, w.last, _accessor(bus, w), w.owner, "MMIO") for w in windows]


def _accessor(bus: GuestBus, window: Window) -> Callable[[MmioExit], Reply]:
    get, put, first, read, write = bus.vcpu.get, bus.vcpu.set, window.first, window.read, window.write

    def access(exit: MmioExit) -> Reply:
        insn, gpa = exit.insn, exit.key
        size = insn.operand_bytes
        # At offset 0 stands the second page of an operand that crosses into it: the address of a fault says no more.
        if not insn.plain or not 0 < gpa % PAGE_SIZE <= PAGE_SIZE - size:
            return insn.operation(bus, insn)
        if insn.to_memory:
            register = insn.register
            value = insn.immediate if register == NO_REGISTER else get(register)
            return write(gpa - first, size, value if size == 8 else value & (1 << 8 * size) - 1) or NEXT
        put(insn.register, read(gpa - first, size))
        return NEXT

    return access


# ---- the operand that is not in memory ----


def read_other(vcpu: Vcpu, insn: MemoryInstruction) -> int:
    """The register or immediate, unsigned, of its own width."""
    if insn.register == NO_REGISTER:
        return insn.immediate
    value = vcpu.get(insn.register)
    return value >> 8 & 0xFF if insn.high_byte else value & (1 << 8 * insn.register_bytes) - 1


def write_other(vcpu: Vcpu, insn: MemoryInstruction, value: int) -> None:
    """Write the register as its width asks: 1 and 2 bytes keep the rest, 4 clear it (SDM vol. 1, 3.4.1.1)."""
    if insn.register_bytes < 4:
        shift = 8 if insn.high_byte else 0
        mask = (1 << 8 * insn.register_bytes) - 1 << shift
        value = vcpu.get(insn.register) & ~mask | value << shift & mask
    vcpu.set(insn.register, value)


# ---- what carries out each instruction ----

Operation = Callable[[GuestBus, "MemoryInstruction"], Reply]


class Known(NamedTuple):
    """One mnemonic. writes: whether it writes its destination."""

    name: str
    carry_out: Operation
    writes: bool = True


def move(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    at = bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes, write=insn.to_memory)
    if insn.to_memory:
        return bus.store(at, read_other(bus.vcpu, insn))
    write_other(bus.vcpu, insn, bus.load(at))
    return NEXT


def move_sign_extended(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    value = bus.load(bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes))
    sign = 1 << 8 * insn.operand_bytes - 1
    write_other(bus.vcpu, insn, ((value ^ sign) - sign) & (1 << 8 * insn.register_bytes) - 1)
    return NEXT


def exchange(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    at = bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes, write=True)
    value = bus.load(at)
    reply = bus.store(at, read_other(bus.vcpu, insn))
    write_other(bus.vcpu, insn, value)
    return reply


def arithmetic(function: alu.Binary, keep: bool, bus: GuestBus, insn: MemoryInstruction) -> Reply:
    """destination = function(destination, source); `keep` is false for CMP and TEST, which set flags alone."""
    vcpu, bits, reply = bus.vcpu, 8 * insn.operand_bytes, NEXT
    at = bus.locate(effective_address(vcpu, insn), insn.operand_bytes, write=keep and insn.to_memory)
    memory, other = bus.load(at), read_other(vcpu, insn)
    destination, source = (memory, other) if insn.to_memory else (other, memory)
    result, rflags = function(destination, source, bits, vcpu.rflags)
    if keep and insn.to_memory:
        reply = bus.store(at, result)
    elif keep:
        write_other(vcpu, insn, result)
    vcpu.rflags = rflags
    return reply


def unary(function: alu.Unary, bus: GuestBus, insn: MemoryInstruction) -> Reply:
    at = bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes, write=True)
    result, rflags = function(bus.load(at), 8 * insn.operand_bytes, bus.vcpu.rflags)
    reply = bus.store(at, result)
    bus.vcpu.rflags = rflags
    return reply


def test_bit(change: Callable[[int, int], int] | None, bus: GuestBus, insn: MemoryInstruction) -> Reply:
    """BT and its kin. A register's offset is signed and reaches beyond the operand (SDM vol. 2, BT)."""
    vcpu, size, reply = bus.vcpu, insn.operand_bytes, NEXT
    bits, offset, gva = 8 * size, read_other(vcpu, insn), effective_address(vcpu, insn)
    if insn.register != NO_REGISTER:
        sign = 1 << bits - 1
        gva = (gva + ((offset ^ sign) - sign) // bits * size) & MASK_64
    at = bus.locate(gva, size, write=change is not None)
    value = bus.load(at)
    if change is not None:
        reply = bus.store(at, change(value, 1 << offset % bits))
    vcpu.rflags = alu.bit_test(value, offset % bits, vcpu.rflags)
    return reply


def _source(bus: GuestBus, insn: MemoryInstruction) -> list[Piece]:
    vcpu, segment = bus.vcpu, 0
    if insn.segment != NO_REGISTER:
        segment = vcpu.fs_base if insn.segment == FS else vcpu.gs_base
    return bus.locate((vcpu.get(RSI) & insn.address_mask) + segment & MASK_64, insn.operand_bytes)


def _destination(bus: GuestBus, insn: MemoryInstruction) -> list[Piece]:
    return bus.locate(bus.vcpu.get(RDI) & insn.address_mask, insn.operand_bytes, write=True)


def _element_done(vcpu: Vcpu, insn: MemoryInstruction, pointers: tuple[int, ...], reply: Reply) -> Reply:
    """Move the pointers on by DF; AGAIN while a repetition has elements left."""
    step = -insn.operand_bytes if vcpu.rflags & alu.DF else insn.operand_bytes
    for register in pointers:
        vcpu.set(register, (vcpu.get(register) + step) & insn.address_mask)
    if not insn.repeated:
        return reply
    left = (vcpu.get(RCX) - 1) & insn.address_mask
    vcpu.set(RCX, left)
    return AGAIN if left and reply is NEXT else reply


def store_string(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    value = bus.vcpu.get(ACCUMULATOR) & (1 << 8 * insn.operand_bytes) - 1
    return _element_done(bus.vcpu, insn, (RDI,), bus.store(_destination(bus, insn), value))


def load_string(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    write_other(bus.vcpu, insn, bus.load(_source(bus, insn)))
    return _element_done(bus.vcpu, insn, (RSI,), NEXT)


def move_string(bus: GuestBus, insn: MemoryInstruction) -> Reply:
    source, destination = _source(bus, insn), _destination(bus, insn)
    return _element_done(bus.vcpu, insn, (RSI, RDI), bus.store(destination, bus.load(source)))


def _binary(name: str, function: alu.Binary, *, keep: bool = True) -> Known:
    return Known(name, partial(arithmetic, function, keep), keep)


def _unary(name: str, function: alu.Unary) -> Known:
    return Known(name, partial(unary, function))


WIDTHS: Final = "BWDQ"
OPERATIONS: Final[dict[int, Known]] = {
    Mnemonic.MOV: Known("mov", move),
    Mnemonic.MOVZX: Known("movzx", move),
    Mnemonic.MOVSX: Known("movsx", move_sign_extended),
    Mnemonic.MOVSXD: Known("movsxd", move_sign_extended),
    Mnemonic.XCHG: Known("xchg", exchange),
    Mnemonic.ADD: _binary("add", alu.add),
    Mnemonic.ADC: _binary("adc", alu.add_with_carry),
    Mnemonic.SUB: _binary("sub", alu.subtract),
    Mnemonic.SBB: _binary("sbb", alu.subtract_with_borrow),
    Mnemonic.AND: _binary("and", alu.bitwise_and),
    Mnemonic.OR: _binary("or", alu.bitwise_or),
    Mnemonic.XOR: _binary("xor", alu.exclusive_or),
    Mnemonic.CMP: _binary("cmp", alu.subtract, keep=False),
    Mnemonic.TEST: _binary("test", alu.bitwise_and, keep=False),
    Mnemonic.INC: _unary("inc", alu.increment),
    Mnemonic.DEC: _unary("dec", alu.decrement),
    Mnemonic.NEG: _unary("neg", alu.negate),
    Mnemonic.NOT: _unary("not", alu.complement),
    Mnemonic.BT: Known("bt", partial(test_bit, None), writes=False),
    Mnemonic.BTS: Known("bts", partial(test_bit, lambda value, bit: value | bit)),
    Mnemonic.BTR: Known("btr", partial(test_bit, lambda value, bit: value & ~bit)),
    Mnemonic.BTC: Known("btc", partial(test_bit, lambda value, bit: value ^ bit)),
    **{getattr(Mnemonic, f"STOS{width}"): Known("stos", store_string) for width in WIDTHS},
    **{getattr(Mnemonic, f"LODS{width}"): Known("lods", load_string) for width in WIDTHS},
    **{getattr(Mnemonic, f"MOVS{width}"): Known("movs", move_string, writes=False) for width in WIDTHS},
}
