"""Workers come from one zygote, which is replaced when it is gone and never shared with a forked child."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from guest_sdk.examples import hello
from pv import Machine
from pv.isolation import LaunchError, launcher
from pv.isolation.launcher import dismiss_worker, end_worker, fork_worker, shut_down


def status_of_hello() -> int | None:
    with Machine(isolation="process", memory="2MiB") as machine:
        machine.load(hello.build())
        return machine.run(timeout=30).status


def test_one_zygote_makes_every_worker() -> None:
    assert status_of_hello() == 0
    first = launcher._zygote
    assert status_of_hello() == 0
    assert launcher._zygote is first


def test_a_zygote_that_was_killed_is_replaced() -> None:
    assert status_of_hello() == 0
    assert launcher._zygote is not None
    killed = launcher._zygote.process
    killed.kill()
    killed.wait()
    assert status_of_hello() == 0
    assert launcher._zygote.process is not killed


def test_workers_are_ended_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = fork_worker(theirs.fileno())
        os.kill(process, signal.SIGUSR1)  # which ends a worker that has no machine yet
        status = end_worker(process)
        assert status is not None
        assert os.WTERMSIG(status) in (signal.SIGUSR1, signal.SIGKILL)
        assert end_worker(process) is None, "nobody knows it any more"
        process = fork_worker(theirs.fileno())
        dismiss_worker(process)
        fork_worker(theirs.fileno())
        assert not Path(f"/proc/{process}").exists()


def test_after_a_shutdown_there_is_another() -> None:
    shut_down()
    assert launcher._zygote is None
    assert end_worker(1) is None
    assert status_of_hello() == 0


def test_a_forked_child_has_its_own() -> None:
    assert status_of_hello() == 0
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if launcher._zygote is None and status_of_hello() == 0 else 2
            shut_down()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert status_of_hello() == 0


@pytest.mark.parametrize(("executable", "says"), [("", "sys.executable names none"), ("/bin/false", "ended")])
def test_without_a_python_it_says_so(executable: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shut_down()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(LaunchError, match=says):
        Machine(isolation="process")


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        return -11

    monkeypatch.setattr(launcher.Zygote, "ask", refuse)
    with pytest.raises(LaunchError, match="no worker can be forked: Resource temporarily unavailable"):
        Machine(isolation="process")
