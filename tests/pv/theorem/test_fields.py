"""Offsets agree with those of the native core, and no two fields overlap."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from pv.theorem.fields import FIELDS, MSRS, STATE_BYTES

HEADER = (Path(__file__).parents[3] / "pv/engines/unicorn/native/engine.h").read_text(encoding="utf-8")
SAME = {
    "rip": "ENV_RIP", "eflags": "ENV_EFLAGS", "cc_op": "ENV_CC_OP", "hflags": "ENV_HFLAGS",
    "es.selector": "ENV_SEGMENTS", "ldtr.selector": "ENV_LDT", "tr.selector": "ENV_TR",
    "gdtr.selector": "ENV_GDT", "idtr.selector": "ENV_IDT",
    "cr0": "ENV_CR", "efer": "ENV_EFER", "error_code": "ENV_ERROR_CODE", "is_int": "ENV_EXCEPTION_IS_INT",
}  # fmt: skip


@pytest.mark.parametrize(("field", "name"), SAME.items())
def test_the_core_has_it_at_the_same_place(field: str, name: str) -> None:
    stands = re.search(rf"\b{name} = (0x[0-9a-f]+)", HEADER)
    assert stands is not None
    assert FIELDS[field].offset == int(stands[1], 16)


def test_the_state_is_as_large_as_the_core_says() -> None:
    assert f"PV_ENV_SIZE = {STATE_BYTES}" in HEADER


def test_fields_lie_apart_and_inside() -> None:
    spans = sorted((field.offset, field.offset + field.size) for field in FIELDS.values())
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert spans[-1][1] <= STATE_BYTES


def test_each_msr_is_a_field() -> None:
    assert set(MSRS) <= set(FIELDS)
