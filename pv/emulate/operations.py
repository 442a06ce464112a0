"""Which instructions with an operand in memory are carried out here, and by what? The one table.

Each family of SDM vol. 2 stands in a file beside this one; here they are put together, and one that two files claim is
refused. The same table serves every technique: an operation is handed a bus and asks it where its operands are.
What is not here: x87, MMX, AVX and SSE arithmetic, far transfers and INS/OUTS, which no kernel does to a device or a
page table. LOCK changes nothing, since there is one processor; where it is illegal, there is nothing to be found here.
"""

from __future__ import annotations

from typing import Final

from pv.emulate.operations_arithmetic import ARITHMETIC
from pv.emulate.operations_bits import BITS
from pv.emulate.operations_common import Kind, Known
from pv.emulate.operations_exchange import EXCHANGES
from pv.emulate.operations_moves import MOVES
from pv.emulate.operations_shifts import SHIFTS
from pv.emulate.operations_stack import STACK
from pv.emulate.operations_strings import STRINGS
from pv.emulate.operations_vectors import VECTORS

Families = tuple[dict[tuple[int, Kind], Known], ...]


def one_table(families: Families) -> dict[tuple[int, Kind], Known]:
    """Raises ValueError for an instruction that two families claim."""
    table: dict[tuple[int, Kind], Known] = {}
    for family in families:
        for key, known in family.items():
            if key in table:
                raise ValueError(f"{known.name} is claimed by two families of operations")
            table[key] = known
    return table


OPERATIONS: Final = one_table((MOVES, ARITHMETIC, EXCHANGES, BITS, SHIFTS, STRINGS, STACK, VECTORS))
"""(iced-x86's Mnemonic, what its operands are) -> what carries it out. MOVSD and CMPSD are two instructions each."""
