"""What stands in the cache for each kind of instruction."""

from __future__ import annotations

from typing import Any

import pytest
from iced_x86 import Decoder, DecoderOptions, Formatter, FormatterSyntax

from pv.translate.block import Translation, Translator
from pv.translate.callouts import decode
from pv.translate.draft import CR0, CR0_EM_ONLY, CR4, CS, GDTR, IDTR, LDTR, STUB, TR
from pv.translate.emit import EMIT
from pv.translate.policy import How
from tests.pv.engines.unicorn.guests import assemble
from tests.pv.translate.laboratory import FAR, LOW, Virtual

SELECTOR = 0x10


def translated(code: bytes | str, base: int = LOW, **virtual: int) -> Translation:
    code = assemble(code, base) if isinstance(code, str) else code
    return Translator(Virtual(**virtual)).translate(base, code, 4096, SELECTOR, False)


def texts(block: Translation) -> list[str]:
    """Each entry of the map as text: callouts by kind and payload, all else as an instruction."""
    ends = [offset for offset, _, _ in block.map[1:]] + [len(block.code)]
    return [_text(block.code[offset:end], offset) for (offset, _, _), end in zip(block.map, ends, strict=True)]


def _text(code: bytes, offset: int) -> str:
    if (callout := decode(code)) is not None:
        assert callout.size == len(code)
        return " ".join([callout.kind.name, *(f"{field:#x}" for field in callout.fields)])
    formatter = Formatter(FormatterSyntax.NASM)
    formatter.hex_prefix, formatter.hex_suffix, formatter.branch_leading_zeros = "0x", "", False
    instruction: Any = Decoder(64, code, DecoderOptions.MPX, ip=offset).decode()
    return str(formatter.format(instruction))


def test_every_kind_of_policy_is_emitted() -> None:
    """But VECTOR, which is one of two others by the guest's CR4."""
    assert EMIT.keys() == set(How) - {How.VECTOR}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("cli", ["bndmk bnd0,[0]", "LINK 0x0 0x100001"]),
        ("sti", ["bndmk bnd0,[1]", "bndcu bnd1,[1]", "LINK 0x0 0x100001"]),
        ("pushfq", ["PUSHF 0x8", "LINK 0x0 0x100001"]),
        (bytes.fromhex("669d"), ["POPF 0x2", "LINK 0x0 0x100002"]),
        ("cpuid", ["INSTRUCTION", "LINK 0x0 0x100002"]),
        ("lar eax, ecx", ["INSTRUCTION", "LINK 0x0 0x100003"]),
        ("in al, 0x60", ["in al,0x60", "LINK 0x0 0x100002"]),
        ("iretq", ["INSTRUCTION", "LINK 0x0 0x100002"]),
        ("mov cr3, rax", ["INSTRUCTION", "LINK 0x0 0x100003"]),
        ("insb", ["STEP", "LINK 0x0 0x100001"]),
        ("fnstenv [rax]", ["STEP", "LINK 0x0 0x100002"]),
        ("syscall", ["STEP"]),
        ("rdrand eax", ["ud2"]),
        ("vzeroupper", ["ud2"]),
        ("ud2", ["ud2"]),
        ("int 0x80", ["int 0x80"]),
        (bytes.fromhex("f30f1b0425000000 00".replace(" ", "")), ["nop", "LINK 0x0 0x100009"]),
        (bytes.fromhex("f00fa3c1"), ["STEP"]),  # LOCK BT
        (bytes.fromhex("f00f20c0"), ["STEP"]),  # LOCK MOV from CR0
        (bytes.fromhex("0f01ca"), ["STEP"]), (bytes.fromhex("0f01ef"), ["ud2"]),
        (bytes.fromhex("c5ff" + "00" * 14), ["STEP"]),
        (bytes.fromhex("0f20c8"), ["INSTRUCTION", "LINK 0x0 0x100003"]),  # CR1: the monitor says #UD
        (bytes.fromhex("06" * 16), ["STEP"]),
        ("ret", ["RETURN 0x0"]),
        ("ret 0x20", ["RETURN 0x20"]),
        ("jmp rax", ["BRANCH 0x2 0x0 -0x1 -0x1 0x1 0x2 0x0"]),
        ("call r13", ["BRANCH 0x3 0xd -0x1 -0x1 0x1 0x3 0x0"]),
        ("call [rax + r12 * 8 - 8]", ["BRANCH 0x1 0x0 0xc -0x1 0x8 0x5 -0x8"]),
        (bytes.fromhex("65ff242530000000"), ["BRANCH 0x0 -0x1 -0x1 0x5 0x1 0x8 0x30"]),
        ("jmp qword ptr [rip + 0x10]", ["BRANCH 0x0 -0x1 -0x1 -0x1 0x1 0x6 0x100016"]),
        ("jmp qword ptr [eax]", ["BRANCH 0x4 0x0 -0x1 -0x1 0x1 0x3 0x0"]),
        ("jmp 0x100200", ["LINK 0x0 0x100200"]),
        ("call 0x100200", ["push 0x100005", "LINK 0x0 0x100200"]),
        ("smsw [rax]", ["mov word [rax],0x11", "LINK 0x0 0x100003"]),
        ("smsw ecx", ["mov ecx,0x80000011", "LINK 0x0 0x100003"]),
        ("mov eax, ss", ["INSTRUCTION", "LINK 0x0 0x100002"]),
        ("mov eax, ds", ["mov eax,ds", "LINK 0x0 0x100002"]),
        ("mov eax, cs", ["mov eax,0x10", "LINK 0x0 0x100002"]),
        ("mov word ptr [rip + 0x10], cs", ["mov word [0x100017],0x10", "LINK 0x0 0x100007"]),
    ],
)  # fmt: skip
def test_what_stands_in_the_cache(code: bytes | str, expected: list[str]) -> None:
    assert texts(translated(code)) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("mov rcx, [rip + 0x10]", "STEP"),
        ("lea rcx, [rip + 0x10]", "mov rcx,0xFFFF900000100017"),
        ("mov rax, [rip + 0x10]", "mov rax,[qword 0xFFFF900000100017]"),
        ("sgdt [rip + 0x10]", "INSTRUCTION"),
        ("mov word ptr [rip + 0x10], cs", "INSTRUCTION"),
        ("mov word ptr [rip + 0x10], ds", "STEP"),
        ("call 0xffff900000200000", "push 0x100005"),
        ("jmp qword ptr [rip + 0x10]", "BRANCH 0x0 -0x1 -0x1 -0x1 0x1 0x6 -0x6fffffefffea"),
    ],
)
def test_out_of_reach(code: str, expected: str) -> None:
    assert texts(translated(code, FAR))[0] == expected


@pytest.mark.parametrize(
    ("code", "bakes"),
    [
        ("sgdt [rax]", GDTR), ("sidt [rax]", IDTR), ("sldt eax", LDTR), ("str eax", TR), ("smsw eax", CR0),
        ("mov eax, cs", CS), ("movaps xmm0, xmm1", CR4 | CR0_EM_ONLY), ("mov eax, ds", 0), ("mov rax, cr0", 0),
    ],
)  # fmt: skip
def test_what_a_block_is_made_by(code: str, bakes: int) -> None:
    assert translated(code).bakes == bakes


@pytest.mark.parametrize(
    ("state", "expected"), [({}, "movaps xmm0,xmm1"), ({"cr4": 0x20}, "ud2"), ({"cr0": 0x80000015}, "ud2")]
)
def test_sse_is_as_the_guest_has_it(state: dict[str, int], expected: str) -> None:
    assert texts(translated("movaps xmm0, xmm1", **state))[0] == expected


def test_conditions_and_counts() -> None:
    block = translated(bytes.fromhex("7410 e20e ffc8 75fa"))  # jz and loop to 0x100012; dec; jnz to the loop
    assert texts(block) == [
        "bnd je near 0x2F", "loop 0xC", "jmp short 0x19", "LINK 0x0 0x100012", "dec eax", "bnd jne near 7",
        "LINK 0x0 0x100008", "LINK -0x2c 0x100012",
    ]  # fmt: skip
    assert [guest for _, guest, _ in block.map] == [0, 2, 4, STUB, 4, 6, STUB, STUB]


@pytest.mark.parametrize("code", ["66e900000000", "66e800000000", "667400", "66c3", "66ffe0", "66ff10", "66e200"])
def test_a_near_branch_of_16_bits_is_the_processors(code: str) -> None:
    """Intel's ignore the prefix, this one does not, and its instruction has another length."""
    assert texts(translated(bytes.fromhex(code) + bytes(8))) == ["STEP"]
