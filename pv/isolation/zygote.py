"""The process that worker processes are forked from: everything imported once, one thread, no machine of its own.

Its one argument is a descriptor: a SOCK_SEQPACKET socket, on which it answers requests in order until the other end is
closed; then it ends, and its workers with it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from typing import Final

FORK, END, DISMISS, READY = 1, 2, 3, 4
MESSAGE: Final = struct.Struct("<qq")  # a verb and the worker's process id; in an answer, the verb and a value


def warm_up() -> None:
    """Import, load and compute what every machine does, so that a forked one finds it done."""
    import iced_x86  # noqa: F401 (the decoder, which is imported when first used)

    from pv.isolation import worker  # noqa: F401
    from pv.machine import Machine
    from pv.techniques import TECHNIQUES

    for technique in TECHNIQUES:
        Machine(memory="1MiB", technique=technique).close()
    gc.collect()
    gc.freeze()  # a collection in a worker need not touch, and so copy, what it shares with its siblings


class Spare:
    """A worker that is forked and has run a guest already, so that the memory it shares no more is its own by then.

    What a fork costs comes after it, at each first write to a page: some milliseconds, which nobody waits for here.
    """

    def __init__(self) -> None:
        """Raises OSError where there can be no further process."""
        zygote = os.getpid()
        self.lead, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = os.fork()
            if not self.process:
                status = 1
                try:
                    from pv.isolation.worker import wait_for_work

                    status = wait_for_work(theirs.detach(), zygote)
                except BaseException:
                    traceback.print_exc()  # ours: its parent learns the status alone
                finally:
                    os._exit(status)

    def employ(self, descriptor: int) -> int:
        """Have it serve on the socket `descriptor`: its process id. Raises OSError where it has ended."""
        with self.lead:
            socket.send_fds(self.lead, [MESSAGE.pack(FORK, self.process)], [descriptor])
        return self.process


def serve(control: socket.socket) -> None:
    """Answer until the parent has closed its end."""
    control.send(MESSAGE.pack(READY, os.getpid()))
    spare: Spare | None = None
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE.size, 1)
        if len(data) != MESSAGE.size:
            return
        verb, process = MESSAGE.unpack(data)
        answer = 0
        if verb == FORK:
            answer = fork_worker(spare, descriptors[0])
        elif verb == END:
            answer = end_worker(process)
        control.send(MESSAGE.pack(verb, answer))
        if verb == DISMISS:
            end_worker(process)
        elif verb == FORK:
            with suppress(OSError):  # then the next machine that asks is told
                spare = Spare()


def fork_worker(spare: Spare | None, descriptor: int) -> int:
    """A worker that serves on `descriptor`, the spare one where there is one: its process id, or a negated errno."""
    try:
        if spare is not None:
            try:
                return spare.employ(descriptor)
            except OSError:
                end_worker(spare.process)  # somebody killed it
        return Spare().employ(descriptor)
    except OSError as error:
        return -(error.errno or 1)
    finally:
        os.close(descriptor)


def end_worker(process: int) -> int:
    """Kill a worker, which does nothing to one that has ended: its status as waitpid has it, -1 for no child."""
    try:
        os.kill(process, signal.SIGKILL)
        return os.waitpid(process, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return -1


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: what it means, the parent says
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        warm_up()
        serve(control)
    except (ConnectionError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
