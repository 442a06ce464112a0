"""How do messages of any size go between two processes? Framed on a stream socket, beside rings that only wake.

A frame is its length in 4 bytes and that many bytes of pv.isolation.codec; a ring is a length of 0.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

from pv.isolation.codec import CodecError, pack, unpack

LENGTH: Final = struct.Struct("<I")
RING: Final = LENGTH.pack(0)
FRAME_MOST: Final = 1 << 31  # a guest's image goes whole
PIECE_BYTES: Final = 1 << 18
DESCRIPTORS_MOST: Final = 16


class Ended(Exception):
    """The other side has closed its end: it is gone."""


class Frames:
    """Messages on `stream`, a connected SOCK_STREAM socket, which is closed with this."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)

    def send(self, message: Any, descriptors: Iterable[int] = ()) -> None:
        """Send one message, with open file descriptors. Raises Ended, CodecError."""
        data = pack(message)
        head = LENGTH.pack(len(data))
        try:
            if given := list(descriptors):
                socket.send_fds(self.stream, [head], given)
                self.stream.sendall(data)
            else:
                self.stream.sendall(head + data)
        except OSError as error:
            raise Ended from error

    def ring(self) -> None:
        """Wake the other side where it waits. Raises Ended."""
        try:
            self.stream.sendall(RING)
        except OSError as error:
            raise Ended from error

    def wait(self, timeout_s: float | None) -> bool:
        """Until the other side sends something, a ring included: whether it did. Raises Ended."""
        if self._strip():
            return True
        if not self._poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)):
            return False
        self._fill()
        self._strip()
        return True

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next message. Raises Ended, CodecError, and TimeoutError where a piece takes longer than that."""
        while True:
            if self._strip() and len(self._buffer) >= LENGTH.size:
                (size,) = LENGTH.unpack_from(self._buffer)
                if size > FRAME_MOST:
                    raise CodecError(f"not a message: {size} bytes")
                end = LENGTH.size + size
                if len(self._buffer) >= end:
                    message = unpack(bytes(self._buffer[LENGTH.size : end]))
                    del self._buffer[:end]
                    return message
            if timeout_s is not None and not self._poll.poll(timeout_s * 1000):
                raise TimeoutError
            self._fill()

    def receive_descriptors(self) -> tuple[Any, list[int]]:
        """The first message of a stream, and the descriptors that came with it. Raises Ended, CodecError."""
        head, descriptors, _, _ = socket.recv_fds(self.stream, LENGTH.size, DESCRIPTORS_MOST)
        if not head:
            raise Ended
        self._buffer += head
        return self.receive(), descriptors

    def close(self) -> None:
        self.stream.close()

    def _strip(self) -> bool:
        """Drop the rings in front; whether anything else is there."""
        while self._buffer.startswith(RING):
            del self._buffer[: LENGTH.size]
        return bool(self._buffer)

    def _fill(self) -> None:
        try:
            piece = self.stream.recv(PIECE_BYTES)
        except OSError as error:
            raise Ended from error
        if not piece:
            raise Ended
        self._buffer += piece
