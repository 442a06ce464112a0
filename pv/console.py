"""What a guest has said: a bounded capture, an echo for whoever watches, and an end to it.

A guest may write for ever; the monitor keeps the first part, hands on a good deal more, and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

KEPT_BYTES: Final = 1 << 20
MOST_BYTES: Final = 1 << 26


class Console:
    """Takes `most_bytes` of a guest in all: keeps the first `kept_bytes` and hands every byte to `echo`.

    Whether there is an echo makes no difference to the guest. `dropped` counts the bytes that were taken and not kept,
    `refused` those that were not taken.
    """

    def __init__(
        self,
        echo: Callable[[bytes], object] | None = None,
        kept_bytes: int = KEPT_BYTES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        for name, value in (("kept_bytes", kept_bytes), ("most_bytes", most_bytes)):
            if value < 0:
                raise ValueError(f"console: {name}={value} is negative")
        self.echo = echo
        self.kept_bytes: Final = kept_bytes
        self.room = most_bytes  # bytes that will still be taken
        self.dropped = 0
        self.refused = 0
        self._kept = bytearray()
        self._text: str | None = ""

    def write(self, data: bytes | bytearray | memoryview | str) -> int:
        """Take `data` (text as UTF-8) and return the bytes taken: fewer than all, then none, once it is full."""
        taken = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else bytes(data)
        if len(taken) > self.room:
            self.refused += len(taken) - self.room
            taken = taken[: self.room]
        if not taken:
            return 0
        self.room -= len(taken)
        room = self.kept_bytes - len(self._kept)
        if room > 0:
            self._kept += taken[:room]
            self._text = None
        self.dropped += max(0, len(taken) - room)
        if self.echo is not None:
            self.echo(taken)
        return len(taken)

    def save(self) -> dict[str, Any]:
        """What was kept and how much was dropped. What an echo has shown is shown."""
        return {"kept": bytes(self._kept), "dropped": self.dropped, "refused": self.refused, "room": self.room}

    def restore(self, saved: dict[str, Any]) -> None:
        """Raises ValueError for what is no console's state."""
        kept, counts = saved.get("kept"), [saved.get(name) for name in ("dropped", "refused", "room")]
        if not isinstance(kept, bytes) or not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("its console is none")
        self._kept, self._text = bytearray(kept), None
        self.dropped, self.refused, self.room = saved["dropped"], saved["refused"], saved["room"]

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
