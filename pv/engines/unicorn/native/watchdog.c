/* The slicer: one thread a process that stops every running processor when its slice is over.
 *
 * A stop request that falls between two runs of the engine is lost, so it is repeated until the slice has ended.
 * Stops fall on the start of a block (engine flag no_exit_request), so nothing is executed twice. */
#include "vcpu.h"
#include <signal.h>
#include <time.h>

enum { REPEAT_NS = 200000 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct pv_vcpu *watched;
static bool started;
static uint64_t waiting_until;

uint64_t pv_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *slicer(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        uint64_t now = pv_clock_ns(), next = UINT64_MAX;
        for (struct pv_vcpu *c = watched; c; c = c->watch_next) {
            if (now >= c->slice_end_ns) {
                pv_uc.emu_stop(c->uc);
                c->slice_end_ns = now + REPEAT_NS;
            }
            if (c->slice_end_ns < next)
                next = c->slice_end_ns;
        }
        waiting_until = next;
        if (next == UINT64_MAX) {
            pthread_cond_wait(&changed, &lock);
        } else {
            struct timespec until = { (time_t)(next / 1000000000u), (long)(next % 1000000000u) };
            pthread_cond_timedwait(&changed, &lock, &until);
        }
    }
    return NULL;
}

/* A forked child has no slicer. A guest whose handler forked goes on in it: its slice ends there, and the next has one. */
static void in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    for (struct pv_vcpu *c = watched; c; c = c->watch_next)
        pv_uc.emu_stop(c->uc);
    watched = NULL;
    started = false;
}

static bool start(void)
{
    static bool registered;
    pthread_condattr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    if (!registered)
        registered = !pthread_atfork(NULL, NULL, in_child);
    sigfillset(&all); /* signals belong to Python's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = !pthread_create(&thread, NULL, slicer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}

bool pv_watch(struct pv_vcpu *c)
{
    pthread_mutex_lock(&lock);
    bool ready = started || start();
    if (ready) {
        c->watch_next = watched;
        watched = c;
        if (c->slice_end_ns < waiting_until)
            pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return ready;
}

void pv_unwatch(struct pv_vcpu *c)
{
    pthread_mutex_lock(&lock);
    for (struct pv_vcpu **at = &watched; *at; at = &(*at)->watch_next)
        if (*at == c) {
            *at = c->watch_next;
            break;
        }
    pthread_mutex_unlock(&lock);
}
