"""Guest: labels across chunks, data, constants, and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from guest_sdk import AssemblyError, Guest, abi
from guest_sdk.builder import MOST_BSS
from guest_sdk.link import Image


def section(image: Image, name: str) -> bytes:
    return next(found.data for found in image.sections if found.name == name)


def address(image: Image, name: str) -> int:
    return next(symbol.address for symbol in image.symbols if symbol.name == name)


def test_labels_are_known_in_every_chunk_before_and_after() -> None:
    guest = Guest("test", paravirt=False)
    guest.asm("main: call helper").asm(".back: jmp .back").asm("helper: jmp main.back")
    image = guest.link()
    assert address(image, "helper") > address(image, "main.back") > address(image, "main")


def test_quads_and_fields_resolve_labels() -> None:
    guest = Guest("test", paravirt=False).asm("main: ret\nhandler: ret")
    guest.quads("table", [1, -1, "handler", "table + 8"])
    guest.fields("gdtr", [(2, "table_size - 1"), (8, "table")], readonly=True)
    guest.constant("table_size", 32)
    image = guest.link()
    table = address(image, "table")
    quads = [1, (1 << 64) - 1, address(image, "handler"), table + 8]
    assert section(image, ".data") == b"".join(value.to_bytes(8, "little") for value in quads)
    assert section(image, ".rodata") == b"\x1f\0" + table.to_bytes(8, "little")


def test_strings_end_in_nul_and_know_their_length() -> None:
    image = Guest("test", paravirt=False).string("text", "grüße").asm("main: mov eax, text_bytes\nret").link()
    assert section(image, ".rodata") == "grüße".encode() + b"\0"
    assert b"\xb8\x07\0\0\0" in section(image, ".text")


def test_constants_of_the_abi_and_of_the_guest() -> None:
    guest = Guest("test", paravirt=False).constant("PORT", 0x80)
    guest.asm("main: mov eax, CALL_CONSOLE_WRITE\nmov rbx, [rsi + EVENT_PAGE_CR2]\nmov rcx, -EINVAL\nout PORT, al")
    code = section(guest.link(), ".text")
    assert bytes.fromhex("b810100000488b5e0848c7c1eaffffffe680") in code


def test_page_alignment_and_base() -> None:
    guest = Guest("test", paravirt=False, base=0x200000).asm("main: ret")
    guest.bss("tables", 8192, align=4096).data("byte", [1]).data("page", bytes(4096), align=4096)
    image = guest.link()
    assert address(image, "main") >= 0x200000
    assert address(image, "tables") % 4096 == address(image, "page") % 4096 == 0


def test_building_twice_changes_nothing() -> None:
    guest = Guest("test", paravirt=True).asm("main: ret")
    assert guest.build() == guest.build()
    assert guest.link() == guest.link()


def test_listing_shows_address_bytes_and_source() -> None:
    lines = Guest("test", paravirt=False).asm("main: xor eax, eax\n.align 16\nret").listing().splitlines()
    assert "main:" in lines
    assert any("31c0" in line and "xor eax,eax" in line and "; main: xor eax, eax" in line for line in lines)


REFUSALS: list[tuple[Callable[[Guest], object], str]] = [
    (lambda g: g.asm("main: nop"), "'main' is already a label"),
    (lambda g: g.data("main", b"1"), "'main' is already a label"),
    (lambda g: g.asm("word: nop"), r"'word' is already a label in .data"),
    (lambda g: g.constant("word", 1), r"'word' is already a label in .data"),
    (lambda g: g.constant("EINVAL", 1), "'EINVAL' is already a constant of the ABI"),
    (lambda g: g.asm("EINVAL: nop"), "already a constant of the ABI"),
    (lambda g: g.bss("rax", 1), "'rax' is no name"),
    (lambda g: g.bss("two words", 1), "is no name"),
    (lambda g: g.bss("x", 0), "size of 0 bytes"),
    (lambda g: g.bss("x", MOST_BSS), "size of"),
    (lambda g: g.data("x", b""), "no bytes"),
    (lambda g: g.data("x", [256]), "numbers from 0 to 255"),
    (lambda g: g.data("x", b"1", align=24), "power of two"),
    (lambda g: g.quads("x", []), "at least one"),
    (lambda g: g.fields("x", [(9, 0)]), "1 to 8 bytes"),
    (lambda g: g.quads("x", ["1 +"]), "unexpected"),
    (lambda g: g.quads("x", ["missing"]).build(), "guest test: undefined label or constant 'missing'"),
    (lambda g: g.quads("x", [1 << 64]).build(), "does not fit in 8 bytes"),
    (lambda g: g.quads("x", ["rax"]).build(), "not a register"),
    (lambda g: g.asm("call missing").build(), "'call missing': guest test: undefined label"),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSALS)
def test_refused(spoil: Callable[[Guest], object], reason: str) -> None:
    guest = Guest("test", paravirt=False).asm("main: ret").data("word", b"1234")
    with pytest.raises(AssemblyError, match=reason):
        spoil(guest)


@pytest.mark.parametrize("base", [0x100001, 0x1000, -4096])
def test_base_is_a_page_above_the_loaders(base: int) -> None:
    with pytest.raises(AssemblyError, match="base"):
        Guest("test", paravirt=False, base=base)


def test_the_hypercall_page_is_a_paravirtual_guests_own() -> None:
    with pytest.raises(AssemblyError, match="hypercall_page"):
        Guest("test", paravirt=True).asm("hypercall_page: ret")
    Guest("test", paravirt=False).asm("hypercall_page: ret\nmain: ret").build()


def test_a_plugin_brings_calls_masks_and_routines() -> None:
    plugin = SimpleNamespace(
        calls=(abi.Call(0x8001, "greet", (), "0"),),
        own_features=(SimpleNamespace(name="greeting", bit=40),),
        guest_routines=lambda guest: guest.asm("welcome:\nmov rax, FEATURE_GREETING\nret"),
    )
    plain = SimpleNamespace(calls=(), own_features=(), guest_routines=None)
    guest = Guest("test", paravirt=True, plugins=[plugin, plain])
    guest.asm("main:\ncall welcome")
    guest.call.greet()
    listing = guest.asm("ret").listing()
    assert "48b80000000000010000" in listing  # mov rax, 1 << 40
    assert "b801800000" in listing  # mov eax, 0x8001
