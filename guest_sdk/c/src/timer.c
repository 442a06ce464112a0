/* What time is it, and how does a guest sleep? */
#include <pvkit/errors.h>
#include <pvkit/panic.h>
#include <pvkit/timer.h>

enum { PAGE_BYTES = 4096 };

static union {
    volatile struct pvkit_clock_page shared;
    char page[PAGE_BYTES];
} clock __attribute__((aligned(PAGE_BYTES)));

uint64_t pvkit_now_ns(void)
{
    static bool started;
    uint64_t sequence, ns;
    if (!started)
        pvkit_must(pvkit_clock_page(&clock));
    started = true;
    do {
        sequence = clock.shared.sequence;
        ns = clock.shared.ns;
    } while (sequence & 1 || sequence != clock.shared.sequence); /* the monitor was writing */
    return ns;
}

int64_t pvkit_timer_start(uint64_t deadline_ns, uint64_t period_ns, pvkit_handler *handler, void *context)
{
    int64_t port = pvkit_event_new(handler, context);
    if (pvkit_failed(port))
        return port;
    int64_t result = pvkit_timer_set((uint32_t)port, deadline_ns, period_ns);
    if (pvkit_failed(result)) {
        pvkit_event_end((uint32_t)port);
        return result;
    }
    return port;
}

int64_t pvkit_timer_end(uint32_t port)
{
    int64_t result = pvkit_timer_cancel(port);
    return pvkit_failed(result) ? result : pvkit_event_end(port);
}

static void wake(void *woken)
{
    *(volatile bool *)woken = true;
}

void pvkit_sleep_ns(uint64_t ns)
{
    static int64_t port = -1;
    static volatile bool woken;
    woken = false;
    if (port < 0)
        port = pvkit_must(pvkit_event_new(wake, (void *)&woken));
    uint64_t now = pvkit_now_ns();
    pvkit_must(pvkit_timer_set((uint32_t)port, ns < PVKIT_TIME_MOST - now ? now + ns : PVKIT_TIME_MOST, 0));
    pvkit_wait_until(woken);
}
