"""`python -m tests.differential`: random instructions by the hundred thousand, executed and emulated.

Operations by themselves, as many exits under trap and hardware, and a fiftieth as many privileged instructions.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.differential.campaign import Campaign, Difference
from tests.differential.cases import GENOME_BYTES
from tests.differential.guests import GUESTS

FEWER = 50  # a privileged instruction takes two machines of its own


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=100_000, help="how many operations, and as many exits (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same cases (default: %(default)s)")
    arguments = parser.parse_args()
    campaigns = {technique: Campaign(technique) for technique in GUESTS}
    jobs = [
        ("operations", campaigns["trap"].compare_operation, arguments.examples),
        *(
            (f"exits under {name}", made.compare_exits, arguments.examples // len(GUESTS))
            for name, made in campaigns.items()
        ),
        ("privileged", campaigns["trap"].compare_privileged, arguments.examples // FEWER),
    ]
    found = 0
    for name, compare, examples in jobs:
        dice, started = random.Random(arguments.seed), time.monotonic()
        for made in campaigns.values():
            made.tally.clear()
        for number in range(examples):
            try:
                compare(dice.randbytes(GENOME_BYTES))
            except Difference as difference:
                found += 1
                print(f"{name}, example {number} of seed {arguments.seed}: {difference}", flush=True)
        counts = sum((made.tally for made in campaigns.values()), Counter())
        text = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        print(f"{name}: {examples} in {time.monotonic() - started:.0f} s: {text}", flush=True)
    for made in campaigns.values():
        made.close()
    print(f"{found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
