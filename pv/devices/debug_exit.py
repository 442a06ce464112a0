"""How does an unmodified guest end with a status? By a write to isa-debug-exit, as under QEMU's device of that name.

QEMU's ends with (value << 1) | 1; here the status is the value's low byte, as the ABI says.
"""

from __future__ import annotations

from typing import Final

from pv.devices.state import SavedFields
from pv.exits import Reply, stop

STATUS_VALUES: Final = 0x100


class DebugExit(SavedFields):
    """One write-only register; it reads as zero, as QEMU's does."""

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        return 0

    def write(self, offset: int, size: int, value: int) -> Reply:  # noqa: ARG002  (the bus's signature)
        """End the guest with the low byte of `value`."""
        return stop(value % STATUS_VALUES)
