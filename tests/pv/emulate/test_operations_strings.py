"""String operations on a device: pointers, counts, directions, and when a repetition ends."""

from __future__ import annotations

from typing import Any

import pytest

from pv.devices.bus import Window
from pv.emulate.alu import CF, DF, ZF
from pv.emulate.bus import GuestBus
from pv.emulate.mmio_decode import decode_memory
from pv.exits import AGAIN, NEXT
from tests.differential.cases import DATA, DEVICE
from tests.pv.emulate.carried_out import carry_out, word

RCX, RSI, RDI = 1, 6, 7
REP, REPNE = ".byte 0xf3; ", ".byte 0xf2; "


@pytest.mark.parametrize(("size", "name"), [(1, "stosb"), (2, "stosw"), (4, "stosd"), (8, "stosq")])
@pytest.mark.parametrize("rflags", [2, 2 | DF])
def test_fill(size: int, name: str, rflags: int) -> None:
    after, cpu = carry_out(f"rep {name}", rflags=rflags, rax=0x0101010101010101, rcx=3, rdi=DEVICE + 0x40)
    step = -size if rflags & DF else size
    assert (after.registers[RCX], after.registers[RDI], cpu.cycles) == (0, DEVICE + 0x40 + 3 * step, 3)
    assert word(after, 3 * size, 0x40 + min(0, 2 * step)) == int.from_bytes(b"\x01" * 3 * size, "little")


def test_a_count_of_0_touches_nothing() -> None:
    for text in ("rep stosb", REP + "movsb", REP + "cmpsb", REPNE + "scasb", REP + "lodsb"):
        after, cpu = carry_out(text, rsi=DEVICE, rdi=DEVICE)
        assert (cpu.cycles, after.registers[RSI], after.registers[RDI], after.rflags) == (0, DEVICE, DEVICE, 0)


def test_move_from_memory_to_the_device_and_back() -> None:
    after, cpu = carry_out(REP + "movsb", b"abcdef", rcx=4, rsi=DEVICE, rdi=DEVICE + 2)
    assert after.data[0x1000:0x1008] == b"ababab\0\0"
    assert (cpu.cycles, after.registers[RSI], after.registers[RDI]) == (8, DEVICE + 4, DEVICE + 6)
    after, cpu = carry_out(REP + "movsb", b"abcdef", rcx=4, rsi=DEVICE, rdi=DATA)
    assert (after.data[:5], cpu.cycles) == (b"abcd\0", 4)


@pytest.mark.parametrize(("prefix", "left", "flags"), [(REP, 2, CF), (REPNE, 5, ZF), ("", 6, ZF)])
def test_compare_until_it_differs_or_agrees(prefix: str, left: int, flags: int) -> None:
    after, _ = carry_out(prefix + "cmpsb", b"abcXef--abcdef", rcx=6, rsi=DEVICE, rdi=DEVICE + 8)
    done = 6 - left if prefix else 1
    assert (after.registers[RCX], after.registers[RSI]) == (left, DEVICE + done)
    assert after.rflags & (CF | ZF) == flags


def test_scan_for_a_value() -> None:
    after, _ = carry_out(REPNE + "scasw", b"a.b.c.d.", rcx=9, rax=0x2E63, rdi=DEVICE)
    assert (after.registers[RCX], after.registers[RDI], after.rflags & ZF) == (6, DEVICE + 6, ZF)
    after, _ = carry_out(REP + "scasb", b"aaab", rcx=9, rax=ord("a"), rdi=DEVICE)
    assert (after.registers[RCX], after.registers[RDI], after.rflags & ZF) == (5, DEVICE + 4, 0)


def test_addresses_of_32_bits_cut_pointers_and_count() -> None:
    after, cpu = carry_out(".byte 0x67; rep stosd", rcx=7 << 32 | 2, rdi=5 << 32 | DEVICE)
    assert (after.registers[RCX], after.registers[RDI], cpu.cycles) == (0, DEVICE + 8, 2)


def test_an_element_an_exit() -> None:
    """AGAIN leaves the instruction where it is: what comes between two elements finds pointers and count moved on."""
    _, cpu = carry_out("rep stosb", rcx=0, rdi=DEVICE)

    vcpu: Any = cpu
    vcpu.set(RCX, 2)
    bus = GuestBus(vcpu, [Window("test", DEVICE, DEVICE + 0xFFF, cpu.read_device, cpu.write_device)])
    insn = decode_memory(b"\xf3\xaa", 0)
    assert insn is not None
    assert insn.operation(bus, insn) is AGAIN
    assert (vcpu.get(RCX), vcpu.get(RDI)) == (1, DEVICE + 1)
    assert insn.operation(bus, insn) is NEXT
