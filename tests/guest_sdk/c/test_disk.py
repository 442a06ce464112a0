"""A disk in C: 64 blocks in flight are one kick, and what is written is on the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_sdk import abi
from tests.guest_sdk.c.conftest import RunC

HEAD = "#include <pvkit.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
SECTORS = 1024


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(index * 7 % 251 for index in range(SECTORS * abi.SECTOR_BYTES)))
    return path


def test_64_blocks_are_read_with_one_kick(run_c: RunC, image: Path) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_disk disk;
            pvkit_must(pvkit_disk_open(&disk, 0, 64));
            unsigned char *data = malloc(64 * 4096);
            uint64_t sum = 0, token;
            int64_t bytes;
            for (uint32_t i = 0; i < 64; i++)
                pvkit_assert(pvkit_disk_read(&disk, i, i * 8, data + i * 4096, 8));
            pvkit_assert(!pvkit_disk_read(&disk, 64, 0, data, 8));
            while (pvkit_disk_wait(&disk, &token, &bytes) > 0)
                pvkit_assert(bytes == 4096 && token < 64);
            for (int i = 0; i < 64 * 4096; i++)
                sum += data[i];
            printf("%lu of %lu sectors%s\\n", sum, disk.sectors, disk.read_only ? ", read only" : "");
            return (int)pvkit_disk_close(&disk);
        }""",
        machine={"disks": [str(image)]},
    )
    assert found.console == f"{sum(image.read_bytes()[: 64 * 4096])} of {SECTORS} sectors, read only\n"
    assert found.by_key["VMCALL", "ring_kick"] == 1
    assert found.calls["block_read"] == 64


def test_what_is_written_is_on_the_file(run_c: RunC, image: Path) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_disk disk;
            char sector[512];
            uint64_t token;
            int64_t bytes;
            pvkit_must(pvkit_disk_open(&disk, 0, 4));
            memset(sector, '!', sizeof sector);
            pvkit_assert(pvkit_disk_write(&disk, 1, disk.sectors - 1, sector, 1));
            pvkit_assert(pvkit_disk_flush(&disk, 2));
            pvkit_assert(pvkit_disk_read(&disk, 3, disk.sectors, sector, 1)); /* past its end */
            for (int i = 0; i < 3; i++) {
                pvkit_must(pvkit_disk_wait(&disk, &token, &bytes));
                printf("%lu: %s %ld\\n", token, pvkit_error_name(bytes), bytes < 0 ? 0 : bytes);
            }
            return 0;
        }""",
        machine={"disks": [f"{image}:rw"]},
    )
    assert found.console.splitlines()[:2] == ["1: no error 512", "2: no error 0"]
    assert found.console.splitlines()[2].startswith("3: E")
    assert image.read_bytes()[-513:] == bytes([(SECTORS * 512 - 513) * 7 % 251]) + b"!" * 512


def test_a_machine_without_a_disk(run_c: RunC) -> None:
    found = run_c(f"{HEAD}int main(void) {{ struct pvkit_disk d; return pvkit_disk_open(&d, 0, 4) == -PVKIT_ENODEV; }}")
    assert found.status == 1


def test_a_sector_past_64_bits_of_bytes_is_not_the_first_one(run_c: RunC, image: Path) -> None:
    before = image.read_bytes()
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_disk disk;
            char sector[512] = "wrong";
            uint64_t token;
            int64_t bytes;
            pvkit_must(pvkit_disk_open(&disk, 0, 4));
            pvkit_assert(pvkit_disk_write(&disk, 1, 1ull << 55, sector, 1));
            pvkit_must(pvkit_disk_wait(&disk, &token, &bytes));
            return bytes == -PVKIT_EINVAL ? 0 : 1;
        }""",
        machine={"disks": [f"{image}:rw"]},
    )
    assert found.summary == "exited with status 0"
    assert image.read_bytes() == before
