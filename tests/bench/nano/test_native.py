"""The engine alone runs a guest to its end, and says how it ended."""

from __future__ import annotations

import pytest

from bench.nano import native
from bench.nano.native import run_native
from guest_sdk.work import compute as work
from guest_sdk.work import fault as fault_work
from pv.report.comparison import WELL
from tests.bench.nano.guests import plain
from unmodified_guests import compute, fault


def test_it_prints_what_the_job_comes_to() -> None:
    seconds, console, ended = run_native(compute.build(2), "16MiB")
    assert (console, ended) == (f"result {work.expected(2)}\n", WELL)
    assert seconds > 0


def test_events_are_the_guests_own() -> None:
    assert run_native(fault.build(70), "16MiB")[1] == f"result {fault_work.expected(70)}\n"


def test_a_status_that_is_not_0_is_told() -> None:
    assert run_native(plain("mov al, 3\nout DEBUG_EXIT_PORT, al\nhlt"), "16MiB")[2] == "status 3"


def test_a_guest_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "TIMEOUT_S", 0.05)
    assert run_native(plain("forever:\njmp forever"), "16MiB")[2] == "status None"


def test_a_triple_fault_ends_it() -> None:
    assert run_native(plain("mov rax, 0x3000000\nmov rax, [rax]\nhlt"), "16MiB")[2] == "status None"


def test_an_engine_that_gives_up_is_told() -> None:
    assert "UC_ERR_INSN_INVALID" in run_native(plain("ud2"), "16MiB")[2]
