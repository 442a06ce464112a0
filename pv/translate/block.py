"""How is a run of guest instructions translated? Bytes in, bytes for the cache out, and the map between the two.

Code is decoded once. What is identical is copied a run at a time, everything else goes by its row in the policy table to
one method of _Block. The result does not depend on where in the cache it is put: no operand is relative to RIP but
jumps within the block, and what leaves the block is a callout, which the native core replaces by a jump.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from iced_x86 import (
    Code,
    Decoder,
    DecoderError,
    DecoderOptions,
    InstructionInfoFactory,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)

from pv.emulate.architecture import CR0_EM, CR4_OSFXSR, MASK_32, MASK_64
from pv.emulate.decode import address_of
from pv.translate import callouts, sequences
from pv.translate.callouts import LINK_BYTES, Kind
from pv.translate.policy import ABSENT, BY_CODE, MEMORY, PLAIN, VECTOR, After, How, Policy

# Which registers of the guest a block is made by: a change of one drops it.
GDTR: Final = 1
IDTR: Final = 2
LDTR: Final = 4
TR: Final = 8
CR0: Final = 16
CS: Final = 32
CR4: Final = 64
CR0_EM_ONLY: Final = 128  # of CR0 the bit EM alone

STUB: Final = -1  # in a map: no guest instruction, but a link's stub
LEAST_ROOM: Final = 96  # bytes that any one instruction fits in, with its links and a check
MOST: Final = 64  # instructions of a block
OPTIONS: Final = DecoderOptions.FORCE_RESERVED_NOP  # as a processor without MPX and CET

WRITES: Final = (OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE)


class VirtualState(Protocol):
    """What the guest believes in, as far as its instructions show it: pv.engines.base.VirtualCpu has it."""

    @property
    def cr0(self) -> int: ...
    @property
    def cr4(self) -> int: ...
    @property
    def gdt_base(self) -> int: ...
    @property
    def gdt_limit(self) -> int: ...
    @property
    def idt_base(self) -> int: ...
    @property
    def idt_limit(self) -> int: ...
    @property
    def ldt_selector(self) -> int: ...
    @property
    def tr_selector(self) -> int: ...


@dataclass(slots=True)
class Translation:
    """One block for the cache.

    source_bytes: guest bytes that it stands for; 0 where `code` ended inside the first instruction. instructions: of the
    guest. map: an entry for each instruction of the cache, a callout being one: (offset in `code`, offset in the guest's
    bytes or STUB, what to add to RSP to be before the guest instruction), ascending. links: (offset of the stub, target,
    offset of the rel32 to be patched or -1 where the stub itself is overwritten). bakes: registers it was made by.
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

    def translate(self, rip: int, code: bytes, room: int, cs: int, checked: bool, most: int = MOST) -> Translation:
        """The block that begins at guest address `rip`, whose bytes from there on are `code`.

        room: bytes that the block may have in the cache. cs: the selector that the guest believes in. checked: it begins
        with a CHECK and ends behind the first instruction that may write memory. most: guest instructions.
        Raises ValueError where not even the first instruction has room, which LEAST_ROOM always has.
        """
        block = _Block(self.virtual, rip, code, room, cs, checked)
        source, count = block.fill(most)
        if not count:
            if block.full:
                raise ValueError(f"a block in {room} bytes: an instruction needs up to {LEAST_ROOM}")
            return Translation(b"", 0, 0, [], [], 0)
        if checked:
            block.out[: callouts.SIZES[Kind.CHECK]] = callouts.check(source)
        return Translation(bytes(block.out), source, count, block.map, block.links, block.bakes)


class _Block:
    """A block as it grows. out: its bytes; pending: branches (where the rel32 stands, target) whose stubs are to come."""

    __slots__ = (
        "at", "bakes", "checked", "code", "cs", "decoder", "full", "inner", "links", "map", "out", "pending", "rip",
        "room", "virtual",
    )  # fmt: skip

    def __init__(self, virtual: VirtualState, rip: int, code: bytes, room: int, cs: int, checked: bool) -> None:
        self.virtual, self.rip, self.code, self.room, self.cs, self.checked = virtual, rip, code, room, cs, checked
        self.out = bytearray()
        self.map: list[tuple[int, int, int]] = []
        self.links: list[tuple[int, int, int]] = []
        self.pending: list[tuple[int, int]] = []
        self.inner: set[int] = set()  # offsets in the cache where no guest instruction begins though the map has them
        self.bakes = 0
        self.at = 0  # of the guest instruction that is translated
        self.full = False
        self.decoder = Decoder(64, code, OPTIONS, ip=rip)
        if checked:
            self.part(callouts.check(0), 0)
            self.inner.add(0)

    def fill(self, most: int) -> tuple[int, int]:
        """Translate up to `most` instructions. The bytes and instructions that became of them."""
        code, out, entries, pending, decoder = self.code, self.out, self.map, self.pending, self.decoder
        append, by_code, checked = entries.append, BY_CODE, self.checked
        sse = self._sse()
        position = copied = count = 0  # the end of what is translated, of what is in `out`
        shift = len(out)  # from an offset in the guest's bytes to one in `out`, while bytes are only copied
        limit = self.room - shift - LINK_BYTES
        ended = After.ON
        for instruction in decoder:
            row = by_code.get(instruction.code) or by_code.of(instruction)
            length = instruction.len
            if row is VECTOR:
                self.bakes |= sse[1]
                row = sse[0]
            if row is PLAIN or row is MEMORY and not instruction.is_ip_rel_memory_operand:
                end = position + length
                if end > limit:
                    self.full = True
                    break
                append((position + shift, position, 0))
            else:
                if row.how == How.INVALID and self._cut_short(position):
                    break
                out += code[copied:position]
                copied = position
                before = len(out), len(entries), len(self.links), len(pending), self.bakes
                self.at = position
                ended = self.emit(instruction, row, length)
                left = 0 if ended is After.NEVER else LINK_BYTES
                if len(out) + left + LINK_BYTES * len(pending) > self.room:
                    del out[before[0] :], entries[before[1] :], self.links[before[2] :], pending[before[3] :]
                    self.bakes = before[4]
                    self.full = True
                    ended = After.ON
                    break
                end = copied = position + length
                shift = len(out) - end
                limit = self.room - shift - LINK_BYTES * (len(pending) + 1)
            position = end
            count += 1
            if ended is not After.ON or count == most or checked and self._may_write(instruction, row):
                break
        out += code[copied:position]
        if count:
            self._finish(ended, position)
        return position, count

    def _sse(self) -> tuple[Policy, int]:
        """What becomes of SSE instructions, and what they are made by."""
        on = self.virtual.cr4 & CR4_OSFXSR and not self.virtual.cr0 & CR0_EM
        return MEMORY if on else ABSENT, CR4 | CR0_EM_ONLY

    def _cut_short(self, position: int) -> bool:
        """Whether the guest's bytes end inside the instruction that could not be decoded."""
        missing: bool = self.decoder.last_error == DecoderError.NO_MORE_BYTES
        return missing and len(self.code) - position < sequences.LONGEST

    def _may_write(self, instruction: Any, row: Policy) -> bool:
        if row.how not in (How.IDENTICAL, How.VECTOR):
            return row.how not in (How.CONDITION, How.COUNT, How.NOTHING)
        return any(used.access in WRITES for used in _FACTORY.info(instruction).used_memory())

    def _finish(self, ended: After, position: int) -> None:
        """The link to what follows, and a stub for each branch that leaves the block."""
        if ended is not After.NEVER:
            self._stub(self.rip + position & MASK_64)
        if not self.pending:
            return
        starts = self._starts()
        for field, target in self.pending:
            known = starts.get(target)
            if known is None:
                known = len(self.out)
                self._stub(target, field)
            self.out[field : field + 4] = sequences.rel32(known - field - 4)

    def _starts(self) -> dict[int, int]:
        """Guest addresses at which a branch may enter this block: a checked one is entered at its check only."""
        if self.checked:
            return {}
        return {
            self.rip + guest & MASK_64: offset
            for offset, guest, _ in reversed(self.map)
            if guest != STUB and offset not in self.inner
        }

    # what the methods below put into the block
    def part(self, code: bytes, undo: int = 0) -> None:
        """One instruction of the cache, for the guest instruction that is translated."""
        self.map.append((len(self.out), self.at, undo))
        self.out += code

    def parts(self, parts: list[sequences.Part]) -> None:
        """All that one guest instruction becomes: no branch enters it but at the first."""
        for number, (code, undo) in enumerate(parts):
            if number:
                self.inner.add(len(self.out))
            self.part(code, undo)

    def inner_part(self, code: bytes, guest: int) -> None:
        """An instruction at which the state is already that of guest offset `guest`."""
        self.inner.add(len(self.out))
        self.map.append((len(self.out), guest, 0))
        self.out += code

    def _stub(self, target: int, field: int = -1) -> None:
        at = len(self.out)
        self.map.append((at, STUB, 0))
        self.links.append((at, target, field))
        self.out += callouts.link(target, field - at if field >= 0 else 0)

    def go_to(self, target: int) -> None:
        """A jump within the block, or a link."""
        known = self._starts().get(target)
        if known is None:
            self._stub(target)
        else:
            self.part(sequences.JUMP + sequences.rel32(known - len(self.out) - sequences.JUMP_BYTES))

    def emit(self, instruction: Any, row: Policy, length: int) -> After:
        """Put what the row says into the block. Where it goes on."""
        return EMIT[row.how](self, instruction, row, self.code[self.at : self.at + length])

    def identical(self, instruction: Any, row: Policy, raw: bytes) -> After:
        """A copy. Other rows come here with what is not to be copied as it is: an operand relative to RIP."""
        if instruction.is_ip_rel_memory_operand:
            offsets = self.decoder.get_constant_offsets(instruction)
            copy = sequences.absolute(instruction, raw, offsets.displacement_offset) or sequences.far_away(instruction)
            self.part(copy or callouts.STEP)
        else:
            self.part(raw)
        return row.after

    def nothing(self, _instruction: Any, row: Policy, _raw: bytes) -> After:
        self.part(sequences.NOTHING)
        return row.after

    def undefined(self, _instruction: Any, row: Policy, _raw: bytes) -> After:
        self.part(sequences.UNDEFINED)
        return row.after

    def step(self, _instruction: Any, row: Policy, _raw: bytes) -> After:
        self.part(callouts.STEP)
        return row.after

    def exit(self, _instruction: Any, row: Policy, _raw: bytes) -> After:
        self.part(callouts.INSTRUCTION)
        return row.after

    def invalid(self, _instruction: Any, row: Policy, raw: bytes) -> After:
        """A control register that there is not is the monitor's to refuse, all else the processor's."""
        rest = self.code[self.at : self.at + sequences.LONGEST]
        anyway = Decoder(64, rest, OPTIONS | DecoderOptions.NO_INVALID_CHECK, ip=self.rip + self.at).decode()
        if anyway.code in (Code.MOV_R64_CR, Code.MOV_CR_R64):
            self.part(callouts.INSTRUCTION)
        else:
            self.part(callouts.STEP)
        return row.after

    def flags(self, instruction: Any, row: Policy, _raw: bytes) -> After:
        size = 2 if instruction.code in (Code.PUSHFW, Code.POPFW) else 8
        self.part(callouts.flags(Kind.PUSHF if row.how == How.PUSHF else Kind.POPF, size))
        return row.after

    def selector(self, instruction: Any, row: Policy, raw: bytes) -> After:
        """MOV from a segment register."""
        if instruction.op1_register == Register.SS:
            return self.exit(instruction, row, raw)
        if instruction.op1_register == Register.CS:
            return self.shown(sequences.show(instruction, self.cs, SEGMENT_MOVES[instruction.code]), CS, row)
        return self.identical(instruction, row, raw)

    def sequence(self, instruction: Any, row: Policy, raw: bytes) -> After:
        code, virtual = instruction.code, self.virtual
        if code == Code.CLI:
            self.part(sequences.CLI)
        elif code == Code.STI:
            self.part(sequences.STI)
            self.inner_part(sequences.WINDOW, self.at + len(raw))
        elif code in (Code.SGDT_M1664, Code.SIDT_M1664):
            which, base, limit = (
                (GDTR, virtual.gdt_base, virtual.gdt_limit)
                if code == Code.SGDT_M1664
                else (IDTR, virtual.idt_base, virtual.idt_limit)
            )
            self.shown(sequences.show_table(instruction, base, limit), which, row)
        else:
            which, name, size = SHOWN[code]
            self.shown(sequences.show(instruction, getattr(virtual, name), size), which, row)
        return row.after

    def shown(self, parts: list[sequences.Part] | None, bake: int, row: Policy) -> After:
        """A sequence of immediates; what can't be encoded is the monitor's."""
        if parts is None:
            self.part(callouts.INSTRUCTION)
        else:
            self.parts(parts)
            self.bakes |= bake
        return row.after

    def jump(self, instruction: Any, row: Policy, raw: bytes) -> After:
        if sequences.has_operand_size(raw):
            return self.step(instruction, row, raw)
        self.go_to(instruction.near_branch_target)
        return row.after

    def condition(self, instruction: Any, row: Policy, raw: bytes) -> After:
        if sequences.has_operand_size(raw):
            self.part(callouts.STEP)
            return After.NEVER
        opcode = raw[-2] + 0x10 if instruction.is_jcc_short else raw[-5]
        self.part(sequences.CONDITION + bytes((opcode,)) + bytes(4))
        self.pending.append((len(self.out) - 4, instruction.near_branch_target))
        return row.after

    def count(self, instruction: Any, row: Policy, raw: bytes) -> After:
        """LOOP and JRCXZ, taken: over a short jump to the stub behind it."""
        if sequences.has_operand_size(raw):
            self.part(callouts.STEP)
            return After.NEVER
        self.part(raw[:-1] + bytes((sequences.SHORT_JUMP_BYTES,)))
        jump = len(self.out)
        self.inner_part(sequences.SHORT_JUMP + b"\0", self.at + len(raw))
        self._stub(instruction.near_branch_target)
        self.out[jump + 2] = len(self.out) - jump - sequences.SHORT_JUMP_BYTES
        return row.after

    def call(self, instruction: Any, row: Policy, raw: bytes) -> After:
        if sequences.has_operand_size(raw):
            return self.step(instruction, row, raw)
        self.parts(sequences.push_return(instruction.next_ip))
        self._stub(instruction.near_branch_target)
        return row.after

    def indirect(self, instruction: Any, row: Policy, raw: bytes) -> After:
        if sequences.has_operand_size(raw):
            return self.step(instruction, row, raw)
        kind = callouts.IS_CALL if instruction.code == Code.CALL_RM64 else 0
        if instruction.op0_kind == OpKind.REGISTER:
            number = RegisterExt.number(instruction.op0_register)
            self.part(callouts.branch(kind | callouts.IN_REGISTER, number, -1, -1, 1, len(raw), 0))
            return row.after
        base, index, scale, displacement, segment, mask = address_of(instruction)
        kind |= callouts.SHORT_ADDRESS if mask == MASK_32 else 0
        self.part(callouts.branch(kind, base, index, segment, scale, len(raw), displacement))
        return row.after

    def near_return(self, instruction: Any, row: Policy, raw: bytes) -> After:
        if sequences.has_operand_size(raw):
            return self.step(instruction, row, raw)
        released = instruction.immediate16 if instruction.code == Code.RETNQ_IMM16 else 0
        self.part(callouts.near_return(released))
        return row.after


SEGMENT_MOVES: Final = {Code.MOV_RM16_SREG: 2, Code.MOV_R32M16_SREG: 4, Code.MOV_R64M16_SREG: 8}
SHOWN: Final = {  # what it is made by, where the guest's value is, and the width of a destination that is a register
    Code.SLDT_RM16: (LDTR, "ldt_selector", 2),
    Code.SLDT_R32M16: (LDTR, "ldt_selector", 4),
    Code.SLDT_R64M16: (LDTR, "ldt_selector", 8),
    Code.STR_RM16: (TR, "tr_selector", 2),
    Code.STR_R32M16: (TR, "tr_selector", 4),
    Code.STR_R64M16: (TR, "tr_selector", 8),
    Code.SMSW_RM16: (CR0, "cr0", 2),
    Code.SMSW_R32M16: (CR0, "cr0", 4),
    Code.SMSW_R64M16: (CR0, "cr0", 8),
}
_FACTORY: Final = InstructionInfoFactory()
EMIT: Final[dict[How, Callable[[_Block, Any, Policy, bytes], After]]] = {
    How.IDENTICAL: _Block.identical,
    How.NOTHING: _Block.nothing,
    How.SEQUENCE: _Block.sequence,
    How.SELECTOR: _Block.selector,
    How.INSTRUCTION: _Block.exit,
    How.PUSHF: _Block.flags,
    How.POPF: _Block.flags,
    How.STEP: _Block.step,
    How.UNDEFINED: _Block.undefined,
    How.INVALID: _Block.invalid,
    How.JUMP: _Block.jump,
    How.CONDITION: _Block.condition,
    How.COUNT: _Block.count,
    How.CALL: _Block.call,
    How.INDIRECT: _Block.indirect,
    How.RETURN: _Block.near_return,
}
