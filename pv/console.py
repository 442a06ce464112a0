"""What a guest has said: a bounded capture, and an echo for whoever watches.

A guest may write for ever; the monitor keeps the first part, counts the rest, and never grows past the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

KEPT_BYTES: Final = 1 << 20


class Console:
    """Captures up to `kept_bytes`; hands every byte, kept or not, to `echo`.

    `dropped` counts the bytes that the capture did not keep.
    """

    def __init__(self, echo: Callable[[bytes], object] | None = None, kept_bytes: int = KEPT_BYTES) -> None:
        if kept_bytes < 0:
            raise ValueError(f"console: kept_bytes={kept_bytes} is negative")
        self.echo = echo
        self.kept_bytes: Final = kept_bytes
        self.dropped = 0
        self._kept = bytearray()
        self._text: str | None = ""

    def write(self, data: bytes | bytearray | memoryview | str) -> int:
        """Take all of `data` (text as UTF-8) and return its bytes: a guest that loops until all is taken ends."""
        taken = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else bytes(data)
        if not taken:
            return 0
        room = self.kept_bytes - len(self._kept)
        if room > 0:
            self._kept += taken[:room]
            self._text = None
        self.dropped += max(0, len(taken) - room)
        if self.echo is not None:
            self.echo(taken)
        return len(taken)

    @property
    def data(self) -> bytes:
        """The bytes kept."""
        return bytes(self._kept)

    @property
    def text(self) -> str:
        """The bytes kept, as UTF-8; what is not UTF-8 is shown as \\xNN."""
        if self._text is None:
            self._text = self._kept.decode("utf-8", "backslashreplace")
        return self._text
