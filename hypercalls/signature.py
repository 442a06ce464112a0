"""How a handler's annotations become registers, and registers its arguments: read once, at decoration.

A handler whose parameters are all integers is bound by functools.partial, the thinnest call Python has.
Any other gets one function of its own, composed here from source as dataclasses compose theirs: it calls each
converter with its registers and nothing is looked up, sliced or looped over when the guest calls.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from guest_sdk import abi
from hypercalls.arguments import ArgumentType, BufferOut, GuestBuffer, Integer, Registers
from hypercalls.document import DocumentOut, ReplyDocument
from hypercalls.machine_view import MachineView
from pv.exits import Reply

PLAIN_TYPES: Final[dict[Any, ArgumentType]] = {
    int: Integer(64),
    GuestBuffer: BufferOut(),
    ReplyDocument: DocumentOut(),
}
RESULTS: Final = {int, Reply, types.NoneType}
RESULT_MOST: Final = (1 << 63) - 1
RESULT_LEAST: Final = -4095

Handler = Callable[..., Any]
Finish = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler, after the machine."""

    name: str
    type: ArgumentType
    registers: Registers


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes and gives, ready to be bound to any machine."""

    name: str
    parameters: tuple[Parameter, ...]
    returns_nothing: bool
    compose: Handler | None  # (fn, machine, finish, *converters) -> handler; None where partial will do

    @property
    def arguments(self) -> Registers:
        """(name, bits) of every register, in order."""
        return tuple(register for parameter in self.parameters for register in parameter.registers)

    def bind(self, fn: Handler, machine: MachineView) -> Handler:
        """The handler for one machine: takes registers. Its int is 0..2**63-1 or -4095..-1."""
        if self.compose is None:
            return functools.partial(fn, machine)  # the engine judges the result itself
        memory = machine.memory
        bound = (parameter.type.bind(memory) for parameter in self.parameters)
        converters = [convert for convert in bound if convert is not None]
        finish = finish_nothing if self.returns_nothing else finish_result
        handler: Handler = self.compose(fn, machine, functools.partial(finish, self.name), *converters)
        return handler


def read_signature(fn: Handler, name: str) -> Signature:
    """The signature of hypercall `name`. Raises TypeError naming the function and what is wrong in it."""
    where = f"hypercall {name!r}: {fn.__qualname__}()"
    declared = list(inspect.signature(fn).parameters.values())
    if not declared or declared[0].kind not in (inspect.Parameter.POSITIONAL_ONLY, declared[0].POSITIONAL_OR_KEYWORD):
        raise TypeError(f"{where} takes no machine; write def {fn.__name__}(machine, ...)")
    hints = read_hints(fn, where, declared[0].name)
    parameters = tuple(read_parameter(parameter, hints, where) for parameter in declared[1:])
    check_registers(parameters, where)
    returns_nothing = read_result(hints, where)
    thin = not returns_nothing and all(isinstance(parameter.type, Integer) for parameter in parameters)
    return Signature(name, parameters, returns_nothing, None if thin else compose(parameters))


def read_hints(fn: Handler, where: str, machine: str) -> dict[str, Any]:
    """Annotations by name, but the machine's: that one is often imported for type checkers only."""
    wanted = {name: hint for name, hint in fn.__annotations__.items() if name != machine}
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__=wanted), globalns=fn.__globals__, include_extras=True
        )
    except NameError as error:
        raise TypeError(f"{where} has an annotation that names nothing in its module: {error}") from error


def read_parameter(parameter: inspect.Parameter, hints: dict[str, Any], where: str) -> Parameter:
    """One parameter's argument type. Raises TypeError where it has none, or could not be passed by position."""
    what = f"{where} parameter {parameter.name!r}"
    if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        raise TypeError(f"{what} cannot be passed in registers; name each parameter")
    if parameter.default is not parameter.empty:
        raise TypeError(f"{what} has a default; a guest always passes every argument")
    if parameter.name not in hints:
        raise TypeError(f"{what} has no annotation; use int, U32, GuestBytes, GuestString, Document or another")
    found = argument_type(hints[parameter.name])
    if found is None:
        raise TypeError(f"{what} is annotated {hints[parameter.name]!r}, which says not how registers become it")
    return Parameter(parameter.name, found, found.registers(parameter.name))


def argument_type(hint: Any) -> ArgumentType | None:
    """The argument type that an annotation names. The last one counts, so that Annotated may narrow an alias."""
    if typing.get_origin(hint) is Annotated:
        for extra in reversed(hint.__metadata__):
            if isinstance(extra, ArgumentType) and not isinstance(extra, type):
                return extra
        hint = hint.__origin__
    return PLAIN_TYPES.get(hint) if isinstance(hint, type) else None


def check_registers(parameters: tuple[Parameter, ...], where: str) -> None:
    """Refuse what does not fit the registers there are, and two registers of one name."""
    most = len(abi.ARGUMENT_REGISTERS)
    taken: dict[str, str] = {}
    for parameter in parameters:
        for register, _ in parameter.registers:
            if register in taken:
                raise TypeError(
                    f"{where} parameter {parameter.name!r} takes an argument {register!r}, "
                    f"and so does {taken[register]!r}; rename one"
                )
            taken[register] = parameter.name
        if len(taken) > most:
            raise TypeError(
                f"{where} parameter {parameter.name!r} is past the {most} registers of a call; "
                "pass a document or a structure in memory"
            )


def read_result(hints: dict[str, Any], where: str) -> bool:
    """Whether the handler gives nothing. Raises TypeError unless it is annotated int, Reply, both or None."""
    if "return" not in hints:
        raise TypeError(f"{where} has no return annotation; write -> int, -> Reply, -> int | Reply or -> None")
    hint = hints["return"]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    found = {strip(part) for part in (typing.get_args(hint) if union else (hint,))}
    if not found <= RESULTS or (types.NoneType in found and len(found) > 1):
        raise TypeError(f"{where} returns {hint!r}; a hypercall gives int, Reply, either of the two, or None")
    return found == {types.NoneType}


def strip(hint: Any) -> Any:
    """The type beneath Annotated."""
    return hint.__origin__ if typing.get_origin(hint) is Annotated else hint


@functools.cache
def compile_composer(source: str) -> Handler:
    """The function that `source`, made by compose(), describes. Signatures of one form share it."""
    composer: Handler = eval(source)
    return composer


def compose(parameters: tuple[Parameter, ...]) -> Handler:
    """(fn, machine, finish, *converters) -> handler(*registers). No text of the handler's author is in the source."""
    registers: list[str] = []
    converters: list[str] = []
    values: list[str] = []
    for parameter in parameters:
        own = [f"r{len(registers) + index}" for index in range(len(parameter.registers))]
        registers += own
        if isinstance(parameter.type, Integer):
            values += own
        else:
            converters.append(f"c{len(converters)}")
            values.append(f"{converters[-1]}({', '.join(own)})")
    outer = ", ".join(["fn", "machine", "finish", *converters])
    call = ", ".join(["machine", *values])
    return compile_composer(f"lambda {outer}: lambda {', '.join(registers)}: finish(fn({call}))")


def finish_result(name: str, result: Any) -> Any:
    """`result` if a guest can be given it. What it cannot be given is the handler's bug: ValueError, TypeError."""
    if isinstance(result, int):
        if RESULT_LEAST <= result <= RESULT_MOST:
            return result
        raise ValueError(f"hypercall {name!r} returned {result}, which is not 0..2**63-1 nor an errno of -4095..-1")
    if isinstance(result, Reply):
        return result
    raise TypeError(f"hypercall {name!r} returned {type(result).__name__}, not int or Reply; annotate -> None for 0")


def finish_nothing(name: str, result: Any) -> int:
    """0 for a handler annotated -> None. Raises TypeError where it gave something after all."""
    if result is not None:
        raise TypeError(f"hypercall {name!r} is annotated -> None and returned {type(result).__name__}")
    return 0
