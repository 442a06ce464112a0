"""Which hypercalls reach the store? Each copies its key and document in once, bounded, before the store sees them."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from hypercalls import DocumentIn, MachineView, ReplyDocument, StringIn, hypercall
from pvkit_kvstore.store import Store

KEY_BYTES: Final = 64
DOCUMENT_BYTES: Final = 4096

Key: TypeAlias = Annotated[str, StringIn(KEY_BYTES)]
Value: TypeAlias = Annotated[Any, DocumentIn(DOCUMENT_BYTES)]


def store_of(machine: MachineView) -> Store:
    """The machine's store."""
    store: Store = machine.state["kvstore"]
    return store


@hypercall(0x8100, "kv_put", result="0 where the key is new, 1 where a document was replaced")
def put(machine: MachineView, key: Key, value: Value) -> int:
    """Keep a document under a key. -ENOSPC where the store is full, -EROFS where it is read-only."""
    return int(store_of(machine).put(key, value))


@hypercall(0x8101, "kv_get", result="bytes of the document")
def get(machine: MachineView, key: Key, reply: ReplyDocument) -> int:
    """Write a key's document into the guest's buffer. -ENOENT where there is none, -E2BIG where it does not fit."""
    return reply.send(store_of(machine).get(key))


@hypercall(0x8102, "kv_delete", result="0")
def delete(machine: MachineView, key: Key) -> int:
    """Forget a key. -ENOENT where there is none, -EROFS where the store is read-only."""
    store_of(machine).delete(key)
    return 0


@hypercall(0x8103, "kv_count", result="documents kept")
def count(machine: MachineView) -> int:
    """How many documents the store holds."""
    return len(store_of(machine))


@hypercall(0x8104, "kv_keys", result="bytes of the document")
def keys(machine: MachineView, reply: ReplyDocument) -> int:
    """Write the list of all keys, the oldest first, as one document."""
    return reply.send(store_of(machine).keys())


CALLS: Final = (put, get, delete, count, keys)
