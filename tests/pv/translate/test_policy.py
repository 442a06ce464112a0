"""One row for each instruction: what runs at CPL 1 as it does at CPL 0 is copied, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from iced_x86 import Code, CpuidFeature, Decoder

from pv.emulate.cpuid import HIDDEN
from pv.emulate.decode import FORMS, TRANSLATED_FORMS
from pv.theorem.cases import CASES, Case
from pv.theorem.classify import Class
from pv.theorem.manual import MANUAL
from pv.translate.draft import OPTIONS
from pv.translate.policy import (
    ABSENT,
    BY_CODE,
    FOREIGN,
    LATER,
    MEMORY,
    PLAIN,
    PRESENT,
    TABLE,
    VECTOR,
    After,
    How,
    Policy,
    policy_of,
)
from tests.pv.engines.unicorn.guests import assemble

FEATURES = {value: name for name, value in vars(CpuidFeature).items() if name.isupper()}
PAGE = Path(__file__).parents[3] / "docs" / "translation.md"
COPIED = (How.IDENTICAL, How.VECTOR, How.NOTHING)


def raw(code: bytes | str) -> Any:
    code = bytes.fromhex(code) if isinstance(code, str) else code
    return Decoder(64, code + bytes(15 - len(code)), OPTIONS, ip=0x10_0000).decode()


def row(code: bytes | str) -> Policy:
    return policy_of(raw(code))


def test_names_differ_and_each_row_says_why() -> None:
    rows = (*TABLE, *LATER)
    assert len({one.name for one in rows}) == len(rows)
    assert all(one.why and "|" not in one.why for one in rows)
    assert all(one.codes for one in TABLE)


def page_table() -> str:
    """The table as the page has it."""
    fields = [(one.name, one.how.name.lower(), one.after.name.lower(), one.why) for one in (*TABLE, *LATER)]
    rows = [f"| {' | '.join(row)} |" for row in fields]
    return "\n".join(["| class | becomes | the block | |", "| --- | --- | --- | --- |", *rows]) + "\n"


def test_the_page_has_the_table() -> None:
    assert page_table() in PAGE.read_text(encoding="utf-8")


def test_every_code_of_64_bit_mode_has_one_row() -> None:
    for name, code in vars(Code).items():
        if name.isupper() and code in BY_CODE:
            assert BY_CODE[code] in (*TABLE, *LATER)


@pytest.mark.parametrize("code", [*FORMS, *TRANSLATED_FORMS])
def test_what_the_monitor_emulates_is_not_copied(code: int) -> None:
    assert BY_CODE[code].how not in COPIED or BY_CODE[code].name == "IN OUT"  # whose hook stands inside a block


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("4889d8", PLAIN), ("90", PLAIN), ("f390", PLAIN), ("50", PLAIN), ("9e", PLAIN), ("0fc8", PLAIN),
        ("488b03", MEMORY), ("f3a4", MEMORY), ("d7", MEMORY), ("dd03", MEMORY), ("0fb133", MEMORY), ("ac", MEMORY),
        ("48a1", MEMORY), ("c4e278f2c1", MEMORY), ("0f0b0b", "exceptions"), ("0f28c1", VECTOR), ("0fae13", VECTOR),
        ("f20f38f1c3", PLAIN), ("f30fb8c3", MEMORY), ("0fc70b", MEMORY), ("0f18c0", MEMORY), ("0f1f00", MEMORY),
        ("f30f1efa", MEMORY), ("0f1ac1", "bounds"), ("f30f1b0425", "bounds"), ("cd80", "exceptions"),
        ("0f01c1", "exceptions"), ("0f05", "SYSCALL"), ("c5f877", ABSENT), ("62f17c4828c1", ABSENT),
        ("0fc7f1", ABSENT), ("0fc7f9", ABSENT), ("f30fc7f8", FOREIGN), ("f30faec0", FOREIGN), ("0f01ca", FOREIGN),
        ("0f01cb", FOREIGN), ("0f01ee", ABSENT), ("0f01ef", ABSENT), ("0fae23", FOREIGN), ("0f01d0", FOREIGN),
        ("0f34", FOREIGN), ("0f35", FOREIGN), ("c7f800000000", FOREIGN), ("0f01d5", FOREIGN), ("0f01d8", FOREIGN),
        ("66430f3882", FOREIGN), ("8fe97812c0", ABSENT), ("0f30", "privileged"), ("0fae03", "FNSTENV FNSAVE FXSAVE"),
        ("d933", "FNSTENV FNSAVE FXSAVE"), ("9c", "PUSHF"), ("669d", "POPF"), ("f04801d8", "not decoded"),
        ("6c", "INS OUTS"), ("48cf", "returns and far transfers"), ("0f22d8", "control and system tables"),
        ("0f20d8", "privileged"), ("8cc8", "MOV from a segment"), ("e3fe", "LOOP JRCXZ"), ("67e3fe", "LOOP JRCXZ"),
    ],
)  # fmt: skip
def test_rows(code: str, expected: Policy | str) -> None:
    found = row(code)
    if code == "f20f38f1c3":  # CRC32, which is an instruction of SSE4.2 without its registers
        assert found in (PLAIN, MEMORY)
    elif isinstance(expected, str):
        assert found.name == expected
    else:
        assert found.how == expected.how
        assert (found in (ABSENT, FOREIGN)) == (expected in (ABSENT, FOREIGN))


def test_what_cpuid_hides_is_not_present() -> None:
    """Each name of pv.emulate.cpuid's list that iced-x86 knows as a feature; the rest of a guest's CPUID is."""
    hidden = {name for _, _, bits, _ in HIDDEN for name in bits}
    known = {name for name in FEATURES.values() if name in hidden}
    assert {"AVX", "RDRAND", "XSAVE", "FSGSBASE", "SMAP", "RTM", "INVPCID"} <= known
    assert not known & {FEATURES[feature] for feature in PRESENT} - {"PREFETCHWT1"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_sensitive_is_not_copied(case: Case) -> None:
    """By the theorem's manual. Of what is copied nothing but what faults at every level is more than innocuous."""
    found = policy_of(raw(case.code))
    if found.how in COPIED and found.name not in ("exceptions", "IN OUT"):
        assert MANUAL[case.name].kind is Class.INNOCUOUS


def test_a_branch_ends_a_block_and_a_condition_does_not() -> None:
    for text in ("jmp 0x100100", "call 0x100100", "jmp rax", "call [rax]", "ret", "ret 8", "ud2", "int 0x80"):
        assert row(assemble(text, 0x10_0000)).after is After.NEVER
    for text in ("jz 0x100100", "loop 0x100010", "jrcxz 0x100010", "sti", "hlt", "cpuid"):
        assert row(assemble(text, 0x10_0000)).after is After.ON
    for text in ("lgdt [rax]", "mov cr3, rax", "clts", "iretq", "sysret", "retfq", "ljmp [rax]"):
        assert row(assemble(text, 0x10_0000)).after is After.LINK


@pytest.mark.parametrize(
    "text",
    ["movaps xmm0, [rax]", "cvtpi2ps xmm1, [rax]", "movq [rax], xmm3", "aesenc xmm1, xmm2", "maskmovdqu xmm1, xmm2",
     "ldmxcsr [rax]", "stmxcsr [rax]", "addsd xmm1, xmm2", "movd eax, xmm1"],
)  # fmt: skip
def test_sse_depends_on_the_guests_cr4(text: str) -> None:
    assert row(assemble(text)) is VECTOR


@pytest.mark.parametrize(
    "text", ["paddq mm0, mm1", "sfence", "prefetcht0 [rax]", "movnti [rax], ecx", "popcnt eax, ecx"]
)
def test_what_needs_no_sse_state(text: str) -> None:
    """SDM vol. 3, 2.5, CR4.OSFXSR."""
    assert row(assemble(text)).how is How.IDENTICAL
