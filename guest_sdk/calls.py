"""How does a guest make a hypercall? One emitter per row of the ABI's table, each loading its own registers.

    guest.call.console_write("message", 12)                  through the hypercall page
    guest.call.map(gva="rbx", gpa="page", pages=1, flags="MAP_PRESENT | MAP_WRITE", inline=True)

An argument is a number, a 64-bit register, an expression over labels and constants, or `[label]` (the quadword
there). Registers are moved first and all at once, so that none is overwritten before it is read. Flags may
change; beside RAX and the argument registers nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from guest_sdk import abi
from guest_sdk.errors import AssemblyError
from guest_sdk.expressions import parse
from guest_sdk.syntax import is_register

Argument = int | str
PAGE_LABEL: Final = "hypercall_page"
WORKING: Final = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
LOW_HALF: Final = {name: f"{name}d" if name[1].isdigit() else f"e{name[1:]}" for name in WORKING}


class NamedCall(Protocol):
    """What is needed of a hypercall to make it: abi.Call has it, and so has what @hypercall makes."""

    @property
    def number(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def result(self) -> str: ...


def as_call(call: NamedCall) -> abi.Call:
    """The row of the ABI's table that `call` would be."""
    return call if isinstance(call, abi.Call) else abi.Call(call.number, call.name, call.arguments, call.result)


def load_registers(wanted: Sequence[tuple[str, Argument]]) -> list[str]:
    """Lines that put each value of (register, value) in its register. Raises AssemblyError."""
    moves: dict[str, str] = {}
    loads: list[str] = []
    for target, value in wanted:
        if isinstance(value, str) and value.lower() in WORKING:
            moves[target] = value.lower()
        else:
            loads.append(_load(target, value))
    lines = []
    while moves := {target: source for target, source in moves.items() if target != source}:
        free = next((target for target in moves if target not in moves.values()), None)
        if free is not None:
            lines.append(f"mov {free}, {moves.pop(free)}")
            continue
        target, source = next(iter(moves.items()))  # only cycles are left: turn one by an exchange
        lines.append(f"xchg {target}, {source}")
        swap = {target: source, source: target}
        moves = {to: swap.get(of, of) for to, of in moves.items()}
    return lines + loads


def _load(target: str, value: Argument) -> str:
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise AssemblyError(f"argument {value:#x} does not fit in 64 bits")
        return f"mov {LOW_HALF[target] if 0 <= value < 1 << 32 else target}, {value:#x}"
    text = value.strip()
    memory = text.startswith("[") and text.endswith("]")
    expression = parse(text[1:-1] if memory else text, is_register)
    if _registers(expression.root):
        raise AssemblyError(f"argument {value!r}: a register stands alone, by its 64-bit name")
    return f"mov {target}, {f'qword ptr {text}' if memory else text}"


def _registers(node: object) -> bool:
    parts = getattr(node, "parts", ())
    return getattr(node, "op", "") == "register" or any(_registers(part) for part in parts)


def way(*, inline: bool, jumps: bool = False) -> str:
    """The instruction that traps: VMCALL in place, or by the hypercall page."""
    return "vmcall" if inline else f"{'jmp' if jumps else 'call'} {PAGE_LABEL}"


class Emitter:
    """One hypercall: calling it appends its instructions to the guest's text."""

    def __init__(self, call: abi.Call, emit: Callable[[int, Sequence[Argument], str], None]) -> None:
        self.call, self._emit = call, emit
        self.__doc__ = f"{call.name}({', '.join(name for name, _ in call.arguments)}): {call.result}"

    def __call__(self, *arguments: Argument, inline: bool = False, **named: Argument) -> None:
        """Arguments by place or by name; inline emits VMCALL in place. Raises AssemblyError."""
        names = [name for name, _ in self.call.arguments]
        values = dict(zip(names, arguments, strict=False)) | named
        if len(arguments) > len(names) or len(arguments) + len(named) != len(values) or set(values) != set(names):
            raise AssemblyError(f"{self.call.name} takes ({', '.join(names)})")
        self._emit(self.call.number, [values[name] for name in names], way(inline=inline, jumps=self.call.jumps))


class Calls:
    """Every hypercall of a guest's table by name; `raw` for a number that is in no table."""

    def __init__(self, asm: Callable[[str], object], calls: Iterable[abi.Call], *, paravirt: bool) -> None:
        self._asm, self._paravirt = asm, paravirt
        self._table = {call.name: Emitter(call, self._emit) for call in calls}

    def __getattr__(self, name: str) -> Emitter:
        try:
            return self._table[name]
        except KeyError:
            raise AttributeError(
                f"no hypercall {name!r} in this guest's table; use call.raw(number, ...), or give the guest calls="
            ) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._table]

    def raw(self, number: Argument, *arguments: Argument, inline: bool = False) -> None:
        """Call `number`: an int, a constant's name, or a register that holds it. Raises AssemblyError."""
        if len(arguments) > len(abi.ARGUMENT_REGISTERS):
            raise AssemblyError(f"{len(arguments)} arguments; a hypercall takes {len(abi.ARGUMENT_REGISTERS)}")
        self._emit(number, arguments, way(inline=inline))

    def _emit(self, number: Argument, arguments: Sequence[Argument], trap: str) -> None:
        if not self._paravirt:
            raise AssemblyError("an unmodified guest has no hypercalls: build it with paravirt=True")
        registers = [*zip(abi.ARGUMENT_REGISTERS, arguments, strict=False), (abi.NUMBER_REGISTER, number)]
        self._asm("\n".join([*load_registers(registers), trap]))
