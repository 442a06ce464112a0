"""Lines of source into labels, directives and instructions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import AssemblyError
from guest_sdk.syntax import Directive, Immediate, Instruction, Label, Memory, Register, Source, parse_text


def one(line: str) -> Instruction:
    (item,) = parse_text(line)[0]
    assert isinstance(item, Instruction)
    return item


def operand(text: str, names: dict[str, int] | None = None) -> object:
    (source,) = one(f"push {text}").operands
    return source if isinstance(source, Register) else source.resolve((names or {}).__getitem__, names or {})


def test_labels_comments_and_prefixes() -> None:
    items, scope = parse_text("a: .b: LOCK inc qword ptr [rax] ; c: nop\n# nothing\n  \nc:\n.b: nop # end")
    assert [item.name for item in items if isinstance(item, Label)] == ["a", "a.b", "c", "c.b"]
    first = next(item for item in items if isinstance(item, Instruction))
    assert (first.prefixes, first.mnemonic) == (("lock",), "inc")
    assert scope == "c"


def test_scope_goes_on_in_the_next_chunk() -> None:
    (jump, *_), _ = parse_text("jmp .again", "main")
    assert isinstance(jump, Instruction)
    assert isinstance(jump.operands[0], Source)
    assert jump.operands[0].expression.names == {"main.again"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rax", Register("rax")),
        ("R8B", Register("r8b")),
        ("st(1)", Register("st(1)")),
        ("';'", Immediate(59)),
        ("','", Immediate(44)),
        ("offset here", Immediate(0x1000)),
        ("[rax]", Memory(0, "", (("rax", 1),), 0)),
        ("byte [rax]", Memory(1, "", (("rax", 1),), 0)),
        ("QWORD PTR gs:[here + rax*8 - 2]", Memory(8, "gs", (("rax", 8),), 0xFFE)),
        ("dword ptr fs : [0x28]", Memory(4, "fs", (), 0x28)),
        ("[rip + here]", Memory(0, "", (), 0x1000)),
        ("[rip + 8]", Memory(0, "", (("rip", 1),), 8)),
    ],
)
def test_operands(text: str, expected: object) -> None:
    assert operand(text, {"here": 0x1000}) == expected


def test_directives() -> None:
    items, _ = parse_text(".align 16\n.byte 1, 'a', x\n.quad -1")
    assert [(item.unit_bytes, len(item.values)) for item in items if isinstance(item, Directive)] == [
        (0, 1),
        (1, 3),
        (8, 1),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (".loop: nop", "before any other label"),
        ("rax: nop", "name of a register"),
        ("rep", "without an instruction"),
        ("lock lock inc dword ptr [rax]", "repeat or contradict"),
        ("rep repne movsb", "repeat or contradict"),
        (".align 4, 4", "needs one value"),
        (".byte", "needs values"),
        ("mov rax, [rbx", "no number, name or operator"),
        ("mov rax, rbx]", "no number, name or operator"),
        ("mov rax,", "unexpected"),
        ("mov rax, 5 5", "unexpected"),
        ("push qword ptr 5", "unexpected"),
    ],
)
def test_refused_and_the_line_is_named(line: str, reason: str) -> None:
    with pytest.raises(AssemblyError, match=reason) as raised:
        parse_text(f"nop\n{line}")
    assert raised.value.line == line


def test_arithmetic_on_registers_needs_brackets() -> None:
    with pytest.raises(AssemblyError, match="brackets"):
        operand("rax + 1")


@given(st.text(alphabet="mov raxb.:;#,[]'\\0x9+-*gs ptr\t(", max_size=40))
def test_any_line_parses_or_is_refused(line: str) -> None:
    try:
        items, _ = parse_text(line)
    except AssemblyError:
        return
    assert all(isinstance(item, (Label, Directive, Instruction)) for item in items)


def test_an_unknown_directive_names_those_there_are() -> None:
    with pytest.raises(AssemblyError, match=r"unknown directive '.balign'; there are .align, .byte, .word"):
        parse_text(".balign 4096")
