"""Lines to bytes: privileged instructions, keystone's known faults, and random lines against iced-x86's own printer."""

from __future__ import annotations

import re
from collections.abc import Callable

import iced_x86
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guest_sdk import AssemblyError, Guest
from guest_sdk.encode import FIXED, REFUSED, Encoder

Encode = Callable[[str], bytes]
ADDRESS = 0x100000


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("sysretq", "480f07"),
        ("sysretl", "0f07"),
        ("retfq", "48cb"),
        ("lretq", "48cb"),
        ("retfq 8", "48ca0800"),
        ("iretq", "48cf"),
        ("vmcall", "0f01c1"),
        ("vmmcall", "0f01d9"),
        ("swapgs", "0f01f8"),
        ("endbr64", "f30f1efa"),
        ("ud2", "0f0b"),
        ("lgdt [rax]", "0f0110"),
        ("lidt [0x100107]", "0f011c2507011000"),
        ("mov cr3, rax", "0f22d8"),
        ("mov cr8, rax", "440f22c0"),
        ("invlpg [rax]", "0f0138"),
        ("ltr ax", "0f00d8"),
        ("lldt cx", "0f00d1"),
        ("lmsw ax", "0f01f0"),
        ("mov ss, ax", "668ed0"),
        ("mov ds, eax", "8ed8"),
        ("mov rax, cs", "488cc8"),
        ("rep movsd", "f3a5"),
        ("xlat", "d7"),
        ("loopz 0x100002", "e100"),
        ("vmrun rax", "0f01d8"),
        ("ljmp [rax]", "ff28"),
        ("out 0xf4, al", "e6f4"),
        ("pushfq", "9c"),
    ],
)
def test_privileged_and_rare(encode: Encode, line: str, code: str) -> None:
    assert encode(line).hex() == code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("mov byte ptr gs:[0x10], 1", "65c604251000000001"),
        ("mov rbx, fs:[0x28]", "64488b1c2528000000"),
        ("inc qword ptr gs:[0x10]", "6548ff042510000000"),
        ("mov rax, [rax + rsp]", "488b0404"),
    ],
)
def test_faults_of_keystone_that_are_mended(encode: Encode, line: str, code: str) -> None:
    assert encode(line).hex() == code


@pytest.mark.parametrize(
    "line",
    [
        "mov al, 256",
        "mov al, -129",
        "mov eax, 0x100000000",
        "push 0xffff",
        "push 0xffffffff",
        "ret 0x10000",
        "enter 70000, 0",
        "mov rbx, [0xfee00000]",
        "mov rbx, [0x123456789abc]",
        "mov rbx, [rax + 0x80000000]",
        "mov rbx, [rsp + rsp]",
        "mov rbx, [rsp*2]",
        "mov rbx, [eip + 8]",
        "mov rax, rip",
        "lock add rax, 1",
        "mov cr1, rax",
        "mov cs, ax",
        "jmp 0x90000000",
        "nop dword ptr [rax]",
        "rep lodsw fs:[rax]",
        "mov rax, -9223372036854775809",
    ],
)
def test_faults_of_keystone_are_caught(encode: Encode, line: str) -> None:
    with pytest.raises(AssemblyError):
        encode(line)


@pytest.mark.parametrize(
    "line",
    [
        "mov ah, r8b",
        "movzx rax, ah",
        "mov ah, [r8]",
        "add ah, sil",
        "crc32 rax, ah",
        "xchg spl, bh",
        "mov [r9 + rax], ch",
    ],
)
def test_what_would_abort_the_process_is_refused(encode: Encode, line: str) -> None:
    with pytest.raises(AssemblyError, match="REX"):
        encode(line)


def test_high_bytes_without_rex_are_fine(encode: Encode) -> None:
    assert encode("mov [rax + rbx], ah").hex() == "882418"


@pytest.mark.parametrize("mnemonic", REFUSED)
def test_operand_size_must_be_named(encode: Encode, mnemonic: str) -> None:
    with pytest.raises(AssemblyError, match="write"):
        encode(mnemonic)


@pytest.mark.parametrize("line", ["frobnicate rax", "db 5", "mov", "mov rax", "inc [rax]", "mov [rax], 5"])
def test_nonsense_is_refused(encode: Encode, line: str) -> None:
    with pytest.raises(AssemblyError):
        encode(line)


def test_fixed_encodings_are_verified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIXED, "sysretl", "0f05")
    with pytest.raises(AssemblyError, match="is syscall"):
        Encoder().encode("sysretl", (), (), ADDRESS)


# Random lines in the very spelling of iced-x86's formatter: what it prints must be what was asked for.
FORMATTER = iced_x86.Formatter(iced_x86.FormatterSyntax.NASM)
FORMATTER.hex_prefix, FORMATTER.hex_suffix = "0x", ""
FORMATTER.uppercase_hex = False
FORMATTER.small_hex_numbers_in_decimal = False
FORMATTER.signed_memory_displacements = True
FORMATTER.signed_immediate_operands = True
FORMATTER.memory_size_options = iced_x86.MemorySizeOptions.NEVER
WIDTHS = {
    64: ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16))],
    32: ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", *(f"r{n}d" for n in range(8, 16))],
    16: ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", *(f"r{n}w" for n in range(8, 16))],
    8: ["al", "bl", "cl", "dl", "sil", "dil", "bpl", "spl"],
}
SIZE_WORDS = {"byte", "word", "dword", "qword", "short", "near"}
TWO = st.sampled_from(["mov", "add", "sub", "and", "or", "xor", "cmp", "adc", "sbb"])
widths = st.sampled_from(sorted(WIDTHS))


def signed_hex(value: int) -> str:
    return f"-{-value:#x}" if value < 0 else f"{value:#x}"


@st.composite
def addresses(draw: st.DrawFn) -> str:
    base = draw(st.sampled_from(WIDTHS[64]))
    index = draw(st.sampled_from([name for name in WIDTHS[64] if name != "rsp"]) | st.none())
    scale = draw(st.sampled_from([2, 4, 8]))
    displacement = draw(st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-128, 127) | st.just(0))
    segment = draw(st.sampled_from(["", "fs:", "gs:"]))
    text = base + (f"+{index}*{scale}" if index else "")
    if displacement:
        text += f"{'-' if displacement < 0 else '+'}{abs(displacement):#x}"
    return f"{segment}[{text}]"


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, str]:
    """A line as we take it and as the formatter prints it."""
    width = draw(widths)
    register = draw(st.sampled_from(WIDTHS[width]))
    other = draw(st.sampled_from(WIDTHS[width]))
    verb = draw(TWO)
    kind = draw(st.sampled_from(["rr", "rm", "mr", "ri", "mi", "lea", "push", "shift", "branch"]))
    memory = draw(addresses())
    inside = memory.partition(":")[2] or memory
    colon = memory[: memory.index("[")]
    printed = f"[{colon}{inside[1:]}" if colon else memory
    least, most = (-(1 << width - 1), (1 << width - 1) - 1) if width < 64 else (-(1 << 31), (1 << 31) - 1)
    number = signed_hex(draw(st.integers(least, most) | st.integers(-128, 127)))
    size = {8: "byte", 16: "word", 32: "dword", 64: "qword"}[width]
    target = draw(st.integers(ADDRESS - 0x10000, ADDRESS + 0x10000))
    rows = {
        "rr": (f"{verb} {register}, {other}", f"{verb} {register},{other}"),
        "rm": (f"{verb} {register}, {memory}", f"{verb} {register},{printed}"),
        "mr": (f"{verb} {memory}, {register}", f"{verb} {printed},{register}"),
        "ri": (f"{verb} {register}, {number}", f"{verb} {register},{number}"),
        "mi": (f"{verb} {size} ptr {memory}, {number}", f"{verb} {printed},{number}"),
        "lea": (f"lea {WIDTHS[64][0]}, {inside}", f"lea rax,{inside}"),
        "push": (f"push {WIDTHS[64][2]}", "push rcx"),
        "shift": (f"shl {register}, cl", f"shl {register},cl"),
        "branch": (f"jne {target:#x}", f"jne {target:#x}"),
    }
    return rows[kind]


@settings(max_examples=400)
@given(line=lines())
def test_random_lines_decode_to_themselves(encode: Encode, line: tuple[str, str]) -> None:
    source, printed = line
    code = encode(source)
    (instruction,) = iced_x86.Decoder(64, code, ip=ADDRESS)
    assert words(FORMATTER.format(instruction)) == words(printed)


def words(text: str) -> list[str | int]:
    """Words, signs and numbers of a line: 0x00000010 is 0x10, and words that say a size are left out."""
    found = re.findall(r"0x[0-9a-f]+|\w+|[^\w\s]", text)
    return [int(word, 0) if word[:2] == "0x" else word for word in found if word not in SIZE_WORDS]


@settings(max_examples=200)
@given(width=widths, value=st.integers(-(1 << 66), 1 << 66), data=st.data())
def test_an_immediate_comes_out_or_is_refused(encode: Encode, width: int, value: int, data: st.DataObject) -> None:
    register = data.draw(st.sampled_from(WIDTHS[width]))
    assume(value)
    try:
        code = encode(f"mov {register}, {signed_hex(value)}")
    except AssemblyError:
        assert not -(1 << width - 1) <= value < 1 << width
        return
    (instruction,) = iced_x86.Decoder(64, code, ip=ADDRESS)
    assert (instruction.immediate(1) - value) % (1 << width) == 0
    assert -(1 << width - 1) <= value < 1 << width


@pytest.mark.parametrize("register", ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r15"])
def test_a_label_is_an_address_for_every_register(register: str) -> None:
    guest = Guest("label", paravirt=False)
    guest.bss("cell", 8).asm(f"main:\n mov {register}, [cell]\n mov [cell], {register}\n ret")
    assert guest.build()
