"""How guests in C are built: sources and flags, plugins' parts, the cache, and refusals in the compiler's own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest_sdk import AssemblyError, abi, cc
from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilationError, CompilerMissing
from pv.loaders import load
from pv.machine import Machine


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVKIT_CACHE", str(shared_cache))
    try:
        find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    return shared_cache


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def status(elf: bytes) -> int | None:
    with Machine() as machine:
        machine.load(elf)
        return machine.run(timeout=20).status


def test_several_sources_headers_and_macros(tmp_path: Path) -> None:
    write(tmp_path, "include/sum.h", "int sum(int, int);\n")
    main = write(tmp_path, "main.c", '#include "sum.h"\nint main(void) { return sum(A, B); }\n')
    assembler = write(
        tmp_path,
        "sum.S",
        "#include <pvkit_abi.h>\n.globl sum\nsum: lea (%rdi,%rsi), %eax\nadd $PVKIT_EPERM, %eax\nret\n",
    )
    elf = cc.build([main, assembler], include=[tmp_path / "include"], define=["A=30", "B=11"], flags=["-O0"])
    assert status(elf) == 42


def test_commands_are_shown_and_the_library_is_compiled_once(tmp_path: Path, own_cache: Path) -> None:
    main = write(tmp_path, "main.c", "int main(void) { return 3; }\n")
    first: list[str] = []
    again: list[str] = []
    cc.build([main], define=["FIRST"], show=first.append)
    elf = cc.build([main], flags=["-O1"], show=again.append, keep=tmp_path / "kept")
    assert len(again) == 1
    assert "-DFIRST" in first[-1]
    assert str(main) in again[0]
    assert " -O1 " in again[0]
    assert (tmp_path / "kept" / "guest.elf").read_bytes() == elf
    assert "pvkit_console_write" in (tmp_path / "kept" / "pvkit_calls.h").read_text()
    for damaged in own_cache.rglob("*.elf"):
        damaged.write_bytes(damaged.read_bytes()[:-1])
    repaired: list[str] = []
    assert cc.build([main], flags=["-O1"], show=repaired.append) == elf
    assert len(repaired) > 10


def test_a_plugins_headers_and_sources_are_at_hand_and_left_out_where_not_used(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    write(plugin, "include/dice.h", "#include <pvkit_calls.h>\nint roll_both(void);\n")
    source = write(
        plugin, "dice.c",
        '#include <dice.h>\nint roll_both(void) { return (int)(pvkit_dice_roll(6) + pvkit_dice_roll(7)); }\n',
    )  # fmt: skip
    part = cc.Part("dice", plugin / "include", (source,))
    roll = abi.Call(0x8010, "dice_roll", (("sides", 32),), "1 to sides")
    user = write(tmp_path, "user.c", "#include <dice.h>\nint main(void) { return roll_both() == -2 * PVKIT_ENOSYS; }\n")
    other = write(tmp_path, "other.c", "int main(void) { return 2; }\n")
    used, unused = (cc.build([main], calls=[roll], parts=[part]) for main in (user, other))
    assert "roll_both" in load(used, 1 << 24).symbols
    assert "roll_both" not in load(unused, 1 << 24).symbols
    assert status(used) == 1


def test_the_compilers_words_reach_the_caller(tmp_path: Path) -> None:
    bad = write(tmp_path, "bad.c", "int main(void) { return nothing; }\n")
    with pytest.raises(CompilationError) as refused:
        cc.build([bad])
    assert "bad.c:1:25: error: " in refused.value.output
    no_main = write(tmp_path, "no_main.c", "int helper(void) { return 1; }\n")
    with pytest.raises(CompilationError) as refused:
        cc.build([no_main])
    assert "undefined reference to `main'" in refused.value.output
    warns: list[str] = []
    cc.build([write(tmp_path, "warns.c", "int main(void) { int unused; return 0; }\n")], warn=warns.append)
    assert "unused" in "".join(warns)


def test_the_hosts_headers_are_not_seen(tmp_path: Path) -> None:
    main = write(tmp_path, "main.c", "#include <unistd.h>\nint main(void) { return 0; }\n")
    with pytest.raises(CompilationError, match=r"unistd\.h"):
        cc.build([main])
    well = write(
        tmp_path, "well.c",
        "#include <limits.h>\n#include <stdarg.h>\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"
        "int main(void) { return INT_MAX == INT32_MAX && "
        "LONG_MIN == INT64_MIN && UINT_MAX == UINT32_MAX && CHAR_BIT == 8; }\n",
    )  # fmt: skip
    assert status(cc.build([well])) == 1


@pytest.mark.parametrize(
    ("names", "stack", "says"),
    [
        ([], 65536, "no source: a guest in C is built from at least one file"),
        (["main.cpp"], 65536, "main.cpp: a guest is built from .c, .S, .s, .o, .a"),
        (["absent.c"], 65536, "absent.c: no such file"),
        (["main.c"], 5000, "a stack of 5000 bytes is not of whole pages of 4096"),
        (["main.c"], 0, "a stack of 0 bytes"),
        (["main.c"], 1 << 40, "a stack of 1099511627776 bytes"),
    ],
)
def test_what_cannot_be_a_guest_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], stack: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "main.c", "int main(void) { return 0; }\n")
    with pytest.raises(AssemblyError) as refused:
        cc.build(names, stack_bytes=stack)
    assert says in str(refused.value)


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = write(tmp_path, "main.c", "int main(void) { return 0; }\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CompilerMissing, match="apt-get install gcc"):
        cc.build([main])
    assert os.environ["PATH"] == str(tmp_path)


def test_names_that_a_compiler_might_take_for_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "list.c", "-DWRONG")
    write(tmp_path, "-a.c", "int a(void) { return 1; }\n")
    write(tmp_path, "@list.c", "int b(void) { return 2; }\n")
    write(tmp_path, 'it\'s a "folder"/same.c', "int c(void) { return 3; }\n")
    write(tmp_path, "same.c", "int a(void), b(void), c(void); int main(void) { return 100 * a() + 10 * b() + c(); }\n")
    assert status(cc.build(["-a.c", "@list.c", 'it\'s a "folder"/same.c', "same.c"])) == 123


def test_search_paths_of_the_host_are_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "hosts/hosts.h", "")
    monkeypatch.setenv("CPATH", str(tmp_path / "hosts"))
    with pytest.raises(CompilationError, match=r"hosts\.h"):
        cc.build([write(tmp_path, "main.c", "#include <hosts.h>\nint main(void) { return 0; }\n")])


def test_a_plugins_files_stand_in_nobodys_way(tmp_path: Path) -> None:
    """Its headers come after the library's, and its name is not that of the library's object."""
    write(tmp_path, "plugin/string.h", "#error a plugin's\n")
    write(tmp_path, "plugin/own.h", "int own(void);\n")
    write(tmp_path, "other/own.h", "#error another plugin's\n")
    source = write(tmp_path, "own.c", "#include <own.h>\n#include <string.h>\nint own(void) { return 7; }\n")
    main = write(tmp_path, "main.c", "#include <string.h>\nint own(void);\nint main(void) { return own(); }\n")
    parts = [cc.Part("other", tmp_path / "other"), cc.Part("library", tmp_path / "plugin", (source,))]
    assert status(cc.build([main], parts=parts)) == 7


def test_a_plugin_whose_c_does_not_compile_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, "bad.c", "int bad(void) { return nothing; }\n")
    main = write(tmp_path, "main.c", "int main(void) { return 0; }\n")
    with pytest.raises(CompilationError) as refused:
        cc.build([main], parts=[cc.Part("dim", sources=(source,))])
    first, *_, last = refused.value.output.splitlines()
    assert "bad.c" in first
    assert last == "pvkit: this is C of the plugin 'dim', not yours; --no-plugin dim builds without it"


def test_a_plugins_call_may_have_a_name_of_the_librarys(tmp_path: Path) -> None:
    calls = [abi.Call(0x8010 + at, name, (), "") for at, name in enumerate(("protect", "call2", "must", "upcall"))]
    main = write(
        tmp_path, "main.c",
        "#include <pvkit.h>\nint main(void)\n{\n"
        "    return (int)-(pvkit_protect_() + pvkit_call2_() + pvkit_must_() + pvkit_upcall_());\n}\n",
    )  # fmt: skip
    assert status(cc.build([main], calls=calls)) == 4 * abi.ERRNO["ENOSYS"]


@pytest.mark.parametrize("macro", ["", "=3"])
def test_a_macro_of_no_name_is_refused(tmp_path: Path, macro: str) -> None:
    main = write(tmp_path, "main.c", "int main(void) { return 0; }\n")
    with pytest.raises(AssemblyError, match="has no name; write NAME or NAME=VALUE"):
        cc.build([main], define=[macro])
