"""README's example and commands run as printed, its links lead somewhere, and its make targets exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


def commands() -> list[tuple[str, str]]:
    """Each `$ command` of README's console blocks, with the output printed under it."""
    found = []
    for language, text in BLOCKS:
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds README's python files: a block whose first line is `# name.py` is that file."""
    where = tmp_path_factory.mktemp("readme")
    for language, text in BLOCKS:
        name = re.match(r"# ([\w.]+\.py)\n", text)
        if language == "python" and name:
            (where / name[1]).write_text(text, encoding="utf-8")
    return where


def test_readme_has_an_example() -> None:
    assert any(command.startswith("python ") for command, _ in commands())


@pytest.mark.parametrize(("command", "output"), commands(), ids=[command for command, _ in commands()])
def test_command_prints_what_readme_shows(command: str, output: str, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = shlex.split(command)
    if arguments[0] == "python":
        arguments[0] = sys.executable
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_make_targets_exist() -> None:
    wanted = set(
        re.findall(r"^make (\w+)", "\n".join(text for language, text in BLOCKS if language == "sh"), re.MULTILINE)
    )
    offered = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"compare", "test"} <= wanted <= offered


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []
