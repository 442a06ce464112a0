"""What time may change: areas by symbol, by address, and what is no area."""

from __future__ import annotations

import pytest

from pv.check.timing import TIMING_DEVICES, Area, Ignored, named_by_guest, read_area, read_ignored
from tests.pv.check.guests import sdk

GUEST = sdk("mov qword ptr [timing_ticks], 5", lambda guest: guest.bss("timing_ticks", 64).bss("other", 32))


def test_symbols_of_the_prefix_are_areas() -> None:
    (area,) = named_by_guest(GUEST, ()).areas
    assert area.size_bytes == 64
    assert read_ignored(["other"], GUEST, (), ()).areas[0].size_bytes == 32


def test_a_symbol_names_a_register() -> None:
    found = named_by_guest(sdk("timing_r12:\nnop"), ["r12", "rax"])
    assert found == Ignored(registers=frozenset({"r12"}))


@pytest.mark.parametrize("image", [b"\xf4", b"\x7fELF", b"\x7fELF" + bytes(60)])
def test_a_file_without_symbols_names_nothing(image: bytes) -> None:
    assert named_by_guest(image, ["rax"]) == Ignored()


@pytest.mark.parametrize(("text", "area"), [("0x5000+64", Area(0x5000, 64)), ("16+0x10", Area(16, 16))])
def test_an_area_by_address(text: str, area: Area) -> None:
    assert read_area(text) == (area,)


@pytest.mark.parametrize("text", ["", "5", "0x5000+", "+4", "0x5000+0", "0x5000+-4", "-4+4", "a+b"])
def test_what_is_no_area(text: str) -> None:
    assert read_area(text) == ()


def test_everything_that_may_be_ignored() -> None:
    found = read_ignored(["rax", "COM1", "other", "0x5000+8"], GUEST, ["rax"], ["COM1"])
    assert found.registers == {"rax"}
    assert found.devices == {"COM1"}
    assert found.areas[1] == Area(0x5000, 8)
    assert (Ignored() | found) == found


def test_what_is_nothing_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"--ignore 'ra' is no GPA\+SIZE .* local APIC"):
        read_ignored(["ra"], GUEST, ["rax"], TIMING_DEVICES)
