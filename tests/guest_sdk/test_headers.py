"""The committed headers are the generated ones, and a C compiler takes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from guest_sdk import abi, headers

GCC = shutil.which("gcc")
AS = shutil.which("as")


@pytest.mark.parametrize("name", headers.FILES)
def test_committed_is_generated(name: str) -> None:
    committed = (headers.INCLUDE / name).read_text()
    assert committed == headers.FILES[name](), "run `python -m guest_sdk.headers`"


def test_main_rewrites_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "INCLUDE", tmp_path)
    headers.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(headers.FILES)


def test_headers_have_plugins_own_features() -> None:
    assert "#define PVKIT_FEATURE_KVSTORE 0x10000000000\n" in headers.c_header(features={"kvstore": 40})
    assert ".equ PVKIT_FEATURE_KVSTORE, 0x10000000000\n" in headers.asm_header(features={"kvstore": 40})


@pytest.mark.skipif(GCC is None, reason="no gcc on this machine")
@pytest.mark.parametrize("language", ["c11", "c++17"])
def test_a_compiler_takes_the_c_header(tmp_path: Path, language: str) -> None:
    if language.startswith("c++") and not shutil.which("g++"):
        pytest.skip("no g++ on this machine")
    asserts = [
        f"PVKIT_STATIC_ASSERT(offsetof(struct pvkit_{struct.name}, {field}) == {struct.offset(field)}, "
        f'"{struct.name}.{field}");\n'
        f"PVKIT_STATIC_ASSERT(PVKIT_{struct.name.upper()}_{field.upper()} == {struct.offset(field)}, "
        f'"PVKIT_{struct.name}_{field}");'
        for struct in abi.STRUCTS
        for field, _ in struct.fields
    ]
    sizes = [
        f'PVKIT_STATIC_ASSERT(sizeof(struct pvkit_{s.name}) == {s.size_bytes}, "size of {s.name}");'
        for s in abi.STRUCTS
    ]
    numbers = [f'PVKIT_STATIC_ASSERT(PVKIT_CALL_{c.name.upper()} == {c.number}, "{c.name}");' for c in abi.CALLS]
    source = tmp_path / ("use.cpp" if language.startswith("c++") else "use.c")
    source.write_text("\n".join(["#include <stddef.h>", '#include "pvkit_abi.h"', *asserts, *sizes, *numbers, ""]))
    command = [GCC or "gcc", f"-std={language}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run([*command, f"-I{headers.INCLUDE}", str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(AS is None, reason="no GNU assembler on this machine")
def test_an_assembler_takes_the_include(tmp_path: Path) -> None:
    source = tmp_path / "use.s"
    source.write_text(
        '.include "pvkit_abi.inc"\nmov $PVKIT_CALL_EXIT, %eax\n.if PVKIT_EVENT_PAGE_CR2 != 8\n.err\n.endif\n'
    )
    command = [AS or "as", f"-I{headers.INCLUDE}", "-o", str(tmp_path / "use.o"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_live_registry_can_be_printed() -> None:
    plugin = abi.Call(0x8001, "greet", (("name_gpa", 64), ("flags", 32)), "letters written")
    calls = (*abi.CALLS, plugin)
    assert "#define PVKIT_CALL_GREET 0x8001 /* greet(name_gpa:64, flags:32) -> letters written */" in headers.c_header(
        calls
    )
    assert ".equ PVKIT_CALL_GREET, 0x8001" in headers.asm_header(iter(calls))


def test_comments_cannot_be_closed_by_a_plugin() -> None:
    hostile = abi.Call(0x8001, "greet", (("a", 64),), "x */ int bad; /*\nint worse;")
    text = headers.c_header([hostile])
    line = next(line for line in text.splitlines() if "CALL_GREET" in line)
    assert line.count("*/") == 1
    assert "\nint worse;" not in text
    assert "\nint worse;" not in headers.asm_header([hostile])
