"""`python -m tests.differential`: random instructions by the hundred thousand, executed and emulated.

Operations by themselves, exits under trap, and a fiftieth as many privileged instructions.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.differential.campaign import Campaign, Difference
from tests.differential.cases import GENOME_BYTES

FEWER = 50  # a privileged instruction takes two machines of its own


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=100_000, help="how many operations, and as many exits (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same cases (default: %(default)s)")
    arguments = parser.parse_args()
    campaign, found = Campaign(), 0
    privileged = arguments.examples // FEWER
    for compare, examples in (
        (campaign.compare_operation, arguments.examples),
        (campaign.compare_exits, arguments.examples),
        (campaign.compare_privileged, privileged),
    ):
        dice, started = random.Random(arguments.seed), time.monotonic()
        campaign.tally.clear()
        for number in range(examples):
            try:
                compare(dice.randbytes(GENOME_BYTES))
            except Difference as difference:
                found += 1
                print(f"{compare.__name__}, example {number} of seed {arguments.seed}: {difference}")
        counts = ", ".join(f"{count} {name}" for name, count in sorted(campaign.tally.items()))
        print(f"{compare.__name__}: {examples} in {time.monotonic() - started:.0f} s: {counts}")
    campaign.close()
    print(f"{found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
