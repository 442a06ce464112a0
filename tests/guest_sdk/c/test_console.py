"""printf and its kin: what they write is what the C library writes, and a line is one exit."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.guest_sdk.c.conftest import Host, RunC

EDGES = [0, 1, 7, 8, 9, 10, 255, 256, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1]
VALUES = st.sampled_from(EDGES) | st.integers(0, (1 << 64) - 1)


def formatted(host: Host, text: str, stars: int, value: int | str, width: int, precision: int, size: int) -> None:
    """Ours and the C library's, byte for byte: what was written, what was not, and the length."""
    string = value if isinstance(value, str) else ""
    number = 0 if isinstance(value, str) else value
    head = struct.pack("<IBBQii", size, stars, isinstance(value, str), number, width, precision)
    got = host.ask(b"F", head + text.encode() + b"\0" + string.encode() + b"\0")
    ours, theirs = struct.unpack_from("<ii", got)
    half = (len(got) - 8) // 2
    assert ours == theirs, (text, value)
    assert got[8 : 8 + half] == got[8 + half :], (text, value)


@settings(max_examples=1500, deadline=None)
@given(
    flags=st.text("-0+ #", max_size=4),
    width=st.none() | st.just("*") | st.integers(0, 40),
    precision=st.none() | st.just("*") | st.just("") | st.integers(0, 30),
    length=st.sampled_from(["", "hh", "h", "l", "ll", "j", "z", "t"]),
    kind=st.sampled_from("diouxX"),
    value=VALUES,
    star=st.tuples(st.integers(-40, 40), st.integers(-5, 30)),
    size=st.sampled_from([0, 1, 2, 8, 100]),
)
@example("#", None, "", "", "o", 0, (0, 0), 100)
@example("#0", 8, None, "", "o", 8, (0, 0), 100)
@example("+", None, 0, "", "d", 0, (0, 0), 100)
def test_numbers_are_the_c_librarys(
    host: Host,
    flags: str,
    width: int | str | None,
    precision: int | str | None,
    length: str,
    kind: str,
    value: int,
    star: tuple[int, int],
    size: int,
) -> None:
    stars = (width == "*") + 2 * (precision == "*")
    text = f"<%{flags}{'' if width is None else width}{'' if precision is None else f'.{precision}'}{length}{kind}>"
    formatted(host, text, stars, value, *star, size)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["%s", "%10s", "%-10s|", "%.3s", "%.0s", "%.*s", "%*s", "%*.*s", "%-*.*s", "a%%b%s%%"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.integers(-20, 20),
    st.integers(-2, 20),
    st.sampled_from([0, 1, 5, 200]),
)
def test_strings_are_the_c_librarys(host: Host, text: str, value: str, width: int, precision: int, size: int) -> None:
    stars = {"%.*s": 2, "%*s": 1}.get(text, 3 if "*" in text else 0)
    formatted(host, text, stars, value, width, precision, size)


@pytest.mark.parametrize("text", ["%c", "%5c", "%-5c|", "%p", "%20p", "%-20p|"])
def test_letters_and_pointers_are_the_c_librarys(host: Host, text: str) -> None:
    formatted(host, text, 0, 0x41, 0, 0, 100)


def test_a_line_of_100_bytes_is_one_exit(run_c: RunC) -> None:
    line = f'printf("%0*d %s\\n", 40, 12345, "{"x" * 58}");'
    found = run_c(f"#include <stdio.h>\nint main(void) {{ return {line.rstrip(';')}; }}")
    assert found.console == f"{12345:040d} {'x' * 58}\n"
    assert found.status == len(found.console) == 100
    assert found.by_key == {("MSR_WRITE", "HYPERCALL_PAGE"): 1, ("VMCALL", "console_write"): 1, ("VMCALL", "exit"): 1}


def test_1024_bytes_are_one_exit_and_1025_are_two(run_c: RunC) -> None:
    for size, exits in ((1024, 1), (1025, 2), (5000, 5)):
        found = run_c(f'#include <stdio.h>\nint main(void) {{ return printf("%{size}d", 7) == {size} ? 0 : 1; }}')
        assert (found.status, found.console) == (0, f"{7:{size}d}")
        assert found.calls["console_write"] == exits


def test_puts_putchar_and_what_is_not_known(run_c: RunC) -> None:
    found = run_c(
        '#include <stdio.h>\nint main(void) { puts("one"); putchar(\'2\'); puts("");'
        'const char *odd = "%y %d %"; printf(odd, 3); return putchar(300) == 44 ? 0 : 1; }',
        flags=["-Wno-format-nonliteral"],
    )
    assert (found.console, found.status) == ("one\n2\n%y 3 %,", 0)


def test_a_refused_console_is_an_error_of_printf(run_c: RunC) -> None:
    text = '#include <stdio.h>\nint main(void) { return printf("%d", 1) < 0 && putchar(1) < 0 ? 3 : 4; }'
    found = run_c(text, machine={"grants": ["exit"]})
    assert (found.console, found.status) == ("", 3)


def test_widths_and_sizes_past_all_reason(run_c: RunC) -> None:
    found = run_c(
        """
        #include <limits.h>
        #include <stdint.h>
        #include <stdio.h>
        int main(void)
        {
            char small[4], large[64];
            const char *wide = "%2000000000d", *wider = "%99999999999d", *exact = "%.2000000000d";
            printf("%d %d", snprintf(small, sizeof small, wide, 1), snprintf(small, sizeof small, wider, 1) == INT_MAX);
            printf(" %d", snprintf(small, sizeof small, exact, 1));
            printf(" <%s>", small);
            printf(" %d <%s>", snprintf(large, SIZE_MAX, "%5d-%s", 123, "abc"), large);
            return 0;
        }""",
        flags=["-Wno-format-nonliteral"],
    )
    assert found.console == "2000000000 1 2000000000 <000> 9 <  123-abc>"
