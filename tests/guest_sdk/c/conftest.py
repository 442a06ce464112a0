"""Guests in C for tests: built by the machine's compiler, run on a machine; and the library on the host itself."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guest_sdk import cc
from guest_sdk.compiler import Compiler, find_compiler
from guest_sdk.errors import CompilerMissing
from pv.machine import Machine
from pv.outcome import Outcome

HERE = Path(__file__).parent
HOSTED = ("format.c", "heap.c", "pack.c", "unpack.c", "string.c")  # parts of the library that make no hypercall
RENAMED = (
    *("vsnprintf", "snprintf", "malloc", "calloc", "realloc", "aligned_alloc", "free"),
    *("memcpy", "memmove", "memset", "memcmp", "memchr"),
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

RunC = Callable[..., Outcome]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests here, so that the library is compiled once."""
    monkeypatch.setenv("PVKIT_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    try:
        return find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., bytes]:
    """The guest of a source text; warnings are errors."""
    request.getfixturevalue("compiler")  # or a skip that says why

    def build_text(text: str, **options: Any) -> bytes:
        source = tmp_path / "main.c"
        source.write_text(text)
        return cc.build([source], **{"flags": ["-Werror"], **options})

    return build_text


@pytest.fixture
def run_c(build: Callable[..., bytes]) -> RunC:
    """What becomes of a guest of that text. machine: arguments of Machine."""

    def run(text: str, *, machine: dict[str, Any] | None = None, **options: Any) -> Outcome:
        with Machine(**(machine or {})) as made:
            made.load(build(text, **options))
            return made.run(timeout=30)

    return run


class Host:
    """The driver of host.c: one request at a time."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what: bytes, data: bytes) -> bytes:
        sent, got = self.process.stdin, self.process.stdout
        assert sent is not None
        assert got is not None
        sent.write(what + struct.pack("<I", len(data)) + data)
        sent.flush()
        head = got.read(4)
        assert len(head) == 4, "the library broke a rule of the sanitizers: see stderr"
        return got.read(struct.unpack("<I", head)[0])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="session")
def host(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The library for the host, under address and undefined-behaviour sanitizers where the compiler has them."""
    folder = tmp_path_factory.mktemp("host")
    ours = [f"-I{path}" for path in cc.HEADERS]
    names = [f"-D{name}=ours_{name}" for name in RENAMED]
    base = [*compiler.command, "-m64", "-std=gnu11", "-O1", "-g"]
    for flags in (SANITIZERS, ()):
        objects = []
        for name in HOSTED:
            objects.append(str(folder / f"{name}.o"))
            freestanding = ["-ffreestanding", "-nostdinc", *ours, "-isystem", compiler.headers, *names]
            command = [*base, *flags, *freestanding, "-c", str(cc.LIBRARY / name), "-o", objects[-1]]
            subprocess.run(command, check=True, capture_output=True)
        program = folder / "host"
        include = f"-I{folder / 'include'}"
        (folder / "include").mkdir(exist_ok=True)
        if not (folder / "include" / "pvkit").exists():
            (folder / "include" / "pvkit").symlink_to(cc.HEADERS[0] / "pvkit")
        command = [*base, *flags, "-Wno-format", include, str(HERE / "host.c"), *objects, "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"{compiler.command[0]} links no program for this host: {done.stderr.splitlines()[-1]}")
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    driver = Host(program)
    yield driver
    driver.close()
