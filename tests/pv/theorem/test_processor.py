"""The bare processor runs one instruction at a level, and its known faults are seen on it directly."""

from __future__ import annotations

import pytest

from pv.engines.unicorn import EngineError
from pv.theorem import ground
from pv.theorem.fields import FIELDS, Field
from pv.theorem.processor import MODELS, BareProcessor, Run, bare_processor, initial_state


def run(code: str, level: int, model: str = "Haswell", **state: int) -> Run:
    with bare_processor(model) as (processor, memory, cr3):
        memory.write(ground.CODE, bytes.fromhex(code).ljust(16, b"\x90"))
        return processor.run(initial_state(level, cr3) | state)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_an_instruction_runs_at_the_level_it_is_given(level: int) -> None:
    seen = run("8cc9", level)  # mov ecx, cs
    assert (seen.event, seen.state["cpl"], seen.state["rcx"]) == ("runs", level, ground.CODE_SELECTORS[level])
    assert seen.state["rip"] == ground.LANDING + 2


def test_a_privileged_one_traps_where_it_stands() -> None:
    for level in (1, 3):
        seen = run("fa", level)  # cli
        assert (seen.event, seen.error_code, seen.state["rip"], seen.ran) == ("#GP", 0, ground.CODE, False)
    seen = run("fa", 0)
    assert (seen.event, seen.state["rflags"] & 0x200) == ("runs", 0)


def test_events_have_their_names() -> None:
    assert run("f4", 0).event == "halts"
    assert run("cd80", 3).event == "INT 0x80"
    assert run("cd0d", 3).event == "INT 0xd"  # and no #GP
    assert run("0f0b", 0).event == "#UD"
    assert run("8b0425f0ffffff", 0).event == "#PF"  # mov eax, [-16]
    faulted = run("8ee1", 0, rcx=0x1110)  # mov fs, ecx
    assert (faulted.event, faulted.error_code) == ("#GP", 0x1110)


def test_iopl_and_flags_are_as_they_are_given() -> None:
    seen = run("9c59", 3, rflags=0x3246)  # pushf; pop rcx
    assert seen.state["rcx"] == 0x3246
    assert run("fa", 3, rflags=0x3202).state["rflags"] == 0x3002


def test_a_null_ss_leads_from_cpl_1_to_cpl_0() -> None:
    """The engine's fault that the core guards against."""
    assert run("8ed1", 1, rcx=0).state["cpl"] == 0
    assert run("8ed1", 3, rcx=0).event == "#GP"


def test_ports_are_reached_from_cpl_3() -> None:
    seen = run("ec", 3, rdx=0x71)  # in al, dx
    assert (seen.event, seen.ports, seen.state["rax"] & 0xFF) == ("runs", ("in 0x71",), 0x5A)
    assert run("ee", 3, rdx=0x71).ports == ("out 0x71",)


def test_syscall_moves_rip_alone() -> None:
    seen = run("0f05", 3)
    assert (seen.event, seen.state["cpl"], seen.state["rcx"]) == ("runs", 3, 0x2222)


def test_a_tlb_is_kept_where_it_is_asked_for() -> None:
    with bare_processor() as (processor, memory, cr3):
        memory.write(ground.CODE, bytes.fromhex("8b11cdfe"))  # mov edx, [rcx]
        memory.write_uint(ground.WATCHED, 4, 1)
        memory.write_uint(ground.WATCHED_OTHER, 4, 2)
        state = initial_state(0, cr3) | {"rcx": ground.WATCHED}
        assert processor.run(state).state["rdx"] == 1
        entry = ground.page_entry(memory, cr3, ground.WATCHED)
        memory.write_uint(entry, 8, memory.read_uint(entry, 8) ^ ground.WATCHED ^ ground.WATCHED_OTHER)
        assert processor.run(state, keep_tlb=True).state["rdx"] == 1
        assert processor.run(state).state["rdx"] == 2


def test_models_differ() -> None:
    assert [run("0f01ca", 0, model).event for model in MODELS] == ["#UD", "runs"]  # clac


def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "lstar", Field(0x12E0, 8))
    with pytest.raises(
        EngineError, match=r"this Unicorn keeps lstar elsewhere; mend it with: pip install unicorn==2\.1\.4"
    ):
        run("90", 0)


def test_a_stop_without_a_vector_is_said() -> None:
    with bare_processor() as (processor, memory, cr3):
        memory.write(ground.CODE, bytes.fromhex("8b01"))  # mov eax, [rcx]
        memory.write_uint(ground.page_entry(memory, cr3, ground.DATA), 8, 1 << 30 | 7)  # where no memory is
        with pytest.raises(EngineError, match=f"the bare processor stopped at {ground.CODE:#x}"):
            processor.run(initial_state(0, cr3) | {"rcx": ground.DATA})


def test_it_closes() -> None:
    with bare_processor() as (processor, _, _):
        assert isinstance(processor, BareProcessor)
