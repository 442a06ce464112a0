"""What a guest's author is told when a line cannot be assembled."""

from __future__ import annotations


class AssemblyError(ValueError):
    """A guest that cannot be built: `reason`, and the source `line` where one is to blame."""

    def __init__(self, reason: str, line: str = "") -> None:
        super().__init__(f"{line.strip()!r}: {reason}" if line else reason)
        self.reason = reason
        self.line = line.strip()
