# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
from errno import E2BIG, EFAULT, EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls.arguments import BufferOut, BytesIn, GuestBuffer, Integer, RecordsIn, StringIn
from hypercalls.document import DocumentIn, DocumentOut
from pv.exits import GuestError
from pv.memory import GuestMemory

MEMORY = GuestMemory(1 << 20)
MEMORY.write(0, bytes(range(256)) * 4096)
END = MEMORY.size_bytes
ALL = [
    BytesIn(),
    StringIn(),
    BufferOut(),
    RecordsIn(abi.STRUCT_BY_NAME["page_update"], 4096),
    DocumentIn(),
    DocumentOut(),
]
REGISTER = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(END - 70, END + 70),
    st.integers(0, 300),
    st.sampled_from([(1 << 64) - 1, (1 << 63), (1 << 64) - END]),
)


def errno_of(convert, *registers):
    with pytest.raises(GuestError) as caught:
        convert(*registers)
    return caught.value.errno


@pytest.mark.parametrize("argument", ALL, ids=lambda argument: type(argument).__name__)
@given(gpa=REGISTER, size=REGISTER)
def test_wild_registers_raise_nothing_but_guest_errors(argument, gpa, size):
    try:
        argument.bind(MEMORY)(gpa, size)
    except GuestError as error:
        assert error.errno in {E2BIG, EFAULT, EINVAL}
    else:
        unit = argument.layout.size_bytes if isinstance(argument, RecordsIn) else 1
        assert gpa + size * unit <= END


@given(gpa=REGISTER, size=REGISTER)
def test_bytes_are_those_of_memory(gpa, size):
    try:
        found = BytesIn().bind(MEMORY)(gpa, size)
    except GuestError:
        assert gpa + size > END or size > BytesIn().most
    else:
        assert found == bytes(at % 256 for at in range(gpa, gpa + size))


def test_bytes_are_a_copy():
    found = BytesIn().bind(MEMORY)(16, 4)
    MEMORY.write(16, b"\0\0\0\0")
    try:
        assert found == bytes([16, 17, 18, 19])
    finally:
        MEMORY.write(16, found)


@pytest.mark.parametrize(
    ("argument", "registers", "errno"),
    [
        (BytesIn(8), (0, 9), E2BIG),
        (BytesIn(), (END - 1, 2), EFAULT),
        (StringIn(8), (0, 9), E2BIG),
        (StringIn(), (0x80, 2), EINVAL),  # 0x80 0x81: no UTF-8
        (BufferOut(), (END, 1), EFAULT),
        (BufferOut(), (1, (1 << 64) - 1), EFAULT),
        (RecordsIn(abi.STRUCT_BY_NAME["trap_entry"], 4), (0, 5), E2BIG),
        (RecordsIn(abi.STRUCT_BY_NAME["trap_entry"], 1 << 60), (0, 1 << 60), EFAULT),
    ],
)
def test_refusals(argument, registers, errno):
    assert errno_of(argument.bind(MEMORY), *registers) == errno


def test_text():
    assert StringIn().bind(MEMORY)(0x41, 3) == "ABC"


def test_records_are_tuples_of_fields():
    records = RecordsIn(abi.STRUCT_BY_NAME["trap_entry"], 4)
    first = (0x03020100, 0x07060504, 0x0F0E0D0C0B0A0908)
    assert records.bind(MEMORY)(0, 2)[0] == first
    assert records.registers("entries") == (("entries_gpa", 64), ("count", 64))


def test_records_with_long_fields_give_them_as_bytes():
    records = RecordsIn(abi.STRUCT_BY_NAME["multicall_entry"], 4)
    assert records.bind(MEMORY)(0, 1)[0][1] == bytes(range(8, 56))


def test_an_integer_needs_no_conversion():
    assert Integer(16).bind(MEMORY) is None
    assert Integer(16).registers("port") == (("port", 16),)


@given(capacity=st.integers(0, 64), data=st.binary(max_size=80), offset=st.integers(-4, 80))
def test_a_buffer_is_written_inside_its_bounds_only(capacity, data, offset):
    memory = GuestMemory(1 << 20)
    gpa = memory.size_bytes - 100
    buffer = GuestBuffer(memory, gpa, capacity)
    expected = bytearray(100)
    try:
        assert buffer.write(data, offset) == len(data)
        expected[offset : offset + len(data)] = data
    except GuestError as error:
        assert error.errno == E2BIG
        assert offset < 0 or offset + len(data) > capacity
    assert memory.read(gpa, 100) == bytes(expected)
    memory.close()


@pytest.mark.parametrize("argument", [*ALL, Integer(8)], ids=lambda argument: type(argument).__name__)
def test_each_type_describes_itself(argument):
    assert argument.describe()
