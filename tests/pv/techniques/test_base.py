from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from pv.dispatch import DispatchTable, Row, Shape
from pv.emulate.system_registers import SystemRegisters
from pv.techniques import TECHNIQUES, Technique
from tests.pv.emulate.recording_vcpu import Guest


@pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=TECHNIQUES)
def test_rows_fit_one_table_and_bear_the_techniques_name(technique: Technique, guest: Guest, native: Any) -> None:
    rows: list[Row] = technique.rows(guest.vcpu, native, SystemRegisters())
    assert len(list(DispatchTable(rows))) == len(rows)
    assert {row.owner for row in rows} == {technique.name}
    natives = set(vars(native).values())
    assert all((row.handler in natives) is (row.shape is Shape.NATIVE) for row in rows)


@pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=TECHNIQUES)
def test_two_vcpus_share_no_state(technique: Technique, guest: Guest, native: Any) -> None:
    first, second = (
        technique.rows(guest.vcpu, native, SystemRegisters()),
        technique.rows(guest.vcpu, native, SystemRegisters()),
    )
    python = [(one, other) for one, other in zip(first, second, strict=True) if one.name in ("RDTSC", "CPUID")]
    assert python
    assert all(one.handler is not other.handler for one, other in python)


@pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=TECHNIQUES)
def test_a_technique_is_a_value(technique: Technique) -> None:
    assert technique.summary
    with pytest.raises(FrozenInstanceError):
        technique.name = "other"  # type: ignore[misc]
