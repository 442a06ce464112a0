"""The host calls functions of a guest in C by their names, between runs and from a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercalls import hypercall
from pv.machine import Machine

TEXT = """
#include <pvkit.h>
#include <stdio.h>
struct text { const char *data; uint64_t bytes; };
static char buffer[64];

long add(long a, long b) { return a + b; }

struct text greet(const char *name, uint64_t bytes)
{
    int length = snprintf(buffer, sizeof buffer, "hello %.*s", (int)bytes, name);
    return (struct text){buffer, (uint64_t)length};
}

int main(void) { return (int)pvkit_must(pvkit_ask_back(20)); }
"""


def test_functions_are_called_by_name(build: Callable[..., bytes]) -> None:
    @hypercall(0x8001, "ask_back")
    def ask_back(machine: Any, value: int) -> int:
        return int(machine.call("add", value, 22))

    with Machine(hypercalls=[ask_back]) as machine:
        machine.load(build(TEXT, calls=[ask_back]))
        assert machine.run(timeout=20, max_exits=1).exits.total == 1  # the hypercall page is there
        assert machine.call("add", 2, -5) == -3
        assert machine.call("greet", "Ålesund", returns=str) == "hello Ålesund"
        assert machine.run(timeout=20).status == 42
