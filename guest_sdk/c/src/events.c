/* Which function answers an event? A table by port, and the page that is shared with the monitor. */
#include <pvkit/errors.h>
#include <pvkit/events.h>
#include <pvkit/panic.h>
#include <stddef.h>

enum { PAGE_BYTES = 4096, WORD_BITS = 64 };

static union {
    volatile struct pvkit_event_page shared;
    char page[PAGE_BYTES];
} event __attribute__((aligned(PAGE_BYTES))) = {.shared = {.enabled = 1}}; /* so that off and back hold before the first port */
static struct { pvkit_handler *handler; void *context; } handlers[PVKIT_EVENT_PORTS];
static uint32_t words; /* of the bitmaps: as many as hold the ports that were opened */
static bool started;
extern char pvkit_upcall[]; /* upcall.S */

static int64_t start(void)
{
    int64_t result = pvkit_event_page(&event, (uint64_t)pvkit_upcall);
    if (pvkit_failed(result))
        return result;
    started = true;
    return 0;
}

int64_t pvkit_event_new(pvkit_handler *handler, void *context)
{
    int64_t result = started ? 0 : start();
    if (pvkit_failed(result))
        return result;
    int64_t port = pvkit_event_open();
    if (pvkit_failed(port))
        return port;
    pvkit_assert(port < PVKIT_EVENT_PORTS);
    handlers[port].context = context;
    handlers[port].handler = handler;
    if (words <= port / WORD_BITS)
        words = (uint32_t)port / WORD_BITS + 1;
    return port;
}

int64_t pvkit_event_end(uint32_t port)
{
    int64_t result = pvkit_event_close(port);
    if (!pvkit_failed(result))
        handlers[port].handler = NULL;
    return result;
}

bool pvkit_events_off(void)
{
    bool were_on = event.shared.enabled;
    event.shared.enabled = 0;
    __asm__ volatile("" : : : "memory"); /* what follows stays behind it */
    return were_on;
}

void pvkit_events_back(bool were_on)
{
    __asm__ volatile("" : : : "memory");
    event.shared.enabled = were_on;
    if (were_on && event.shared.upcall_pending)
        pvkit_event_deliver();
}

void pvkit_events_wait(void)
{
    pvkit_must(pvkit_event_wait());
    pvkit_events_serve();
}

void pvkit_events_serve(void)
{
    event.shared.upcall_pending = 0;
    for (uint32_t word = 0; word < words; word++) {
        uint64_t due = event.shared.pending[word] & ~event.shared.mask[word];
        /* One instruction, so that no event that comes meanwhile is lost; nobody else runs, so no LOCK. */
        __asm__ volatile("andq %1, %0" : "+m"(event.shared.pending[word]) : "r"(~due) : "cc");
        for (; due; due &= due - 1) {
            uint32_t port = word * WORD_BITS + (uint32_t)__builtin_ctzll(due);
            if (handlers[port].handler)
                handlers[port].handler(handlers[port].context);
        }
    }
}
