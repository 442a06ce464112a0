"""The handlers of privileged instructions against the engine at CPL 0: the same fault, or the same state read back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.campaign import hold_privileged
from tests.differential.privileged import GENOME_BYTES, Privileged, emulated, natively
from tests.differential.privileged_errata import ERRATA, Erratum


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=GENOME_BYTES, max_size=GENOME_BYTES))
def test_random_ones(genome: bytes) -> None:
    hold_privileged(genome)


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: erratum.name)
def test_an_erratum_is_real_and_the_handler_follows_the_manual(erratum: Erratum) -> None:
    engine = natively(erratum.witness)
    assert erratum.applies(erratum.witness)
    assert erratum.manual.startswith("vol. ")
    assert emulated(erratum.witness) == erratum.mend(erratum.witness, engine) != engine


def test_what_is_read_back_is_what_was_set_up() -> None:
    left = emulated(Privileged("xor eax, eax", rdx=5))
    assert left.fault == -1
    assert (left.state["rax"], left.state["rdx"], left.state["cr2"], left.state["KERNEL_GS_BASE"]) == (
        0,
        5,
        0x1111,
        0x2222,
    )
    assert left == natively(Privileged("xor eax, eax", rdx=5))
