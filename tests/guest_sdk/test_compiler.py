"""Which compiler is taken: CC first, then those of the path; none, or one for another machine, is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilerMissing

SCRIPT = """#!/bin/sh
case "$*" in
  *-dumpmachine) echo {target} ;;
  *--version) echo "{name} 9.9"; echo more ;;
  *-print-file-name=include) echo /headers/of/{name} ;;
esac
"""


def fake(folder: Path, name: str, target: str = "x86_64-linux-gnu", script: str = SCRIPT) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(script.format(name=name, target=target))
    (folder / name).chmod(0o755)


def test_gcc_comes_before_clang_and_cc(tmp_path: Path) -> None:
    for name in ("cc", "clang", "gcc"):
        fake(tmp_path / name, name)
        path = ":".join(str(tmp_path / found) for found in ("cc", "clang", "gcc"))
        found = find_compiler({"PATH": path})
        assert found.command == (str(tmp_path / name / name),)
        assert (found.version, found.headers) == (f"{name} 9.9", f"/headers/of/{name}")


def test_cc_of_the_environment_may_have_arguments(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "mine")
    fake(tmp_path / "bin", "gcc")
    found = find_compiler({"PATH": str(tmp_path / "bin"), "CC": "mine --target='a b'"})
    assert found.command == (str(tmp_path / "bin" / "mine"), "--target=a b")


def test_one_for_another_machine_is_passed_over(tmp_path: Path) -> None:
    fake(tmp_path / "arm", "gcc", target="aarch64-linux-gnu")
    fake(tmp_path / "arm", "clang")
    assert find_compiler({"PATH": str(tmp_path / "arm")}).version == "clang 9.9"


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("absent", "CC is 'absent', and there is no absent; install one"),
        ("arm", "makes code for aarch64-linux-gnu, not for x86-64; install one (on Debian: apt-get install gcc)"),
        ("broken", "-dumpmachine ends with 3"),
        ("'open", 'CC is "\'open", and No closing quotation'),
        ("folder", "there is no folder"),
    ],
)
def test_a_cc_that_cannot_be_is_one_line(tmp_path: Path, chosen: str, says: str) -> None:
    fake(tmp_path / "own", "arm", target="aarch64-linux-gnu")
    fake(tmp_path / "own", "broken", script="#!/bin/sh\nexit 3\n")
    (tmp_path / "own" / "folder").mkdir()
    with pytest.raises(CompilerMissing) as refused:
        find_compiler({"PATH": str(tmp_path / "own"), "CC": chosen})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_compiler_at_all_is_one_line_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(CompilerMissing) as refused:
        find_compiler({"PATH": str(tmp_path)})
    assert str(refused.value) == (
        "guests in C need a C compiler: there is no gcc; there is no clang; there is no cc; "
        "install one (on Debian: apt-get install gcc), or name yours in CC"
    )
