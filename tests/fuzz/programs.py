"""From a genome to a guest: code, first registers, and what its memory holds besides.

Most guests have a handler for every exception, or they would end at their first. Each instruction stands in a slot of
its own and leaves its number; the handler goes on with the slot after it, on a good stack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from guest_sdk import abi
from hypercalls.registry import Listed
from pv.memory import GuestMemory
from tests.fuzz.arguments import hostile, installed_calls
from tests.fuzz.genome import Genome
from tests.fuzz.instructions import BASE, CALLS, DATA, MEMORY_BYTES, instruction, move, value

TECHNIQUES: Final = ("paravirt", "trap", "translate", "hardware")  # by bits 0 and 6 of a genome's first byte
ARGUMENTS: Final = (7, 6, 2, 10, 8, 9)  # RDI RSI RDX R10 R8 R9 by their encoding
LOOP: Final = b"\xeb\xfe"
SLOT_BYTES: Final = 128
SLOTS_MOST: Final = 200
SLOT: Final = DATA + 0x9000  # where a guest leaves the number of its slot
HANDLER: Final = BASE + 0x8000
STACK: Final = DATA + 0xB000
IDT: Final = DATA + 0xC000
TSS: Final = DATA + 0xE000


@dataclass(slots=True)
class Program:
    """A guest of `memory_bytes`. planted: bytes that lie in its memory when it starts, by gpa."""

    technique: str
    code: bytes = b""
    registers: list[int] = field(default_factory=lambda: [0] * 16)
    planted: list[tuple[int, bytes]] = field(default_factory=list)
    handles: bool = False
    memory_bytes: int = MEMORY_BYTES

    def plant(self, gpa: int, data: bytes) -> None:
        self.planted.append((gpa, data))


@cache
def calls() -> tuple[Listed, ...]:
    return installed_calls()


def hypercall(genome: Genome, program: Program) -> bytes:
    """A call with arguments made for its signature, or a number that is none."""
    code = b""
    if genome.chance(24):
        number = value(genome)
        code = b"".join(move(register, value(genome)) for register in ARGUMENTS[: genome.number() % 7])
    else:
        call = genome.choose(calls()).call
        number = call.number
        if call.name == "exit" and not genome.chance(60):
            number = abi.BY_NAME["multicall"].number
        registers = [
            register
            for parameter in call.signature.parameters
            for register in hostile(parameter.type, genome, program.plant)
        ]
        code = b"".join(move(register, found) for register, found in zip(ARGUMENTS, registers, strict=False))
    return code + move(0, number) + genome.choose(CALLS)


def build(data: bytes) -> Program:
    """The guest that a genome describes. The first byte says its technique and what surrounds it."""
    genome = Genome(data)
    kind = genome.number()
    program = Program(TECHNIQUES[kind & 1 | kind >> 5 & 2])
    program.registers = [value(genome) if kind & 2 else DATA + 64 * register for register in range(16)]
    program.registers[4] = DATA + 0xF000 if kind & 4 else genome.choose((0x80000, DATA + 0xF008, value(genome)))
    if kind & 8:
        low = genome.number(2) * 8  # tables, descriptors or stack that the loader leaves there
        program.plant(low, genome.bytes(8))
    program.handles = not genome.chance(40)
    parts: list[bytes] = []
    while not genome.used_up and len(parts) < SLOTS_MOST:
        plain = program.technique != "paravirt"  # a PC, with ports and without hypercalls
        asks = genome.chance(4 if plain else 72)
        parts.append(hypercall(genome, program) if asks else instruction(genome, ports=plain))
    if kind & 16:
        parts.append(LOOP if kind & 32 else move(7, BASE) + b"\xff\xe7")  # once more from the start
    program.code = slots(parts, program.technique) if program.handles else b"\x90" + b"".join(parts)
    return program


def slots(parts: list[bytes], technique: str) -> bytes:
    """The parts in their slots, an end after them, and the handler at HANDLER."""
    code = b"".join((tell(number) + part)[:SLOT_BYTES].ljust(SLOT_BYTES, b"\x90") for number, part in enumerate(parts))
    return (code + END.get(technique, DEBUG_EXIT)).ljust(HANDLER - BASE, b"\xcc") + handler(len(parts))


def tell(number: int) -> bytes:
    """MOV dword [SLOT], number."""
    return b"\xc7\x04\x25" + SLOT.to_bytes(4, "little") + number.to_bytes(4, "little")


def handler(count: int) -> bytes:
    """Take a good stack, and go on with the slot after the last; past `count` there stands the end."""
    load = move(4, STACK) + b"\x8b\x04\x25" + SLOT.to_bytes(4, "little")  # mov eax, [SLOT]
    bound = (
        b"\xff\xc0" + b"\xb9" + count.to_bytes(4, "little") + b"\x39\xc8" + b"\x0f\x47\xc1"
    )  # inc; cmp; cmova eax, ecx
    note = b"\x89\x04\x25" + SLOT.to_bytes(4, "little")
    jump = b"\x69\xc0" + SLOT_BYTES.to_bytes(4, "little") + b"\x05" + BASE.to_bytes(4, "little") + b"\xff\xe0"
    return load + bound + note + jump


END: Final = {"paravirt": move(7, 0) + move(0, abi.BY_NAME["exit"].number) + b"\x0f\x01\xc1" + LOOP}
DEBUG_EXIT: Final = b"\xb0\x00\xe6\xf4" + LOOP


def install_handlers(vcpu: Any, memory: GuestMemory, technique: str) -> None:
    """Send every exception to HANDLER: by the trap table, or by an IDT whose gates take the stack of a TSS."""
    if technique == "paravirt":
        vcpu.set_kernel_stack(STACK)
        for vector in range(256):
            vcpu.set_trap(vector, HANDLER, 3)
        return
    low, high = HANDLER & 0xFFFF, HANDLER >> 16 & 0xFFFF
    gate = struct.pack("<HHBBHII", low, 8, 1, 0xEE, high, HANDLER >> 32, 0)  # IST 1, DPL 3, an interrupt gate
    memory.write(IDT, gate * 256)
    memory.write(TSS, struct.pack("<IQQQQQ", 0, STACK, STACK, STACK, 0, STACK))
    virtual = vcpu.virtual
    virtual.idt_base, virtual.idt_limit = IDT, 256 * 16 - 1
    virtual.tr_selector, virtual.tr_base, virtual.tr_limit = 0x40, TSS, 0x67
