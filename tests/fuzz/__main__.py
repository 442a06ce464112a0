"""`python -m tests.fuzz`: random guests by the thousand, or one of them again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import genome_of, run, work
from tests.fuzz.programs import build
from tests.fuzz.runner import run_program
from tests.fuzz.search import search


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--guests", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which campaign: the same seed gives the same guests")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings"), help="where guests that did harm are kept"
    )
    parser.add_argument(
        "--replay", metavar="FILE|NUMBER", help="run one guest again: a file, or a number of the seed's"
    )
    parser.add_argument("--search", type=int, metavar="N", help="have hypothesis draw N guests, in this process")
    parser.add_argument("--work", type=int, nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return 0
    if arguments.replay:
        number = arguments.replay.isdigit()
        data = genome_of(arguments.seed, int(arguments.replay)) if number else Path(arguments.replay).read_bytes()
        program = build(data)
        print(f"{program.technique}, {len(program.code)} bytes of code: {program.code[:64].hex(' ')} ...")
        print(run_program(program))
        return 0
    if arguments.search:
        print(json.dumps(search(arguments.search, arguments.seed)))
        return 0
    started = time.monotonic()
    report = run(arguments.guests, arguments.workers, arguments.seed, arguments.findings, progress=True)
    print(report.text(time.monotonic() - started))
    return 1 if report.harms else 0


if __name__ == "__main__":
    sys.exit(main())
