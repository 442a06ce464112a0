"""Nothing of a machine is forgotten by its snapshots: every field of the core, every built-in family, every part."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pv.machine import Machine
from pv.plugin import foreign_plugins, load_plugins
from pv.snapshot import PARTS

NATIVE = Path(__file__).resolve().parents[2] / "pv" / "engines" / "unicorn" / "native"

# Fields of struct pv_vcpu that native/state.c does not name, and why.
NOT_STATE = {
    "uc": "a host pointer", "cpu": "a host pointer", "env": "a host pointer; its fields are rows of their own",
    "mode": "of the machine's shape", "ring": "of the machine's shape", "ram": "a host pointer",
    "ram_size": "of the shape",
    "event_page": "saved as a gpa by state.pxi",
    "clock_page": "saved as a gpa by state.pxi",
    "rows": "the table", "row_count": "the table", "index": "follows from the counts",
    "entries": "saved as counts by state.pxi", "entry_count": "saved as counts by state.pxi",
    "exit": "valid only while a handler runs", "decoded": "a cache, compared with the bytes",
    "records": "saved by state.pxi", "cache": "a cache of code, made anew",
    "why": "of a run; pv.snapshot.Ending", "status": "of a run", "detail": "of a run",
    "windows": "follow from the table", "window_count": "follow from the table",
    "hypercall": "false between runs",
    "call": "none between runs", "call_depth": "0 between runs", "max_exits": "of a run", "exit_cost_ns": "constant",
    "in_hook": "false between runs", "in_block": "false between runs", "timing": "the host's wish",
    "flush_translations": "the engine's affair", "dead": "refused",
    "controls": "of the machine's shape", "port_map": "of the machine's shape",
    "nested_ready": "follows from the table",
    "vmcb_page": "written from the controls", "escaped": "of a slice", "leave": "none between runs",
    "leave_fault": "none between runs",
    "stop_asked": "the host's wish", "stop_status": "the host's wish", "slice_ns": "the host's wish",
    "slice_start_ns": "of a slice", "quiet_ns": "host time", "slice_end_ns": "of a slice", "watch_next": "of a slice",
    "abort_jump": "of a slice", "slices": "host time", "python": "a host pointer", "thread_state": "a host pointer",
    "gil": "of a slice", "python_exits": "of a slice",
}  # fmt: skip


def members(struct: str) -> list[str]:
    """The names of a C struct's members, those of nested enums left out."""
    text = (NATIVE / "vcpu.h").read_text(encoding="utf-8")
    body = re.search(rf"^struct {struct} {{\n(.*?)^}};", text, re.DOTALL | re.MULTILINE)
    assert body
    plain = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    plain = re.sub(r"enum \{.*?\}", "int", plain)
    return re.findall(r"\b(\w+)(?:\[\w+\])?(?=\s*[,;])", plain)


def test_every_field_of_the_processor_is_state_or_said_not_to_be() -> None:
    saved = set(re.findall(r"(?:PLAIN|FLAG)\((\w+)", (NATIVE / "state.c").read_text(encoding="utf-8")))
    saved |= set(
        re.findall(r"\{ \"(\w+)\", offsetof\(struct pv_vcpu", (NATIVE / "state.c").read_text(encoding="utf-8"))
    )
    fields = members("pv_vcpu")
    assert len(fields) > 60
    assert sorted(set(fields) - saved - set(NOT_STATE)) == [], "name it in native/state.c, or here with the reason"
    assert sorted(set(NOT_STATE) - set(fields)) == []


OWN = [member for member in load_plugins().plugins if member.name not in foreign_plugins()]


@pytest.mark.parametrize("member", OWN, ids=lambda member: str(member.name))
def test_every_family_that_keeps_state_saves_it(member: object) -> None:
    plugin = member.plugin  # type: ignore[attr-defined]  # a LoadedPlugin
    with Machine(memory="1MiB") as machine:
        keeps = machine.state.get(plugin.name) is not None
    assert not keeps or (plugin.on_save and plugin.on_restore), f"{plugin.name} needs on_save and on_restore"


# Attributes of a Machine that no part of a snapshot is named after, and why.
OF_THE_SHAPE = {
    "memory", "technique", "options", "grants", "quotas", "members", "call_numbers", "isolation", "notes", "image",
    "features", "vcpu", "system", "pc", "state", "outcome", "has_guest", "quota_usage", "disks", "console", "clock",
}  # fmt: skip


def test_every_attribute_of_a_machine_is_known() -> None:
    with Machine(memory="1MiB") as machine:
        public = {name for name in vars(machine) if not name.startswith("_")}
    assert public == OF_THE_SHAPE, "a new attribute: is it state? then it is a part in pv/snapshot.py; name it here"
    assert set(PARTS) == {"processor", "registers", "console", "board", "disks", "quotas", "plugins", "guest", "clock"}
