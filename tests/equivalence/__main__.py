"""`python -m tests.equivalence`: random kernel programs under every technique, for as long as wanted.

Exit code 1 at the first program that differs as none may; it is printed, shortened, with the seed that makes it.
"""

from __future__ import annotations

import argparse
import sys

from tests.equivalence.campaign import TECHNIQUES, run_many


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.equivalence", description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first program; the others follow")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--techniques",
        default=",".join(TECHNIQUES),
        help="names with commas between them; without trap, what its holes are about is drawn as well",
    )
    parser.add_argument("--holes", action="store_true", help="instructions that the list of holes explains as well")
    given = parser.parse_args(arguments)
    techniques = given.techniques.split(",")
    try:
        tally = run_many(given.programs, given.seed, given.workers, techniques, holes=given.holes)
    except AssertionError as found:  # Unexplained, as a worker hands it over
        print(found)
        return 1
    print(f"{tally.programs:,} programs are equal under {', '.join(techniques)}; {tally.unfinished} had no end")
    for name, count in tally.listed.most_common():
        print(f"{count:>8,}  differ by {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
