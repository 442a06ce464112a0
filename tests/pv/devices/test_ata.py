"""The ATA channel: selection, a disk that is not there, resets, and who drives INTRQ."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.devices.ata_registers import COMMAND, Register
from tests.pv.devices.ata_host import DRQ, ERR, IDLE, SECTOR, Host, make_disk

NO_INTERRUPT, RESET, HIGH_ORDER = 2, 4, 0x80
SIGNATURE = {Register.COUNT: 1, Register.LBA_LOW: 1, Register.LBA_MID: 0, Register.LBA_HIGH: 0, Register.DEVICE: 0}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_disk(tmp_path, 64, "cow"))


@pytest.fixture
def pair(tmp_path: Path) -> Host:
    return Host(make_disk(tmp_path, 64), make_disk(tmp_path, 32, name="second.img"))


def signature(host: Host) -> dict[Register, int]:
    return {register: host[register] for register in SIGNATURE}


def test_power_on_leaves_the_signature_of_a_disk_and_no_interrupt(host: Host) -> None:
    assert signature(host) == SIGNATURE
    assert (host[Register.ERROR], host[Register.STATUS], host.line.level) == (1, IDLE, False)


def test_intrq_falls_as_the_status_is_read_and_not_by_the_alternate(host: Host) -> None:
    host.command(0xEC)
    assert host.alternate == DRQ
    assert host.line.level
    assert host[Register.STATUS] == DRQ
    assert not host.line.level


def test_intrq_falls_as_a_command_is_written(host: Host) -> None:
    host.command(0x20, sector=3, count=2)
    rises = host.line.rises
    host.command(0x20, sector=3, count=2)
    assert (host.line.level, host.line.rises) == (True, rises + 1)


def test_nien_holds_intrq_back_and_forgets_nothing(host: Host) -> None:
    host.control(NO_INTERRUPT)
    host.command(0xE7)
    assert not host.line.level
    host.control(0)
    assert host.line.level


def test_a_disk_1_that_is_not_there_reads_as_no_device(host: Host) -> None:
    host.command(0xEC, device=1)
    assert (host[Register.STATUS], host.alternate) == (0, 0)
    assert (host.take(2), host.line.level) == (b"\xff\xff", False)
    host.give(b"lost")
    assert host[Register.DEVICE] == 0x50  # disk 0 answers for its registers
    host[Register.DEVICE] = 0
    assert host.alternate == IDLE  # and did not take the command


def test_the_selected_disk_answers_and_drives_intrq(pair: Host) -> None:
    assert pair.command(0x20, sector=7, count=1, device=1) == DRQ
    assert pair.line.level
    pair[Register.DEVICE] = 0x40
    assert (pair.alternate, pair.line.level) == (IDLE, False)
    pair[Register.DEVICE] = 0x50
    assert pair.line.level
    assert pair.take(SECTOR) == (7).to_bytes(4, "little") * 128


def test_both_disks_take_the_registers_and_one_the_command(pair: Host) -> None:
    assert pair.command(0x20, sector=40, count=1) == DRQ
    assert pair.command(0x20, sector=40, count=1, device=1) == ERR  # it has 32 sectors


def test_srst_is_busy_while_it_is_on_and_leaves_the_signature(pair: Host) -> None:
    pair.command(0x20, sector=5, count=1, device=1)
    pair.control(RESET)
    assert (pair.alternate, pair.line.level) == (0x80, False)
    pair[Register.COUNT] = 9
    pair[COMMAND] = 0xEC
    pair.control(0)
    assert (signature(pair), pair[Register.ERROR], pair[Register.STATUS]) == (SIGNATURE, 1, IDLE)
    assert pair.line.rises == 1


def test_a_diagnostic_is_both_disks_and_interrupts(pair: Host) -> None:
    pair.command(0x20, sector=5, count=1, device=1)
    pair[Register.STATUS]
    pair[COMMAND] = 0x90
    assert (signature(pair), pair[Register.ERROR], pair.alternate, pair.line.level) == (SIGNATURE, 1, IDLE, True)


def test_hob_shows_what_was_written_before_the_last(host: Host) -> None:
    host[Register.LBA_LOW], host[Register.LBA_LOW] = 0x12, 0x34
    assert host[Register.LBA_LOW] == 0x34
    host.control(HIGH_ORDER)
    assert host[Register.LBA_LOW] == 0x12
    host[Register.COUNT] = 1  # any write to the command block clears it
    assert host[Register.LBA_LOW] == 0x34


def test_a_disk_asleep_hears_nothing_until_a_reset(host: Host) -> None:
    host.command(0xE6)
    host[Register.STATUS]
    assert (host.command(0xEC), host.line.level) == (IDLE, False)
    host.control(RESET)
    host.control(0)
    assert host.command(0xEC) == DRQ


ACCESSES = st.lists(
    st.one_of(
        st.tuples(st.just("command"), st.sampled_from([*range(0x20, 0x43), 0x91, 0xC4, 0xC5, 0xC6, 0xEC, 0xEF, 0x90])),
        st.tuples(st.integers(1, 7), st.integers(0, 0xFF)),
        st.tuples(st.just("control"), st.integers(0, 0xFF)),
        st.tuples(st.just("take"), st.sampled_from([1, 2, 4, SECTOR, 16 * SECTOR])),
        st.tuples(st.just("give"), st.sampled_from([1, 2, 4, SECTOR, 16 * SECTOR])),
        st.tuples(st.just("read"), st.integers(1, 7)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(ACCESSES, st.sampled_from([1, 2, 4]))
def test_any_sequence_of_accesses_is_survived(accesses: list[tuple[object, int]], width: int) -> None:
    host = Host(SHARED)
    for what, value in accesses:
        match what:
            case "command":
                host[COMMAND] = value
            case "control":
                host.control(value)
            case "take":
                assert len(host.take(max(value, width), width)) == max(value, width)
            case "give":
                host.give(bytes(max(value, width)), width)
            case "read":
                assert 0 <= host[value] <= 0xFF
            case int(register):
                host[register] = value
    assert host.alternate in {0, 0x50, 0x51, 0x58, 0x80}


@pytest.fixture(scope="module", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    global SHARED
    SHARED = make_disk(tmp_path_factory.mktemp("ata"), 64, "cow")
