"""Priority against the SDM's words: a class above the processor's priority, the highest vector first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pv.devices.interrupt_queue import NO_VECTOR, InterruptQueue, word

VECTORS = st.sets(st.integers(16, 255), max_size=12)


@given(requested=VECTORS, serving=VECTORS, task_priority=st.integers(0, 255))
def test_the_highest_above_the_processors_priority_comes_first(
    requested: set[int], serving: set[int], task_priority: int
) -> None:
    queue = InterruptQueue()
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
def test_the_end_of_interrupt_is_for_the_highest_in_service(serving: set[int]) -> None:
    queue = InterruptQueue()
    for vector in serving:
        queue.serve(vector)
    assert [queue.end() for _ in range(len(serving) + 1)] == [*sorted(serving, reverse=True), NO_VECTOR]


def test_a_request_is_taken_once_and_remembers_its_trigger() -> None:
    queue = InterruptQueue()
    queue.accept(0x41, level=True)
    queue.accept(0x41, level=True)
    assert queue.waits(0x41)
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
