/* The machine's time, in ns since it started: as fresh as the last exit, and read without one. And timers on it. */
#ifndef PVKIT_TIMER_H
#define PVKIT_TIMER_H
#include <pvkit/events.h>

uint64_t pvkit_now_ns(void);
void pvkit_sleep_ns(uint64_t ns);

/* Call `handler` as an event at `deadline_ns`, and every `period_ns` from there; 0 for once. Its port, or a negated errno. */
int64_t pvkit_timer_start(uint64_t deadline_ns, uint64_t period_ns, pvkit_handler *handler, void *context);
int64_t pvkit_timer_end(uint32_t port);
#endif
