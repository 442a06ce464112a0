"""The pages under docs run as printed, in a folder with their own files, and their plugin installs as a package."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilerMissing

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *("batches.md", "guests.md", "c-guests.md", "hypercalls.md", "plugins.md"),
    *("embedding.md", "hostile-guests.md", "snapshots.md", "apic-virtualization.md", "theorem.md"),
    *("hardware.md", "check.md", "translation.md"),
)
BIN = Path(sys.executable).parent


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def unpack(page: str, folder: Path) -> None:
    """Write each block whose first line is `# name.ext` as that file."""
    for _, text in blocks(page):
        if named := re.match(r"(?:#|//) ([\w.]+\.(?:py|toml|c))\n", text):
            (folder / named[1]).write_text(text, encoding="utf-8")


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = ["sh", "-c", command] if ";" in command else shlex.split(command)
    if arguments[0] == "python":
        arguments[0] = sys.executable
    paths = os.pathsep.join([environment.pop("first", str(ROOT)), str(ROOT)])
    settings = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths, **environment}
    return subprocess.run(arguments, cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False)


def need_a_compiler() -> None:
    try:
        find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_shows(page: str, tmp_path: Path) -> None:
    if page == "c-guests.md":
        need_a_compiler()
    unpack(page, tmp_path)
    ran = 0
    for language, text in blocks(page):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:] if language == "console" else ():
            command, _, output = part.partition("\n")
            if not output and command.startswith(("pvkit hypercalls", "pvkit run")) and page != "c-guests.md":
                continue  # needs the page's package installed: the test below
            done = run(command, tmp_path)
            assert (done.returncode, done.stdout) == (0, output), done.stderr
            ran += 1
    assert ran


@pytest.mark.parametrize(
    ("page", "call", "says"),
    [
        ("hypercalls.md", "dice_roll", ("0x8010", "Roll one die")),
        ("plugins.md", "tally", ("0x8020  tally_add(", "41  tally", "tally.names: a whole number from 1 to 1000; 100")),
    ],
)
def test_the_plugin_installs_as_a_package(page: str, call: str, says: tuple[str, ...], tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    unpack(page, source)
    install = f"python -m pip install -q --no-deps --no-build-isolation --no-index --target {site} {source}"
    done = run(install, tmp_path)
    assert done.returncode == 0, done.stderr
    shown = run(f"pvkit hypercalls show {call}", tmp_path, first=str(site))
    assert shown.returncode == 0, shown.stderr
    assert [part for part in (call, *says) if part not in shown.stdout] == []


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / "docs" / link).exists()] == []
