"""One instruction carried out on a device at RBX, by hand: what it left, and the processor it left it in."""

from __future__ import annotations

from pv.engines.base import GENERAL_REGISTERS
from tests.differential.cases import CODE, DATA, DEVICE, PAGE, STACK, Case
from tests.differential.processors import After, PlainCpu, emulate
from tests.pv.engines.unicorn.guests import assemble

TOP = STACK + 0x800


def carry_out(
    text: str, memory: bytes = b"", rflags: int = 2, *, features: int = 0xFFFF_FFFF, offset: int = 0, **registers: int
) -> tuple[After, PlainCpu]:
    """RBX leads to `memory`, `offset` bytes into the device's page; RSP is TOP unless `registers` say otherwise."""
    values = {"rsp": TOP, "rbx": DEVICE + offset, **registers}
    data = bytearray(3 * PAGE)
    at = DEVICE + offset - DATA
    data[at : at + len(memory)] = memory
    numbers = [values.get(name, 0) for name in GENERAL_REGISTERS]
    vectors = [int.from_bytes(bytes([number * 16 + 15 - i for i in range(16)]), "big") for number in range(16)]
    return emulate(Case(text, assemble(text, CODE), numbers, rflags, vectors=vectors, data=bytes(data)), features)


def word(after: After, size: int = 8, offset: int = 0) -> int:
    """What the device then holds, `offset` bytes into its page."""
    at = DEVICE + offset - DATA
    return int.from_bytes(after.data[at : at + size], "little")
