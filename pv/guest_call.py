"""How does the host call a function of the guest? By its symbol or address, with values in and a typed value out.

System V's convention (RDI RSI RDX RCX R8 R9; RAX, RDX): any global function of a C guest, any label of an SDK guest.

- Arguments: int and bool take a register, -2**63 to 2**64-1. bytes and str (as UTF-8) take two, pointer and length;
  dict, list, tuple and a Document likewise, as msgpack. They are copied to the guest's stack, CALL_BYTES_MOST in all.
- Results: int (RAX signed, as C's long), bool, None, or a type of ctypes (c_int, c_uint64 ...) from RAX; bytes, str and
  Document from a C struct { void *data; size_t bytes; }, which returns in RAX and RDX. An argument type of hypercalls
  (U32, GuestString, Annotated[bytes, BytesIn(9)] ...) does for a result too.
- All that the guest returns is copied once, bounded and judged: rubbish is a GuestCallError.

Events wait while the function runs: they come once the exit is over in whose handler it was called.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOENT
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from pv import document
from pv.arguments import budgets
from pv.document import Document
from pv.engines.calling import CallsGuest
from pv.exits import GuestCallError, GuestError
from pv.loaders import Image
from pv.techniques import Technique

BYTES_MOST: Final = 1 << 20
STRING_MOST: Final = 4096
IN_REGISTERS: Final = -1
PASSED_AS_THEY_ARE: Final = frozenset({int, bool, bytes, str})
PASSED_AS_DOCUMENTS: Final = (dict, list, tuple)
SIGN: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Result:
    """How a result is read. most: bytes that RAX and RDX may name, or IN_REGISTERS; finish: what they become."""

    most: int
    finish: Callable[[Any], Any]


@runtime_checkable
class InMemory(Protocol):
    """An argument type of hypercalls whose value is bytes in memory."""

    most: int

    def decode(self, data: bytes) -> Any: ...


def _signed(registers: tuple[int, int]) -> int:
    value = registers[0]
    return value - 2 * SIGN if value & SIGN else value


def _text(data: bytes) -> str:
    return str(data, "utf-8")


RESULTS: Final[dict[Any, Result]] = {
    int: Result(IN_REGISTERS, _signed),
    bool: Result(IN_REGISTERS, lambda registers: registers[0] & 0xFF != 0),  # the psABI defines the low byte alone
    None: Result(IN_REGISTERS, lambda _: None),
    bytes: Result(BYTES_MOST, bytes),
    str: Result(STRING_MOST, _text),
    Document: Result(document.DOCUMENT_MOST, document.decode),
}
INTEGER_CODES: Final = frozenset("bBhHiIlLqQ?")  # of ctypes' simple types


def read_returns(returns: Any) -> Result:
    """The result type that `returns` names. Raises TypeError where it names none."""
    if typing.get_origin(returns) is typing.Annotated:
        for extra in reversed(returns.__metadata__):
            if isinstance(extra, InMemory):
                return Result(extra.most, extra.decode)
            if isinstance(bits := getattr(extra, "bits", None), int):
                return Result(IN_REGISTERS, partial(_lowest, (1 << bits) - 1))
    elif isinstance(returns, type) and getattr(returns, "_type_", None) in INTEGER_CODES:
        return Result(IN_REGISTERS, partial(_as_ctypes, returns))
    try:
        return RESULTS[returns]
    except (KeyError, TypeError):
        raise TypeError(
            f"returns={returns!r} is no result of a function: use int, bool, None, bytes, str, Document, an integer "
            "type of ctypes or an argument type of hypercalls"
        ) from None


def _lowest(mask: int, registers: tuple[int, int]) -> int:
    return registers[0] & mask


def _as_ctypes(kind: Any, registers: tuple[int, int]) -> Any:
    return kind(registers[0]).value


class GuestFunction:
    """A function of the guest that can be called, as often as is liked. Machine.function() makes it."""

    __slots__ = ("_call_guest", "_finish", "_most", "address", "name")

    def __init__(self, vcpu: CallsGuest, name: str, address: int, returns: Any) -> None:
        result = read_returns(returns)
        self._call_guest = vcpu.call_guest
        self._most, self._finish = result.most, result.finish
        self.name: Final = name
        self.address: Final = address

    def __call__(self, *arguments: Any, timeout: float | None = None) -> Any:
        """Call it. timeout: seconds of the host, beside what is left of the run in whose handler this is.

        Raises GuestCallError where the guest cannot be called, does not return or returns rubbish; TypeError and
        ValueError for an argument that cannot be passed, RuntimeError where the guest runs and no hypercall of its
        is being answered by this thread.
        """
        if arguments and not PASSED_AS_THEY_ARE.issuperset(map(type, arguments)):
            arguments = tuple(map(as_argument, arguments))
        timeout_ns = 0 if timeout is None else budgets(timeout, None, f"{self.name}()")[0]
        try:
            return self._finish(self._call_guest(self.address, arguments, self._most, timeout_ns))
        except GuestCallError as error:
            ended = error.why and (error.why, error.status, error.detail)
            raise GuestCallError(f"{self.name}(): {error}", error.errno, ended) from None
        except (GuestError, UnicodeDecodeError) as error:
            raise GuestCallError(f"{self.name}(): returned what it should not: {error}") from None

    def __repr__(self) -> str:
        return f"<guest function {self.name} at {self.address:#x}>"


def as_argument(value: Any) -> Any:
    """What an engine passes for `value`: itself, or a document's bytes."""
    if isinstance(value, Document):
        return value.encode()
    if isinstance(value, PASSED_AS_DOCUMENTS):
        return Document(value).encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, int | bytes | str):
        return value
    raise TypeError(
        f"{value!r} is not passed to a function of the guest: pass int, bool, bytes, str, dict or list, or "
        "Document(value) for the msgpack of it"
    )


class GuestFunctions:
    """The functions of one loaded guest, each found once."""

    def __init__(self, vcpu: CallsGuest, image: Image, technique: Technique) -> None:
        self._vcpu = vcpu
        self._image = image
        self._technique = technique
        self._found: dict[tuple[str | int, Any], GuestFunction] = {}

    def find(self, name: str | int, returns: Any) -> GuestFunction:
        """The function of that symbol or at that address. Raises GuestCallError, TypeError for a wrong argument."""
        try:
            return self._found[name, returns]
        except KeyError:
            pass
        except TypeError:
            read_returns(returns)  # says what is wrong with it
            raise
        if not self._technique.takes_hypercalls:
            raise GuestCallError(
                f"technique {self._technique.name!r} takes no hypercalls, and a function returns by one; "
                "a guest made for technique 'paravirt' can be called"
            )
        address = name if isinstance(name, int) else self._address(name)
        called = f"{address:#x}" if isinstance(name, int) else name
        found = self._found[name, returns] = GuestFunction(self._vcpu, called, address, returns)
        return found

    def _address(self, name: str) -> int:
        if not isinstance(name, str):
            raise TypeError(f"{name!r} names no function: give its symbol, or its address")
        symbols = self._image.symbols
        address = symbols.get(name)
        if address is None:
            near = difflib.get_close_matches(name, symbols, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {len(symbols)} symbols; call by address"
            raise GuestCallError(f"{name}(): the guest has no such symbol; {hint}", ENOENT)
        if not any(one.executable and one.gpa <= address < one.end for one in self._image.segments):
            raise GuestCallError(f"{name}(): {address:#x} holds data, not code", ENOENT)
        return address
