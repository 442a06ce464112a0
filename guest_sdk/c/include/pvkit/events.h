/* Events: ports that the monitor raises, each with a function of the guest's.
 *
 *     static void rang(void *context) { (*(int *)context)++; }
 *     int port = (int)pvkit_must(pvkit_event_new(rang, &count));
 *     pvkit_wait_until(count == 3);             sleeps; every wake is one exit
 *
 * A handler runs as an upcall between any two instructions, with upcalls off, on the stack of what it interrupted; it may
 * use SSE, print and make calls, but neither wait nor use the heap, unless nothing else does while upcalls are on.
 * Turning upcalls off and on costs no exit: the switch is a byte of memory. */
#ifndef PVKIT_EVENTS_H
#define PVKIT_EVENTS_H
#include <pvkit_calls.h>
#include <stdbool.h>

typedef void pvkit_handler(void *context);

/* A new port with its handler; upcalls are on unless they were turned off. A negated errno where there is none. */
int64_t pvkit_event_new(pvkit_handler *handler, void *context);
int64_t pvkit_event_end(uint32_t port);

/* Turn upcalls off; whether they were on. Put them back as they were: what came meanwhile is served then. */
bool pvkit_events_off(void);
void pvkit_events_back(bool were_on);

/* Sleep until `condition`, which handlers make true. It is judged with upcalls off, so no event is missed. */
#define pvkit_wait_until(condition)                                                                                    \
    do {                                                                                                               \
        bool pvkit_were_on = pvkit_events_off();                                                                       \
        while (!(condition))                                                                                           \
            pvkit_events_wait();                                                                                       \
        pvkit_events_back(pvkit_were_on);                                                                              \
    } while (0)

/* With upcalls off: sleep until an event is pending, and serve what is. */
void pvkit_events_wait(void);

/* With upcalls off: call the handler of each event that is pending. The upcall does this. */
void pvkit_events_serve(void);
#endif
