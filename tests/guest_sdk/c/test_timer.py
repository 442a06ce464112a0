"""Time in C: read without an exit, slept for in two exits, and kept by ticks."""

from __future__ import annotations

from tests.guest_sdk.c.conftest import RunC

HEAD = "#include <pvkit.h>\n"
BUMP = "static void bump(void *count) { ++*(volatile int *)count; }\n"


def test_reading_the_time_costs_no_exit(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            uint64_t before = pvkit_now_ns(), most = before;
            for (int i = 0; i < 10000; i++) {
                uint64_t now = pvkit_now_ns();
                pvkit_assert(now >= most);
                most = now;
            }
            pvkit_assert((uint64_t)pvkit_clock_read() > most);
            pvkit_assert(pvkit_now_ns() > most);
            return 0;
        }"""
    )
    assert found.calls == {"clock_page": 1, "clock_read": 1, "exit": 1}


def test_sleeping_is_two_exits_however_long(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            uint64_t before = pvkit_now_ns();
            for (int i = 0; i < 10; i++)
                pvkit_sleep_ns(3600000000000);
            uint64_t slept = pvkit_now_ns() - before;
            pvkit_assert(slept >= 36000000000000 && slept < 36000001000000);
            return 0;
        }"""
    )
    assert found.summary == "exited with status 0"
    assert (found.calls["timer_set"], found.calls["event_wait"]) == (10, 10)
    assert found.exits["VMCALL"] == 20 + 4  # and clock_page, event_page, event_open, exit


def test_ticks_come_until_they_are_ended(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + BUMP
        + """
        int main(void)
        {
            int ticks = 0, once = 0;
            uint64_t start = pvkit_now_ns();
            int64_t port = pvkit_must(pvkit_timer_start(start + 1000000, 1000000, bump, &ticks));
            pvkit_must(pvkit_timer_start(start + 2500000, 0, bump, &once));
            pvkit_wait_until(ticks == 5);
            pvkit_assert(once == 1 && pvkit_now_ns() - start >= 5000000 && pvkit_now_ns() - start < 5100000);
            pvkit_must(pvkit_timer_end((uint32_t)port));
            pvkit_sleep_ns(10000000);
            pvkit_assert(ticks == 5 && once == 1);
            return 0;
        }"""
    )
    assert found.summary == "exited with status 0"
