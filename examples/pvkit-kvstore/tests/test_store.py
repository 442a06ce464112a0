"""The store by itself: no guest, no machine."""

from errno import ENOENT, ENOSPC, EROFS

import pytest
from pvkit_kvstore.store import Store

from pv import GuestError


def test_what_is_put_is_got_until_it_is_deleted() -> None:
    store = Store(limit=2)
    assert store.put("a", [1, {"b": None}]) is False
    assert store.put("a", 2) is True
    assert (store.get("a"), len(store), store.keys()) == (2, 1, ["a"])
    store.delete("a")
    with pytest.raises(GuestError) as refused:
        store.get("a")
    assert refused.value.errno == ENOENT


def test_the_limit_holds_for_new_keys_only() -> None:
    store = Store(limit=1)
    store.put("a", 1)
    with pytest.raises(GuestError) as refused:
        store.put("b", 2)
    assert refused.value.errno == ENOSPC
    assert store.put("a", 3) is True
    assert store.keys() == ["a"]


@pytest.mark.parametrize("change", [lambda store: store.put("a", 1), lambda store: store.delete("a")])
def test_a_read_only_store_refuses_changes(change) -> None:
    with pytest.raises(GuestError) as refused:
        change(Store(limit=1, read_only=True))
    assert refused.value.errno == EROFS


def test_what_is_saved_is_restored_within_the_limit() -> None:
    store, other = Store(limit=2), Store(limit=2)
    store.put("a", [1, {"b": None}])
    store.put("b", 2)
    other.put("c", 3)
    other.restore(store.save())
    assert (other.keys(), other.get("a")) == (["a", "b"], [1, {"b": None}])
    with pytest.raises(ValueError, match="2 documents where 1 are allowed"):
        Store(limit=1).restore(store.save())
