from errno import E2BIG, EFAULT, EINVAL

import msgpack
import pytest

from hypercalls.arguments import GuestBuffer
from hypercalls.document import DocumentIn, DocumentOut, ReplyDocument
from pv.exits import GuestError
from pv.memory import GuestMemory


@pytest.fixture
def memory():
    made = GuestMemory(1 << 20)
    yield made
    made.close()


def test_in_by_registers(memory):
    packed = msgpack.packb({"a": [1, 2]})
    memory.write(0x100, packed)
    read = DocumentIn(most=len(packed)).bind(memory)
    assert read(0x100, len(packed)) == {"a": [1, 2]}
    for registers, errno in [((0x100, len(packed) + 1), E2BIG), ((0x100, 3), EINVAL), ((1 << 20, 4), EFAULT)]:
        with pytest.raises(GuestError) as caught:
            read(*registers)
        assert caught.value.errno == errno


def test_out_by_registers(memory):
    reply = DocumentOut().bind(memory)(0x200, 16)
    assert reply.capacity == 16
    sent = reply.send([1, "two"])
    assert msgpack.unpackb(memory.read(0x200, sent)) == [1, "two"]


def test_a_reply_that_does_not_fit_leaves_memory_alone(memory):
    reply = ReplyDocument(GuestBuffer(memory, 0x200, 4))
    with pytest.raises(GuestError) as caught:
        reply.send("longer than four")
    assert caught.value.errno == E2BIG
    assert memory.read(0x200, 32) == bytes(32)
