"""Giving up: assertions say where and what, errors have names, and the host is told."""

from __future__ import annotations

import pytest

from guest_sdk import abi
from pv.exits import StopWhy
from tests.guest_sdk.c.conftest import RunC

HEAD = "#include <assert.h>\n#include <pvkit.h>\n#include <stdlib.h>\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("int x = 0; pvkit_assert(x > 0);", "main.c:4: x > 0"),
        ('const char *a = "100%"; assert(a[0] == \'2\' && "why not");', "main.c:4: a[0] == '2' && \"why not\""),
        ("pvkit_must(pvkit_event_close(5000));", "main.c:4: pvkit_event_close(5000): EINVAL"),
        ('pvkit_panicf("%d is %s", 3, "odd");', "3 is odd"),
        ("abort();", "abort()"),
    ],
)
def test_a_panic_says_where_and_what(run_c: RunC, line: str, says: str) -> None:
    found = run_c(f"{HEAD}int main(void) {{ {line} return 0; }}")
    assert (found.why, found.detail) == (StopWhy.PANICKED, says)
    assert found.summary == f"guest panicked: {says}"
    assert found.exits["VMCALL"] == 1 + (says.endswith("EINVAL"))


def test_what_holds_costs_nothing(run_c: RunC) -> None:
    found = run_c(f"{HEAD}int main(void) {{ int n = 0; pvkit_assert(++n == 1); assert(++n == 2); return n; }}")
    assert (found.status, found.exits["VMCALL"]) == (2, 1)
    found = run_c(f"{HEAD}int main(void) {{ int n = 0; assert(++n == 2); return n; }}", define=["NDEBUG"])
    assert found.status == 0


def test_exit_ends_with_its_status(run_c: RunC) -> None:
    assert (
        run_c(f"{HEAD}static void leave(void) {{ exit(300); }}\nint main(void) {{ leave(); return 1; }}").status == 44
    )


def test_every_errno_has_its_name(run_c: RunC) -> None:
    prints = "".join(f"puts(pvkit_error_name(-PVKIT_{name}));" for name in abi.ERRNO)
    found = run_c(
        f"#include <stdio.h>\n{HEAD}int main(void) {{ {prints} puts(pvkit_error_name(-4000));"
        "puts(pvkit_error_name(7)); puts(pvkit_error_name(-4096));"
        "return pvkit_failed(-4095) && !pvkit_failed(-4096) && !pvkit_failed(0); }"
    )
    assert found.console.split("\n") == [*abi.ERRNO, "an unknown error", "no error", "no error", ""]
    assert found.status == 1


def test_a_panic_that_is_not_granted_ends_the_guest_all_the_same(run_c: RunC) -> None:
    found = run_c(f"{HEAD}int main(void) {{ pvkit_assert(0); return 0; }}", machine={"grants": ["exit"]})
    assert found.why is StopWhy.SHUTDOWN
