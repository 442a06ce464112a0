"""Messages of any size, with rings between them, over a socket that may break at any byte."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pv.isolation.codec import CodecError, pack
from pv.isolation.frames import FRAME_MOST, LENGTH, RING, Ended, Frames


@pytest.fixture
def pair() -> Iterator[tuple[Frames, Frames]]:
    one, other = map(Frames, socket.socketpair())
    yield one, other
    one.close()
    other.close()


def test_messages_come_in_order_whatever_their_size(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    large = bytes(3_000_000)
    sender = threading.Thread(target=lambda: [one.send(message) for message in ("a", large, {"b": (1, 2)})])
    sender.start()
    assert [other.receive(), other.receive(), other.receive()] == ["a", large, {"b": (1, 2)}]
    sender.join()


def test_rings_wake_and_are_no_messages(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    assert other.wait(0) is False
    one.ring()
    assert other.wait(5) is True
    assert other.wait(0) is False
    one.ring()
    one.ring()
    one.send("x")
    assert other.wait(5) is True
    assert other.receive() == "x"


def test_a_message_in_pieces(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    data = RING + LENGTH.pack(len(pack("late"))) + pack("late")
    for byte in data[:-1]:
        one.stream.sendall(bytes([byte]))
        assert other.wait(5)
    with pytest.raises(TimeoutError):
        other.receive(0.01)
    one.stream.sendall(data[-1:])
    assert other.receive(5) == "late"


def test_the_first_message_brings_descriptors(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    read, write = os.pipe()
    one.send("here", [write])
    message, descriptors = other.receive_descriptors()
    os.write(descriptors[0], b"hi")
    assert (message, os.read(read, 2)) == ("here", b"hi")
    for descriptor in (read, write, *descriptors):
        os.close(descriptor)


def test_a_side_that_is_gone(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    one.send("last")
    one.close()
    assert other.receive() == "last"
    for ask in (other.receive, lambda: other.wait(1), other.receive_descriptors, other.ring, lambda: other.send("x")):
        with pytest.raises(Ended):
            ask()


def test_a_length_that_nobody_sends(pair: tuple[Frames, Frames]) -> None:
    one, other = pair
    one.stream.sendall(LENGTH.pack(FRAME_MOST + 1) + b"x")
    with pytest.raises(CodecError, match="2147483649 bytes"):
        other.receive()
