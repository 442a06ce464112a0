"""Functions of a guest by name and address: what goes in, what comes out, and what is refused in one line."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from errno import EIO, ENOENT
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import Guest
from hypercalls import U8, U32, BytesIn, GuestString
from hypercalls import Document as DocumentAnnotation
from pv import Document, GuestCallError, Machine
from pv.engines.calling import CALL_BYTES_MOST
from pv.engines.scripted import script
from pv.guest_call import STRING_MOST, GuestFunction, as_argument

LIBRARY = """
main:
    xor eax, eax
    ret
first:  mov rax, rdi
    ret
second: mov rax, rsi
    ret
third:  mov rax, rdx
    ret
fourth: mov rax, rcx
    ret
fifth:  mov rax, r8
    ret
sixth:  mov rax, r9
    ret
echo:                   ; struct { void *data; size_t bytes; } echo(void *, size_t)
    mov rax, rdi
    mov rdx, rsi
    ret
stack:  lea rax, [rsp + 8]
    ret
flags:  pushfq
    pop rax
    ret
nul:    movzx eax, byte ptr [rdi + rsi]
    ret
.local: ret
"""
WORDS = ("first", "second", "third", "fourth", "fifth", "sixth")


def build() -> bytes:
    guest = Guest("library", paravirt=True)
    guest.asm(LIBRARY)
    guest.data("numbers", bytes(16))
    return guest.build()


@pytest.fixture(scope="module")
def library() -> Iterator[Machine]:
    """A guest that has set itself up and ended: its functions stay."""
    with Machine(memory="2MiB", plugins=True) as machine:
        machine.load(build())
        assert machine.run().summary == "exited with status 0"
        yield machine


@pytest.mark.parametrize(("at", "name"), list(enumerate(WORDS)))
def test_six_registers_in_system_v_s_order(library: Machine, at: int, name: str) -> None:
    assert library.call(name, 11, 22, 33, 44, 55, 66) == 11 * (at + 1)
    assert library.call(name) == 0  # what is not passed is nobody's old value


@given(value=st.integers(-(1 << 63), (1 << 64) - 1))
@settings(deadline=None)
def test_an_int_is_64_bits_signed_on_its_way_back(library: Machine, value: int) -> None:
    bits = value & (1 << 64) - 1
    assert library.call("first", value) == (bits - (1 << 64) if bits >> 63 else bits)
    assert library.call("first", value, returns=ctypes.c_uint64) == bits
    assert library.call("first", value, returns=U32) == bits & 0xFFFF_FFFF
    assert library.call("first", value, returns=U8) == bits & 0xFF
    assert library.call("first", value, returns=ctypes.c_int) == ctypes.c_int(bits).value
    assert library.call("first", value, returns=ctypes.c_uint16) == bits & 0xFFFF
    assert library.call("first", value, returns=bool) is (bits & 0xFF != 0)
    assert library.call("first", value, returns=None) is None


@given(data=st.binary(max_size=CALL_BYTES_MOST // 2 & ~15), text=st.text(max_size=300))
@settings(deadline=None)
def test_bytes_and_text_come_back(library: Machine, data: bytes, text: str) -> None:
    assert library.call("echo", data, text, returns=bytes) == data
    assert library.call("echo", bytearray(data), returns=Annotated[bytes, BytesIn(8192)]) == data
    assert library.call("echo", text, data, returns=str) == text
    assert library.call("echo", text, returns=GuestString) == text
    assert library.call("third", data, text) == library.call("first", data, text) + (len(data) + 15 & ~15)


@pytest.mark.parametrize(
    "value", [{"a": [1, None, b"x"]}, [1, 2.5, "three"], Document(None), Document(7), Document("text"), (1, 2)]
)
def test_documents_come_back(library: Machine, value: Any) -> None:
    plain = value.value if isinstance(value, Document) else list(value) if isinstance(value, tuple) else value
    assert library.call("echo", value, returns=Document) == plain
    assert library.call("echo", value, returns=DocumentAnnotation) == plain


def test_the_stack_is_aligned_and_spares_the_red_zone(library: Machine) -> None:
    before = library.vcpu.rsp
    for argument in (0, b"", b"x", b"x" * 16, b"x" * 17):
        at = library.call("stack", argument)  # RSP before the return address was pushed
        assert at % 16 == 0
        assert at <= before - 128
    assert library.vcpu.rsp == before


def test_a_function_starts_with_clean_flags(library: Machine) -> None:
    rflags = library.vcpu.rflags
    library.vcpu.rflags = rflags | 0x445  # direction, zero, parity, carry
    assert library.call("flags") & 0x4DD5 == 0
    library.vcpu.rflags = rflags


def test_by_address_and_once_found_for_good(library: Machine) -> None:
    function = library.function("first")
    assert isinstance(function, GuestFunction)
    assert library.function("first") is function
    assert library.function("first", returns=str) is not function
    assert library.call(function.address, 5) == library.function(function.address)(5) == function(5) == 5
    assert repr(function) == f"<guest function first at {function.address:#x}>"


def refusal(machine: Machine, *arguments: Any, **options: Any) -> GuestCallError:
    with pytest.raises(GuestCallError) as caught:
        machine.call(*arguments, **options)
    return caught.value


def test_an_unknown_name_names_the_nearest(library: Machine) -> None:
    error = refusal(library, "forth")
    assert str(error).startswith("forth(): the guest has no such symbol; did you mean fourth or ")
    assert error.errno == ENOENT
    assert "call by address" in str(refusal(library, "qqqqqqqqqqqq"))
    assert "holds data, not code" in str(refusal(library, "numbers"))


def test_what_is_returned_is_judged(library: Machine) -> None:
    end = library.memory.size_bytes
    for returned, text in [
        ((end - 2, 4), f"returned 4 bytes at {end - 2:#x}, where memory is not mapped from {end:#x} on"),
        ((1 << 63, 1), "where memory is not mapped"),
        ((-1, 2), "where memory is not mapped"),
        ((0x100000, -1), f"returned {(1 << 64) - 1} bytes where"),
    ]:
        error = refusal(library, "echo", *returned, returns=bytes)
        assert error.errno == EIO
        assert text in str(error)
        assert str(error).startswith("echo(): ")
    assert f"where {STRING_MOST} are allowed" in str(refusal(library, "echo", 0x100000, STRING_MOST + 1, returns=str))
    assert "returned 3 bytes where 2 are" in str(refusal(library, "echo", "abc", returns=Annotated[bytes, BytesIn(2)]))
    assert "utf-8" in str(refusal(library, "echo", b"\xff", returns=str))
    assert "not UTF-8" in str(refusal(library, "echo", b"\xff", returns=GuestString))
    assert "malformed document" in str(refusal(library, "echo", b"\x91", returns=Document))
    assert "nested deeper" in str(refusal(library, "echo", b"\x91" * 40 + b"\xc0", returns=Document))
    assert library.call("echo", 0, 0, returns=bytes) == b""  # nothing needs no place


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((1 << 64,), ValueError, "argument 1: 18446744073709551616 does not fit 64 bits"),
        ((0, -(1 << 63) - 1), ValueError, "argument 2: "),
        ((1, 2, 3, 4, 5, 6, 7), ValueError, "argument 7: more than 6 registers"),
        ((1, 2, 3, 4, 5, b""), ValueError, "argument 6: more than 6 registers"),
        ((bytes(CALL_BYTES_MOST + 1),), ValueError, f"more than the {CALL_BYTES_MOST} that the guest's stack is given"),
        ((bytes(3000), bytes(1100)), ValueError, "argument 2: 4108 bytes"),
        (("\ud800",), ValueError, "argument 1: "),
        ((1.5,), TypeError, "1.5 is not passed to a function of the guest"),
        ((None,), TypeError, "Document(value)"),
        (({1},), TypeError, "is not passed"),
    ],
)
def test_arguments_that_cannot_be_passed(
    library: Machine, arguments: tuple[Any, ...], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        library.call("first", *arguments)
    assert text in str(caught.value)


def test_the_largest_argument(library: Machine) -> None:
    assert library.call("echo", bytes(CALL_BYTES_MOST), returns=bytes) == bytes(CALL_BYTES_MOST)


@pytest.mark.parametrize("returns", [float, 5, dict, object(), ctypes.c_double, ctypes.c_char_p, [], Annotated[int, 3]])
def test_results_that_cannot_be_read(library: Machine, returns: Any) -> None:
    with pytest.raises(TypeError, match="is no result of a function"):
        library.call("first", returns=returns)


def test_other_arguments_of_no_use(library: Machine) -> None:
    with pytest.raises(TypeError, match="names no function"):
        library.call(None)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match=r"first\(\): timeout=0 is not above 0"):
        library.call("first", timeout=0)
    with pytest.raises(ValueError, match="not canonical"):
        library.call(1 << 60)
    with pytest.raises(OverflowError):
        library.call(1 << 64)


def test_each_way_to_pass_a_value() -> None:
    assert [as_argument(value) for value in (5, True, b"a", bytearray(b"a"), memoryview(b"a"), "a")] == [
        5, True, b"a", b"a", b"a", "a",
    ]  # fmt: skip
    assert as_argument([]) == b"\x90"


def test_not_before_there_is_a_guest_or_its_page() -> None:
    with Machine(memory="2MiB") as machine:
        with pytest.raises(RuntimeError, match=r"no guest; call load\(\) first"):
            machine.call("first")
        machine.load(build())
        function = machine.function("first")
        with pytest.raises(GuestCallError, match="enabled no hypercall page to return to; run it until it has"):
            function(1)
        machine.run()
        assert function(1) == 1
    with pytest.raises(RuntimeError, match="closed"):
        machine.call("first")
    with pytest.raises(RuntimeError, match="closed"):
        function(1)


def test_other_techniques_and_engines_refuse() -> None:
    with Machine(technique="trap", memory="2MiB") as machine:
        machine.load(b"\xf4")
        with pytest.raises(GuestCallError, match="technique 'trap' takes no hypercalls"):
            machine.call("first")
        with pytest.raises(GuestCallError, match="technique 'trap'"):
            machine.vcpu.call_guest(0x100000, ())
    with Machine(engine=script(), memory="2MiB") as machine:
        machine.load(build())
        with pytest.raises(GuestCallError, match="scripted engine has no code"):
            machine.call("first")
