"""A build cache of the test's own, and encodings by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guest_sdk.encode import Encoder
from guest_sdk.syntax import Instruction, Register, parse_text

ADDRESS = 0x100000


def no_names(name: str) -> int:
    """The lookup of a line that names nothing."""
    raise KeyError(name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def encode() -> Callable[[str], bytes]:
    """Bytes of one line without labels, at ADDRESS."""
    encoder = Encoder()

    def encode_line(line: str) -> bytes:
        (item,) = parse_text(line)[0]
        assert isinstance(item, Instruction)
        operands = tuple(o if isinstance(o, Register) else o.resolve(no_names, {}) for o in item.operands)
        return encoder.encode(item.mnemonic, item.prefixes, operands, ADDRESS)

    return encode_line
