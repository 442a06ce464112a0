"""What an outcome says, and the flight record as text."""

import pytest

from pv.engines.base import Latency, RecordedExit
from pv.engines.scripted import ScriptedVcpu
from pv.exits import Reason, StopWhy
from pv.memory import GuestMemory
from pv.outcome import ExitCounts, Outcome, code_at, disassemble, format_record, make_outcome

MEMORY_BYTES = 2 << 20
HLT = RecordedExit(12, Reason.HLT, 0, 0x100000, 0x202, 1, tuple(range(16)), b"\xf4\x90")


class Ended(ScriptedVcpu):
    """A vcpu with counts as given."""

    def counters(self) -> dict[tuple[int, int], int]:
        return {(Reason.VMCALL, 0x1003): 1, (Reason.VMCALL, 0x8001): 2, (Reason.HLT, 0): 4, (0x999, 1): 1}

    def calls(self) -> dict[int, int]:
        return {0x1003: 1, 0x8001: 5, 0x4444: 1}

    def latencies(self) -> dict[tuple[int, int], Latency]:
        return {(Reason.HLT, 0): Latency(4, 40, 10, 10, (0,) * 13 + (4,))}

    def flight_record(self) -> list[RecordedExit]:
        return [HLT]


def outcome(why: StopWhy, status: int = 0, detail: str = "", timed: bool = False) -> Outcome:
    vcpu = Ended(GuestMemory(MEMORY_BYTES))
    names = {0x1003: "exit", 0x8001: "greet"}
    return make_outcome(vcpu, (why, status, detail), call_names=names, console="hi", seconds=0.5, timed=timed)


def test_counts_by_reason_key_and_call() -> None:
    found = outcome(StopWhy.EXITED, 3)
    assert found.exits == {"VMCALL": 3, "HLT": 4, "0x999": 1}
    assert (found.exits.total, found.exits["CPUID"]) == (8, 0)
    assert found.by_key == {("VMCALL", "exit"): 1, ("VMCALL", "greet"): 2, ("HLT", ""): 4, ("0x999", "0x1"): 1}
    assert found.calls == {"exit": 1, "greet": 5, "0x4444": 1}
    assert (found.console, found.seconds) == ("hi", 0.5)


def test_a_name_that_is_no_reason_is_an_error() -> None:
    with pytest.raises(KeyError, match="VMCAL"):
        ExitCounts()["VMCAL"]


def test_latencies_only_where_timed() -> None:
    assert outcome(StopWhy.EXITED).latencies == {}
    assert outcome(StopWhy.EXITED, timed=True).latencies["HLT", ""].count == 4


@pytest.mark.parametrize("why", StopWhy)
def test_what_each_way_to_end_means(why: StopWhy) -> None:
    found = outcome(why, 3)
    assert found.ok == (why in (StopWhy.EXITED, StopWhy.HALTED))
    assert found.status == (3 if why in (StopWhy.EXITED, StopWhy.STOPPED) else None)
    assert found.resumable == (why in (StopWhy.MAX_EXITS, StopWhy.TIMEOUT, StopWhy.STOPPED))
    assert bool(found.record) == (why not in (StopWhy.EXITED, StopWhy.HALTED, StopWhy.MAX_EXITS))
    assert "\n" not in found.summary


def test_summaries() -> None:
    assert outcome(StopWhy.EXITED, 3).summary == "exited with status 3"
    assert outcome(StopWhy.HALTED, detail="no timer").summary == "halted: no timer"
    abnormal = outcome(StopWhy.UNHANDLED, detail="INVD")
    assert abnormal.summary == f"unhandled exit at rip 0x100000 ({' '.join(['00'] * 15)}): INVD"
    repeated = outcome(StopWhy.UNHANDLED, detail="unhandled exit: INVD")
    assert repeated.summary == abnormal.summary


def test_a_panic_is_shown_in_the_guests_words_on_one_line() -> None:
    assert outcome(StopWhy.PANICKED, detail="main.c:12: x > 0").summary == "guest panicked: main.c:12: x > 0"
    assert outcome(StopWhy.PANICKED).summary == "guest panicked: it does not say why"
    hostile = outcome(StopWhy.PANICKED, detail="a\r\nb\x1b[2Jc\x00 Å").summary
    assert hostile == "guest panicked: a b\\x1b[2Jc\\x00 Å"


def test_code_is_cut_where_memory_ends() -> None:
    vcpu = ScriptedVcpu(GuestMemory(MEMORY_BYTES))
    vcpu.memory.write(MEMORY_BYTES - 3, b"abc")
    assert code_at(vcpu, MEMORY_BYTES - 3) == b"abc"
    assert code_at(vcpu, MEMORY_BYTES) == b""
    assert len(code_at(vcpu, 0x1000)) == 15


def test_the_flight_record_as_text() -> None:
    load = RecordedExit(11, Reason.CR_ACCESS, 7, 0xFFFF8000_00100000, 2, 3, (0,) * 16, b"\x0f\x22\xd8")
    lines = format_record([load, HLT]).splitlines()
    assert lines[0].split() == ["exit", "rip", "cpl", "reason", "instruction"]
    assert lines[1].split() == ["11", "0xffff800000100000", "3", "CR_ACCESS", "CR3", "write", "mov", "cr3,rax"]
    assert lines[2].split() == ["12", "0x100000", "1", "HLT", "hlt"]
    assert "registers at exit 12:" in lines
    registers = " ".join(lines[lines.index("registers at exit 12:") + 1 :]).split()
    assert registers[-4:] == ["rip", "0x0000000000100000", "rflags", "0x0000000000000202"]
    assert registers[registers.index("r15") + 1] == "0x000000000000000f"
    assert max(map(len, lines)) <= 80


def test_a_record_names_calls() -> None:
    called = RecordedExit(1, Reason.VMCALL, 0x8001, 0, 0, 1, (0,) * 16, b"")
    assert "VMCALL greet" in format_record([called], {0x8001: "greet"})
    assert format_record([]) == "no exits recorded"


def test_bytes_that_are_no_instruction() -> None:
    assert disassemble(b"", 0) == "(nothing mapped)"
    assert disassemble(b"\x06", 0) == "(bytes 06)"
    assert disassemble(b"\xeb\xfe", 0x100000) == "jmp short 0000000000100000h"
