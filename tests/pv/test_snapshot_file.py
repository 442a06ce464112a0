"""Snapshots in files: they come back as they were, and a file that is damaged, foreign or made up is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.compare import PACKAGES, WORKLOADS
from pv.machine import Machine
from pv.pages import PAGE_BYTES
from pv.snapshot import Snapshot, SnapshotError
from pv.snapshot_file import parse_snapshot
from tests.pv.snapshots import finish, workload

TECHNIQUES = sorted(PACKAGES)


@cache
def saved(technique: str, name: str = "syscall") -> bytes:
    """A snapshot's file, of a machine with tables, traps and a console in use."""
    path = Path(f"/tmp/pvkit-test-{technique}-{name}.snapshot")
    with workload(name, technique) as machine:
        machine.run(max_exits=20, timeout=60)
        machine.snapshot().save(path)
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def resealed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with its body changed and a checksum that is right: made up, not damaged."""
    whole = msgpack.unpackb(data, strict_map_key=False)
    body = msgpack.unpackb(whole["body"], strict_map_key=False)
    change(body)
    whole["body"] = msgpack.packb(body)
    whole["checksum"] = hashlib.sha256(whole["body"]).digest()
    return bytes(msgpack.packb(whole))


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_saved_machine_goes_on_as_it_would_have(name: str, technique: str, tmp_path: Path) -> None:
    with workload(name, technique) as machine:
        machine.run(max_exits=3, timeout=60)
        machine.snapshot().save(tmp_path / "file")
        end = finish(machine)
        loaded = Snapshot.load(tmp_path / "file")
        with Machine.from_snapshot(loaded) as other:
            assert finish(other) == end
            other.restore(loaded)
            assert finish(other) == end
        machine.restore(loaded)
        assert finish(machine) == end


def test_a_saved_snapshot_is_small(tmp_path: Path) -> None:
    with Machine(memory="1GiB") as machine:
        machine.memory.write(512 << 20, b"far away")
        machine.snapshot().save(tmp_path / "file")
        assert (tmp_path / "file").stat().st_size < 64 << 10
    with Machine.from_snapshot(Snapshot.load(tmp_path / "file")) as machine:
        assert machine.memory.read(512 << 20, 8) == b"far away"


def test_saving_leaves_the_old_file_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with Machine() as machine, pytest.raises(OSError, match="no"):
        machine.snapshot().save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def put(key: str, value: Any) -> Callable[[bytes], bytes]:
    return lambda data: msgpack.packb({**msgpack.unpackb(data, strict_map_key=False), key: value})


FOREIGN: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _data: b"", "is no snapshot of pvkit, or is cut short"),
    (lambda data: data[:-1], "is no snapshot of pvkit, or is cut short"),
    (lambda data: data[: len(data) // 2], "is no snapshot of pvkit, or is cut short"),
    (lambda data: data + b"\0", "is no snapshot of pvkit, or is cut short"),
    (lambda _data: b"\x7fELF" + bytes(100), "is no snapshot of pvkit"),
    (lambda _data: b"\x93\1\2\3", "is no snapshot of pvkit"),
    (lambda _data: b"\x91" * 5000, "is no snapshot of pvkit"),
    (lambda _data: b"\xdd\xff\xff\xff\xff", "is no snapshot of pvkit"),
    (lambda _data: b"\xc6\xff\xff\xff\xff", "is no snapshot of pvkit"),
    (put("magic", "another"), "is no snapshot of pvkit"),
    (put("version", 2), "is a snapshot of format 2; this pvkit reads 1"),
    (put("body", b"other"), "is damaged: its checksum is not that of its content"),
    (put("checksum", None), "is damaged"),
]


@pytest.mark.parametrize(("change", "reason"), FOREIGN)
def test_what_is_no_snapshot_of_ours_is_refused(change: Callable[[bytes], bytes], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(change(saved("paravirt")))
    with pytest.raises(SnapshotError) as refused:
        Snapshot.load(path)
    assert str(refused.value).startswith(f"{path} {reason}")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TECHNIQUES), st.data())
def test_a_flipped_byte_is_refused(technique: str, data: st.DataObject) -> None:
    whole = bytearray(saved(technique))
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 200))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        parse_snapshot(bytes(whole))


def set_size(body: dict[str, Any]) -> None:
    body["memory"]["size_bytes"] = 1 << 50


def set_numbers(body: dict[str, Any]) -> None:
    body["memory"]["numbers"] = b"\xff\xff\xff\xff"


def set_order(body: dict[str, Any]) -> None:
    body["memory"]["numbers"] = bytes(8)


def set_pages(body: dict[str, Any]) -> None:
    body["memory"]["pages"] = b"not deflated"


def set_fewer(body: dict[str, Any]) -> None:
    body["memory"]["numbers"] += (4000).to_bytes(4, "little")


def set_memory(body: dict[str, Any]) -> None:
    body["shape"]["memory_bytes"] = 2 << 20


def set_plugins(body: dict[str, Any]) -> None:
    body["shape"]["plugins"] = ["core"]


def set_ending(body: dict[str, Any]) -> None:
    body["ending"]["why"] = "BORED"


MADE_UP: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (set_size, "has memory of 1125899906842624 bytes"),
    (set_numbers, "has pages outside of its memory"),
    (set_order, "has pages out of order"),
    (set_pages, "has pages that do not inflate"),
    (set_fewer, "has fewer pages than it says"),
    (set_memory, "holds 16777216 bytes of memory, where its machine had 2097152"),
    (set_plugins, "has no plugins in its shape"),
    (set_ending, "ended in no way that there is"),
    (lambda body: body.pop("shape"), "lacks something that a snapshot has: 'shape'"),
    (lambda body: body["state"].pop("clock"), "has not every part of a machine"),
]


@pytest.mark.parametrize(("change", "reason"), MADE_UP)
def test_a_body_that_was_made_up_is_refused(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    with pytest.raises(SnapshotError, match=reason):
        parse_snapshot(resealed(saved("paravirt"), change))


def set_field(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        body["state"]["processor"][name] = value

    return change


def move(body: dict[str, Any], name: str, by: int) -> None:
    body["state"]["processor"][name] += by


def at_cpl(body: dict[str, Any], cpl: int) -> None:
    processor = body["state"]["processor"]
    processor["hflags"] = processor["hflags"] & ~3 | cpl


def plugin_state(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["state"]["plugins"].update({name: msgpack.packb(value)})


STATES = [
    *((set_field(name, value), name) for name, value in {
        "fpu_top": 8, "cc_op": 51, "cr4": 0, "efer": 0x1D01, "hflags": 0, "rip": "here", "mxcsr": 1 << 16,
        "hflags2": 0, "intercepts": 0, "eflags": 1 << 17, "registers": b"short", "exits": -1, "v.iopl": 4, "xmm": 7,
    }.items()),
    (set_field("df", 5), "no state that there is"),
    (set_field("sse_rounding", b"\0\7" + bytes(6)), "no state that there is"),
    (set_field("cr3", 0x1000), "page tables lead outside"),
    (set_field("cr3", 0), "page tables lead outside"),  # guest memory as the processor's tables
    (lambda body: move(body, "cr3", 4096), "page tables lead outside"),  # some table of the pool that is no root
    *((lambda body, cpl=cpl: at_cpl(body, cpl), "no state that there is") for cpl in (0, 2)),
    (lambda body: body["state"].update(disks=5), "wrong kind"),
    (lambda body: body["state"].update(plugins=[]), "wrong kind"),
    *((plugin_state(name, value), name) for name, value in (
        ("timer", [[1, 0, 0, None]]), ("events", [None, b"long" * 4096]), ("ring", [[0, 0.0, 4, 0, 0, 0, 0, 0, 0, 0]]),
    )),
    (set_field("pool.used", 1 << 31), "page tables lead outside"),
    (set_field("pool.free_head", 1 << 20), "page tables lead outside"),
    (set_field("tables.active", 5000), "page tables lead outside"),
    (set_field("event_page", 1 << 40), "event_page is outside"),
    (set_field("clock_page", 3), "clock_page is outside"),
    (set_field("counts", [1, 2]), "counts are no counts"),
    (set_field("records", b""), "flight record"),
    (lambda body: body["state"].update(console={}), "console is none"),
    (lambda body: body["state"].update(plugins={}), "has no state of plugin"),
    (lambda body: body["state"].update(clock=-1), "clock has counted"),
    (lambda body: body["state"].update(registers={}), "register breakpoints is missing"),
    (lambda body: body["state"]["plugins"].update(events=msgpack.packb(7)), "events"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), STATES)
def test_a_state_that_no_machine_has_is_refused_and_the_machine_stays_as_it_was(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    snapshot = parse_snapshot(resealed(saved("paravirt"), change))
    with workload("console", "paravirt") as machine:
        machine.run(max_exits=5, timeout=60)
        with machine.fork() as child:
            end = finish(child)
        with pytest.raises(SnapshotError, match=reason):
            machine.restore(snapshot)
        assert finish(machine) == end


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TECHNIQUES), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=8))
def test_tables_that_were_made_up_harm_nobody(technique: str, where: int, what: bytes) -> None:
    """Bytes changed anywhere in the monitor's tables: refused, or a guest that runs into whatever it finds."""

    def change(body: dict[str, Any]) -> None:
        tables = body["tables"]
        import zlib

        pages = bytearray(zlib.decompress(tables["pages"]))
        at = where % (len(pages) - len(what))
        pages[at : at + len(what)] = what
        tables["pages"] = zlib.compress(bytes(pages), 1)
        assert len(pages) % PAGE_BYTES == 0

    snapshot = parse_snapshot(resealed(saved(technique), change))
    try:
        machine = Machine.from_snapshot(snapshot)
    except SnapshotError:
        return
    with machine:
        assert machine.run(timeout=0.2, max_exits=3000).summary


@pytest.mark.parametrize("disks", [5, None, {}])
def test_a_made_up_list_of_disks_makes_no_machine(disks: Any) -> None:
    snapshot = parse_snapshot(resealed(saved("paravirt"), lambda body: body["state"].update(disks=disks)))
    with pytest.raises(SnapshotError, match="does not say which disks"):
        Machine.from_snapshot(snapshot)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate((1 << 32) + 1)
    with pytest.raises(SnapshotError, match=r"has 4294967297 bytes; a snapshot has 4294967296 at most"):
        Snapshot.load(path)
