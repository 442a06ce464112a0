"""The ABI's tables agree with themselves."""

from __future__ import annotations

import pytest

from guest_sdk import abi


def test_numbers_and_names_are_used_once() -> None:
    assert len({call.number for call in abi.CALLS}) == len(abi.CALLS) == len(abi.BY_NAME)
    assert all(abi.BUILT_IN_FIRST <= call.number <= abi.BUILT_IN_LAST for call in abi.CALLS)


def test_arguments_fit_in_registers() -> None:
    assert all(len(call.arguments) <= len(abi.ARGUMENT_REGISTERS) for call in abi.CALLS)
    assert {bits for call in abi.CALLS for _, bits in call.arguments} <= {32, 64}


def test_offsets_follow_from_sizes() -> None:
    page = abi.STRUCT_BY_NAME["event_page"]
    assert [page.offset(field) for field, _ in page.fields] == [0, 1, 2, 8, 16, 144]
    assert page.size_bytes == 272
    assert abi.STRUCT_BY_NAME["multicall_entry"].size_bytes == 64
    with pytest.raises(KeyError):
        page.offset("nothing")


def test_signature_fits_three_registers() -> None:
    assert len(abi.SIGNATURE) == 12
