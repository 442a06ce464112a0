"""The functions that a compiler calls by itself do what the C library's do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guest_sdk.c.conftest import Host, RunC

BYTE = st.integers(0, 255)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2), BYTE, BYTE, BYTE)
def test_memory_is_what_the_c_library_makes_of_it(host: Host, what: int, to: int, source: int, count: int) -> None:
    assert host.ask(b"M", bytes([what, to, source, count])) == b"\1"


def test_a_guest_may_copy_structures_and_compare_texts(run_c: RunC) -> None:
    found = run_c("""
        #include <pvkit.h>
        #include <string.h>
        struct large { char bytes[3000]; };
        static struct large make(char first) { struct large made = {{0}}; made.bytes[0] = first; return made; }
        int main(void)
        {
            struct large one = make('a'), two = one;
            pvkit_assert(two.bytes[0] == 'a' && !memcmp(&one, &two, sizeof one));
            pvkit_assert(strlen("four") == 4 && strnlen("four", 2) == 2 && !strcmp("a", "a") && strcmp("a", "b") < 0);
            pvkit_assert(strcmp("b", "a") > 0 && strcmp("a", "ab") < 0 && !strncmp("abc", "abd", 2));
            const char *text = "a=b";
            pvkit_assert(strchr(text, '=') == text + 1 && !strchr(text, 'x') && strchr(text, 0) == text + 3);
            pvkit_assert(memchr(text, 'b', 3) == text + 2 && !memchr(text, 'b', 2));
            return 0;
        }""")
    assert found.summary == "exited with status 0"
