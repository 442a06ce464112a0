"""The dispatch table: collisions are refused with both names, the most exact row answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.dispatch import ANY_KEY, FOUND_MOST, Collision, DispatchTable, Row, Shape, key_range, overlaps
from pv.exits import Reason

REASONS = (Reason.VMCALL, Reason.IO_INSTRUCTION)


def handler() -> int:
    return 0


def row(first: int, last: int | None = None, **fields: object) -> Row:
    made = {"reason": Reason.VMCALL, "owner": "test", **fields}
    return Row(first=first, last=first if last is None else last, handler=handler, **made)  # type: ignore[arg-type]


ranges = st.one_of(
    st.just((ANY_KEY, ANY_KEY)),
    st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1])),
)
rows = st.builds(
    lambda keys, reason, shape, owner: row(*keys, reason=reason, shape=shape, owner=owner),
    ranges, st.sampled_from(REASONS), st.sampled_from(list(Shape)), st.sampled_from("abc"),
)  # fmt: skip


def clash(one: Row, other: Row) -> bool:
    """Said plainly: a reason, a direction and a key that both would answer."""
    directions = {Shape.READ: {"in"}, Shape.WRITE: {"out"}}
    both = {"in", "out"}
    keys = [set(range(each.first, each.last + 1)) for each in (one, other)]
    return (
        one.reason is other.reason
        and bool(keys[0] & keys[1])
        and bool(directions.get(one.shape, both) & directions.get(other.shape, both))
    )


@given(st.lists(rows, max_size=25))
def test_a_table_holds_what_does_not_collide(candidates: list[Row]) -> None:
    held: list[Row] = []
    table = DispatchTable()
    for candidate in candidates:
        against = [other for other in held if clash(candidate, other)]
        if against:
            named = "|".join({other.owner for other in against})  # one of them, whichever is met first
            with pytest.raises(Collision, match=rf"claimed by ({named}) .* and by {candidate.owner} "):
                table.add(candidate)
        else:
            table.add(candidate)
            held.append(candidate)
    assert table.version == len(held)
    assert sorted(map(id, table)) == sorted(map(id, held))
    for reason in REASONS:
        for key in range(50):
            for shape in (None, *Shape):
                found = table.find(reason, key, shape)
                fitting = [one for one in held if one.reason is reason and shape in (None, one.shape)]
                exact = [one for one in fitting if one.first <= key <= one.last]
                default = [one for one in fitting if one.first == ANY_KEY]
                assert found in (exact or default) if exact or default else found is None


@given(rows, rows)
def test_overlap_is_mutual(one: Row, other: Row) -> None:
    assert overlaps(one, other) == overlaps(other, one)
    assert overlaps(one, one)


def test_a_collision_names_keys_owners_and_names() -> None:
    table = DispatchTable([row(0x8000, 0x8010, owner="acme", name="greet")])
    with pytest.raises(Collision) as caught:
        table.add(row(0x8010, 0x8020, owner="other"))
    assert str(caught.value) == "VMCALL 0x8010-0x8020 is claimed by acme (greet) and by other (unnamed)"
    assert table.version == 1


def test_a_read_and_a_write_share_a_port() -> None:
    table = DispatchTable([row(0x60, shape=Shape.READ), row(0x60, shape=Shape.WRITE)])
    for shape in (Shape.READ, Shape.WRITE):
        found = table.find(Reason.VMCALL, 0x60, shape)
        assert found is not None
        assert found.shape is shape
    with pytest.raises(Collision):
        table.add(row(0x60))


@pytest.mark.parametrize(("first", "last"), [(1, 0), (0, -1), (5, ANY_KEY)])
def test_an_empty_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match=r"test: key range .* is empty"):
        row(first, last)


@pytest.mark.parametrize(
    ("made", "text"), [(row(ANY_KEY), "any key"), (row(0x10), "0x10"), (row(0x10, 0x1F), "0x10-0x1f"), (row(0), "0x0")]
)
def test_keys_as_text(made: Row, text: str) -> None:
    assert key_range(made) == text


def test_nothing_answers_an_unknown_reason() -> None:
    assert DispatchTable().find(Reason.HLT, 0) is None
    assert list(DispatchTable()) == []


def test_an_answer_that_is_remembered_gives_way_to_a_new_row() -> None:
    table = DispatchTable([row(ANY_KEY)])
    for key in range(3 * FOUND_MOST):
        assert table.find(Reason.VMCALL, key) is table.find(Reason.VMCALL, key) is next(iter(table))
    table.add(row(7))
    found = [table.find(Reason.VMCALL, key) for key in (7, 8)]
    assert [one.first for one in found if one is not None] == [7, ANY_KEY]
    assert table.find(Reason.HLT, 7) is None
