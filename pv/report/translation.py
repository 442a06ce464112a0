"""How is translated code shown? A block's two sides: the guest's instruction, what is in the cache for it, and why.

Offsets in the cache are decimal from the start of the block, so that they do not depend on where it is; a jump that
leads to another block names the guest's address there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from iced_x86 import Decoder, DecoderOptions, FlowControl, Formatter, FormatterSyntax

from pv.engines.base import GENERAL_REGISTERS
from pv.translate.callouts import IN_REGISTER, IS_CALL, Callout, Kind, decode
from pv.translate.draft import OPTIONS, STUB
from pv.translate.policy import MEMORY, PLAIN, policy_of
from pv.translate.sequences import JUMP, SHORT_JUMP, WINDOW

MASK_64: Final = (1 << 64) - 1
GUEST_WIDTH, CACHE_WIDTH = 54, 38  # columns of each side
SEGMENTS: Final = {4: "fs:", 5: "gs:"}
JUMPS: Final = (FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CONDITIONAL_BRANCH)


class Block(NamedTuple):
    """A translation as it stands in the cache: what vcpu.translations() gives, but for the flag that says `checked`.

    links: (offset of the stub, target, offset of the rel32 that is patched or -1, and from a real cache whether it is).
    """

    rip: int
    source: bytes
    cache_address: int
    code: bytes
    map: Sequence[tuple[int, int, int]]
    links: Sequence[tuple[int, ...]]

    def covers(self, rip: int) -> bool:
        return self.rip <= rip < self.rip + len(self.source)


class Line(NamedTuple):
    """guest: empty where several instructions of the cache stand for one. why: the row of the policy table."""

    address: int
    guest: str
    offset: int
    cache: str
    why: str


def from_cache(translations: Iterable[Sequence[Any]]) -> list[Block]:
    """What a vcpu's translations() gives, in its order."""
    return [Block(*fields[:6]) for fields in translations]


def listing(block: Block, names: Mapping[int, str]) -> str:
    """A heading and a line for each instruction of the cache. names: of guest addresses."""
    name = f" {names[block.rip]}" if block.rip in names else ""
    sizes = f"{len(block.source)} bytes of the guest's, {len(block.code)} in the cache"
    return "\n".join([f"{block.rip:#x}{name}: {sizes}", *(_text(line) for line in lines(block))])


def _text(line: Line) -> str:
    guest = f"  {line.address:<#18x} {line.guest}" if line.guest else ""
    cache = f"{f'+{line.offset}':<5} {line.cache}"
    return f"{guest:<{GUEST_WIDTH}} {cache:<{CACHE_WIDTH}} {line.why}".rstrip()


def lines(block: Block) -> Iterator[Line]:
    """Each instruction of the cache, beside the guest's instruction that begins with it."""
    waiting = {raw.ip - block.rip & MASK_64: raw for raw in Decoder(64, block.source, OPTIONS, ip=block.rip)}
    stubs = {stub: target for stub, target, *_ in block.links}
    ends = [offset for offset, _, _ in block.map[1:]] + [len(block.code)]
    before = b""
    for (offset, guest, _undo), end in zip(block.map, ends, strict=True):
        code = block.code[offset:end]
        if guest == STUB:
            raw = None if before.startswith(SHORT_JUMP) else _jump_to(stubs[offset], waiting)
        else:
            raw = None if _is_inner(code) else waiting.pop(guest, None)
        before, cache = code, _cache_text(block, offset, code, stubs)
        yield Line(raw.ip, show(raw), offset, cache, _why(raw)) if raw is not None else Line(0, "", offset, cache, "")


def _why(raw: Any) -> str:
    """The row's name; nothing where the cache has the same bytes, which is most of it."""
    row = policy_of(raw)
    return "" if row in (PLAIN, MEMORY) else row.name


def _jump_to(target: int, waiting: dict[int, Any]) -> Any:
    """The JMP that ends the block, of which nothing but a link is left."""
    if len(waiting) != 1:
        return None
    ((guest, raw),) = waiting.items()
    if raw.flow_control != FlowControl.UNCONDITIONAL_BRANCH or raw.near_branch_target != target:
        return None
    return waiting.pop(guest)


def _is_inner(code: bytes) -> bool:
    """Whether no guest instruction begins there: what is behind STI and LOOP, and CHECK."""
    callout = decode(code)
    return code.startswith((WINDOW, SHORT_JUMP)) or (callout is not None and callout.kind is Kind.CHECK)


_FORMATTER: Final = Formatter(FormatterSyntax.NASM)
_FORMATTER.hex_prefix, _FORMATTER.hex_suffix = "0x", ""
_FORMATTER.branch_leading_zeros = _FORMATTER.show_branch_size = False
_FORMATTER.space_after_operand_separator = True


def show(raw: Any) -> str:
    """An iced-x86 instruction as text."""
    return str(_FORMATTER.format(raw))


def _cache_text(block: Block, offset: int, code: bytes, stubs: Mapping[int, int]) -> str:
    if offset in stubs and code.startswith(JUMP):
        return f"jmp {stubs[offset]:#x}, chained"
    if (callout := decode(code)) is not None:
        return callout_text(callout)
    raw = Decoder(64, code, DecoderOptions.MPX, ip=offset).decode()
    if raw.flow_control not in JUMPS:
        return show(raw)
    mnemonic = show(raw).removeprefix("bnd ").split(" ")[0]
    there = raw.near_branch_target
    if there in stubs or there < len(block.code):
        return f"{mnemonic} +{there}"
    target = next(target for _, target, field, *_ in block.links if offset < field < offset + len(code))
    return f"{mnemonic} {target:#x}, chained"


def callout_text(callout: Callout) -> str:
    """A callout by name, with what its payload says."""
    fields = callout.fields
    match callout.kind:
        case Kind.LINK:
            return f"LINK {fields[1]:#x}"
        case Kind.RETURN:
            return f"RETURN {fields[0]}" if fields[0] else "RETURN"
        case Kind.BRANCH:
            return f"BRANCH {'call' if fields[0] & IS_CALL else 'jmp'} {_operand(fields)}"
        case Kind.CHECK:
            return f"CHECK {fields[0]} bytes"
    return callout.kind.name


def _operand(fields: tuple[int, ...]) -> str:
    flags, base, index, segment, scale, _length, displacement = fields
    if flags & IN_REGISTER:
        return GENERAL_REGISTERS[base]
    terms = [GENERAL_REGISTERS[base]] if base >= 0 else []
    terms += [f"{GENERAL_REGISTERS[index]}*{scale}"] if index >= 0 else []
    text = "+".join(terms)
    if displacement or not terms:
        text += f"{displacement:+#x}" if terms else f"{displacement & MASK_64:#x}"
    return f"[{SEGMENTS.get(segment, '')}{text}]"
