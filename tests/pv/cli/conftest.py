"""Distributions with a plugin each, installed for one test: metadata and a module in a folder of sys.path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guest_sdk.examples import hello
from pv.plugin import GROUP, rescan

Install = Callable[..., str]

HEAD = """
from pathlib import Path
from hypercalls import Feature, MachineView, Option, Plugin, hypercall

@hypercall({number}, "{call}")
def call(machine: MachineView) -> int:
    return 5

"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(name, code, ...): a distribution pkg-NAME 1.5 whose entry point `point` names PLUGIN of the module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules: list[str] = []

    def add(name: str, code: str, *, point: str = "", number: int = 0x8001, call: str = "ask") -> str:
        module = f"installed_{name}"
        (site / f"{module}.py").write_text(HEAD.format(number=number, call=call) + code, encoding="utf-8")
        info = site / f"pkg_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pkg-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{point or f'{name} = {module}:PLUGIN'}\n")
        modules.append(module)
        rescan()
        return name

    rescan()
    yield add
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    rescan()


@pytest.fixture
def guest(tmp_path: Path) -> str:
    """The hello guest, as a file."""
    file = tmp_path / "hello.elf"
    file.write_bytes(hello.build())
    return str(file)
