"""The fork server's own loop, served over a socket from a child of this process."""

from __future__ import annotations

import os
import signal
import socket

from pv.isolation.frames import Frames
from pv.isolation.zygote import DISMISS, END, FORK, MESSAGE, READY, end_worker, fork_worker, serve


def test_it_serves_until_the_other_end_is_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote = os.fork()
    if not zygote:
        try:
            ours.close()
            serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    assert MESSAGE.unpack(ours.recv(MESSAGE.size)) == (READY, zygote)
    workers = []
    for _ in range(2):  # the second is the spare one
        one, other = socket.socketpair()
        with one, other:
            socket.send_fds(ours, [MESSAGE.pack(FORK, 0)], [other.fileno()])
            verb, worker = MESSAGE.unpack(ours.recv(MESSAGE.size))
            assert verb == FORK
            assert worker > 0
            workers.append(worker)
            os.kill(worker, 0)
    ours.send(MESSAGE.pack(END, workers[0]))
    assert MESSAGE.unpack(ours.recv(MESSAGE.size))[0] == END
    ours.send(MESSAGE.pack(DISMISS, workers[1]))
    assert MESSAGE.unpack(ours.recv(MESSAGE.size)) == (DISMISS, 0)
    ours.send(MESSAGE.pack(END, workers[0]))
    assert MESSAGE.unpack(ours.recv(MESSAGE.size)) == (END, -1)
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(zygote, 0)[1]) == 0


def test_a_worker_says_what_it_cannot_make() -> None:
    one, other = socket.socketpair()
    with one:
        worker = fork_worker(None, os.dup(other.fileno()))
        other.close()
        frames = Frames(one)
        memory = os.memfd_create("page")
        os.ftruncate(memory, 1 << 16)
        frames.send({"memory_bytes": 5, "arguments": {"options": {}}}, [memory, memory])
        os.close(memory)
        kind, found = frames.receive(30)
        assert (kind, found[0]) == ("raised", "ValueError")
        assert "is not between" in found[1][0]
        assert end_worker(worker) >= 0
    assert end_worker(worker) == -1


def test_what_ended_before_keeps_its_status() -> None:
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGUSR2)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert os.WTERMSIG(end_worker(child)) == signal.SIGUSR2
