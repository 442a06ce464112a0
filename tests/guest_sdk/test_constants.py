"""The names of the ABI that guests may use."""

import pytest

from guest_sdk import abi
from guest_sdk.constants import constants, groups


def test_calls_offsets_errno_and_flags_have_names() -> None:
    table = constants()
    assert table["CALL_CONSOLE_WRITE"] == 0x1010
    assert table["EVENT_PAGE_CR2"] == 8
    assert table["EVENT_PAGE_SIZE"] == 272
    assert table["MULTICALL_ENTRY_RESULT"] == 56
    assert table["EINVAL"] == 22
    assert table["MAP_USER"] == 4
    assert table["FEATURE_EVENTS"] == 1 << 5


def test_signature_is_what_cpuid_returns() -> None:
    table = constants()
    words = [table[f"SIGNATURE_{name}"].to_bytes(4, "little") for name in ("EBX", "ECX", "EDX")]
    assert b"".join(words) == abi.SIGNATURE


def test_every_call_of_the_table_is_there() -> None:
    plugin = abi.Call(0x8001, "greet", (), "0")
    numbers = groups([*abi.CALLS, plugin])["Hypercall numbers"]
    assert len(numbers) == len(abi.CALLS) + 1
    assert numbers["CALL_GREET"] == 0x8001


def test_plugins_own_features_are_masks() -> None:
    table = constants(features={"kvstore": 40})
    assert (table["FEATURE_KVSTORE"], table["FEATURE_CONSOLE"]) == (1 << 40, 1 << 1)
    assert "FEATURE_KVSTORE" not in constants()


def test_two_calls_of_one_name_are_one_constant_and_a_clash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "MAP_FLAGS", {"EINVAL": 1})
    with pytest.raises(ValueError, match=r"EINVAL of .*taken"):
        constants()
