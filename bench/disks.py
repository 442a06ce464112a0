"""What is on the disk of a workload's machine? A real file, with the contents that the job `disk` is about.

Every machine of a comparison has it, whatever its workload. It is written once a process, and writes of a guest go to
memory that the machine takes with it.
"""

from __future__ import annotations

from functools import cache
from tempfile import NamedTemporaryFile
from typing import IO

from guest_sdk.work.disk import contents


@cache
def _file() -> IO[bytes]:
    file = NamedTemporaryFile(prefix="pvkit-", suffix=".img")  # noqa: SIM115  (it goes when the process does)
    file.write(contents())
    file.flush()
    return file


def workload_disks() -> list[str]:
    """The disks, as Machine takes them."""
    return [f"{_file().name}:cow"]
