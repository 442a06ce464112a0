"""How a run ended: why, with what status, after which exits, and what to look at where it went wrong.

An Outcome holds values only, so it outlives its machine. Counts are since the machine was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pv.engines.base import GENERAL_REGISTERS, GuestFault, Latency, RecordedExit, Vcpu
from pv.exits import GuestError, Reason, StopWhy
from pv.keys import key_text, reason_name
from pv.memory import PAGE_SIZE
from pv.stats import Kind, merge

ORDINARY: Final = frozenset({StopWhy.EXITED, StopWhy.HALTED, StopWhy.MAX_EXITS})
RESUMABLE: Final = frozenset({StopWhy.MAX_EXITS, StopWhy.TIMEOUT, StopWhy.STOPPED})
WITH_STATUS: Final = frozenset({StopWhy.EXITED, StopWhy.STOPPED})
LONGEST_INSTRUCTION: Final = 15
REGISTERS_A_LINE: Final = 3  # 79 columns


class ExitCounts(dict[str, int]):
    """Exits by reason name; a reason that never came counts 0, a name that is no reason raises KeyError."""

    def __missing__(self, name: str) -> int:
        if name in Reason.__members__:
            return 0
        raise KeyError(f"{name!r} is not an exit reason: {', '.join(Reason.__members__)}")

    @property
    def total(self) -> int:
        return sum(self.values())


@dataclass(frozen=True)
class Outcome:
    """What Machine.run() returns.

    status: the guest's exit status, None unless it EXITED (or the host STOPPED it with one).
    rip, code: where the guest stands, and up to 15 bytes there (empty where nothing is mapped).
    by_key, latencies: by (reason name, key text). calls: hypercalls by name, those inside a multicall included.
    events: what the processor did by itself, by name. latencies: empty unless the machine times its exits.
    record: the last 64 exits where the stop is abnormal, else empty. seconds: of the host, this run only.
    console_refused: bytes that the guest wrote after its console was full.
    translation: what the translation cache did, by name; empty where the technique has none.
    """

    why: StopWhy
    status: int | None
    detail: str
    rip: int
    code: bytes
    exits: ExitCounts
    by_key: Mapping[Kind, int]
    calls: Mapping[str, int]
    events: Mapping[str, int]
    latencies: Mapping[Kind, Latency]
    record: tuple[RecordedExit, ...] = field(repr=False)
    seconds: float
    console: str = field(repr=False)
    console_refused: int = 0
    translation: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the guest ended by itself: EXITED, with whatever status, or HALTED."""
        return self.why in (StopWhy.EXITED, StopWhy.HALTED)

    @property
    def resumable(self) -> bool:
        """Whether run() can go on from here."""
        return self.why in RESUMABLE

    @property
    def summary(self) -> str:
        """One line: why, the status or the place, and the detail."""
        if self.why is StopWhy.EXITED:
            return f"exited with status {self.status}"
        if self.why is StopWhy.PANICKED:  # the message says where, in the guest's own words
            return f"{self.why.value}: {one_line(self.detail) or 'it does not say why'}"
        unknown = not (self.rip or self.code or self.exits)  # a worker process took them along
        place = "" if self.ok or unknown else f" at rip {self.rip:#x} ({self.code.hex(' ') or 'nothing mapped'})"
        detail = self.detail.removeprefix(f"{self.why.value}: ")
        return f"{self.why.value}{place}" + (f": {detail}" if detail else "")


def make_outcome(
    vcpu: Vcpu,
    ended: tuple[StopWhy, int, str],
    *,
    call_names: Mapping[int, str],
    console: str,
    seconds: float,
    timed: bool,
    console_refused: int = 0,
) -> Outcome:
    """The outcome of a run that `ended` so (what Vcpu.run returned), with the counts that `vcpu` holds."""
    why, status, detail = ended
    exits = ExitCounts()
    by_key: dict[Kind, int] = {}
    for (reason, key), count in vcpu.counters().items():
        kind = (reason_name(reason), key_text(reason, key, call_names))
        exits[kind[0]] = exits.get(kind[0], 0) + count
        by_key[kind] = by_key.get(kind, 0) + count
    latencies: dict[Kind, Latency] = {}
    for (reason, key), latency in vcpu.latencies().items() if timed else ():
        kind = (reason_name(reason), key_text(reason, key, call_names))
        latencies[kind] = merge(latencies[kind], latency) if kind in latencies else latency
    return Outcome(
        why=why,
        status=status if why in WITH_STATUS else None,
        detail=detail,
        rip=vcpu.rip,
        code=code_at(vcpu, vcpu.rip),
        exits=exits,
        by_key=by_key,
        calls={call_names.get(number, f"{number:#x}"): count for number, count in vcpu.calls().items()},
        events=vcpu.events(),
        latencies=latencies,
        record=() if why in ORDINARY else tuple(vcpu.flight_record()),
        seconds=seconds,
        console=console,
        console_refused=console_refused,
        translation=vcpu.translation_statistics(),
    )


def one_line(message: str) -> str:
    """What a guest wrote, on one line and without what would steer a terminal."""
    words = " ".join(message.split())
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in words)


def code_at(vcpu: Vcpu, rip: int) -> bytes:
    """Up to 15 bytes at `rip`, cut at the page's end where the next page is not mapped; empty where none is."""
    in_page = PAGE_SIZE - rip % PAGE_SIZE
    for size_bytes in sorted({LONGEST_INSTRUCTION, min(LONGEST_INSTRUCTION, in_page)}, reverse=True):
        try:
            return vcpu.read_linear(rip, size_bytes)
        except (GuestFault, GuestError):
            continue
    return b""


def format_record(record: Iterable[RecordedExit], call_names: Mapping[int, str] | None = None) -> str:
    """The flight record as text: a line an exit with its instruction, and the registers of the last one."""
    record = list(record)
    if not record:
        return "no exits recorded"
    lines = [f"{'exit':>10}  {'rip':>18}  cpl  {'reason':<30}  instruction"]
    for entry in record:
        reason = f"{reason_name(entry.reason)} {key_text(entry.reason, entry.key, call_names)}".strip()
        text = f"{entry.number:>10}  {entry.rip:>#18x}  {entry.cpl:>3}  {reason:<30}  "
        lines.append(text + disassemble(entry.code, entry.rip))
    last = record[-1]
    names = [*GENERAL_REGISTERS, "rip", "rflags"]
    values = [
        f"{name:>6} {value:#018x}" for name, value in zip(names, [*last.registers, last.rip, last.rflags], strict=True)
    ]
    lines += ["", f"registers at exit {last.number}:"]
    lines += ["  ".join(values[first : first + REGISTERS_A_LINE]) for first in range(0, len(values), REGISTERS_A_LINE)]
    return "\n".join(lines)


def disassemble(code: bytes, rip: int) -> str:
    """The first instruction of `code` in Intel syntax; its bytes where it is none."""
    # Imported here: a run that ends well never disassembles, and the decoder is large.
    from iced_x86 import Decoder, Formatter, FormatterSyntax

    if not code:
        return "(nothing mapped)"
    instruction = Decoder(64, code, ip=rip & (1 << 64) - 1).decode()
    if instruction.is_invalid:
        return f"(bytes {code.hex(' ')})"
    return str(Formatter(FormatterSyntax.NASM).format(instruction))
