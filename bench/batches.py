"""What a batch saves: the cost and the exits of one operation, alone and in multicalls and rings of several sizes.

Each row is a guest of its own. `alone`: a hypercall each. `multicall`, `ring`: so many operations in one exit, a ring
kicked each time. `busy ring`: a guest that exits anyway, once an operation, and submits one each time without a kick;
its twin `own exits` does the same without the ring. What the guest does to fill and empty a ring is in its time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from bench.plugin import PLUGIN
from bench.rows import NULL_CALL, call
from guest_sdk import Guest, abi, ring
from pv.exits import StopWhy
from pv.machine import Machine
from pv.memory import PAGE_SIZE

SIZES: Final = (1, 8, 64, 512)
BLOCK_BYTES: Final = 4096
SIZE_MOST: Final = max(SIZES)
DISK_BYTES: Final = SIZE_MOST * BLOCK_BYTES  # small enough to stay in the page cache
MEMORY: Final = "16MiB"
BUSY_ENTRIES: Final = 64  # more than are submitted between two of the monitor's looks
ENTRY_BYTES: Final = abi.STRUCT_BY_NAME["multicall_entry"].size_bytes

# RBX counts operations from 0 within a turn. The registers of one call; a block read's place follows its number.
NULL: Final = f"mov eax, {NULL_CALL:#x}"
READ: Final = f"""
    mov rsi, rbx
    shl rsi, {BLOCK_BYTES.bit_length() - 1}
    lea rdx, [rsi + blocks]
    xor edi, edi
    mov r10d, {BLOCK_BYTES}
    mov eax, {abi.BY_NAME["block_read"].number:#x}
"""
OPERATIONS: Final = {"null call": (NULL, 60_000), "block read": (READ, 30_000)}  # and how many a run does
STORE: Final = "\n".join(
    f"mov [rcx + {8 * index}], {register}" for index, register in enumerate(("rax", *abi.ARGUMENT_REGISTERS))
)
OWN_EXIT: Final = call("abi_version").replace(";", "\n")
OPEN: Final = "mov edi, NO_PORT\ncall ring_open\ntest rax, rax\njnz failed"


def each(size: int, label: str, body: str) -> str:
    """`body` for RBX from 0 to size - 1."""
    return f"xor ebx, ebx\n{label}:\n{body}\ninc ebx\ncmp ebx, {size}\njb {label}"


def alone(_size: int, operation: str) -> tuple[str, str]:
    return "", f"xor ebx, ebx\n{operation}\nvmcall"


def multicall(size: int, operation: str) -> tuple[str, str]:
    """The array is filled once: the monitor only writes its results."""
    fill = f"{operation}\nmov rcx, rbx\nimul rcx, rcx, {ENTRY_BYTES}\nadd rcx, entries\n{STORE}"
    return each(size, "fill", fill), f"mov rdi, entries\nmov esi, {size}\n{call('multicall')}".replace(";", "\n")


def kicked_ring(size: int, operation: str) -> tuple[str, str]:
    fill = each(size, "fill", f"{operation}\ncall ring_submit")
    empty = each(size, "empty", "call ring_reap\ntest eax, eax\njz failed")
    return OPEN, f"{fill}\ncall ring_kick\n{empty}"


def busy_ring(_size: int, operation: str) -> tuple[str, str]:
    return OPEN, f"xor ebx, ebx\n{operation}\ncall ring_submit\ncall ring_kick_if_needed\n{OWN_EXIT}\ncall ring_reap"


def own_exits(_size: int, _operation: str) -> tuple[str, str]:
    return "", OWN_EXIT


FORMS: Final[dict[str, Callable[[int, str], tuple[str, str]]]] = {
    "alone": alone,
    "multicall": multicall,
    "ring": kicked_ring,
    "own exits": own_exits,
    "busy ring": busy_ring,
}  # set-up and one turn


@dataclass(frozen=True, slots=True)
class Batch:
    """One row. size: operations of one turn, each turn being one exit."""

    operation: str
    form: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.operation}-{self.form}-{self.size}".replace(" ", "-")

    @property
    def turns(self) -> int:
        return OPERATIONS[self.operation][1] // self.size

    @property
    def operations(self) -> int:
        return self.turns * self.size

    def build(self, turns: int | None = None) -> bytes:
        """The guest, as an ELF."""
        setup, turn = FORMS[self.form](self.size, OPERATIONS[self.operation][0])
        guest = Guest(f"batch-{self.name}", paravirt=True)
        guest.bss("entries", SIZE_MOST * ENTRY_BYTES, align=PAGE_SIZE)
        guest.bss("blocks", DISK_BYTES, align=PAGE_SIZE)
        guest.asm(f"main:\n{setup}\nmov rbp, {turns or self.turns}\nagain:\n{turn}\ndec rbp\njnz again")
        guest.asm("xor eax, eax\nret\nfailed: mov eax, 1\nret")
        ring.add(guest, entries=self.size if self.form == "ring" else BUSY_ENTRIES)
        return guest.build()


BATCHES: Final = tuple(
    Batch(operation, form, size)
    for operation in OPERATIONS
    for form, sizes in (
        ("alone", (1,)),
        ("multicall", SIZES),
        ("ring", SIZES),
        ("own exits", (1,)),
        ("busy ring", (1,)),
    )
    for size in sizes
)


@dataclass(frozen=True)
class Priced:
    """What one operation of a row took. exits: of one turn, what a guest needs once left out."""

    batch: Batch
    ns: float
    exits: int

    @cached_property
    def exits_per_operation(self) -> float:
        return self.exits / self.batch.size

    @property
    def gigabytes_per_second(self) -> float | None:
        """Bytes moved a ns; None where none are."""
        return (
            BLOCK_BYTES / self.ns if self.batch.operation == "block read" and self.batch.form != "own exits" else None
        )


@contextmanager
def disk_file() -> Iterator[Path]:
    """A disk of DISK_BYTES, in the page cache since it was just written."""
    with tempfile.NamedTemporaryFile(prefix="pvkit-batches-") as file:
        file.write(bytes(range(256)) * (DISK_BYTES // 256))
        file.flush()
        yield Path(file.name)


def batch_machine(image: bytes, disk: Path) -> Machine:
    """A machine that is ready to run a row's guest."""
    machine = Machine(memory=MEMORY, hypercalls=[PLUGIN], disks=[disk])
    machine.load(image)
    return machine


def run_batch(image: bytes, disk: Path) -> tuple[float, int]:
    """One run: seconds and exits. Raises RuntimeError where the guest did not end well."""
    with batch_machine(image, disk) as machine:
        outcome = machine.run(timeout=100)
    if (outcome.why, outcome.status) != (StopWhy.EXITED, 0):
        raise RuntimeError(f"a benchmark's guest failed: {outcome.summary}")
    return outcome.seconds, outcome.exits.total


def exits_of_a_turn(batch: Batch, disk: Path) -> int:
    """Exact: a guest that does a hundred turns more needs so many times a hundred exits more."""
    few, many = (run_batch(batch.build(turns), disk)[1] for turns in (1, 101))
    whole, rest = divmod(many - few, 100)
    if rest:
        raise RuntimeError(f"{batch.name}: a hundred turns took {many - few} exits")
    return whole


def price(batch: Batch, disk: Path, repeat: int) -> Priced:
    """The least time of `repeat` runs, and the exits."""
    image = batch.build()
    seconds = min(run_batch(image, disk)[0] for _ in range(repeat))
    return Priced(batch, seconds / batch.operations * 1e9, exits_of_a_turn(batch, disk))
