"""malloc: blocks do not overlap, keep what is in them, are aligned, and all of it comes back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guest_sdk.c.conftest import Host, RunC

STEP = st.tuples(
    st.integers(0, 4),  # free, malloc, calloc, realloc, aligned_alloc
    st.integers(0, 31),
    st.integers(0, 12),
    st.integers(0, 200) | st.integers(0, 5000) | st.sampled_from([0, 1, 15, 16, 17, 65536, (1 << 32) - 1]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=80))
def test_any_sequence(host: Host, steps: list[tuple[int, int, int, int]]) -> None:
    packed = b"".join(struct.pack("<BBBxI", *step) for step in steps)
    assert host.ask(b"H", packed) == b""


@pytest.mark.parametrize("misuse", [0, 1, 2], ids=["no block", "double free", "written past"])
def test_misuse_is_noticed(host: Host, misuse: int) -> None:
    assert b"is no block that malloc gave, or something wrote around it" in host.ask(b"X", bytes([misuse]))


def test_a_guest_has_all_memory_behind_its_image(run_c: RunC) -> None:
    found = run_c(
        """
        #include <pvkit.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        int main(void)
        {
            size_t all = pvkit_heap_free_bytes();
            pvkit_assert(all == (size_t)pvkit_memory_size() - (size_t)pvkit_image_end - 16);
            char *block = malloc(all - 16);
            pvkit_assert(block && !malloc(1));
            memset(block, 'x', all - 16);
            free(block);
            pvkit_assert(!malloc(all) && !malloc((size_t)-1) && !calloc((size_t)1 << 33, (size_t)1 << 33));
            unsigned *zeroes = calloc(1000, sizeof *zeroes);
            for (int i = 0; i < 1000; i++)
                pvkit_assert(!zeroes[i]);
            void *page = aligned_alloc(4096, 100);
            pvkit_assert((size_t)page % 4096 == 0 && !aligned_alloc(24, 1));
            free(page);
            free(zeroes);
            free(NULL);
            pvkit_assert(pvkit_heap_free_bytes() == all);
            return 0;
        }""",
        machine={"memory": "4MiB"},
    )
    assert found.summary == "exited with status 0"
    assert found.calls["memory_size"] == 2


def test_a_double_free_is_a_panic(run_c: RunC) -> None:
    text = "#include <stdlib.h>\nint main(void) { void *a = malloc(8); free(a); free(a); return 0; }"
    found = run_c(text, flags=["-Wno-use-after-free"])
    assert found.summary.startswith("guest panicked: heap: 0x1")


@pytest.mark.parametrize("order", ["cab", "abc", "cba", "bac"])
def test_a_double_free_is_a_panic_whatever_its_neighbours_are(run_c: RunC, order: str) -> None:
    """A block that was joined with those around it leaves its header inside of theirs."""
    frees = " ".join(f"free({name});" for name in order)
    text = f"""
        #include <stdio.h>
        #include <stdlib.h>
        int main(void)
        {{
            char *a = malloc(100), *b = malloc(100), *c = malloc(100), *d = malloc(100);
            if (!d)
                return 1;
            {frees}
            printf("once\\n");
            free(b);
            return 0;
        }}"""
    found = run_c(text, flags=["-Wno-use-after-free"])
    assert found.console == "once\n"
    assert found.summary.startswith("guest panicked: heap: 0x1")
