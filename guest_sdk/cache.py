"""Was this very guest built before? Files named by the digest of all that a build depends on.

Under PVKIT_CACHE, else XDG_CACHE_HOME/pvkit, else ~/.cache/pvkit. A cache that cannot be read or written is
only a slower build: nothing here raises.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

MOST_FILES: Final = 512  # the oldest go first
TOOLS: Final = ("keystone-engine", "iced-x86")


def directory() -> Path | None:
    """Where builds are kept, or None where the user has no home."""
    if root := os.environ.get("PVKIT_CACHE"):
        return Path(root) / "guests"
    if root := os.environ.get("XDG_CACHE_HOME"):
        return Path(root) / "pvkit" / "guests"
    try:
        return Path.home() / ".cache" / "pvkit" / "guests"
    except RuntimeError:
        return None


@cache
def builder_digest() -> bytes:
    """Of the SDK's own source and its assembler: another builder is another build."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for tool in TOOLS:
        try:
            digest.update(f"{tool} {version(tool)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{tool} unknown\n".encode())
    return digest.digest()


def key(content: str) -> str:
    """The name under which a build of `content` is kept."""
    return hashlib.sha256(builder_digest() + content.encode()).hexdigest()


def load(name: str) -> bytes | None:
    """The build of that name; None where there is none, or where its file is damaged."""
    folder = directory()
    if folder is None:
        return None
    try:
        stored = (folder / f"{name}.elf").read_bytes()
    except OSError:
        return None
    elf, digest = stored[:-32], stored[-32:]
    return elf if hashlib.sha256(elf).digest() == digest else None


def store(name: str, elf: bytes) -> None:
    """Keep a build: written aside, then renamed, so that no reader sees half of it."""
    folder = directory()
    if folder is None:
        return
    aside = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            aside = file.name
            file.write(elf + hashlib.sha256(elf).digest())
        Path(aside).replace(folder / f"{name}.elf")
        _prune(folder)
    except OSError:
        if aside:
            with contextlib.suppress(OSError):
                Path(aside).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    files = list(folder.glob("*.elf"))
    if len(files) > MOST_FILES:
        files.sort(key=lambda path: path.stat().st_mtime)
        for path in files[: len(files) - MOST_FILES]:
            path.unlink(missing_ok=True)
