"""The plugin as it is installed: pvkit finds it by its entry point, and every machine has a store of its own."""

from errno import E2BIG, EFAULT, EINVAL, ENOENT, ENOSPC, EROFS
from typing import Any

import msgpack
import pytest
from pvkit_kvstore import PLUGIN

from guest_sdk import Guest, library
from pv import Machine
from pv.plugin import load_plugins

NUMBERS = [0, 127, 128, 255, 256, 65535, 65536, 2**32, 2**64 - 1]


def guest() -> Guest:
    """A guest with the plugin's calls and routines, and the library's; what is appended goes on after `main:`."""
    made = Guest("kvstore", paravirt=True, plugins=[PLUGIN])
    library.add(made)
    made.string("key", "answer")
    made.string("other", "question")
    made.rodata("document", msgpack.packb({"of": ["life", 42, None]}))
    made.bss("reply", 4096)
    return made.asm("main:")


def run(made: Guest, **options: Any) -> bytes:
    """What the guest printed, under options of the plugin's."""
    made.asm("xor eax, eax\nret")
    printed: list[bytes] = []
    chosen = {f"kvstore.{name}": value for name, value in options.items()}
    with Machine(console=printed.append, options=chosen) as machine:
        machine.load(made.build())
        outcome = machine.run(timeout=20)
    assert outcome.ok, outcome.summary
    return b"".join(printed)


def results(made: Guest, **options: Any) -> list[int]:
    """The numbers that the guest printed, as signed ones."""
    values = [int(line) for line in run(made, **options).split()]
    return [value - (1 << 64) if value >> 63 else value for value in values]


def test_it_is_installed() -> None:
    found = {loaded.name: loaded for loaded in load_plugins().plugins}
    assert found["kvstore"].plugin is PLUGIN
    assert "from pvkit-kvstore 1.0" in found["kvstore"].source


def test_numbers_go_in_and_out_by_the_routines() -> None:
    made = guest()
    for number in NUMBERS:
        made.asm(f"mov rdi, key\nmov rsi, key_bytes\nmov rdx, {number:#x}\ncall kvstore_put_number")
        made.asm("mov rdi, key\nmov rsi, key_bytes\ncall kvstore_get_number")
        made.asm("push rdx\ncall print_decimal\npop rax\ncall print_decimal")
    lines = [int(line) for line in run(made).split()]
    assert lines == [value for number in NUMBERS for value in (0, number)]


def test_a_document_comes_back_as_it_is() -> None:
    made = guest()
    made.call.kv_put("key", "key_bytes", "document", len(msgpack.packb({"of": ["life", 42, None]})))
    made.call.kv_get("key", "key_bytes", "reply", 4096)
    made.asm("mov rsi, rax\nmov rdi, reply\ncall console_out")
    assert msgpack.unpackb(run(made)) == {"of": ["life", 42, None]}


def test_what_the_guest_gets_wrong_is_an_errno() -> None:
    made = guest()
    size = len(msgpack.packb({"of": ["life", 42, None]}))
    for call, arguments in (
        ("kv_get", ("key", "key_bytes", "reply", 4096)),
        ("kv_delete", ("key", "key_bytes")),
        ("kv_put", ("key", "key_bytes", "document", size)),
        ("kv_put", ("key", "key_bytes", "document", size)),
        ("kv_get", ("key", "key_bytes", "reply", 1)),
        ("kv_put", ("key", 65, "document", size)),
        ("kv_put", ("key", "key_bytes", "document", size - 1)),
        ("kv_put", (1 << 40, 4, "document", size)),
    ):
        getattr(made.call, call)(*arguments)
        made.asm("call print_decimal")
    assert results(made) == [-ENOENT, -ENOENT, 0, 1, -E2BIG, -E2BIG, -EINVAL, -EFAULT]


def put_two() -> Guest:
    made = guest()
    for key in ("key", "other"):
        made.asm(f"mov rdi, {key}\nmov rsi, {key}_bytes\nmov edx, 1\ncall kvstore_put_number\ncall print_decimal")
    made.call.kv_count()
    return made.asm("call print_decimal")


@pytest.mark.parametrize(
    ("options", "printed"),
    [({}, [0, 0, 2]), ({"limit": 1}, [0, -ENOSPC, 1]), ({"read_only": True}, [-EROFS, -EROFS, 0])],
)
def test_options_are_the_machine_s(options: dict[str, Any], printed: list[int]) -> None:
    assert results(put_two(), **options) == printed


def test_each_machine_has_a_store_of_its_own() -> None:
    assert results(put_two()) == results(put_two()) == [0, 0, 2]


def test_a_guest_finds_it_by_its_feature_bit() -> None:
    made = guest()
    made.asm("mov eax, CPUID_FEATURES_LEAF\ncpuid\nshl rcx, 32\nmov rax, FEATURE_KVSTORE\nand rax, rcx")
    made.asm("cmp rax, 0\nsetne al\nmovzx eax, al\ncall print_decimal")
    assert results(made) == [1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kvstore.limit": 0}, "kvstore.limit=0 is not a whole number from 1 to 4096"),
        ({"kvstore.limit": "9"}, "kvstore.limit='9' is not a whole number from 1 to 4096"),
        ({"kvstore.limits": 9}, "did you mean 'kvstore.limit'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Machine(options=options)


def test_a_snapshot_holds_the_store() -> None:
    made = put_two()
    made.asm("xor eax, eax\nret")
    with Machine() as machine:
        machine.load(made.build())
        machine.run(timeout=20)
        snapshot = machine.snapshot()
        machine.state["kvstore"].clear()
        machine.restore(snapshot)
        assert machine.state["kvstore"].keys() == ["answer", "question"]
