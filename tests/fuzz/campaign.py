"""A long run of random guests in worker processes: what ended how, and each guest that harmed its worker kept.

A worker leaves the number of its guest in a shared page before it runs it. So where the worker dies or hangs, the guest
is known; it is written to the folder of findings, and another worker goes on behind it.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from pv.isolation.link import ended_by
from tests.fuzz.programs import build
from tests.fuzz.runner import run_program
from tests.fuzz.witness import Witness, descriptors, resident_bytes

LENGTHS: Final = (24, 60, 120, 300, 600)  # bytes of a genome
BATCH: Final = 500  # guests between two looks at the witness
HANG_S: Final = 60.0
GROWTH_MOST: Final = 256 << 20
ROOT: Final = Path(__file__).resolve().parents[2]


def genome_of(seed: int, number: int) -> bytes:
    """Guest `number` of the campaign `seed`: the same bytes wherever it is asked for."""
    chooser = random.Random(f"{seed}/{number}")
    return chooser.randbytes(chooser.choice(LENGTHS))


def work(seed: int, first: int, end: int, step: int, page: int) -> None:
    """In a worker: run every step-th guest, and print a line of JSON a batch and for each harm."""
    shared = mmap.mmap(page, 4096)
    witness, tally = Witness(), Counter[str]()
    ran = exits = 0
    slowest = 0.0
    before: tuple[int, int] | None = None
    for number in range(first, end, step):
        shared[:8] = number.to_bytes(8, "little")
        try:
            program = build(genome_of(seed, number))
            found = run_program(program)
            tally[f"{program.technique} {found.why.name}"] += 1
            exits += found.exits
            slowest = max(slowest, found.seconds)
        except Exception:
            print(json.dumps({"harm": number, "text": traceback.format_exc()}), flush=True)
        ran += 1
        if ran % BATCH == 0 or number + step >= end:
            text = ""
            try:
                witness.look()
                now = descriptors(), resident_bytes()
                before = before or now
                if now[0] != before[0] or now[1] > before[1] + GROWTH_MOST:
                    text = f"files and bytes held went from {before} to {now}"
            except Exception:
                text = traceback.format_exc()
            if text:
                print(json.dumps({"harm": number, "text": f"up to guest {number}: {text}"}), flush=True)
            told = {"ran": ran, "tally": tally, "exits": exits, "slowest": slowest, "resident": resident_bytes()}
            print(json.dumps(told), flush=True)
            tally, ran, exits = Counter[str](), 0, 0
    witness.close()


@dataclass
class Share:
    """One worker and the guests that are its: first, first + step ... below end."""

    seed: int
    next: int
    end: int
    step: int
    page: int = field(init=False)
    process: subprocess.Popen[str] | None = None
    seen: tuple[int, float] = (-1, 0.0)  # the guest last seen in the page, and since when

    def __post_init__(self) -> None:
        self.page = os.memfd_create("pvkit fuzz")
        os.ftruncate(self.page, 4096)
        self.shared = mmap.mmap(self.page, 4096)

    def start(self) -> IO[str]:
        numbers = [str(one) for one in (self.seed, self.next, self.end, self.step, self.page)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "--work", *numbers],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[self.page],
        )
        self.seen = (-1, time.monotonic())
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def guest(self) -> int:
        return int.from_bytes(self.shared[:8], "little")

    def hangs(self) -> bool:
        """Whether the worker has been at one guest for too long."""
        if self.guest != self.seen[0]:
            self.seen = (self.guest, time.monotonic())
        return time.monotonic() - self.seen[1] > HANG_S


@dataclass
class Report:
    """What a campaign found."""

    ran: int = 0
    exits: int = 0
    slowest: float = 0.0
    resident: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    harms: list[str] = field(default_factory=list)

    def add(self, told: dict[str, object], seed: int, findings: Path) -> None:
        """Take a worker's line."""
        if "harm" in told:
            self.keep(seed, int(str(told["harm"])), str(told["text"]), findings)
            return
        self.ran += int(str(told["ran"]))
        self.exits += int(str(told["exits"]))
        self.slowest = max(self.slowest, float(str(told["slowest"])))
        self.resident = max(self.resident, int(str(told["resident"])))
        tally = told["tally"]
        assert isinstance(tally, dict)
        self.tally.update(tally)

    def keep(self, seed: int, number: int, text: str, findings: Path) -> None:
        """Write a guest that did harm where it can be replayed."""
        findings.mkdir(parents=True, exist_ok=True)
        file = findings / f"guest-{seed}-{number}.genome"
        file.write_bytes(genome_of(seed, number))
        file.with_suffix(".txt").write_text(text, encoding="utf-8")
        self.harms.append(f"{file}: {text.strip().splitlines()[-1]}")

    def text(self, seconds: float) -> str:
        rows = [f"{count:>10}  {name}" for name, count in self.tally.most_common()]
        ends = [
            f"{self.ran} guests in {seconds:.0f} s, {self.exits} exits; the longest ran {self.slowest:.3f} s",
            f"a worker held {self.resident >> 20} MiB at most",
            f"{len(self.harms)} guests did harm",
        ]
        return "\n".join([*rows, *ends, *self.harms])


def run(guests: int, workers: int, seed: int, findings: Path, *, progress: bool = False) -> Report:
    """Run that many guests; harm is in the report."""
    report = Report()
    shares = [Share(seed, first, guests, workers) for first in range(min(workers, guests))]
    streams = selectors.DefaultSelector()
    for share in shares:
        streams.register(share.start(), selectors.EVENT_READ, share)
    started = told_at = time.monotonic()
    while streams.get_map():
        for key, _ in streams.select(1.0):
            share, stream = key.data, key.fileobj
            line = stream.readline()  # type: ignore[union-attr] # a text stream
            if line:
                report.add(json.loads(line), seed, findings)
                continue
            streams.unregister(stream)
            stream.close()  # type: ignore[union-attr]
            if _goes_on(share, report, findings):
                streams.register(share.start(), selectors.EVENT_READ, share)
        for share in shares:
            if share.process is not None and share.process.poll() is None and share.hangs():
                report.keep(seed, share.guest, f"hung for {HANG_S:g} s", findings)
                share.process.send_signal(signal.SIGKILL)
        if progress and time.monotonic() > told_at + 60:
            told_at = time.monotonic()
            print(f"{report.ran} guests, {len(report.harms)} did harm, {told_at - started:.0f} s", flush=True)
    return report


def _goes_on(share: Share, report: Report, findings: Path) -> bool:
    """Whether the worker that has just ended needs another behind its guest, which is kept if it ended the worker."""
    assert share.process is not None
    status = share.process.wait()
    if status == 0:
        return False
    if not any(f"guest-{share.seed}-{share.guest}.genome" in harm for harm in report.harms):
        how = ended_by(-status if status < 0 else status << 8)
        report.keep(share.seed, share.guest, how, findings)
    share.next = max(share.next, share.guest) + share.step
    return share.next < share.end
