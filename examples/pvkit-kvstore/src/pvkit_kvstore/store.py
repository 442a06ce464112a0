"""What does a machine keep? Documents by key, as many as its limit allows. It knows no guest: plain Python."""

from __future__ import annotations

from errno import ENOENT, ENOSPC, EROFS
from typing import Any

from pv import GuestError


class Store:
    """At most `limit` documents. Every refusal is a GuestError, which the guest reads as a negated errno."""

    def __init__(self, limit: int, *, read_only: bool = False) -> None:
        self.limit = limit
        self.read_only = read_only
        self._documents: dict[str, Any] = {}

    def put(self, key: str, document: Any) -> bool:
        """Keep `document`; whether it replaced another. Raises GuestError: EROFS, or ENOSPC past the limit."""
        self._check_writable()
        replaced = key in self._documents
        if not replaced and len(self._documents) >= self.limit:
            raise GuestError(ENOSPC, f"the store holds {self.limit} documents, which is its limit")
        self._documents[key] = document
        return replaced

    def get(self, key: str) -> Any:
        """The document of `key`. Raises GuestError(ENOENT)."""
        try:
            return self._documents[key]
        except KeyError:
            raise GuestError(ENOENT, f"no document {key!r}") from None

    def delete(self, key: str) -> None:
        """Forget `key`. Raises GuestError: EROFS, ENOENT."""
        self._check_writable()
        self.get(key)
        del self._documents[key]

    def keys(self) -> list[str]:
        """Every key, the oldest first."""
        return list(self._documents)

    def save(self) -> list[list[Any]]:
        """Every key with its document, the oldest first: what restore() takes."""
        return [[key, document] for key, document in self._documents.items()]

    def restore(self, saved: list[list[Any]]) -> None:
        """Hold what was saved, and nothing else. Raises ValueError past the limit: the file may be anybody's."""
        if len(saved) > self.limit:
            raise ValueError(f"{len(saved)} documents where {self.limit} are allowed")
        self._documents = dict(saved)

    def clear(self) -> None:
        """Forget everything."""
        self._documents.clear()

    def __len__(self) -> int:
        return len(self._documents)

    def _check_writable(self) -> None:
        if self.read_only:
            raise GuestError(EROFS, "the store is read-only")
