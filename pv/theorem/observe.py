"""What did an instruction do? It is run at CPL 0, 1 and 3 under every setting, and what came of it is told apart.

Visible is what the program at that level can look at: general registers, the flags of arithmetic, FS, GS and the other
data segments, the memory it was given, where it is. Guarded is what belongs to whoever runs the machine: the level
itself, IF and IOPL, the tables, control and debug registers, MSRs, the TLB, ports, and whether the processor goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from pv.engines.base import GENERAL_REGISTERS
from pv.memory import GuestMemory
from pv.theorem import ground
from pv.theorem.cases import Case
from pv.theorem.processor import MODELS, BareProcessor, Run, bare_processor, initial_state
from pv.theorem.settings import BASELINE, SETTINGS, Setting

LEVELS: Final = (0, 1, 3)
USER_FLAGS: Final = 0x244DD5  # CF PF AF ZF SF TF DF OF, NT, AC, ID: a program's own
IF, IOPL = 1 << 9, 3 << 12
VISIBLE: Final = (
    *GENERAL_REGISTERS,
    "rip",
    "fs.base",
    "gs.base",
    "ds.selector",
    "es.selector",
    "fs.selector",
    "gs.selector",
)
GUARDED: Final[Mapping[str, tuple[str, ...]]] = {  # by the name that a reader sees: fields of the state
    "CPL": ("cpl",), "GDTR": ("gdtr.base", "gdtr.limit"), "IDTR": ("idtr.base", "idtr.limit"),
    "LDTR": ("ldtr.selector", "ldtr.base", "ldtr.limit"), "TR": ("tr.selector", "tr.base", "tr.limit"),
    "CR0": ("cr0",), "CR2": ("cr2",), "CR3": ("cr3",), "CR4": ("cr4",), "CR8": ("cr8",), "EFER": ("efer",),
    "XCR0": ("xcr0",), "DR0": ("dr0",), "DR7": ("dr7",),
    "MSRs": ("star", "lstar", "fmask", "kernel_gs_base", "tsc_aux", "sysenter_cs", "sysenter_eip", "sysenter_esp"),
}  # fmt: skip
PAGES: Final = {"stack": ground.STACK_PAGE, "memory": ground.DATA}
CODE_SIZE: Final = 3 << 21  # L and D of a code segment
PROBE_CODE: Final = bytes.fromhex("8b11cdfe")  # mov edx, [rcx]; int 0xfe
OLD, NEW = 0x01D0_01D0, 0x4E45_4E45


@dataclass(frozen=True, slots=True)
class Seen:
    """One run, told apart. changed: the names of what was guarded and is no longer as it was."""

    event: str
    error_code: int
    visible: Mapping[str, int | bytes]
    changed: frozenset[str]

    @property
    def ran(self) -> bool:
        """Whether it did its work, without a call for the monitor."""
        return self.event in ("runs", "halts")


def differences(one: Seen, other: Seen) -> tuple[str, ...]:
    """Names of what is visibly different, in order."""
    return tuple(name for name, value in one.visible.items() if other.visible[name] != value)


@dataclass(frozen=True, slots=True)
class Observation:
    """An instruction's runs by level and by the setting's name. model: the processor that knows the instruction."""

    case: Case
    model: str
    runs: Mapping[tuple[int, str], Seen]

    def at(self, level: int, setting: Setting = BASELINE) -> Seen:
        """What it did there."""
        return self.runs[level, setting.name]


class Laboratory:
    """A bare processor of each model, each on a ground of its own, made when first needed. Use it as a context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._benches: dict[str, Bench] = {}

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        self._benches.clear()
        self._stack.close()

    def bench(self, model: str) -> Bench:
        """Where instructions are run on that model."""
        if model not in self._benches:
            self._benches[model] = Bench(*self._stack.enter_context(bare_processor(model)))
        return self._benches[model]

    def observe(self, case: Case) -> Observation:
        """Run the instruction everywhere, on the first model that does not call it undefined at CPL 0."""
        model = next(
            (name for name in MODELS if self.bench(name).run(case, 0, BASELINE).event != "#UD"), next(iter(MODELS))
        )
        other = next(name for name in MODELS if name != model)
        runs = {}
        for level in LEVELS:
            for setting in (BASELINE, *SETTINGS):
                runs[level, setting.name] = self.bench(other if setting.elsewhere else model).run(case, level, setting)
        return Observation(case, model, runs)


class Bench:
    """One processor and its memory, put back before every run."""

    def __init__(self, processor: BareProcessor, memory: GuestMemory, cr3: int) -> None:
        self.processor = processor
        self.memory = memory
        self.cr3 = cr3
        self._loaded: Case | None = None
        self._entry = ground.page_entry(memory, cr3, ground.WATCHED)
        memory.write(ground.PROBE, PROBE_CODE)
        memory.write_uint(ground.WATCHED, 4, OLD)
        memory.write_uint(ground.WATCHED_OTHER, 4, NEW)

    def run(self, case: Case, level: int, setting: Setting) -> Seen:
        """Run `case` at `level` under `setting`."""
        before = self.begin(case, level, setting)
        run = self.processor.run(before)
        flushed = setting is BASELINE and run.ran and self._flushes(before)
        return self._tell(before, run, flushed)

    def begin(self, case: Case, level: int, setting: Setting) -> dict[str, int]:
        """Put memory back, and return the state that the instruction meets."""
        if case is not self._loaded:
            self.memory.write(ground.CODE, case.code.ljust(ground.LANDING - ground.CODE, b"\x90"))
            self.processor.forget_code()
            self._loaded = case
        self._lay(case, setting.other_subject)
        self.processor.port_value = 0x5A if setting.port is None else setting.port
        state = initial_state(level, self.cr3) | dict(case.state) | dict(setting.state)
        for name, bits in setting.flip.items():
            state[name] ^= bits
        return state

    def _lay(self, case: Case, other: bool) -> None:
        self.memory.write(ground.STACK_PAGE, bytes(ground.PAGE))
        self.memory.write(ground.STACK, case.stack_bytes)
        self.memory.write(ground.DATA, case.data.ljust(ground.PAGE, b"\0"))
        ground.lay_tables(self.memory, case.subject[other])

    def _flushes(self, before: Mapping[str, int]) -> bool:
        """Whether the TLB forgets a page: it is read, mapped elsewhere behind the processor's back, and read again."""
        probe = initial_state(0, before["cr3"]) | {"rip": ground.PROBE, "rcx": ground.WATCHED}
        entry = self.memory.read_uint(self._entry, 8)
        self.processor.run(probe)
        self.memory.write_uint(self._entry, 8, entry ^ ground.WATCHED ^ ground.WATCHED_OTHER)
        try:
            self.processor.run(before, keep_tlb=True)
            seen = self.processor.run(probe, keep_tlb=True).state["rdx"]
        finally:
            self.memory.write_uint(self._entry, 8, entry)
        return seen == NEW

    def _tell(self, before: Mapping[str, int], run: Run, flushed: bool) -> Seen:
        after = run.state
        visible: dict[str, int | bytes] = {name: after[name] for name in VISIBLE}
        visible["flags"] = after["rflags"] & USER_FLAGS
        visible["code size"] = after["cs.flags"] & CODE_SIZE
        visible |= {name: self.memory.read(at, ground.PAGE) for name, at in PAGES.items()}
        changed = {name for name, fields in GUARDED.items() if any(before[field] != after[field] for field in fields)}
        for name, bits in (("IF", IF), ("IOPL", IOPL)):
            if (before["rflags"] ^ after["rflags"]) & bits:
                changed.add(name)
        also = {"TLB": flushed, "ports": bool(run.ports), "halt": run.event == "halts"}
        changed |= {name for name, is_so in also.items() if is_so}
        return Seen(run.event, run.error_code, visible, frozenset(changed))
