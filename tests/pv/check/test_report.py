"""What is said of a verdict."""

from __future__ import annotations

from pv.check import Run, check
from pv.check.report import lines
from tests.pv.check.guests import EXIT, HARDWARE, WRITES, run_of, sdk


def said(run: Run) -> list[str]:
    return lines(check(run, HARDWARE))


def test_agreement_says_what_was_compared() -> None:
    trap, hardware, equal = said(run_of(WRITES))[:3]
    assert trap.startswith("trap      exited with status 0; ")
    assert hardware.startswith("hardware  exited with status 0; ")
    assert equal == (
        "equal under trap, hardware: how it ended, console (2 characters), registers, chips, 3 device accesses, "
        "2,097,152 bytes of memory"
    )


def test_what_is_timing_is_counted() -> None:
    told = said(run_of(f"in al, 0x40; mov al, 0x70; out 0x70, al; {EXIT}"))
    assert "not compared, as timing: 1 accesses (8254, MC146818)" in told


def test_a_difference_of_memory_says_where_and_since_when() -> None:
    guest = sdk("mov al, 0x41\nmov edx, 0x3f8\nout dx, al\nsgdt [table]", lambda guest: guest.bss("table", 16))
    told = said(Run(guest, "2MiB", timeout=20))
    assert told[2].startswith("different under trap and hardware: memory, gpa 0x")
    assert told[3].startswith("  trap      0x00  ") or told[3] == "  trap      0x00"
    assert any(line.strip().startswith("gpa") and line.endswith("is table") for line in told)
    assert any("it came to differ after the write of 0x41" in line for line in told)
    assert told[-1] == "  2 bytes differ"


def test_a_difference_of_traffic_names_both_instructions() -> None:
    told = said(run_of(f"mov eax, cs; mov dx, 0x3f8; out dx, al; {EXIT}"))
    assert told[2:5] == [
        "different under trap and hardware: device traffic, access 1",
        "  trap      write of 0x9, 1 byte, port 0x3f8 (COM1)  at 0x100006: out dx,al",
        "  hardware  write of 0x8, 1 byte, port 0x3f8 (COM1)  at 0x100006: out dx,al",
    ]


def test_a_run_without_an_end() -> None:
    told = said(Run(run_of("again: jmp again").image, "2MiB", timeout=0.01))
    assert told[-1] == "not compared: under trap the guest had not ended (time budget used up)"
