"""Does a hypercall cost a guest in C what it costs one built in Python? The same loop in both, side by side.

`python -m bench.c_guests` prints ns an operation of each and their ratio, from rounds that alternate, so that what
disturbs one disturbs the other.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.plugin import bench_machine
from bench.rows import NULL_CALL
from guest_sdk import Guest, abi, cc
from pv.exits import StopWhy

ROUNDS: Final = 9
LINE_BYTES: Final = 100
LINE: Final = "x" * (LINE_BYTES - 9) + "\n"  # behind a number of eight digits and a blank


@dataclass(frozen=True, slots=True)
class Pair:
    """One operation in both. exits: of one turn."""

    kind: str
    turns: int
    python: Callable[[int], bytes]
    c: Callable[[int], bytes]
    exits: int = 1


def loop(turns: int, body: str) -> bytes:
    """A guest in Python that does `body` so often; RBP counts."""
    guest = Guest("bench-c", paravirt=True)
    guest.string("line", f"{12345678} {LINE}")
    guest.constant("NULL_CALL", NULL_CALL)
    guest.asm(f"main:\npush rbp\nmov rbp, {turns}\n.again:\n{body}\ndec rbp\njnz .again\npop rbp\nxor eax, eax\nret")
    return guest.build()


def compiled(turns: int, body: str) -> bytes:
    """A guest in C that does `body` so often. Raises CompilerMissing."""
    text = (
        "#include <pvkit.h>\n#include <stdio.h>\n"
        f"int main(void)\n{{\n    for (long turn = 0; turn < {turns}; turn++)\n        {body}\n    return 0;\n}}\n"
    )
    with tempfile.TemporaryDirectory(prefix="pvkit-bench-") as folder:
        source = Path(folder) / "main.c"
        source.write_text(text, encoding="utf-8")
        return cc.build([source])


PAIRS: Final = (
    Pair(
        "null hypercall",
        300_000,
        lambda turns: loop(turns, "mov eax, NULL_CALL\ncall hypercall_page"),
        lambda turns: compiled(turns, f"pvkit_call0({NULL_CALL:#x});"),
    ),
    Pair(
        f"line of {LINE_BYTES} bytes",
        30_000,
        lambda turns: loop(
            turns,
            f"mov edi, line\nmov esi, {LINE_BYTES}\n"
            f"mov eax, {abi.BY_NAME['console_write'].number:#x}\ncall hypercall_page",
        ),
        lambda turns: compiled(turns, f'printf("%d %s", 12345678, "{LINE[:-1]}\\n");'),
    ),
)


def run(image: bytes) -> tuple[float, int]:
    """Seconds of one run in a fresh machine, and its exits."""
    with bench_machine("paravirt") as machine:
        machine.load(image)
        started = time.perf_counter()
        outcome = machine.run(timeout=100)
        seconds = time.perf_counter() - started
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    return seconds, outcome.exits.total


def compare(pair: Pair, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """ns an operation, Python-built and in C, medians; and the median of the rounds' ratios."""
    images = pair.python(pair.turns), pair.c(pair.turns)
    times = [[run(image)[0] for image in images] for _ in range(rounds)]
    python, c = (statistics.median(column) / pair.turns * 1e9 for column in zip(*times, strict=True))
    return python, c, statistics.median(second / first for first, second in times)


def main() -> None:
    print(f"{'operation':<20} {'Python-built ns':>16} {'in C ns':>10} {'C / Python':>11}")
    for pair in PAIRS:
        python, c, ratio = compare(pair)
        print(f"{pair.kind:<20} {python:>16,.0f} {c:>10,.0f} {ratio:>11.2f}")


if __name__ == "__main__":
    main()
