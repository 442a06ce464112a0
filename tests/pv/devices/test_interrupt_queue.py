"""Priority against the SDM's words: a class above the processor's priority, the highest vector first.

Both queues that there are, Python's and the processor's own, stand under each test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.interrupt_queue import (
    NO_VECTOR,
    InterruptQueue,
    PlainQueue,
    reset_queue,
    restore_queue,
    save_queue,
    word,
)
from pv.devices.state import StateError
from pv.machine import Machine

VECTORS = st.sets(st.integers(16, 255), max_size=12)
Make = Callable[[], InterruptQueue]


@pytest.fixture(scope="module", params=["plain", "the processor's"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """An empty queue."""
    if request.param == "plain":
        yield PlainQueue
        return
    with Machine(memory="1MiB", technique="trap") as machine:
        queue: InterruptQueue = machine.vcpu.interrupt_queue

        def emptied() -> InterruptQueue:
            reset_queue(queue)
            queue.external = False
            return queue

        yield emptied


@given(requested=VECTORS, serving=VECTORS, task_priority=st.integers(0, 255))
def test_the_highest_above_the_processors_priority_comes_first(
    make: Make, requested: set[int], serving: set[int], task_priority: int
) -> None:
    queue = make()
    queue.task_priority = task_priority
    for vector in serving:
        queue.serve(vector)
    for vector in requested:
        queue.accept(vector)
    served = max(serving, default=0) >> 4
    priority = task_priority if task_priority >> 4 >= served else served << 4
    assert queue.processor_priority == priority
    eligible = [vector for vector in requested if vector >> 4 > priority >> 4]
    assert queue.next_vector() == max(eligible, default=NO_VECTOR)


@given(VECTORS)
def test_the_end_of_interrupt_is_for_the_highest_in_service(make: Make, serving: set[int]) -> None:
    queue = make()
    for vector in serving:
        queue.serve(vector)
    assert [queue.end() for _ in range(len(serving) + 1)] == [*sorted(serving, reverse=True), NO_VECTOR]


def test_a_request_is_taken_once_and_remembers_its_trigger(make: Make) -> None:
    queue = make()
    queue.accept(0x41, level=True)
    queue.accept(0x41, level=True)
    assert queue.waits(0x41)
    assert queue.is_level(0x41)
    assert not queue.is_level(0x40)
    assert word(queue.level_triggered, 2) == 1 << 1
    queue.serve(0x41)
    assert not queue.waits(0x41)
    assert queue.next_vector() == NO_VECTOR
    queue.accept(0x41)
    assert queue.level_triggered == 0
    assert queue.waits(0x41), "one may wait while another is in service"


@given(st.integers(0, (1 << 256) - 1))
def test_words_make_the_register(register: int) -> None:
    assert sum(word(register, index) << 32 * index for index in range(8)) == register


@given(
    wide=st.lists(st.integers(0, (1 << 256) - 1), min_size=3, max_size=3), task_priority=st.integers(0, 255),
    command=st.integers(0, (1 << 64) - 1),
)  # fmt: skip
def test_it_is_saved_and_put_back(make: Make, wide: list[int], task_priority: int, command: int) -> None:
    queue = make()
    queue.requested, queue.in_service, queue.level_triggered = wide
    queue.task_priority, queue.command = task_priority, command
    saved = save_queue(queue)
    reset_queue(queue)
    assert save_queue(queue) == save_queue(PlainQueue())
    restore_queue(queue, saved)
    assert [queue.requested, queue.in_service, queue.level_triggered] == wide
    assert (queue.task_priority, queue.command) == (task_priority, command)
    assert save_queue(queue) == saved


@pytest.mark.parametrize(
    ("name", "value"),
    [("task_priority", 256), ("task_priority", None), ("command", -1), ("command", 1 << 64), ("requested", b"short"),
     ("in_service", 0), ("level_triggered", bytes(33))],
)  # fmt: skip
def test_what_is_no_queues_state_is_refused_by_name_and_changes_nothing(make: Make, name: str, value: object) -> None:
    queue = make()
    queue.accept(0x41)
    before = save_queue(queue)
    with pytest.raises(StateError, match=name):
        restore_queue(queue, {**before, "requested": bytes(32), name: value})
    assert save_queue(queue) == before
