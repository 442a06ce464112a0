"""The one table: what is in it, and what two families may not both claim."""

from __future__ import annotations

import pytest
from iced_x86 import Mnemonic

from pv.emulate.operations import OPERATIONS, one_table
from pv.emulate.operations_common import Kind, Known
from pv.emulate.operations_moves import MOVES, move


def test_a_collision_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match="mov is claimed by two"):
        one_table((MOVES, {(Mnemonic.MOV, Kind.GENERAL): Known("mov", move)}))


def test_every_operation_has_a_name_and_a_function() -> None:
    for known in OPERATIONS.values():
        assert known.name.islower()
        assert callable(known.carry_out)


def test_two_mnemonics_are_two_instructions_each() -> None:
    assert OPERATIONS[Mnemonic.MOVSD, Kind.STRING].name == "movs"
    assert OPERATIONS[Mnemonic.MOVSD, Kind.VECTOR].name == "movsd"
    assert (Mnemonic.CMPSD, Kind.VECTOR) not in OPERATIONS


def test_what_only_reads_memory_asks_for_no_write() -> None:
    reads = {known.name for known in OPERATIONS.values() if not known.writes}
    assert {"cmp", "test", "bt", "mul", "div", "push", "call", "jmp", "cmps", "scas"} <= reads
    assert not reads & {"mov", "add", "cmpxchg", "xadd", "shl", "stos", "sete", "movups"}
