"""The translator's benchmark translates what ran: each block once, as the core had it done."""

from __future__ import annotations

from bench.translator import blocks_of, translate_all


def test_blocks_are_those_of_the_run() -> None:
    blocks = blocks_of("interrupt-flag", 5)
    assert len(blocks) > 10
    assert sorted(blocks) == blocks
    assert all(source for _, source in blocks)
    assert any(b"\xfa" in source for _, source in blocks), "CLI is in one of them"


def test_every_instruction_is_translated_once() -> None:
    nops = [(0x100000, b"\x90\x90\xfa\xc3"), (0x200000, b"\x0f\x01\x07\xfb\xf4")]  # SGDT [RDI], STI, HLT
    assert translate_all(nops) == 4 + 3
    assert translate_all([]) == 0
