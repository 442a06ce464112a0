"""The cases are the instructions that they are named after, and can be found."""

from __future__ import annotations

import pytest
from iced_x86 import Decoder

from pv.outcome import disassemble
from pv.theorem.cases import CASES, NAMES, Case, find_case

CLASSIC = (  # Robin and Irvine 2000, as far as 64-bit mode has them, by our names
    "SGDT", "SIDT", "SLDT", "SMSW", "PUSHF", "POPF", "LAR", "LSL", "VERR", "VERW", "POP FS", "PUSH FS",
    "far CALL", "far JMP", "INT n", "far RET", "STR", "MOV from CS", "MOV from SS", "MOV to DS",
    "MOV to FS", "MOV to SS",
)  # fmt: skip
PRIVILEGED = (  # SDM vol. 3, 5.9
    "LGDT", "LLDT", "LTR", "LIDT", "MOV to CR0", "LMSW", "CLTS", "MOV to DR0", "INVD", "WBINVD", "INVLPG", "HLT",
    "RDMSR", "WRMSR", "RDPMC", "RDTSC",
)  # fmt: skip


def test_both_lists_are_whole() -> None:
    assert set(CLASSIC) <= set(NAMES)
    assert set(PRIVILEGED) <= set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_case_is_one_instruction(case: Case) -> None:
    instruction = Decoder(64, case.code, ip=0).decode()
    if case.name == "PUSH CS":  # not in 64-bit mode
        assert instruction.is_invalid
        return
    assert instruction.len == len(case.code)
    text = disassemble(case.code, 0).lower().removeprefix("o64 ")
    word = case.name.lower().split()
    mnemonic = word[1] if word[0] == "far" else word[0]
    assert text.startswith(mnemonic)
    if word[0] == "mov":
        assert text.endswith(word[2]) if word[1] == "from" else text.split()[1].startswith(word[2])


@pytest.mark.parametrize("name", ["MOV from CS", "mov-from-cs", "Mov_From_CS", " mov  from cs "])
def test_a_case_is_found_however_it_is_written(name: str) -> None:
    assert find_case(name).name == "MOV from CS"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", r"no instruction ''; `pvkit theorem` lists them"),
        ("xyzzy", r"no instruction 'xyzzy'; `pvkit theorem` lists them"),
        ("POPFQ", r"no instruction 'POPFQ'; near it: POPF"),
        ("cr3", r"no instruction 'cr3'; near it: MOV from CR3, MOV to CR3"),
    ],
)
def test_an_unknown_name_is_said_with_what_is_near(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_case(name)
