"""Which page faults are accesses to a device: windows beside memory and inside it, and what stays a fault."""

from __future__ import annotations

from typing import Final

import pytest

from pv.dispatch import ANY_KEY, DispatchTable, Row, Shape
from pv.engines.base import GuestFault
from pv.exits import NEXT, ExitView, Reason, Reply, StopWhy, stop
from tests.pv.engines.unicorn.guests import DATA, END, FILLS, PF, TrapGuest

GPA: Final = 0xD000_0000
WITHIN: Final = 0x20_0000  # a 2 MiB page of the guest's memory, which the loader maps
DONE: Final = "; mov al, 0xee; out 0xf4, al"


class Log:
    """A row of MMIO that takes every access, and leaves its register as it is."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int, int]] = []

    def row(self, first: int, last: int) -> Row:
        return Row(Reason.MMIO, first, last, self.take, "test", "log")

    def take(self, exit: ExitView) -> Reply:
        self.seen.append((exit.key, exit.address, exit.error_code & 2, exit.length))
        return NEXT


def guest_with(code: str, *windows: tuple[int, int]) -> tuple[TrapGuest, Log]:
    guest, log = TrapGuest(code + DONE), Log()
    guest.answer(*(log.row(first, last) for first, last in windows))
    return guest, log


def map_page(guest: TrapGuest, gva: int, gpa: int) -> None:
    at = guest.page_entry(gva)
    guest.memory.write_uint(at, 8, gpa | guest.word(at) & 0xFFF)


def test_an_exit_says_where_and_which_way() -> None:
    guest, log = guest_with(f"mov ebx, {DATA}; mov [rbx + 0x10], eax; mov eax, [rbx + 0x20]", (GPA, GPA + 0xFFF))
    with guest:
        map_page(guest, DATA, GPA)
        outcome = guest.run()
        assert outcome.status == 0xEE
        assert log.seen == [(GPA + 0x10, DATA + 0x10, 2, 3), (GPA + 0x20, DATA + 0x20, 0, 3)]
        fills = {FILLS: outcome.by_key[FILLS]}
        assert outcome.by_key == {
            ("MMIO", "gpa 0xd0000010 write"): 1, ("MMIO", "gpa 0xd0000020 read"): 1, **fills, **END
        }  # fmt: skip
        assert guest.vcpu.flight_record()[-3].key == (GPA + 0x10) * 2 + 1


def test_a_page_that_nobody_claims_still_stops_the_guest() -> None:
    guest, log = guest_with(f"mov ebx, {DATA}; mov [rbx], eax", (GPA, GPA + 0xFFF))
    with guest:
        map_page(guest, DATA, GPA + 0x1000)
        outcome = guest.run()
        assert (outcome.why, log.seen) == (StopWhy.UNHANDLED, [])
        assert "no memory and no device" in outcome.detail


def test_a_row_for_any_key_takes_whatever_memory_does_not_answer() -> None:
    guest, log = guest_with(f"mov ebx, {DATA}; mov [rbx], eax", (ANY_KEY, ANY_KEY))
    with guest:
        map_page(guest, DATA, 0xF_1234_5000)
        assert guest.run().status == 0xEE
        assert [entry[0] for entry in log.seen] == [0xF_1234_5000]
        assert guest.vcpu.counters()[Reason.MMIO, 0xF_1234_5000 * 2 + 1] == 1


def test_an_unmapped_page_is_the_guests_own_fault() -> None:
    guest, log = guest_with(f"mov ebx, {DATA}; mov [rbx], eax", (GPA, GPA + 0xFFF))
    with guest:
        map_page(guest, DATA, GPA)
        guest.protect(DATA, clear=1)
        assert guest.run().status == PF
        assert log.seen == []


def test_a_window_inside_memory_hides_it() -> None:
    """The page of a large one that the guest maps: what lies around it is memory, filled at once."""
    code = f"mov ebx, {WITHIN}; mov ecx, 7; mov [rbx], ecx; mov [rbx + 0x1000], ecx; mov [rbx + 0x2000], ecx"
    guest, log = guest_with(code, (WITHIN + 0x1000, WITHIN + 0x1FFF))
    with guest:
        assert guest.run().status == 0xEE
        assert [entry[0] for entry in log.seen] == [WITHIN + 0x1000]
        assert [guest.word(WITHIN + page) for page in (0, 0x1000, 0x2000)] == [7, 0, 7]


def test_a_window_that_is_bound_later_is_seen() -> None:
    code = f"mov ebx, {WITHIN}; mov [rbx], ecx; out 0x80, al; mov [rbx], ecx"
    guest, log = guest_with(code)
    with guest:
        ports = {(Reason.IO_INSTRUCTION, Shape.WRITE), (Reason.MMIO, Shape.EXIT)}
        rows = [row for row in guest.machine.table if (row.reason, row.shape) not in ports]

        def write(port: int, _size: int, value: int) -> Reply | None:
            if port == 0xF4:
                return stop(value)
            guest.vcpu.bind(DispatchTable([*rows, out, log.row(WITHIN, WITHIN + 0xFFF)]))
            return None

        out = Row(Reason.IO_INSTRUCTION, 0, 0xFFFF, write, "test", "", Shape.WRITE)
        guest.vcpu.bind(DispatchTable([*rows, out]))
        assert guest.run().status == 0xEE
        assert len(log.seen) == 1


def test_page_tables_in_a_devices_page_are_read_as_ones() -> None:
    """The bus answers nothing to a walk: an entry of all ones has reserved bits set."""
    far = 500 << 21
    guest, log = guest_with(f"mov rbx, {far}; mov eax, [rbx]", (GPA, GPA + 0xFFF))
    with guest:
        directory: int = guest.vcpu.virtual.cr3
        for level in (3, 2):
            directory = guest.word(directory + (far >> 12 + 9 * level & 511) * 8) & 0xFFFFFFFFF000
        guest.memory.write_uint(directory + 8 * 500, 8, GPA | 0x67)
        assert (guest.run().status, log.seen) == (PF, [])
        assert guest.frame(error=True).error == 9
        assert guest.vcpu.virtual.cr2 == far


def test_a_table_with_rows_the_core_cannot_answer_is_refused() -> None:
    guest, log = guest_with("nop")
    with guest:
        rows = [row for row in guest.machine.table if row.reason is not Reason.MMIO]
        for row in (
            Row(Reason.MMIO, GPA, GPA + 0xFFF, lambda _o, _s: 0, "test", "", Shape.READ),
            log.row(1 << 36, (1 << 36) + 0xFFF),
        ):
            with pytest.raises(ValueError, match="rows of MMIO take exits, of gpas below 0x1000000000"):
                guest.vcpu.bind(DispatchTable([*rows, row]))


def test_translate_follows_the_guests_tables() -> None:
    guest, _ = guest_with("nop", (GPA, GPA + 0xFFF))
    with guest:
        map_page(guest, DATA, GPA)
        assert guest.vcpu.translate(DATA + 0x123) == GPA + 0x123
        assert guest.vcpu.translate(0x101234, write=True) == 0x101234
        guest.protect(DATA, clear=2)
        with pytest.raises(GuestFault) as caught:
            guest.vcpu.translate(DATA, write=True)
        assert (caught.value.vector, caught.value.error_code, guest.vcpu.virtual.cr2) == (PF, 3, DATA)
        with pytest.raises(GuestFault) as caught:
            guest.vcpu.translate(1 << 47)
        assert caught.value.vector == 13
