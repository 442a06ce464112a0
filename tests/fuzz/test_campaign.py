"""A campaign's bookkeeping: the same guests each time, and a guest that ends its worker is kept and passed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import campaign
from tests.fuzz.campaign import Report, Share, _goes_on, genome_of, run
from tests.fuzz.programs import build

ROOT = Path(__file__).resolve().parents[2]


def test_a_guest_is_its_seed_and_number() -> None:
    assert genome_of(1, 5) == genome_of(1, 5) != genome_of(1, 6) != genome_of(2, 6)
    assert build(genome_of(1, 5)) == build(genome_of(1, 5))


def test_a_short_campaign(tmp_path: Path) -> None:
    report = run(60, 2, 9, tmp_path / "findings")
    assert (report.ran, report.harms) == (60, [])
    assert report.tally.total() == 60
    assert report.exits > 60
    assert not (tmp_path / "findings").exists()
    text = report.text(1.0)
    assert "60 guests in 1 s" in text
    assert "0 guests did harm" in text


@pytest.mark.parametrize(("name", "says"), [("SIGSEGV", "ended by SIGSEGV"), ("SIGKILL", "ended by SIGKILL")])
def test_a_guest_that_ends_its_worker_is_kept(name: str, says: str, tmp_path: Path) -> None:
    share, report = Share(1, 0, 100, 2), Report()
    program = f"import faulthandler, os, signal; faulthandler.disable(); os.kill(os.getpid(), signal.{name})"
    share.process = subprocess.Popen([sys.executable, "-c", program])
    share.shared[:8] = (42).to_bytes(8, "little")
    assert _goes_on(share, report, tmp_path) is True
    assert share.next == 44
    assert (tmp_path / "guest-1-42.genome").read_bytes() == genome_of(1, 42)
    assert says in (tmp_path / "guest-1-42.txt").read_text()
    assert says in report.harms[0]
    share.process = subprocess.Popen([sys.executable, "-c", ""])
    assert _goes_on(share, report, tmp_path) is False


def test_a_hung_worker_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    share = Share(1, 0, 100, 2)
    assert share.hangs() is False
    monkeypatch.setattr(campaign, "HANG_S", -1.0)
    assert share.hangs() is True


def test_harm_that_a_worker_tells_is_kept(tmp_path: Path) -> None:
    report = Report()
    report.add({"harm": 7, "text": "Traceback\nHarm: it wrote"}, 3, tmp_path)
    assert report.harms == [f"{tmp_path / 'guest-3-7.genome'}: Harm: it wrote"]


def test_a_guest_is_run_again_by_file_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "one.genome").write_bytes(genome_of(4, 11))
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "4", "--replay"]
    outs = [
        subprocess.run([*command, which], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
        for which in (str(tmp_path / "one.genome"), "11")
    ]
    assert outs[0].splitlines()[0] == outs[1].splitlines()[0]
    assert "Ran(why=" in outs[0]


def test_a_worker_that_is_killed_in_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    real = Share.start

    def start(share: Share) -> object:
        stream = real(share)
        assert share.process is not None
        if not killed:
            killed.append(share.process.pid)
            os.kill(share.process.pid, signal.SIGKILL)
        return stream

    monkeypatch.setattr(Share, "start", start)
    report = run(20, 1, 5, tmp_path)
    assert len(report.harms) == 1
    assert report.ran == 19, "the guest that it was at is passed"
