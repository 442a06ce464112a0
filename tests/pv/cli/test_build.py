"""`pvkit build`: a guest from C on the command line, plugins' calls included, and mistakes as a person meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_sdk import cc
from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilerMissing
from hypercalls import Document, GuestBytes, GuestString, Plugin, Registry, hypercall
from hypercalls.arguments import GuestBuffer
from hypercalls.document import ReplyDocument
from pv.cli import build as command
from pv.cli import main


@hypercall(0x8020, "talk")
def talk(machine, page_gpa: int, text: GuestString, data: GuestBytes) -> int:  # noqa: ARG001 (a handler's signature)
    return 0


@hypercall(0x8021, "converse")
def converse(machine, said: Document, answer: ReplyDocument, raw: GuestBuffer) -> int:  # noqa: ARG001 (likewise)
    return 0


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a guest."""
    monkeypatch.setenv("PVKIT_CACHE", str(shared_cache))
    try:
        find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.c").write_text('#include <stdio.h>\nint main(void) { return puts("hello from C") < 0; }\n')
    return tmp_path


def test_a_guest_is_built_and_runs(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["build", "hello.c"]) == 0
    assert main(["run", "hello.elf", "--timeout", "20"]) == 0
    assert capfdbinary.readouterr() == (b"hello from C\n", b"")
    assert (folder / "hello.elf").exists()


def test_options_reach_the_compiler(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "own.h").write_text("#define STATUS VALUE\n")
    (folder / "main.c").write_text('#include "own.h"\nint main(void) { return STATUS; }\n')
    options = [
        "-Iown",
        "-D",
        "VALUE=9",
        "--cflags",
        "-O1 -Werror",
        "--stack",
        "1M",
        "--keep",
        "kept",
        "-v",
        "-o",
        "x.elf",
    ]
    assert main(["build", "main.c", *options]) == 0
    shown = capfd.readouterr().err
    for part in (" -Iown ", " -DVALUE=9 ", " -O1 -Werror ", "pvkit_stack_bytes=0x100000"):
        assert part in shown
    assert (folder / "kept" / "pvkit_calls.h").exists()
    assert main(["run", "x.elf", "--timeout", "20"]) == 9


def test_the_compilers_words_are_shown_as_they_are(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.c").write_text("int main(void) { return nothing; }\n")
    assert main(["build", "bad.c"]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert "bad.c:1:25: error: " in error
    assert "Traceback" not in error
    assert not (folder / "bad.elf").exists()


def test_warnings_are_shown_and_are_no_failure(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "warns.c").write_text("int main(void) { int unused; return 0; }\n")
    assert main(["build", "warns.c"]) == 0
    assert "-Wunused-variable" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.c"], "pvkit: absent.c: no such file"),
        (["hello.c", "-o", "./hello.c"], "pvkit: hello.c is a source; name another file with -o"),
        (["."], "pvkit: . is a directory; name the sources in it"),
        (["hello.txt"], "pvkit: hello.txt: a guest is built from .c, .S, .s, .o, .a"),
        (["hello.c", "--stack", "big"], "pvkit: size 'big' is not a number"),
        (["hello.c", "--stack", "5000"], "pvkit: a stack of 5000 bytes is not of whole pages"),
        (["hello.c", "--no-plugin", "nobody"], "pvkit: no plugin is named 'nobody'"),
        (["hello.c", "-o", "no/such/folder.elf"], "pvkit: cannot write no/such/folder.elf: No such file or directory"),
        (["hello.c", "--cflags", "-D'open"], "pvkit: No closing quotation"),
        ([], "pvkit: Missing argument 'SOURCE...'"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line(arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["build", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(says)


def test_without_a_compiler_one_line_says_how_to_mend_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    assert main(["build", "hello.c"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        "pvkit: guests in C need a C compiler: there is no gcc; there is no clang; there is no cc; "
        "install one (on Debian: apt-get install gcc), or name yours in CC"
    )


def test_plugins_parts_are_found_where_they_have_some(tmp_path: Path) -> None:
    source = tmp_path / "dice.c"
    source.touch()
    dice = Plugin("dice", "1", (talk,), c_include=tmp_path, c_sources=(source,))
    (part,) = command.parts_of(Registry([dice, Plugin("plain", "1", (converse,))]))
    assert part == cc.Part("dice", tmp_path, (source,))
