"""The disk of a workload's machine: a real file with the job's contents, whose writes a machine keeps to itself."""

from __future__ import annotations

from pathlib import Path

from bench.disks import workload_disks
from guest_sdk.work.disk import BLOCK, contents
from pv.disk import as_disk


def test_it_is_one_file_with_the_jobs_contents() -> None:
    (first,), (second,) = workload_disks(), workload_disks()
    assert first == second
    assert Path(first.removesuffix(":cow")).read_bytes() == contents()


def test_what_one_machine_writes_another_does_not_see() -> None:
    disks = [as_disk(disk) for disk in workload_disks() * 2]
    disks[0].write_from(memoryview(bytes(BLOCK)), 0)
    room = bytearray(BLOCK)
    disks[1].read_into(memoryview(room), 0)
    assert room == contents()[:BLOCK]
    for disk in disks:
        disk.close()
