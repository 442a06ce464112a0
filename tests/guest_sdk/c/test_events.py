"""Events in C: handlers run between any two instructions, nothing is lost, and switching upcalls costs no exit."""

from __future__ import annotations

from typing import Any

from hypercalls import hypercall
from hypercalls.events import raise_port
from tests.guest_sdk.c.conftest import RunC

HEAD = """
#include <pvkit.h>
#include <stdio.h>
static void bump(void *count) { ++*(volatile int *)count; }
"""


def test_an_upcall_calls_the_ports_handler(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            int a = 0, b = 0;
            uint32_t first = (uint32_t)pvkit_must(pvkit_event_new(bump, &a));
            uint32_t second = (uint32_t)pvkit_must(pvkit_event_new(bump, &b));
            for (int i = 0; i < 5; i++) {
                pvkit_must(pvkit_event_send(first));
                pvkit_assert(a == i + 1 && b == 0);
            }
            pvkit_must(pvkit_event_send(second));
            pvkit_assert(b == 1);
            pvkit_must(pvkit_event_mask(first, 1));
            pvkit_must(pvkit_event_send(first));
            pvkit_assert(a == 5);
            pvkit_must(pvkit_event_mask(first, 0));
            pvkit_assert(a == 6);
            pvkit_must(pvkit_event_end(first));
            pvkit_assert(pvkit_event_send(first) == -PVKIT_EINVAL);
            return 0;
        }"""
    )
    assert found.summary == "exited with status 0"
    assert found.calls["return_from_event"] == 7


def test_off_and_back_cost_no_exit_and_lose_nothing(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            int count = 0;
            uint32_t port = (uint32_t)pvkit_must(pvkit_event_new(bump, &count));
            for (int i = 0; i < 1000; i++) {
                bool outer = pvkit_events_off();
                pvkit_assert(outer);
                bool inner = pvkit_events_off();
                pvkit_assert(!inner);
                pvkit_events_back(inner);
                pvkit_events_back(outer);
            }
            bool on = pvkit_events_off();
            pvkit_must(pvkit_event_send(port));
            pvkit_must(pvkit_event_send(port));
            pvkit_assert(count == 0);
            pvkit_events_back(on);
            return count;
        }"""
    )
    assert found.status == 1
    assert found.calls == {
        "event_page": 1, "event_open": 1, "event_send": 2, "event_deliver": 1, "return_from_event": 1, "exit": 1,
    }  # fmt: skip


def test_a_handler_may_use_all_of_c_and_changes_nothing_outside(run_c: RunC) -> None:
    """Events that come from the host at any exit: SSE registers, x87, flags and general registers stay."""

    @hypercall(0x8001, "poke")
    def poke(machine: Any, port: int) -> int:
        return int(raise_port(machine, port))

    found = run_c(
        HEAD
        + """
        static volatile double seen;
        static void disturb(void *context)
        {
            char text[100];
            struct pvkit_pack pack = pvkit_pack_into(text, sizeof text);
            pvkit_pack_double(&pack, seen);
            seen = seen * 1.5 + 2;
            long double wide = (long double)seen * 3;
            snprintf(text, sizeof text, "%d %ld", *(int *)context, (long)wide);
            __asm__ volatile("xorps %%xmm0, %%xmm0; xorps %%xmm7, %%xmm7; xorps %%xmm15, %%xmm15; std; cld" : : :
                             "xmm0", "xmm7", "xmm15", "cc");
            bump(context);
        }
        int main(void)
        {
            int count = 0;
            int64_t port = pvkit_must(pvkit_event_new(disturb, &count)), result;
            for (uint64_t i = 0; i < 50; i++) {
                double a = (double)i, b = a * 2, c = a * 3;
                uint64_t d = i ^ 0x5555, e = i << 9, flags;
                __asm__ volatile("movl %[number], %%eax; stc; call pvkit_hypercall_page; pushfq; popq %[flags]"
                                 : "=&a"(result), "+x"(a), "+x"(b), "+x"(c), "+r"(d), "+r"(e), [flags] "=&r"(flags)
                                 : [number] "i"(PVKIT_CALL_POKE), "D"(port)
                                 : "memory", "cc");
                pvkit_assert(result == 1 && a == (double)i && b == 2 * a && c == 3 * a);
                pvkit_assert(d == (i ^ 0x5555) && e == i << 9 && (flags & 1));
            }
            return count;
        }""",
        machine={"hypercalls": [poke]},
        calls=[poke],
    )
    assert found.summary == "exited with status 50"


def test_waiting_takes_an_exit_a_wake_and_no_upcall(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            int count = 0;
            int64_t port = pvkit_must(pvkit_event_new(bump, &count));
            bool on = pvkit_events_off();
            pvkit_must(pvkit_event_send((uint32_t)port));
            pvkit_events_back(false);
            pvkit_wait_until(count == 1);
            pvkit_events_back(on);
            pvkit_wait_until(count == 1);
            return count;
        }"""
    )
    assert found.status == 1
    assert (found.calls["event_wait"], found.calls.get("return_from_event")) == (1, None)


def test_waiting_for_what_never_comes_halts(run_c: RunC) -> None:
    found = run_c(HEAD + "int main(void) { int n = 0; pvkit_event_new(bump, &n); pvkit_wait_until(n); return 0; }")
    assert found.summary == "halted: halted with nothing that could wake it"


def test_1024_ports(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            static int counts[PVKIT_EVENT_PORTS];
            for (int i = 0; i < PVKIT_EVENT_PORTS; i++)
                pvkit_assert(pvkit_event_new(bump, &counts[i]) == i);
            pvkit_assert(pvkit_event_new(bump, counts) == -PVKIT_ENOSPC);
            bool on = pvkit_events_off();
            for (uint32_t i = 0; i < PVKIT_EVENT_PORTS; i += 3)
                pvkit_must(pvkit_event_send(i));
            pvkit_events_back(on);
            for (int i = 0; i < PVKIT_EVENT_PORTS; i++)
                pvkit_assert(counts[i] == (i % 3 == 0));
            return 0;
        }"""
    )
    assert found.summary == "exited with status 0"
    assert found.calls["return_from_event"] == 1


def test_off_before_the_first_port_holds_and_back_is_on(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            int count = 0;
            bool on = pvkit_events_off();
            pvkit_assert(on);
            uint32_t port = (uint32_t)pvkit_must(pvkit_event_new(bump, &count));
            pvkit_must(pvkit_event_send(port));
            pvkit_assert(count == 0);
            pvkit_events_back(on);
            pvkit_assert(count == 1);
            pvkit_must(pvkit_event_send(port));
            return count;
        }"""
    )
    assert found.summary == "exited with status 2"
