"""The functions for calls: each argument in its type, plugins' words made harmless, and a compiler takes all of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from guest_sdk import abi, headers, stubs

GCC = shutil.which("gcc")


def test_every_call_but_those_that_jump_has_a_function() -> None:
    text = stubs.calls_header()
    for call in abi.CALLS:
        assert (f" pvkit_{call.name}(" in text) == (not call.jumps)


@pytest.mark.parametrize(
    "declaration",
    [
        "static inline int64_t pvkit_console_write(const void *data, uint64_t data_bytes)",
        "static inline int64_t pvkit_block_read(uint32_t disk, uint64_t offset, void *data, uint64_t data_bytes)",
        "static inline int64_t pvkit_map(uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags)",
        "static inline int64_t pvkit_abi_version(void)",
        "__attribute__((noreturn)) static inline void pvkit_exit(uint64_t status)",
    ],
)
def test_types(declaration: str) -> None:
    assert f"\n{declaration}\n" in stubs.calls_header()


def test_what_the_monitor_writes_is_named_in_the_abi() -> None:
    for name, arguments in stubs.WRITES.items():
        assert set(arguments) <= {argument for argument, _ in abi.BY_NAME[name].arguments}


def test_a_plugins_words_stay_in_their_comment() -> None:
    greet = abi.Call(0x8001, "greet", (("name_gpa", 64), ("name_bytes", 64), ("answer_gpa", 64)), "letters */ written")
    text = stubs.calls_header([*abi.CALLS, greet], {"greet": ["answer_gpa"]})
    assert "/* letters * / written */" in text
    assert "pvkit_greet(const void *name, uint64_t name_bytes, void *answer)" in text


@pytest.mark.skipif(GCC is None, reason="no gcc on this machine")
def test_a_compiler_takes_every_shape_of_call(tmp_path: Path) -> None:
    words = sorted(stubs.KEYWORDS)
    bits = (8, 16, 32, 64, 48, 1)
    calls = [
        abi.Call(0x8000 + at, f"call_{at}", tuple(zip(words[at : at + 6], bits, strict=False)), "")
        for at in range(0, len(words), 6)
    ]
    (tmp_path / "pvkit_calls.h").write_text(stubs.calls_header([*abi.CALLS, *calls]))
    (tmp_path / "pvkit_abi.h").write_text(headers.c_header([*abi.CALLS, *calls]))
    (tmp_path / "use.c").write_text("#include <pvkit_calls.h>\n#include <pvkit_calls.h>\n")
    command = [GCC or "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{tmp_path}"]
    done = subprocess.run([*command, str(tmp_path / "use.c")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("count", range(stubs.MOST + 1))
def test_a_raw_call_loads_the_registers_of_the_abi(count: int) -> None:
    text = stubs.raw_function(count)
    for register in abi.ARGUMENT_REGISTERS[:count]:
        assert (
            f'"{stubs.LETTERS[register]}"(' in text if register in stubs.LETTERS else f'__asm__("{register}")' in text
        )
    assert '"memory"' in text
