"""Which vector comes first, and is it above the task's priority? The IRR, ISR and TMR of a local APIC.

Intel SDM vol. 3, 11.8.3 and 11.8.4. A register of 256 bits is one integer, bit n standing for vector n; a vector's
priority class is its upper four bits.
"""

from __future__ import annotations

from typing import Final

from pv.devices.state import State, StateError

CLASS: Final = 0xF0
WORD_BITS: Final = 32
NO_VECTOR: Final = -1
REGISTERS: Final = ("requested", "in_service", "level_triggered")
REGISTER_BYTES: Final = 32


class InterruptQueue:
    """Vectors requested, in service, and which of them came level-triggered. `task_priority` is the TPR."""

    __slots__ = ("in_service", "level_triggered", "requested", "task_priority")

    def __init__(self) -> None:
        self.requested = self.in_service = self.level_triggered = 0
        self.task_priority = 0

    def save(self) -> State:
        registers = {name: getattr(self, name).to_bytes(REGISTER_BYTES, "little") for name in REGISTERS}
        return {**registers, "task_priority": self.task_priority}

    def restore(self, saved: State) -> None:
        """Raises StateError for what is no queue's state."""
        priority = saved.get("task_priority")
        if type(priority) is not int or not 0 <= priority <= 0xFF:
            raise StateError("InterruptQueue.task_priority is no priority")
        for name in REGISTERS:
            register = saved.get(name)
            if not isinstance(register, bytes) or len(register) != REGISTER_BYTES:
                raise StateError(f"InterruptQueue.{name} is no register")
            setattr(self, name, int.from_bytes(register, "little"))
        self.task_priority = priority

    @property
    def processor_priority(self) -> int:
        """PPR: the TPR, or the class of what is in service where that is higher."""
        serving = max(self.in_service.bit_length() - 1, 0) & CLASS
        return self.task_priority if self.task_priority & CLASS >= serving else serving

    def next_vector(self) -> int:
        """The vector to be delivered now, or NO_VECTOR."""
        if not self.requested:
            return NO_VECTOR
        vector = self.requested.bit_length() - 1
        return vector if vector & CLASS > self.processor_priority & CLASS else NO_VECTOR

    def accept(self, vector: int, *, level: bool = False) -> None:
        """A request; one for a vector that waits already is the same request."""
        bit = 1 << vector
        self.requested |= bit
        self.level_triggered = self.level_triggered | bit if level else self.level_triggered & ~bit

    def serve(self, vector: int) -> None:
        """The processor took it."""
        self.requested &= ~(1 << vector)
        self.in_service |= 1 << vector

    def end(self) -> int:
        """EOI: the vector of highest priority is no longer in service; NO_VECTOR where none was."""
        vector = self.in_service.bit_length() - 1
        if vector >= 0:
            self.in_service &= ~(1 << vector)
        return vector

    def waits(self, vector: int) -> bool:
        """Whether `vector` is requested and not yet taken."""
        return bool(self.requested >> vector & 1)


def word(register: int, index: int) -> int:
    """Bits 32 * index to 32 * index + 31 of a 256-bit register."""
    return register >> WORD_BITS * index & (1 << WORD_BITS) - 1
