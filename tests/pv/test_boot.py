"""How an image comes to its first instruction, by technique."""

import pytest

from guest_sdk import abi
from pv.boot import map_flags, start_guest
from pv.engines.scripted import ScriptedVcpu
from pv.loaders import Image, LoadError, Segment
from pv.memory import GuestMemory

ENTRY = abi.LOAD_FIRST
CODE = Segment(ENTRY, b"\xf4", 1, writable=False, executable=True)
DATA = Segment(ENTRY + 0x1000, b"hi", 16, writable=True, executable=False)
IMAGE = Image(ENTRY, (CODE, DATA))


@pytest.fixture
def vcpu() -> ScriptedVcpu:
    return ScriptedVcpu(GuestMemory(2 << 20))


def test_flags_are_the_abis() -> None:
    present, write, execute = (abi.MAP_FLAGS[name] for name in ("MAP_PRESENT", "MAP_WRITE", "MAP_EXECUTE"))
    assert map_flags(CODE) == present | execute
    assert map_flags(DATA) == present | write


def test_the_monitors_tables_get_the_segments(vcpu: ScriptedVcpu) -> None:
    start_guest(vcpu, vcpu.memory, IMAGE, "monitor tables")
    assert vcpu.done == [("start_monitor_tables", ((ENTRY, 1, map_flags(CODE)), (ENTRY + 0x1000, 16, map_flags(DATA))))]
    assert (vcpu.rip, vcpu.rsp) == (ENTRY, abi.BOOT_STACK_TOP)
    assert vcpu.memory.read(ENTRY + 0x1000, 3) == b"hi\0"


def test_the_guests_tables_are_in_its_memory(vcpu: ScriptedVcpu) -> None:
    start_guest(vcpu, vcpu.memory, IMAGE, "guest tables")
    assert (vcpu.rip, vcpu.rsp) == (ENTRY, abi.BOOT_STACK_TOP)
    assert vcpu.memory.read_uint(vcpu.virtual.cr3, 8) & 1
    assert vcpu.memory.read_uint(vcpu.virtual.gdt_base, 8) == 0
    assert vcpu.virtual.gdt_limit == 23


def test_what_does_not_fit_is_a_load_error(vcpu: ScriptedVcpu) -> None:
    far = Segment(4 << 20, b"x", 1, writable=True, executable=False)
    with pytest.raises(LoadError, match="beyond"):
        start_guest(vcpu, vcpu.memory, Image(ENTRY, (CODE, far)), "monitor tables")
