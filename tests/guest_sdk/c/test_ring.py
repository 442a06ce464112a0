"""A ring of calls in C: results come back by token, one kick takes many, and the monitor's indices are judged."""

from __future__ import annotations

import re
from typing import Any

from guest_sdk import abi
from hypercalls import hypercall
from tests.guest_sdk.c.conftest import RunC

LAYOUT = abi.STRUCT_BY_NAME["ring"]
HEAD = "#include <pvkit.h>\n#include <stdio.h>\n#include <stdlib.h>\n"


@hypercall(0x8001, "twice")
def twice(machine: Any, value: int) -> int:  # noqa: ARG001 (a handler takes it)
    return 2 * value


TWICE = {"machine": {"hypercalls": [twice]}, "calls": [twice]}


def test_64_calls_are_one_kick(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_queue queue;
            struct pvkit_ring_completion done;
            pvkit_must(pvkit_queue_open(&queue, 64, PVKIT_NO_PORT));
            for (uint64_t i = 0; i < 64; i++)
                pvkit_assert(pvkit_queue_call(&queue, ~i, PVKIT_CALL_TWICE, i));
            pvkit_assert(!pvkit_queue_call(&queue, 0, PVKIT_CALL_TWICE, 0) && pvkit_queue_in_flight(&queue) == 64);
            for (uint64_t i = 0; i < 64; i++)
                pvkit_assert(pvkit_queue_wait(&queue, &done) == 1 && done.token == ~i && done.result == 2 * i);
            pvkit_assert(pvkit_queue_wait(&queue, &done) == 0 && pvkit_queue_in_flight(&queue) == 0);
            pvkit_must(pvkit_queue_close(&queue));
            return 0;
        }""",
        **TWICE,
    )
    assert found.summary == "exited with status 0"
    assert found.by_key["VMCALL", "ring_kick"] == 1
    assert found.calls["twice"] == 64


def test_many_rounds_in_a_small_ring(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_queue queue;
            struct pvkit_ring_completion done;
            uint64_t sent = 0, got = 0;
            pvkit_must(pvkit_queue_open(&queue, 8, PVKIT_NO_PORT));
            while (got < 5000) {
                while (sent < 5000 && pvkit_queue_call(&queue, sent, PVKIT_CALL_TWICE, sent))
                    sent++;
                pvkit_assert(pvkit_queue_wait(&queue, &done) == 1 && done.token == got && done.result == 2 * got);
                got++;
            }
            return pvkit_queue_wait(&queue, &done) == 0 ? 0 : 1;
        }""",
        **TWICE,
    )
    assert found.summary == "exited with status 0"
    assert found.calls["twice"] == 5000


def test_the_port_is_raised_where_it_is_asked_for(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        static void bump(void *count) { ++*(volatile int *)count; }
        int main(void)
        {
            struct pvkit_queue queue;
            struct pvkit_ring_completion done;
            int rang = 0;
            int64_t port = pvkit_must(pvkit_event_new(bump, &rang));
            pvkit_must(pvkit_queue_open(&queue, 4, (uint32_t)port));
            pvkit_queue_call(&queue, 1, PVKIT_CALL_TWICE, 1);
            pvkit_assert(pvkit_queue_wait(&queue, &done) == 1 && rang == 0);
            pvkit_assert(!pvkit_queue_notify(&queue, true));
            pvkit_queue_call(&queue, 2, PVKIT_CALL_TWICE, 2);
            pvkit_must(pvkit_queue_flush(&queue));
            pvkit_wait_until(rang == 1);
            pvkit_assert(pvkit_queue_take(&queue, &done) && done.token == 2 && done.result == 4);
            return 0;
        }""",
        **TWICE,
    )
    assert found.summary == "exited with status 0"


def test_an_impossible_index_of_the_monitors_is_a_panic(run_c: RunC) -> None:
    @hypercall(0x8002, "spoil")
    def spoil(machine: Any, ring: int) -> int:
        machine.memory.write_uint(ring + LAYOUT.offset("complete_tail"), 4, 3)
        return 0

    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_queue queue;
            struct pvkit_ring_completion done;
            pvkit_must(pvkit_queue_open(&queue, 4, PVKIT_NO_PORT));
            pvkit_must(pvkit_spoil((uint64_t)queue.shared));
            return pvkit_queue_take(&queue, &done);
        }""",
        machine={"hypercalls": [spoil]},
        calls=[spoil],
    )
    assert re.fullmatch(r"ring\.c:\d+: ready <= pvkit_queue_in_flight\(queue\)", found.detail)


def test_a_ring_that_breaks_says_so(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            struct pvkit_queue queue;
            struct pvkit_ring_completion done;
            pvkit_assert(pvkit_queue_open(&queue, 3, PVKIT_NO_PORT) == -PVKIT_EINVAL);
            pvkit_assert(pvkit_queue_open(&queue, 8192, PVKIT_NO_PORT) == -PVKIT_EINVAL);
            pvkit_assert(pvkit_queue_open(&queue, 4, 77) == -PVKIT_EINVAL); /* no such port */
            size_t before = pvkit_heap_free_bytes();
            pvkit_must(pvkit_queue_open(&queue, 4, PVKIT_NO_PORT));
            pvkit_queue_call(&queue, 1, PVKIT_CALL_TWICE, 1);
            queue.submit_tail += 9; /* more than there is room for */
            pvkit_assert(pvkit_queue_wait(&queue, &done) == -PVKIT_EINVAL);
            pvkit_must(pvkit_queue_close(&queue));
            pvkit_assert(pvkit_heap_free_bytes() == before);
            return 0;
        }""",
        **TWICE,
    )
    assert found.summary == "exited with status 0"
