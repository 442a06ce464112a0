"""Where do worker processes come from? From one zygote a parent process, started for the first machine that asks.

The first machine pays for it (the zygote imports everything); each further one costs a fork. Forking the parent
itself would copy whatever its threads were in the midst of.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from pv.isolation.zygote import DISMISS, END, FORK, MESSAGE

_lock: Final = threading.Lock()
_zygote: Zygote | None = None


class LaunchError(RuntimeError):
    """No worker process can be had: why, and what to do."""


class Zygote:
    """The fork server of this process, as seen from here. Its verbs are called under the module's lock."""

    def __init__(self) -> None:
        if not sys.executable:
            raise LaunchError("isolation='process' starts a Python, and sys.executable names none")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from pv.isolation.zygote import main; main()", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
            )
        if len(self.control.recv(MESSAGE.size)) != MESSAGE.size:
            self.close()
            raise LaunchError("isolation='process': the process that makes workers ended; what it wrote says why")

    def ask(self, verb: int, process: int, descriptor: int | None = None) -> int:
        """One request and its answer. Raises OSError where the zygote is gone."""
        message = MESSAGE.pack(verb, process)
        if descriptor is None:
            self.control.send(message)
        else:
            socket.send_fds(self.control, [message], [descriptor])
        answer = self.control.recv(MESSAGE.size)
        if len(answer) != MESSAGE.size:
            raise ConnectionResetError
        value: int = MESSAGE.unpack(answer)[1]
        return value

    def close(self) -> None:
        """Let it end, and its workers with it."""
        self.control.close()
        self.process.wait()


def fork_worker(descriptor: int) -> int:
    """The process id of a new worker that talks on the socket `descriptor`. Raises LaunchError."""
    global _zygote
    with _lock:
        for _ in range(2):  # a zygote that somebody killed is replaced
            if _zygote is None:
                _zygote = Zygote()
            try:
                process = _zygote.ask(FORK, 0, descriptor)
            except OSError:
                _drop()
                continue
            if process < 0:
                raise LaunchError(f"isolation='process': no worker can be forked: {os.strerror(-process)}")
            return process
    raise LaunchError("isolation='process': the process that makes workers ends as soon as it is asked for one")


def end_worker(process: int) -> int | None:
    """Kill that worker unless it has ended, and reap it: its wait status, None where nobody knows it any more."""
    return _end(END, process)


def dismiss_worker(process: int) -> None:
    """Have that worker killed and reaped, which nobody waits for."""
    _end(DISMISS, process)


def _end(verb: int, process: int) -> int | None:
    with _lock:
        if _zygote is None:
            return None
        try:
            status = _zygote.ask(verb, process)
        except OSError:
            _drop()
            return None
        return None if status < 0 else status


def shut_down() -> None:
    """End the zygote, and every worker with it. The next machine starts another."""
    with _lock:
        _drop()


def _drop() -> None:
    global _zygote
    if _zygote is not None:
        _zygote.close()
        _zygote = None


def _forget() -> None:
    """In a forked child: the zygote is the parent's, and must see its end when the parent goes."""
    global _zygote, _lock
    _lock = threading.Lock()  # type: ignore[misc] # the one in use when another thread held it would stay locked
    if _zygote is not None:
        _zygote.control.close()
        _zygote.process.returncode = 0  # not a child of this process: nothing to wait for
        _zygote = None


os.register_at_fork(after_in_child=_forget)
atexit.register(shut_down)
