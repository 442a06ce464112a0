"""Functions of a guest in C, called with what C's types say."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guest_sdk import cc
from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilerMissing
from hypercalls import U8, hypercall
from pv import Document, GuestCallError, Machine, StopWhy

SOURCE = """
#include <pvkit.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span { void *data; size_t bytes; };

long add(long a, long b) { return a + b; }
int below(int n) { return n - 1; }
bool is_odd(unsigned n) { return n & 1; }
uint8_t low(uint64_t n) { return (uint8_t)n; }
uint64_t largest(void) { return UINT64_MAX; }

struct span twice(const char *text, size_t bytes)
{
    char *made = malloc(2 * bytes);
    if (!made)
        abort();
    memcpy(made, text, bytes);
    memcpy(made + bytes, text, bytes);
    printf("%d bytes\\n", (int)(2 * bytes));
    return (struct span){ made, 2 * bytes };
}

struct span same(void *data, size_t bytes)
{
    static char kept[512];
    memcpy(kept, data, bytes < sizeof kept ? bytes : sizeof kept);
    return (struct span){ kept, bytes };
}

double half(double x) { return x / 2; }
int use_xmm(int n) { return (int)(half((double)n) * 10.0); }
long factorial(long n) { return n ? n * pvkit_call1(0x8001, n - 1) : 1; }

int main(void)
{
    double before = half(3.0);
    long result = pvkit_call1(0x8001, 5);
    return before * 2 == 3.0 ? (int)result : 255;
}
"""


@hypercall(0x8001, "factorial")
def factorial(machine: Any, n: int) -> int:
    machine.call("use_xmm", 7)
    return int(machine.call("factorial", n))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    try:
        find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    source: Path = tmp_path_factory.mktemp("c") / "called.c"
    source.write_text(SOURCE)
    with Machine(hypercalls=[factorial]) as made:
        made.load(cc.build([source]))
        outcome = made.run(timeout=30)
        assert outcome.status == 120
        assert outcome.calls["factorial"] == 6
        assert outcome.calls["call_return"] == 12
        yield made


def test_c_s_integers(machine: Machine) -> None:
    assert machine.call("add", -3, 1) == -2
    assert machine.call("below", 0, returns=ctypes.c_int) == -1
    assert [machine.call("is_odd", n, returns=bool) for n in (2, 3)] == [False, True]
    assert machine.call("low", 0x1FF, returns=U8) == machine.call("low", 0x1FF, returns=ctypes.c_uint8) == 0xFF
    assert machine.call("largest", returns=ctypes.c_uint64) == (1 << 64) - 1
    assert machine.call("use_xmm", 7, returns=ctypes.c_int) == 35


def test_c_s_structures(machine: Machine) -> None:
    assert machine.call("twice", "héllo", returns=str) == "héllohéllo"
    assert machine.console.text.endswith("12 bytes\n")
    assert machine.call("same", {"a": [1, 2]}, returns=Document) == {"a": [1, 2]}
    with pytest.raises(GuestCallError, match="did you mean"):
        machine.call("twise", "x", returns=str)


def test_a_function_that_gives_up(machine: Machine) -> None:
    with pytest.raises(GuestCallError) as caught:
        machine.call("twice", 0x100000, 1 << 40, returns=bytes)  # malloc fails, and abort() ends the guest
    assert caught.value.why is StopWhy.PANICKED
    assert machine.call("add", 1, 1) == 2
