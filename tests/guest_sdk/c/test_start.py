"""What a guest in C finds: a stack of its size, zeroes, constructors, and pages of one kind each."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from guest_sdk import abi
from guest_sdk.errors import CompilationError
from hypercalls import U8, U16, U32, hypercall
from pv.exits import StopWhy
from pv.loaders import load
from tests.guest_sdk.c.conftest import RunC


def test_main_alone_is_a_guest(run_c: RunC) -> None:
    found = run_c("int main(void) { return 7; }")
    assert found.summary == "exited with status 7"
    assert found.exits.total == 2  # the hypercall page's MSR, and exit


def test_memory_kinds_have_pages_of_their_own(build: Callable[..., bytes]) -> None:
    elf = build('#include <stdio.h>\nint set = 3, zero[5000];\nint main(void) { zero[set]++; return puts("text"); }')
    image = load(elf, 16 << 20)
    assert image.abi_version == abi.VERSION
    assert image.entry == image.symbols["_start"] == abi.LOAD_FIRST
    kinds = [(segment.writable, segment.executable) for segment in image.segments]
    assert kinds == [(False, True), (False, False), (True, False), (True, False)]
    assert all(segment.gpa % 4096 == 0 for segment in image.segments)
    page = image.symbols["pvkit_hypercall_page"]
    assert image.segments[0].gpa <= page < image.segments[0].end
    assert page % 4096 == 0
    stack = image.segments[2]
    assert (stack.gpa, stack.size_bytes, stack.data) == (image.symbols["pvkit_stack"], 64 << 10, b"")
    assert image.segments[1].end <= stack.gpa
    assert image.segments[3].end <= image.symbols["pvkit_image_end"]


def test_symbols_and_lines_are_kept_and_what_is_not_used_is_not(build: Callable[..., bytes]) -> None:
    elf = build("int helper(int a) { return a + 1; }\nint table[] = {1};\nint main(void) { return 0; }")
    names = load(elf, 16 << 20).symbols
    assert {"main", "helper", "table"} <= set(names)  # the host may call or read what the guest does not
    assert not {"printf", "malloc", "pvkit_queue_open"} & set(names)
    assert ELFFile(io.BytesIO(elf)).has_dwarf_info()


def test_the_same_source_is_the_same_guest(build: Callable[..., bytes]) -> None:
    text = '#include <pvkit.h>\n#include <stdio.h>\nint main(void) { return printf("%d", 3); }'
    assert build(text) == build(text)


def test_bss_is_zero_and_constructors_run_in_order(run_c: RunC) -> None:
    found = run_c("""
        #include <pvkit.h>
        static char zeroes[100000];
        static int order;
        __attribute__((constructor(200))) static void second(void) { pvkit_assert(order++ == 1); }
        __attribute__((constructor(101))) static void first(void) { pvkit_assert(order++ == 0); }
        __attribute__((constructor)) static void last(void) { pvkit_assert(order++ == 2); }
        int main(void)
        {
            for (unsigned i = 0; i < sizeof zeroes; i++)
                pvkit_assert(!zeroes[i]);
            return order;
        }""")
    assert found.summary == "exited with status 3"


DEEP = """
#include <stddef.h>
static int deep(int depth) { volatile char room[1024]; room[0] = 1; return depth ? deep(depth - 1) + room[0] : 0; }
int main(void) { return deep(DEPTH) == DEPTH ? 0 : 1; }
"""


@pytest.mark.parametrize(
    ("stack_bytes", "depth", "fits"), [(65536, 50, True), (65536, 70, False), (1 << 20, 900, True)]
)
def test_the_stack_has_its_size_and_an_end(run_c: RunC, stack_bytes: int, depth: int, fits: bool) -> None:
    found = run_c(DEEP, define=[f"DEPTH={depth}"], stack_bytes=stack_bytes)
    assert (found.why is StopWhy.EXITED) == fits
    if not fits:  # it met the constants below, which cannot be written
        assert (found.why, found.exits["EXCEPTION_NMI"] > 0) == (StopWhy.SHUTDOWN, True)


@pytest.mark.parametrize(
    "body",
    [
        "*(volatile char *)main = 0;",
        "*(volatile char *)text = 0;",
        "((void (*)(void))data)();",
        "((void (*)(void))&body)();",
    ],
    ids=["write code", "write a constant", "run data", "run the stack"],
)
def test_what_no_page_allows_ends_the_guest(run_c: RunC, body: str) -> None:
    text = (
        "#include <stdint.h>\nstatic const char text[] = {1, 2};\nunsigned char data[] = {0xc3};\n"
        f"int main(void) {{ volatile uint8_t body = 0xc3; {body} return body; }}"
    )
    found = run_c(text, flags=["-Wno-cast-qual", "-Wno-pedantic"])
    assert found.why is StopWhy.SHUTDOWN


def test_sse_runs_and_avx_is_refused(run_c: RunC) -> None:
    text = "int main(void) { volatile double a = 1.5; for (int i = 0; i < 6; i++) a = a * a + 0.25; return a > 1e9; }"
    assert run_c(text).status == 1
    with pytest.raises(CompilationError, match="a guest cannot use AVX: the engine runs SSE2; leave out -mavx"):
        run_c(text, flags=["-mavx"])


def test_a_stub_loads_its_own_registers_and_leaves_the_others(run_c: RunC) -> None:
    asked = []

    @hypercall(0x8001, "six")
    def six(machine: Any, a: int, b: U32, c: U16, d: U8, e: int, f: int) -> int:  # noqa: ARG001 (a handler takes it)
        asked.append((a, b, c, d, e, f))
        return 0x1234_5678_9ABC

    found = run_c(
        """
        #include <pvkit.h>
        int main(void)
        {
            uint64_t sum = 0;
            for (uint64_t i = 0; i < 100; i++)
                sum += i + (pvkit_six(i, (uint32_t)i + 1, (uint16_t)i, (uint8_t)i, i << 40, ~i) == 0x123456789ABC);
            pvkit_assert(sum == 4950 + 100);
            pvkit_assert(pvkit_call6(PVKIT_CALL_SIX, 0, 1ull << 32, 0, 0, 0, 0) == -PVKIT_EINVAL);
            pvkit_assert(pvkit_call0(0x8FFF) == -PVKIT_ENOSYS);
            return 0;
        }""",
        machine={"hypercalls": [six]},
        calls=[six],
    )
    assert found.summary == "exited with status 0"
    assert asked == [(i, i + 1, i, i, i << 40, ~i & (1 << 64) - 1) for i in range(100)]


def test_thread_local_variables_are_refused_by_the_linker(build: Callable[..., bytes]) -> None:
    with pytest.raises(CompilationError, match="a guest has one thread and no _Thread_local: make it static"):
        build("_Thread_local int count = 5; int main(void) { return ++count; }")
    with pytest.raises(CompilationError, match="no _Thread_local"):
        build("_Thread_local int count; int main(void) { return ++count; }")
