"""Which vector comes first, and is it above the task's priority? The IRR, ISR, TMR, TPR and ICR of a local APIC.

Intel SDM vol. 3, 11.8.3 and 11.8.4. A register of 256 bits is one integer, bit n standing for vector n; a vector's
priority class is its upper four bits. These are the registers that a processor with APIC virtualization changes by
itself: it offers a queue of its own, on which the chip works then, so that there is one of each.
"""

from __future__ import annotations

from typing import Final, Protocol

from pv.devices.state import State, StateError

CLASS: Final = 0xF0
WORD_BITS: Final = 32
NO_VECTOR: Final = -1
REGISTERS: Final = ("requested", "in_service", "level_triggered")
REGISTER_BYTES: Final = 32
NUMBERS: Final = {"task_priority": 0xFF, "command": (1 << 64) - 1}


class InterruptQueue(Protocol):
    """Vectors requested, in service, and which of them came level-triggered; `task_priority` is the TPR.

    command: the ICR, its upper word being that of the destination. external: whether an 8259 asks the processor past
    the queue, which no priority holds off.
    """

    requested: int
    in_service: int
    level_triggered: int
    task_priority: int
    command: int
    external: bool

    @property
    def processor_priority(self) -> int:
        """PPR: the TPR, or the class of what is in service where that is higher."""
        ...

    def next_vector(self) -> int:
        """The vector to be delivered now, or NO_VECTOR."""
        ...

    def accept(self, vector: int, level: bool = False) -> None:
        """A request; one for a vector that waits already is the same request."""
        ...

    def serve(self, vector: int) -> None:
        """The processor took it."""
        ...

    def end(self) -> int:
        """EOI: the vector of highest priority is no longer in service; NO_VECTOR where none was."""
        ...

    def waits(self, vector: int) -> bool:
        """Whether `vector` is requested and not yet taken."""
        ...

    def is_level(self, vector: int) -> bool:
        """Whether `vector` came level-triggered."""
        ...


class PlainQueue:
    """An InterruptQueue that the chip alone changes: for a processor without one."""

    __slots__ = ("command", "external", "in_service", "level_triggered", "requested", "task_priority")

    def __init__(self) -> None:
        self.requested = self.in_service = self.level_triggered = 0
        self.task_priority = self.command = 0
        self.external = False

    @property
    def processor_priority(self) -> int:
        serving = max(self.in_service.bit_length() - 1, 0) & CLASS
        return self.task_priority if self.task_priority & CLASS >= serving else serving

    def next_vector(self) -> int:
        if not self.requested:
            return NO_VECTOR
        vector = self.requested.bit_length() - 1
        return vector if vector & CLASS > self.processor_priority & CLASS else NO_VECTOR

    def accept(self, vector: int, level: bool = False) -> None:
        bit = 1 << vector
        self.requested |= bit
        self.level_triggered = self.level_triggered | bit if level else self.level_triggered & ~bit

    def serve(self, vector: int) -> None:
        self.requested &= ~(1 << vector)
        self.in_service |= 1 << vector

    def end(self) -> int:
        vector = self.in_service.bit_length() - 1
        if vector >= 0:
            self.in_service &= ~(1 << vector)
        return vector

    def waits(self, vector: int) -> bool:
        return bool(self.requested >> vector & 1)

    def is_level(self, vector: int) -> bool:
        return bool(self.level_triggered >> vector & 1)


def reset_queue(queue: InterruptQueue) -> None:
    """As after RESET; what an 8259 asks is not the queue's."""
    for name in (*REGISTERS, *NUMBERS):
        setattr(queue, name, 0)


def save_queue(queue: InterruptQueue) -> State:
    """Every register; `external` follows from the chip's pins."""
    registers = {name: getattr(queue, name).to_bytes(REGISTER_BYTES, "little") for name in REGISTERS}
    return {**registers, **{name: getattr(queue, name) for name in NUMBERS}}


def restore_queue(queue: InterruptQueue, saved: State) -> None:
    """Raises StateError for what is no queue's state; the queue is then as it was."""
    values: dict[str, int] = {}
    for name, most in NUMBERS.items():
        number = saved.get(name)
        if type(number) is not int or not 0 <= number <= most:
            raise StateError(f"InterruptQueue.{name} is no number up to {most:#x}")
        values[name] = number
    for name in REGISTERS:
        register = saved.get(name)
        if not isinstance(register, bytes) or len(register) != REGISTER_BYTES:
            raise StateError(f"InterruptQueue.{name} is no register")
        values[name] = int.from_bytes(register, "little")
    for name, value in values.items():
        setattr(queue, name, value)


def word(register: int, index: int) -> int:
    """Bits 32 * index to 32 * index + 31 of a 256-bit register."""
    return register >> WORD_BITS * index & (1 << WORD_BITS) - 1
