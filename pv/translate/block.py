"""How is a run of guest instructions translated? Bytes in, bytes for the cache out, and the map between the two.

Code is decoded once. What is identical is copied a run at a time, everything else goes by its row in the policy table
to one function (pv.translate.emit). The result does not depend on where in the cache it is put: no operand is relative
to RIP but jumps within the block, and what leaves the block is a callout, which the native core replaces by a jump.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from iced_x86 import Decoder, DecoderError, InstructionInfoFactory, OpAccess

from pv.emulate.architecture import CR0_EM, CR4_OSFXSR
from pv.translate import callouts, sequences
from pv.translate.callouts import LINK_BYTES, Kind
from pv.translate.draft import CR0_EM_ONLY, CR4, OPTIONS, STUB, Draft, VirtualState
from pv.translate.emit import EMIT
from pv.translate.policy import ABSENT, BY_CODE, MEMORY, PLAIN, REPEATED, TRAPPING, VECTOR, After, How, Policy

__all__ = ["LEAST_ROOM", "MOST", "STUB", "Translation", "Translator", "VirtualState"]

LEAST_ROOM: Final = 96  # bytes that any one instruction fits in, with its links and a check
MOST: Final = 64  # instructions of a block
REX_THEN_PREFIX: Final = re.compile(b"[\x40-\x4f][" + re.escape(bytes(sequences.PREFIXES)) + b"]")
WRITES: Final = (OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)


@dataclass(slots=True)
class Translation:
    """One block for the cache.

    source_bytes: guest bytes that it stands for; 0 where `code` ended inside the first instruction. instructions: of
    the guest. map: an entry for each instruction of the cache, a callout being one: (offset in `code`, offset in the
    guest's bytes or STUB, what to add to RSP to be before the guest instruction), ascending. links: (offset of the
    stub, target, offset of the rel32 to be patched or -1 where the stub itself is overwritten). bakes: registers it was
    made by.
    """

    code: bytes
    source_bytes: int
    instructions: int
    map: list[tuple[int, int, int]]
    links: list[tuple[int, int, int]]
    bakes: int


class Translator:
    """Translates for one vcpu, whose registers it reads as it goes."""

    def __init__(self, virtual: VirtualState) -> None:
        self.virtual = virtual

    def translate(
        self,
        rip: int,
        code: bytes,
        room: int,
        cs: int,
        checked: bool,
        most: int = MOST,
        trapping: frozenset[int] = frozenset(),
    ) -> Translation:
        """The block that begins at guest address `rip`, whose bytes from there on are `code`.

        room: bytes that the block may have in the cache. cs: the selector that the guest believes in. checked: it
        begins with a CHECK and ends behind the first instruction that may write memory. most: guest instructions.
        trapping: guest addresses of instructions that trap for a device again and again.
        Raises ValueError where not even the first instruction has room, which LEAST_ROOM always has.
        """
        block = Draft(self.virtual, rip, code, room, cs, checked)
        source, count = fill(block, most, trapping)
        if REX_THEN_PREFIX.search(code, 0, source) and (late := late_prefix(code[:source])) is not None:
            block = Draft(self.virtual, rip, code[:late], room, cs, checked)
            source, count = fill(block, most, trapping) if late else in_place(block, code)
        if not count:
            if block.full:
                raise ValueError(f"a block in {room} bytes: an instruction needs up to {LEAST_ROOM}")
            return Translation(b"", 0, 0, [], [], 0)
        if checked:
            block.out[: callouts.SIZES[Kind.CHECK]] = callouts.check(source)
        return Translation(bytes(block.out), source, count, block.map, block.links, block.bakes)


def fill(block: Draft, most: int, trapping: frozenset[int] = frozenset()) -> tuple[int, int]:
    """Translate up to `most` instructions. The bytes and instructions that became of them.

    What is identical costs no call here: its bytes are copied when something else comes, or the end.
    """
    code, out, pending, room, checked = block.code, block.out, block.pending, block.room, block.checked
    append, find = block.map.append, BY_CODE.get
    vector, vector_bakes = sse(block.virtual)
    position = copied = count = 0  # the end of what is translated, of what is in `out`
    shift = len(out)  # from an offset in the guest's bytes to one in `out`, while bytes are only copied
    limit = room - shift - LINK_BYTES
    ended = After.ON
    for instruction in block.decoder:
        row = find(instruction.code) or BY_CODE.of(instruction)
        length = instruction.len
        end = position + length
        if (
            checked
            and instruction.is_string_instruction
            and (instruction.has_rep_prefix or instruction.has_repne_prefix)
        ):
            row = REPEATED
        if trapping and instruction.ip in trapping:
            row = TRAPPING
        if row is VECTOR:
            block.bakes |= vector_bakes
            row = vector
        if row is PLAIN or (row is MEMORY and not instruction.is_ip_rel_memory_operand):
            if end > limit:
                block.full = True
                break
            append((position + shift, position, 0))
        else:
            if row.how == How.INVALID and cut_short(block, position):
                break
            out += code[copied:position]
            copied = block.at = position
            mark = block.mark()
            ended = EMIT[row.how](block, instruction, row, code[position:end])
            if len(out) + LINK_BYTES * (len(pending) + (ended is not After.NEVER)) > room:
                block.forget(mark)
                block.full = True
                ended = After.ON
                break
            copied = end
            shift = len(out) - end
            limit = room - shift - LINK_BYTES * (len(pending) + 1)
        position = end
        count += 1
        if ended is not After.ON or count == most or (checked and may_write(instruction, row)):
            break
    out += code[copied:position]
    if count:
        block.finish(ended, position)
    return position, count


def late_prefix(code: bytes) -> int | None:
    """Where an instruction begins with a prefix behind REX, or None.

    There the processor beneath keeps REX, and may find another length than ours, which is the manual's (SDM vol. 2,
    2.2.1: REX is ignored if it is not next to the opcode).
    """
    at = 0
    for instruction in Decoder(64, code, OPTIONS):
        rex = False
        for byte in code[at : at + instruction.len]:
            if rex and byte in sequences.PREFIXES:
                return at
            rex = byte & 0xF0 == 0x40
            if not rex and byte not in sequences.PREFIXES:
                break
        at += instruction.len
    return None


def in_place(block: Draft, code: bytes) -> tuple[int, int]:
    """One instruction that is only stepped: the processor says how long it is, and the block ends."""
    block.part(callouts.STEP)
    return Decoder(64, code, OPTIONS).decode().len, 1


def sse(virtual: VirtualState) -> tuple[Policy, int]:
    """What becomes of SSE instructions, and what they are made by (SDM vol. 3, table 2-2 and 2.5)."""
    on = virtual.cr4 & CR4_OSFXSR and not virtual.cr0 & CR0_EM
    return MEMORY if on else ABSENT, CR4 | CR0_EM_ONLY


def cut_short(block: Draft, position: int) -> bool:
    """Whether the guest's bytes end inside the instruction that could not be decoded."""
    missing: bool = block.decoder.last_error == DecoderError.NO_MORE_BYTES
    return missing and len(block.code) - position < sequences.LONGEST


_FACTORY: Final = InstructionInfoFactory()


def may_write(instruction: Any, row: Policy) -> bool:
    """Whether an instruction may write memory: of what is not copied all is taken to, but for branches."""
    if row.how not in (How.IDENTICAL, How.VECTOR):
        return row.how not in (How.CONDITION, How.COUNT, How.NOTHING)
    return any(used.access in WRITES for used in _FACTORY.info(instruction).used_memory())
