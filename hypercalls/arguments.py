"""What a hypercall's parameters may be: how many registers each takes, and how registers become a value.

An argument type is named in an annotation, `Annotated[str, StringIn(64)]`, or through the short names below.
Each is bound to one machine's memory once; what is bound raises nothing but GuestError:
E2BIG past its bound, EFAULT outside guest memory, EINVAL where the bytes are not what was promised.
Guest memory is copied first and judged after, so that the guest cannot change what was judged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from errno import E2BIG, EFAULT, EINVAL
from typing import Annotated, Any, Final, Protocol, TypeAlias, runtime_checkable

from guest_sdk import abi
from pv.exits import GuestError
from pv.memory import GuestMemory

BYTES_MOST: Final = 1 << 20
STRING_MOST: Final = 4096
FIELD_FORMATS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}

Registers: TypeAlias = tuple[tuple[str, int], ...]  # (name, bits) of each register that a parameter takes
Convert: TypeAlias = Callable[..., Any]


@runtime_checkable
class ArgumentType(Protocol):
    """How one parameter is passed. `bind` answers None where the register's integer is the value itself."""

    def registers(self, name: str) -> Registers: ...
    def bind(self, memory: GuestMemory) -> Convert | None: ...
    def describe(self) -> str: ...


def gpa_and_bytes(name: str) -> Registers:
    """The two registers of a span of guest memory."""
    return ((f"{name}_gpa", 64), (f"{name}_bytes", 64))


@dataclass(frozen=True, slots=True)
class Integer:
    """An unsigned integer of `bits`; the engine refuses a wider value before the handler is called."""

    bits: int

    def registers(self, name: str) -> Registers:
        return ((name, self.bits),)

    def bind(self, memory: GuestMemory) -> None:  # noqa: ARG002 (the protocol's)
        return None

    def describe(self) -> str:
        return f"u{self.bits}"


@dataclass(frozen=True, slots=True)
class BytesIn:
    """gpa and length -> bytes, copied in once. More than `most` is E2BIG."""

    most: int = BYTES_MOST

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Convert:
        read, most = memory.read, self.most

        def copy_in(gpa: int, size_bytes: int) -> bytes:
            if size_bytes > most:
                raise GuestError(E2BIG, f"{size_bytes} bytes where {most} are allowed")
            return read(gpa, size_bytes)

        return copy_in

    def decode(self, data: bytes) -> bytes:
        return data

    def describe(self) -> str:
        return f"bytes, at most {self.most}"


@dataclass(frozen=True, slots=True)
class StringIn:
    """gpa and length in bytes -> str. More than `most` bytes is E2BIG; what is not UTF-8 is EINVAL."""

    most: int = STRING_MOST

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Convert:
        copy_in, decode = BytesIn(self.most).bind(memory), self.decode

        def read_text(gpa: int, size_bytes: int) -> str:
            return decode(copy_in(gpa, size_bytes))

        return read_text

    def decode(self, data: bytes) -> str:
        """Raises GuestError(EINVAL)."""
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise GuestError(EINVAL, f"text is not UTF-8: {error.reason} at byte {error.start}") from error

    def describe(self) -> str:
        return f"UTF-8 text, at most {self.most} bytes"


class GuestBuffer:
    """`capacity` bytes of guest memory that a handler may fill; known to lie inside memory."""

    __slots__ = ("_gpa", "_memory", "capacity")

    def __init__(self, memory: GuestMemory, gpa: int, capacity: int) -> None:
        """Raises GuestError(EFAULT) unless the whole span is inside."""
        if gpa < 0 or capacity < 0 or gpa + capacity > memory.size_bytes:
            raise GuestError(EFAULT, f"buffer {gpa:#x}+{capacity:#x} is outside guest memory")
        self._memory = memory
        self._gpa = gpa
        self.capacity: Final = capacity

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> int:
        """Copy `data` to `offset` of the buffer; bytes written. Raises GuestError(E2BIG) past its end."""
        if offset < 0 or offset + len(data) > self.capacity:
            raise GuestError(E2BIG, f"{len(data)} bytes at {offset} do not fit {self.capacity}")
        self._memory.write(self._gpa + offset, data)
        return len(data)


@dataclass(frozen=True, slots=True)
class BufferOut:
    """gpa and capacity -> GuestBuffer."""

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Convert:
        return lambda gpa, capacity: GuestBuffer(memory, gpa, capacity)

    def describe(self) -> str:
        return "buffer to fill"


@dataclass(frozen=True, slots=True)
class RecordsIn:
    """gpa and count -> list of tuples, one for each structure, copied in once. More than `most` is E2BIG."""

    layout: abi.Struct
    most: int

    def registers(self, name: str) -> Registers:
        return ((f"{name}_gpa", 64), ("count", 64))

    def bind(self, memory: GuestMemory) -> Convert:
        fields = (FIELD_FORMATS.get(size, f"{size}s") for _, size in self.layout.fields)
        packed = struct.Struct("<" + "".join(fields))
        read, most, size_bytes, unpack = memory.read, self.most, packed.size, packed.iter_unpack

        def copy_in(gpa: int, count: int) -> list[tuple[Any, ...]]:
            if count > most:
                raise GuestError(E2BIG, f"{count} entries where {most} are allowed")
            return list(unpack(read(gpa, count * size_bytes)))

        return copy_in

    def describe(self) -> str:
        return f"array of {self.layout.name}, at most {self.most}"


U8: TypeAlias = Annotated[int, Integer(8)]
U16: TypeAlias = Annotated[int, Integer(16)]
U32: TypeAlias = Annotated[int, Integer(32)]
U64: TypeAlias = Annotated[int, Integer(64)]
GuestBytes: TypeAlias = Annotated[bytes, BytesIn()]
GuestString: TypeAlias = Annotated[str, StringIn()]
