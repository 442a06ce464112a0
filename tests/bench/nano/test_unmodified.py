"""The unmodified guests: each handler runs once an operation, and the page-table rows really use what they write."""

from __future__ import annotations

import pytest

from bench.nano.native import run_native
from bench.nano.unmodified import FORMS, build, text
from guest_sdk.work import FREE_MEMORY
from guest_sdk.work.map import WINDOW
from pv.machine import Machine
from pv.report.comparison import WELL

HANDLED = ("pgfault", "divzero", "self_ipi_sti_hlt")
CHIPLESS = [name for name, form in FORMS.items() if "start_apic" not in form.setup]


@pytest.mark.parametrize("name", HANDLED)
def test_a_handler_runs_once_an_operation(name: str) -> None:
    with Machine(memory="16MiB", technique="trap") as machine:
        machine.load(build(name, 7))
        assert machine.run(timeout=20).console == "result 7\n"


@pytest.mark.parametrize("name", CHIPLESS)
def test_the_same_bytes_run_on_the_engine_alone(name: str) -> None:
    _seconds, console, ended = run_native(build(name, 7), "16MiB")
    assert (console, ended) == (f"result {7 if name in HANDLED else 0}\n", WELL)


@pytest.mark.parametrize("technique", ["trap", "hardware"])
def test_an_entry_that_is_used_leads_to_its_frame(technique: str) -> None:
    """After three operations from frame 0 the entry has frame 1, and the window shows it."""
    with Machine(memory="16MiB", technique=technique) as machine:
        machine.load(build("ptemod, used", 3))
        machine.memory.write_uint(FREE_MEMORY + 4096, 8, 0x1234)
        assert machine.run(timeout=20).ok
        assert int.from_bytes(machine.vcpu.read_linear(WINDOW, 8), "little") == 0x1234


def test_text_has_the_loop_around_the_body() -> None:
    assert "mov ebx, OPERATIONS\n.again:\n    pause\n    dec ebx" in text(FORMS["pause"])


def test_operations_are_checked() -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        build("pause", 0)
