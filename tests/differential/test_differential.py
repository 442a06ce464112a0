"""The emulator against the engine: random instructions and states, equal in registers, flags and memory.

Each mnemonic of the table, in every encoding, width, register and form of address. `make differential` has longer runs.
All flags are compared: of those that the SDM calls undefined, the emulator leaves what the engine leaves.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.emulate.operations import OPERATIONS
from tests.differential.campaign import Campaign
from tests.differential.cases import GENOME_BYTES, make
from tests.differential.errata import ERRATA, Erratum
from tests.differential.forms import FORMS
from tests.differential.guests import GUESTS
from tests.differential.processors import emulate, native

GENOMES = st.binary(min_size=GENOME_BYTES, max_size=GENOME_BYTES)
QUICK = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    made = Campaign("trap")
    yield made
    made.close()


@pytest.fixture(scope="module", params=list(GUESTS))
def under(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    made = Campaign(request.param)
    yield made
    made.close()


@settings(QUICK, max_examples=1000)
@given(GENOMES)
def test_operations(campaign: Campaign, genome: bytes) -> None:
    campaign.compare_operation(genome)


@settings(QUICK, max_examples=500)
@given(GENOMES)
def test_exits(under: Campaign, genome: bytes) -> None:
    under.compare_exits(genome)


def test_every_instruction_of_the_table_is_drawn() -> None:
    assert FORMS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("key", sorted(FORMS), ids=lambda key: OPERATIONS[key].name)
def test_every_encoding_reaches_the_device(campaign: Campaign, key: tuple[int, int]) -> None:
    """Ten cases of each mnemonic, whatever chance draws for the others."""
    first = sorted(FORMS).index(key)
    before = campaign.tally["reached the device"]
    for seed in range(10):
        campaign.compare_operation(bytes([first]) + bytes((seed * 73 + i * 29) % 256 for i in range(GENOME_BYTES - 1)))
    assert campaign.tally["reached the device"] > before


def test_a_genome_is_always_the_same_case() -> None:
    genome = bytes(i * 89 % 256 for i in range(GENOME_BYTES))
    assert str(make(genome)) == str(make(genome))
    assert make(genome) is not None


# ---- what the engine gets wrong, each held to be so: one that is mended is to leave the list ----


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: erratum.name)
def test_an_erratum_is_real_and_the_emulator_follows_the_manual(erratum: Erratum) -> None:
    witness = erratum.witness
    wanted = erratum.by_manual(witness, native().run)
    assert erratum.applies(witness)
    assert erratum.manual.startswith("vol. ")
    after, cpu = emulate(witness)
    assert after.difference(wanted) == ""
    assert cpu.cycles or after.fault == 13 or not witness.reaches_device
    assert native().run(witness).difference(wanted)
