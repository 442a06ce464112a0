"""An abort of the engine's translator ends one machine with RIP and bytes, and never the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pv.engines.unicorn import EngineError
from pv.exits import StopWhy, stop
from pv.machine import Machine
from tests.pv.engines.unicorn_memory import paging_guest as guest
from tests.pv.engines.unicorn_memory.machines import BASE, HostCalls, assemble, call, exit_with, machine
from tests.pv.engines.unicorn_memory.paging_guest import fixed_entries, prepare

ROOT = Path(__file__).resolve().parents[4]
ABORTING = {  # LOCK BT, BTS, BTR, BTC with a register operand
    f"{code} {modrm}": bytes.fromhex(code + modrm + immediate)
    for code, modrm, immediate in [
        *((code, modrm, "") for code in ("f00fa3", "f00fab", "f00fb3", "f00fbb") for modrm in ("c0", "d8", "ff")),
        *(("f00fba", modrm, "05") for modrm in ("e0", "e8", "f0", "f8", "e7")),
        ("f0480fab", "c0", ""),
        ("66f00fab", "c0", ""),
    ]
}


def abort_at(made: Machine, rip: int, code: bytes) -> None:
    outcome = made.run(timeout=30)
    assert outcome.why is StopWhy.ENGINE_ABORT
    assert outcome.rip == rip
    assert outcome.code.startswith(code)
    assert f"{rip:#x}" in outcome.detail
    assert code.hex(" ") in outcome.detail


def healthy() -> None:
    with machine(f"mov ecx, 1000; again: dec ecx; jnz again; {exit_with(9)}") as made:
        assert made.run(timeout=30).status == 9


@pytest.mark.parametrize("code", ABORTING.values(), ids=ABORTING)
@pytest.mark.parametrize("technique", ["trap", "paravirt"])
def test_each_aborting_encoding(code: bytes, technique: str) -> None:
    with machine(code + b"\xf4", technique) as made:
        abort_at(made, BASE, code)
        with pytest.raises((EngineError, RuntimeError)):
            made.run(timeout=1)
    healthy()


@pytest.mark.parametrize("code", list(ABORTING.values())[::4])
def test_aborts_at_cpl_3(code: bytes) -> None:
    with prepare([(guest.USER_READ, 0, 0)], 0x500000) as made:
        made.memory.write(0x500000, b"".join(entry.to_bytes(8, "little") for entry in fixed_entries()))
        made.memory.write(guest.USER_STUBS_GPA, code)
        abort_at(made, guest.USER_STUBS, code)
        assert made.vcpu.cpl == 3
    healthy()


def test_a_hundred_aborts_and_the_process_lives() -> None:
    codes = list(ABORTING.values())
    for number in range(100):
        code = codes[number % len(codes)]
        with machine(assemble(f"mov eax, {number}; jmp {BASE + 0x100}").ljust(0x100, b"\x90") + code) as made:
            abort_at(made, BASE + 0x100, code)
            assert made.vcpu.rax == number
    healthy()


def test_a_machine_run_by_a_handler_leaves_the_outer_one_guarded() -> None:
    def run_another() -> int:
        healthy()
        return 0

    calls = HostCalls(run_another)
    code = assemble(call(0)) + ABORTING["f00fab c0"]
    with machine(code, "paravirt", hypercalls=[calls]) as made:
        abort_at(made, BASE + len(assemble(call(0))), ABORTING["f00fab c0"])


def test_an_abort_of_a_machine_run_by_a_handler_is_its_own() -> None:
    def inner() -> int:
        with machine(ABORTING["f00fab c0"]) as made:
            abort_at(made, BASE, ABORTING["f00fab c0"])
        return 0

    with machine(f"{call(0)}; {call(1)}", "paravirt", hypercalls=[HostCalls(inner, lambda: stop(5))]) as made:
        assert made.run(timeout=30).status == 5


PREPARED = """
    import faulthandler, os, signal, sys, threading, time
    from tests.pv.engines.unicorn_memory.machines import HostCalls, call, machine
    from tests.pv.engines.unicorn_memory.test_guard import ABORTING
    aborting = machine(ABORTING["f00fab c0"])
"""


def in_process(text: str) -> subprocess.CompletedProcess[str]:
    """Run `text` in an interpreter of its own."""
    code = textwrap.dedent(PREPARED) + textwrap.dedent(text)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_an_abort_of_our_own_still_kills() -> None:
    ended = in_process("aborting.run(); print('alive', flush=True); os.abort()")
    assert ended.returncode == -6
    assert ended.stdout == "alive\n"


def test_an_abort_in_a_handler_still_kills() -> None:
    ended = in_process("machine(call(0), 'paravirt', hypercalls=[HostCalls(os.abort)]).run(); print('alive')")
    assert ended.returncode == -6
    assert ended.stdout == ""


def test_an_abort_of_another_thread_still_kills() -> None:
    ended = in_process("threading.Timer(0.1, os.abort).start(); machine('jmp .').run(timeout=60); print('alive')")
    assert ended.returncode == -6
    assert ended.stdout == ""


def test_an_abort_that_is_sent_still_kills() -> None:
    ended = in_process("""
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGABRT)).start()
        machine('jmp .').run(timeout=60)
        print('alive')
    """)
    assert ended.returncode == -6
    assert ended.stdout == ""


def test_faulthandler_still_reports() -> None:
    ended = in_process("faulthandler.enable(); aborting.run(); print('alive', flush=True); os.abort()")
    assert ended.returncode == -6
    assert ended.stdout == "alive\n"
    assert "Fatal Python error: Aborted" in ended.stderr


def test_a_handler_of_sigabrt_set_meanwhile_stays() -> None:
    ended = in_process("""
        threading.Timer(0.1, faulthandler.enable).start()
        machine('jmp .').run(timeout=0.5)
        os.abort()
    """)
    assert ended.returncode == -6
    assert "Fatal Python error: Aborted" in ended.stderr


def test_a_child_forked_while_a_guest_runs_aborts_as_it_should() -> None:
    ended = in_process("""
        spinning = machine('jmp .')
        runner = threading.Thread(target=spinning.run, args=(60,))
        runner.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            os.abort()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        spinning.stop()
        runner.join()
        print(aborting.run().why.name)
    """)
    assert ended.stdout == "-6\nENGINE_ABORT\n"
    assert ended.returncode == 0
