"""Guests that a review of the translation cache found, each with what it did to the monitor."""

from __future__ import annotations

from typing import Any

import pytest

from pv.translate.block import Translator
from tests.hostile.test_translate import END
from tests.hostile.translated import LEAST_CACHE, TRANSLATE, observed, same
from tests.pv.engines.unicorn.guests import CODE, DATA

PAGE = CODE + 0x3000
CACHE = 0xFFFF_8400_0000_0000


def test_code_written_behind_a_cleared_wp() -> None:
    """Called, and its page read-only in the shadow, which binds no kernel any more."""
    body = f"mov ebx, {PAGE}; call rbx; mov rax, cr0; and eax, 0xfffeffff; mov cr0, rax; call rbx"
    same(f"{body}; mov dword ptr [rbx + 1], 77; call rbx; mov edi, eax; {END}", {PAGE: "mov eax, 5; ret"})


def test_a_page_with_more_blocks_than_the_cache_has() -> None:
    """4,000 returns, each called: it ended with "no memory for a translation"."""
    driver = f"mov ebx, {PAGE + 0x40}; again: inc esi; call rbx; inc ebx; cmp ebx, {PAGE + 0x1000}; jb again; {END}"
    same(f"mov eax, {PAGE}; jmp rax", {PAGE: driver, PAGE + 0x40: b"\xc3" * 0xFC0}, cache_bytes=LEAST_CACHE)


@pytest.mark.parametrize("offset", range(0, 0x40, 0x10))
def test_a_step_into_the_cache(offset: int) -> None:
    """IRETQ with TF to where the cache stands: the TLB had it, and a translated instruction ran."""
    frame = (
        f"mov rcx, rsp; mov eax, ss; push rax; push rcx; push 0x102; mov eax, cs; push rax; mov rax, {CACHE + offset}"
    )
    same(f"{frame}; push rax; iretq", {})


def test_a_callout_in_the_last_bytes_of_the_cache() -> None:
    """It was taken for none, again and again."""
    base = CODE + 0x4000
    last = base + 0x8000
    code: dict[int, Any] = {base + 0x1000 * number: b"\xc3" for number in range(6)}
    calls = "".join(f"call {place};" for place in code)
    code |= {last: b"\xc3" * 235, last + 0x200: (b"\x48\xb8" + b"\x01" * 8) * 32 + b"\x90" * 3 + b"\xc3"}
    body = f"{calls} mov ebx, {last}; again: call rbx; inc ebx; cmp ebx, {last + 235}; jb again; inc esi"
    same(f"{body}; call {last + 0x200}; {END}", code, cache_bytes=LEAST_CACHE)


def test_a_string_of_ports_is_cut_by_the_time_budget() -> None:
    body = f"mov esi, {DATA}; mov rcx, -1; mov edx, 0x80; rep outsb; {END}"
    budgets = {"timeout": 0.2, "max_exits": 10**12}
    outcome = observed(TRANSLATE, body, {}, None, budgets, memory="64MiB").seen.outcome
    assert outcome.why.value == "time budget used up"


def test_memory_that_is_told_of_while_it_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler may: the block had nowhere to go, and was put there all the same."""
    translate, guests = Translator.translate, []

    def interrupted(self: Translator, rip: int, *rest: Any) -> Any:
        found = translate(self, rip, *rest)
        if rip >> 12 == PAGE >> 12 and len(guests) == 1:
            guests.pop().vcpu.forget_code([(PAGE, PAGE + 0x1000)])
        return found

    monkeypatch.setattr(Translator, "translate", interrupted)
    seen = observed(TRANSLATE, f"call {PAGE}; {END}", {PAGE: "inc esi; ret"}, guests.append, {"timeout": 5}).seen
    assert seen.registers["rsi"] == 1
    assert not guests
