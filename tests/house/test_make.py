"""The Makefile names what a machine lacks, one line each, before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def needs(path: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """`make needs` with `path` as PATH; nothing else of the environment is changed."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    environment = {**os.environ, "PATH": path}
    command = [make, "--no-print-directory", "needs", f"PYTHON={python}"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def tools(folder: Path, *names: str) -> str:
    """A PATH that holds only these tools of the machine's."""
    for name in names:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return str(folder)


def test_a_machine_without_gcc_is_told_so(tmp_path: Path) -> None:
    done = needs(tools(tmp_path, "sh"))
    lines = done.stderr.splitlines()
    assert done.returncode != 0
    assert "pvkit: missing: gcc. On Debian: apt-get install gcc libc6-dev" in lines


def test_a_machine_without_python_is_told_so(tmp_path: Path) -> None:
    done = needs(tools(tmp_path, "sh"), python="")
    assert done.returncode != 0
    assert any(line.startswith("pvkit: missing: Python 3.11 or later") for line in done.stderr.splitlines())


def test_a_python_without_venv_is_told_so(tmp_path: Path) -> None:
    lacking = tmp_path / "python-without-venv"
    script = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac\n'
    lacking.write_text(script, encoding="utf-8")
    lacking.chmod(0o755)
    done = needs(os.environ["PATH"], python=str(lacking))
    assert done.returncode != 0
    assert f"pvkit: missing: the venv module of {lacking}. On Debian: apt-get install python3-venv" in done.stderr


def test_a_python_without_headers_is_told_so(tmp_path: Path) -> None:
    lacking = tmp_path / "python-without-headers"
    script = f'#!/bin/sh\ncase "$2" in *Python.h*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac\n'
    lacking.write_text(script, encoding="utf-8")
    lacking.chmod(0o755)
    done = needs(os.environ["PATH"], python=str(lacking))
    assert done.returncode != 0
    assert f"pvkit: missing: the headers of {lacking} (Python.h). On Debian: apt-get install python3-dev" in done.stderr


def test_a_compiler_without_the_c_librarys_headers_is_told_so(tmp_path: Path) -> None:
    path = tools(tmp_path, "sh")
    lacking = tmp_path / "gcc"
    lacking.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    lacking.chmod(0o755)
    assert (
        "pvkit: missing: the C library's headers (stdio.h). On Debian: apt-get install libc6-dev" in needs(path).stderr
    )


def test_each_missing_thing_has_a_line_with_its_cure(tmp_path: Path) -> None:
    done = needs(tools(tmp_path, "sh"), python="")
    lines = [line for line in done.stderr.splitlines() if line.startswith("pvkit:")]
    assert len(lines) == 2
    assert all("apt-get install" in line for line in lines)
