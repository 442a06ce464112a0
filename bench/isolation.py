"""What a process of its own costs a guest: `python -m bench.isolation` prints a line a figure, beside one without."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from guest_sdk import Guest
from guest_sdk.examples import hello
from hypercalls import hypercall
from pv.exits import StopWhy
from pv.machine import Machine

CALLS: Final = 20_000
STARTS: Final = 15
REST_S: Final = 0.05  # between two starts: the zygote makes the next worker ready meanwhile
NUMBER: Final = 0x8001


@hypercall(NUMBER, "bump")
def bump(_machine: Machine, value: int) -> int:
    """A call whose handler does next to nothing."""
    return value + 1


def caller(calls: int) -> bytes:
    """A guest that makes `calls` of them and ends with the last result."""
    guest = Guest("caller", paravirt=True)
    guest.asm(f"main: mov ebx, {calls}\nagain: mov edi, 41\nmov eax, {NUMBER:#x}\nvmcall\ndec ebx\njnz again\nret")
    return guest.build()


def start_ms(isolation: str) -> float:
    """A machine, made: the middle one of STARTS. The first, which may start a zygote, is not among them."""
    spans = []
    for number in range(STARTS + 1):
        started = time.perf_counter()
        with Machine(isolation=isolation) as machine:
            if number:
                spans.append(time.perf_counter() - started)
            machine.load(hello.build())
            assert machine.run(timeout=30).status == 0
        time.sleep(REST_S)
    return 1e3 * median(spans)


def call_us(isolation: str, calls: int = CALLS) -> float:
    """A hypercall there and back, its handler in this process."""
    with Machine(isolation=isolation, hypercalls=[bump]) as machine:
        machine.load(caller(calls))
        started = time.perf_counter()
        outcome = machine.run(timeout=120)
        spent = time.perf_counter() - started
    assert (outcome.why, outcome.status, outcome.calls["bump"]) == (StopWhy.EXITED, 42, calls), outcome.summary
    return 1e6 * spent / calls


def register_us(isolation: str, reads: int = 2000) -> float:
    """A register read between runs."""
    with Machine(isolation=isolation) as machine:
        vcpu = machine.vcpu
        started = time.perf_counter()
        for _ in range(reads):
            vcpu.rax  # noqa: B018 (the read is what is timed)
        return 1e6 * (time.perf_counter() - started) / reads


def main() -> None:
    started = time.perf_counter()
    Machine(isolation="process").close()
    print(f"the first machine, and the zygote with it: {1e3 * (time.perf_counter() - started):.0f} ms")
    for what, measure, unit in (
        ("a machine made", start_ms, "ms"),
        ("a hypercall", call_us, "us"),
        ("a register read", register_us, "us"),
    ):
        here, apart = measure("none"), measure("process")
        print(f"{what}: {here:.2f} {unit} here, {apart:.2f} {unit} in a process of its own")


if __name__ == "__main__":
    main()
