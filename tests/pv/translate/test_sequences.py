from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iced_x86 import Code, Decoder, DecoderOptions, OpKind, Register

from pv.translate.sequences import (
    CLI,
    STI,
    WINDOW,
    absolute,
    far_away,
    fits,
    has_operand_size,
    load,
    push_return,
    rel32,
    show,
    show_table,
    signed,
    stores,
)

MASK_64 = (1 << 64) - 1
addresses = st.integers(0, MASK_64) | st.integers(0, 1 << 31) | st.integers(MASK_64 - (1 << 31), MASK_64)


def decoded(code: bytes | str, ip: int = 0x10_0000, options: int = 0) -> Any:
    code = bytes.fromhex(code) if isinstance(code, str) else code
    return Decoder(64, code, options, ip=ip).decode()


def made_absolute(code: str, ip: int) -> bytes | None:
    raw = bytes.fromhex(code)
    decoder = Decoder(64, raw, ip=ip)
    instruction = decoder.decode()
    return absolute(instruction, raw, decoder.get_constant_offsets(instruction).displacement_offset)


def test_the_interrupt_flag_is_a_bound() -> None:
    """What QEMU's decoder makes of F2 0F 1A needs a byte behind it: the core's business, but here are the operands."""
    for code, mnemonic, register, value in (
        (CLI, Code.BNDMK_BND_M64, Register.BND0, 0),
        (STI, Code.BNDMK_BND_M64, Register.BND0, 1),
        (WINDOW, Code.BNDCU_BND_RM64, Register.BND1, 1),
    ):
        instruction = decoded(code, options=DecoderOptions.MPX)
        assert (instruction.code, instruction.op0_register) == (mnemonic, register)
        assert (instruction.memory_base, instruction.memory_displacement) == (Register.NONE, value)


@given(addresses, st.integers(1, 64))
def test_signed_and_fits_are_twos_complement(value: int, bits: int) -> None:
    assert signed(value, bits) % (1 << bits) == value % (1 << bits)
    assert -(1 << bits - 1) <= signed(value, bits) < 1 << bits - 1
    assert fits(value) is (value < 1 << 31 or value >= MASK_64 + 1 - (1 << 31))


@pytest.mark.parametrize(
    ("code", "ip", "expected"),
    [
        ("488b0510000000", 0x10_0000, "488b042517001000"),
        ("488b05f0ffffff", 0xFFFF_FFFF_8100_0000, "488b0425f7ffff80"),
        ("c705100000007f000000", 0x10_0000, "c704251a0010007f000000"),  # the immediate stays behind
        ("66813510000000 3412", 0x10_0000, "668134251900 10003412"),
        ("6448330d00000000", 0x10_0000, "6448330c2508001000"),
        ("67488b0510000000", 0xFFFF_9000_0010_0000, "67488b042518001000"),  # EIP: of 32 bits wherever it is
        ("f30f6f0510000000", 0x10_0000, "f30f6f042518001000"),
        ("0fa40510000000 07", 0x10_0000, "0fa4042518001000 07"),
    ],
)
def test_relative_operands_become_absolute(code: str, ip: int, expected: str) -> None:
    found = made_absolute(code, ip)
    assert found == bytes.fromhex(expected)
    before, after = decoded(bytes.fromhex(code), ip), decoded(found)
    assert after.code == before.code
    assert after.memory_displacement == before.ip_rel_memory_address
    assert (after.memory_base, after.memory_index) == (Register.NONE, Register.NONE)


def test_what_has_no_absolute_form() -> None:
    assert made_absolute("488b0510000000", 0xFFFF_9000_0000_0000) is None  # out of reach
    assert made_absolute("4a8b0510000000", 0x10_0000) is None  # REX.X would name R12
    assert made_absolute("2e2e2e2e2e66c7051000000034 12".replace(" ", ""), 0x10_0000) is not None
    assert (
        made_absolute("2e2e2e2e2e2e66c7051000000034 12".replace(" ", ""), 0x10_0000) is None
    )  # it is 15 bytes already


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("488d0510000000", "48b8 1700000000 90ffff"),
        ("4c8d2d10000000", "49bd 1700000000 90ffff"),
        ("8d0510000000", "b8 16000000"),
        ("66448d0510000000", "6641b8 1800"),
        ("488b0510000000", "48a1 1700000000 90ffff"),
        ("8a0510000000", "a0 1600000000 90ffff"),
        ("6466890510000000", "6466a3 1800000000 90ffff"),
    ],
)
def test_out_of_reach_the_accumulator_has_long_addresses(code: str, expected: str) -> None:
    assert far_away(decoded(code, 0xFFFF_9000_0000_0000)) == bytes.fromhex(expected)


@pytest.mark.parametrize("code", ["488b0d10000000", "480305 10000000", "8a2510000000", "0fb60510000000"])
def test_others_have_not(code: str) -> None:
    assert far_away(decoded(code.replace(" ", ""), 0xFFFF_9000_0000_0000)) is None


@given(st.integers(0, 15), addresses, st.sampled_from([2, 4, 8]))
def test_a_load_loads(register: int, value: int, size: int) -> None:
    instruction = decoded(load(register, value, size))
    assert instruction.len == len(load(register, value, size))
    width = {OpKind.IMMEDIATE16: 2, OpKind.IMMEDIATE32: 4, OpKind.IMMEDIATE64: 8}[instruction.op1_kind]
    assert width == size or (size == 8 and width == 4 and not value >> 32)
    assert instruction.immediate(1) == value & (1 << 8 * width) - 1


@given(addresses)
def test_the_return_address_is_the_guests(address: int) -> None:
    parts = push_return(address)
    pushed = decoded(parts[0][0])
    assert (pushed.code, parts[0][1]) == (Code.PUSHQ_IMM32, 0)
    value = pushed.immediate32to64 & MASK_64
    if len(parts) == 2:
        store = decoded(parts[1][0])
        assert (store.code, store.memory_base, store.memory_displacement) == (Code.MOV_RM32_IMM32, Register.RSP, 4)
        assert parts[1][1] == 8  # its fault is before the push
        value = value & 0xFFFF_FFFF | store.immediate32 << 32
    assert value == address
    assert (len(parts) == 1) is fits(address)


def test_sgdt_is_three_stores() -> None:
    parts = show_table(decoded("0f014310"), 0xFFFF_8000_1234_5678, 0x17F)  # sgdt [rbx + 16]
    assert parts is not None
    found = [decoded(code) for code, _ in parts]
    assert [(store.memory_displacement, store.immediate(1)) for store in found] == [
        (0x10, 0x17F),
        (0x12, 0x1234_5678),
        (0x16, 0xFFFF_8000),
    ]
    assert [undo for _, undo in parts] == [0, 0, 0]


@pytest.mark.parametrize(
    ("code", "base", "index", "displacement", "segment"),
    [
        ("0f0100", Register.RAX, Register.NONE, 0, Register.DS),
        ("0f010424", Register.RSP, Register.NONE, 0, Register.SS),
        ("0f014500", Register.RBP, Register.NONE, 0, Register.SS),
        ("640f01849980000000", Register.RCX, Register.RBX, 0x80, Register.FS),
        ("0f01049d00010000", Register.NONE, Register.RBX, 0x100, Register.DS),
        ("0f010500010000", Register.NONE, Register.NONE, 0x10_0107, Register.DS),
        ("0f01042500300000", Register.NONE, Register.NONE, 0x3000, Register.DS),
        ("430f010424", Register.R12, Register.R12, 0, Register.DS),
        ("410f0145 7d", Register.R13, Register.NONE, 0x7D, Register.DS),  # the last store leaves disp8
    ],
)
def test_stores_have_the_operand(code: str, base: int, index: int, displacement: int, segment: int) -> None:
    instruction = decoded(code.replace(" ", ""))
    parts = stores(instruction, [(0, 2, 1), (2, 4, 2), (6, 4, 3)])
    assert parts is not None
    for (part, _), offset in zip(parts, (0, 2, 6), strict=True):
        store = decoded(part, ip=0x7777_0000_0000)
        assert (store.memory_base, store.memory_index, store.memory_segment) == (base, index, segment)
        assert store.memory_displacement == displacement + offset
        assert index == Register.NONE or store.memory_index_scale == instruction.memory_index_scale


@pytest.mark.parametrize(
    "code", ["670f0100", "670f01042500300000", "670f010500010000", "0f018 0fcffff7f".replace(" ", "")]
)
def test_what_the_monitor_has_to_store(code: str) -> None:
    """Addresses of 32 bits wrap where no sum of ours does; a displacement at the end of its range has no next."""
    assert stores(decoded(code), [(0, 2, 1), (2, 4, 2), (6, 4, 3)]) is None


def test_out_of_reach_of_a_store() -> None:
    assert stores(decoded("0f010500010000", 0xFFFF_9000_0000_0000), [(0, 2, 1)]) is None


@pytest.mark.parametrize(
    ("code", "size", "expected"),
    [("0f01e1", 4, "b9 33000580"), ("480f01e1", 8, "b9 33000580"), ("66410f01e1", 2, "6641b9 3300")],
)
def test_a_register_is_loaded(code: str, size: int, expected: str) -> None:
    assert show(decoded(code), 0x8005_0033, size) == [(bytes.fromhex(expected), 0)]


def test_to_memory_it_is_a_word() -> None:
    parts = show(decoded("0f0123"), 0x8005_0033, 2)
    assert parts is not None
    ((code, _),) = parts
    assert (decoded(code).code, decoded(code).immediate16) == (Code.MOV_RM16_IMM16, 0x33)


@pytest.mark.parametrize(
    ("code", "has"),
    [("eb00", False), ("66eb00", True), ("f266e900000000", True), ("2e48ffe0", False)],
)
def test_the_operand_size_prefix(code: str, has: bool) -> None:
    assert has_operand_size(bytes.fromhex(code)) is has


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_distances(distance: int) -> None:
    assert int.from_bytes(rel32(distance), "little", signed=True) == distance
