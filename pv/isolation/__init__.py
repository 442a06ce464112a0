"""A guest in a process of its own, so that a crash of the engine beneath it is an outcome of a run and nothing more.

    Machine(isolation="process")     parent                            worker
    ─────────────────────────────    ─────────────────────────────     ───────────────────────────────
                                     ProcessMachine (machine.py)       Machine, engine, installed plugins
    handlers given as hypercalls=    rows.py ◄──── a box of words ──── stubs in the table (worker.py)
    machine.vcpu.rax                 proxy.py ───── frames ──────────► the processor
    machine.memory                   ◄────────── one mapping ────────► the guest's memory

Workers are forked from a zygote (zygote.py, launcher.py) and confined against accidents (confine.py). Words go through
a shared page that is watched for some microseconds and then slept upon (mailbox.pyx); all else goes as frames on a
socket (frames.py, codec.py).
"""

from pv.isolation.errors import WorkerEnded, WorkerError
from pv.isolation.launcher import LaunchError
from pv.isolation.machine import ProcessMachine

__all__ = ["LaunchError", "ProcessMachine", "WorkerEnded", "WorkerError"]
