"""Who handles the instruction? A tiny guest kernel runs it under each technique, held to the native run at CPL 0.

The guest stands on the same ground as the bare processor, in the same state as far as a guest of that technique has
one, executes the one instruction, and ends. Compared are the event, registers, flags, memory, and the privileged state
that the guest believes in. What each technique does about it is seen from its exits; nothing here knows what it should
do.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from guest_sdk import abi
from pv.engines.base import GENERAL_REGISTERS
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.techniques import TECHNIQUES
from pv.theorem import ground
from pv.theorem.cases import Case
from pv.theorem.observe import IF, IOPL, USER_FLAGS, Bench, Laboratory
from pv.theorem.processor import DEFAULT_MODEL, DONE, VECTORS, Run, initial_state
from pv.theorem.settings import BASELINE, SETTINGS, Setting

OWN_SETTINGS: Final = tuple(setting for setting in SETTINGS if setting.name in ("IF", "CR0"))
"""What a guest may set for itself, and must then see: the monitor's own are another matter."""
GUEST_CR4: Final = 0x620  # what a guest's first instruction meets
TIMEOUT: Final = 10.0
MOST_EXITS: Final = 1000
END_BY_PORT: Final = bytes.fromhex("e6f4")  # out 0xf4, al
END_BY_CALL: Final = (
    b"\x48\xa3" + struct.pack("<Q", ground.SAVED) + b"\xb8\x03\x10\x00\x00\x0f\x01\xc1"
)  # RAX put away; exit
WITH_CODE: Final = frozenset({8, 10, 11, 12, 13, 14, 17})  # vectors that push an error code
TRAP_FLAGS: Final = 4  # masks events
ALL_RIGHTS: Final = sum(abi.MAP_FLAGS[name] for name in ("MAP_PRESENT", "MAP_WRITE", "MAP_EXECUTE", "MAP_USER"))
VIRTUAL: Final = {  # fields of the state: attributes of vcpu.virtual
    "gdtr.base": "gdt_base", "gdtr.limit": "gdt_limit", "idtr.base": "idt_base", "idtr.limit": "idt_limit",
    "tr.selector": "tr_selector", "tr.base": "tr_base", "tr.limit": "tr_limit", "ldtr.selector": "ldt_selector",
    "ldtr.base": "ldt_base", "ldtr.limit": "ldt_limit", "cr0": "cr0", "cr2": "cr2", "cr4": "cr4", "cr8": "cr8",
    "star": "star", "lstar": "lstar", "fmask": "fmask", "kernel_gs_base": "kernel_gs_base",
    "tsc_aux": "tsc_aux",
}  # fmt: skip
SELECTORS: Final = {0: "es.selector", 2: "ss.selector", 3: "ds.selector", 4: "fs.selector", 5: "gs.selector"}


class Handling(enum.StrEnum):
    """What came of the instruction under a technique.

    SAME: as on the processor, with no exit. EMULATED: the same, by way of exits. OWN: an exit, and the monitor's answer
    is another than the processor's. GUEST: another result without an exit, at a true CPL 0: the processor's guest mode
    answers from what it keeps for the guest. HOLE: another result at a lesser level, and nobody was asked. HELD: the
    engine let the guest reach CPL 0, and the core set it back. FAULTS: the guest gets a fault that a processor at CPL 0
    would not raise. STOPS: the monitor ends the run.
    """

    SAME = "same"
    EMULATED = "emulated"
    OWN = "own"
    GUEST = "guest"
    HOLE = "hole"
    HELD = "held"
    FAULTS = "faults"
    STOPS = "stops"


WORST_FIRST: Final = (
    Handling.HOLE, Handling.STOPS, Handling.FAULTS, Handling.HELD, Handling.OWN, Handling.GUEST,
    Handling.EMULATED, Handling.SAME,
)  # fmt: skip
HALTED, STOPPED = -1, -2  # in place of a vector


@dataclass(frozen=True, slots=True)
class Attempt:
    """One instruction under one technique, in the guest's setting where it fared worst.

    differs: what is not as it is natively. exits: by (reason, key), but for those that every run has.
    """

    technique: str
    handling: Handling
    event: str
    setting: str
    differs: tuple[str, ...]
    exits: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class After:
    """What is left of a run. vector: DONE where the instruction ran, HALTED, or STOPPED by the monitor. fault: a native
    run's vector is that of a fault."""

    vector: int
    state: Mapping[str, int | bytes]
    fault: bool = False


def attempt(laboratory: Laboratory, case: Case, technique: str, depends_on: Collection[str] = ()) -> Attempt:
    """Run `case` under `technique` and natively, and compare: once as it is, and once for each of OWN_SETTINGS among
    depends_on (what its result was seen to show)."""
    settings = [BASELINE, *(setting for setting in OWN_SETTINGS if setting.of in depends_on)]
    attempts = [attempt_once(laboratory, case, technique, setting) for setting in settings]
    return min(attempts, key=lambda made: WORST_FIRST.index(made.handling))


def attempt_once(laboratory: Laboratory, case: Case, technique: str, setting: Setting) -> Attempt:
    """The same in one setting of the guest's own."""
    bench = laboratory.bench(DEFAULT_MODEL)
    native, again = run_natively(bench, case, setting), run_natively(bench, case, setting)
    moment = of_the_moment(guest_state(case, bench.cr3, setting), native, again)
    plugins = TECHNIQUES[technique].takes_hypercalls
    with Machine(memory=ground.MEMORY_BYTES, technique=technique, plugins=plugins) as machine:
        prepare(machine, case, setting)
        ring = machine.vcpu.cpl
        outcome = machine.run(timeout=TIMEOUT, max_exits=MOST_EXITS)
        after = look(machine, outcome)
        held = machine.vcpu.events().get("ring held", 0)
    differs = tuple(name for name in native.state if name not in moment and native.state[name] != after.state.get(name))
    exits = {kind: count for kind, count in outcome.by_key.items() if not usual(kind)}
    handling = judge(native, after, differs, Account(bool(exits), bool(held), ring))
    return Attempt(technique, handling, event_name(after.vector), setting.name, differs, exits)


class Account(NamedTuple):
    """How a technique came by it. asked: there was an exit. held: the core set the ring back. ring: where the guest's
    kernel truly runs."""

    asked: bool
    held: bool
    ring: int


def of_the_moment(before: Mapping[str, int], native: After, again: After) -> set[str]:
    """Registers that time or chance fills: where two native runs differ, all that the instruction wrote."""
    if native.state == again.state:
        return set()
    return {name for name in native.state if name == "flags" or native.state[name] != before.get(name)} & {
        "flags",
        *GENERAL_REGISTERS,
    }


def judge(native: After, after: After, differs: tuple[str, ...], by: Account) -> Handling:
    """Put what was seen in a word."""
    if after.vector == STOPPED:
        return Handling.STOPS
    if native.vector != after.vector:
        return Handling.FAULTS if after.vector in VECTORS else unlike(by)
    if by.held:
        return Handling.HELD
    if native.fault:  # which a processor raises by itself, whoever then delivers it
        return Handling.SAME
    if differs:
        return unlike(by)
    return Handling.EMULATED if by.asked else Handling.SAME


def unlike(by: Account) -> Handling:
    """Another result: whose is it?"""
    if by.asked:
        return Handling.OWN
    return Handling.HOLE if by.ring else Handling.GUEST


def usual(kind: tuple[str, str]) -> bool:
    """Whether every run has exits of that kind: the shadow's fills, and how the guest ends."""
    return kind in {
        ("EXCEPTION_NMI", "#PF"), ("SOFTWARE_INTERRUPT", f"INT {DONE:#x}"), ("IO_INSTRUCTION", "port 0xf4 write"),
        ("VMCALL", "exit"), ("EPT_VIOLATION", ""),
    }  # fmt: skip


def event_name(vector: int) -> str:
    """A vector as a reader knows it."""
    named = {DONE: "runs", HALTED: "halts", STOPPED: "stopped", **VECTORS}
    return named.get(vector, f"INT {vector:#x}")


def guest_state(case: Case, cr3: int, setting: Setting) -> dict[str, int]:
    """What the instruction meets in a guest's kernel at CPL 0."""
    state = initial_state(0, cr3) | {"cr4": GUEST_CR4} | dict(case.state)
    for name, bits in setting.flip.items():
        state[name] ^= bits
    return state


def run_natively(bench: Bench, case: Case, setting: Setting) -> After:
    """On the bare processor at CPL 0, in the state that a guest begins with."""
    bench.begin(case, 0, BASELINE)
    run = bench.processor.run(guest_state(case, bench.cr3, setting))
    state: dict[str, int | bytes] = {name: run.state[name] for name in GENERAL_REGISTERS}
    state |= {name: run.state[name] for name in (*VIRTUAL, "fs.base", "gs.base", *SELECTORS.values())}
    state |= {"cr3": run.state["cr3"] if run.state["cr3"] != bench.cr3 else 0}
    state |= of_flags(run.state["rflags"])
    state |= {"user mode": run.state["cpl"] == 3, "ss.selector": run.state["ss.selector"] & ~3}
    return After(vector_of(run), state | memory_of(bench.memory, run.state["rsp"]), run.event.startswith("#"))


def vector_of(run: Run) -> int:
    """The vector that a bare run ended with, or what stands for it."""
    if run.ran:
        return DONE if run.event == "runs" else HALTED
    if run.event.startswith("INT "):
        return int(run.event.removeprefix("INT "), 16)
    return next(vector for vector, name in VECTORS.items() if name == run.event)


def of_flags(rflags: int) -> dict[str, int]:
    """RFLAGS in three parts."""
    return {"flags": rflags & USER_FLAGS, "IF": rflags & IF, "IOPL": rflags & IOPL}


def memory_of(memory: Any, rsp: int) -> dict[str, int | bytes]:
    """What the instruction was given, and the stack from RSP up: below it events leave their frames."""
    stack = memory.read(ground.STACK_PAGE, ground.PAGE)
    below = rsp - ground.STACK_PAGE
    live = stack[below:] if 0 <= below < ground.PAGE else stack[ground.STACK - ground.STACK_PAGE :]
    return {"stack": live, "memory": memory.read(ground.DATA, ground.PAGE)}


def prepare(machine: Machine, case: Case, setting: Setting) -> None:
    """Load the guest, write its tables, and put its processor into the state."""
    vcpu, memory = machine.vcpu, machine.memory
    hypercalls = machine.technique.takes_hypercalls
    machine.load(ground.image(case.code, bytes([0xCD, DONE]), END_BY_CALL if hypercalls else END_BY_PORT))
    ENTRIES[machine.technique.boot](machine)
    ground.lay_tables(memory, case.subject[0])
    memory.write(ground.IDT + 16 * DONE, ground.interrupt_gate(ground.STUBS + ground.STUB_BYTES * DONE, dpl=3))
    memory.write(ground.STACK, case.stack_bytes)
    memory.write(ground.DATA, case.data)
    state = guest_state(case, vcpu.virtual.cr3, setting)
    for name, attribute in VIRTUAL.items():
        setattr(vcpu.virtual, attribute, state[name])
    for name in GENERAL_REGISTERS:
        setattr(vcpu, name, state[name])
    vcpu.fs_base, vcpu.gs_base, vcpu.rflags = state["fs.base"], state["gs.base"], state["rflags"]
    machine.system.breakpoints[0] = state["dr0"]


def on_guest_tables(machine: Machine) -> None:
    """CPL 3 may use each page, and a copy of the topmost table stands where MOV to CR3 finds it."""
    ground.open_to_all(machine.memory)
    machine.memory.write(ground.ROOT_ELSEWHERE, machine.memory.read(machine.vcpu.virtual.cr3, ground.PAGE))


def on_monitor_tables(machine: Machine) -> None:
    """As on_guest_tables, by the monitor's tables; each vector leads to its stub."""
    machine.vcpu.tables.map(0, ground.CODE, ground.CODE, ground.IMAGE_BYTES // ground.PAGE, ALL_RIGHTS)
    machine.vcpu.set_kernel_stack(ground.KERNEL_STACK)
    for vector in range(256):
        machine.vcpu.set_trap(vector, ground.STUBS + ground.STUB_BYTES * vector, TRAP_FLAGS | 3 * (vector == DONE))


ENTRIES: Final[Mapping[str, Callable[[Machine], None]]] = {
    "guest tables": on_guest_tables,
    "monitor tables": on_monitor_tables,
}


def look(machine: Machine, outcome: Outcome) -> After:
    """What is left of a guest that a stub has ended, or that halted: the frame on its stack says the rest."""
    vcpu, memory, virtual = machine.vcpu, machine.memory, machine.vcpu.virtual
    state: dict[str, int | bytes] = {name: getattr(vcpu, name) for name in GENERAL_REGISTERS}
    if machine.technique.takes_hypercalls:
        state["rax"] = memory.read_uint(ground.SAVED, 8)
    state |= {name: getattr(virtual, attribute) for name, attribute in VIRTUAL.items()}
    state |= {"fs.base": vcpu.fs_base, "gs.base": vcpu.gs_base, "cr3": moved_root(machine)}
    state |= {name: vcpu.selector(index) for index, name in SELECTORS.items()}
    vector = (outcome.rip - ground.STUBS) // ground.STUB_BYTES
    if outcome.why is not StopWhy.EXITED or not 0 <= vector < 256:
        vector = HALTED if outcome.why is StopWhy.HALTED else STOPPED
        flags, user = vcpu.rflags, vcpu.cpl == 3
    else:
        frame = vcpu.rsp + 8 * (vector in WITH_CODE)
        _, cs, flags, state["rsp"], state["ss.selector"] = struct.unpack("<5Q", memory.read(frame, 40))
        user = cs & 3 == 3
    state |= of_flags(flags)
    state["user mode"] = user
    state["ss.selector"] = int(state["ss.selector"]) & ~3  # a paravirtual guest's frames show its ring, as agreed
    return After(vector, state | memory_of(memory, int(state["rsp"])))


def moved_root(machine: Machine) -> int:
    """The guest's CR3 where it is no longer the loader's."""
    root = machine.vcpu.virtual.cr3
    return 0 if root == ground.TABLES_FIRST else root
