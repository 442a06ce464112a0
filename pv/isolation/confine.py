"""What is a worker process kept from? Outliving its parent, dumping core, gaining rights, and memory without end.

This guards against accidents. It is no sandbox: a worker can still open files and sockets with its user's rights.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
HEADROOM_BYTES: Final = 2 << 30  # address space beyond what the process has and its machine is known to take

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """End this process when `parent`, its parent, ends; at once where that has happened."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def keep_only(descriptors: set[int]) -> None:
    """Close every file but these; what is 0 becomes /dev/null."""
    first = 3
    for descriptor in sorted(descriptor for descriptor in descriptors if descriptor >= first):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def give_up_rights() -> None:
    """No core file, and nothing that this process executes gains rights."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit_address_space(machine_bytes: int) -> None:
    """Let this process grow by a machine of so many bytes, and HEADROOM_BYTES."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (pathlib is slower than all the rest here)
        pages = int(file.read().split()[0])
    wanted = pages * resource.getpagesize() + machine_bytes + HEADROOM_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))
