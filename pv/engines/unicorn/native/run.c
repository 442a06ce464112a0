/* One slice of guest time: start the engine, come back at the latest when the slicer says so. */
#include "vcpu.h"
#include <stdio.h>
#include <time.h>

/* How long a guest runs without an exit before time passes, whatever its slices are: less than one of 5 ms, which is in
 * part its start and end. And how much passes then. */
enum { PATIENCE_NS = 4000000, PASSES_NS = 5000000 };

static void put_ring_back(struct pv_vcpu *c)
{
    ENV32(c->env, ENV_HFLAGS) = (ENV32(c->env, ENV_HFLAGS) & ~(uint32_t)HF_CPL) | c->ring;
    struct pv_segment *ss = pv_segment(c, PV_SS);
    ss->flags = (ss->flags & ~0x6000u) | (uint32_t)c->ring << 13;
    ss->selector = (ss->selector & ~3u) | c->ring;
}

static void hold_ring(struct pv_vcpu *c)
{
    c->escaped = false;
    c->escapes++;
    put_ring_back(c);
    pv_uc.ctl(c->uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0)); /* the block at the wrong privilege must not be found again */
}

static void describe_bytes(struct pv_vcpu *c, char *to, size_t size)
{
    uint8_t code[15];
    int have = pv_fetch(c, ENV64(c->env, ENV_RIP), code), at = 0;
    to[0] = 0;
    for (int i = 0; i < have && (size_t)at + 4 < size; i++)
        at += snprintf(to + at, size - (size_t)at, "%s%02x", i ? " " : "", code[i]);
}

/* Time in which this thread ran: on a busy host most of a slice may pass without the guest. */
static uint64_t ran_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The guest has run for long without an exit, and may be waiting by looking at memory. It sees time pass, up to its next
 * timer and not beyond, and what became pending comes now. Where it has neither a timer nor a clock page, there is nothing
 * to wait for: it computes, and how fast is the host's affair. */
static void pass_time(struct pv_vcpu *c)
{
    uint64_t left = c->deadline_ns > c->now_ns ? c->deadline_ns - c->now_ns : 0;
    c->quiet_ns = 0;
    c->unsettled = true;
    if (c->deadline_ns == UINT64_MAX && !c->clock_page)
        return;
    c->now_ns += left < PASSES_NS ? left : PASSES_NS;
    pv_show_time(c);
}

/* Into the engine, until it leaves by itself. An abort in there is an outcome. */
static void enter_engine(struct pv_vcpu *c)
{
    volatile uc_err error = UC_ERR_OK; /* read after the jump */
    sigjmp_buf here, *outer = c->abort_jump;
    c->abort_jump = &here;
    /* Without the signal mask, which costs a system call: the handler runs with the mask of what it interrupts. */
    if (sigsetjmp(here, 0)) {
        char bytes[64];
        c->dead = true;
        pv_cache_leave(c);
        if (pv_cpl(c) < c->ring) /* a null SS, and the abort before the engine told of the block behind it */
            put_ring_back(c);
        describe_bytes(c, bytes, sizeof bytes);
        pv_stop(c, PV_ENGINE_ABORT, 0, "the engine aborted translating the block at RIP %#llx (bytes %s)",
                (unsigned long long)ENV64(c->env, ENV_RIP), bytes);
    } else {
        do {
            pv_cache_enter(c);
            if (pv_cache_out(c))
                break;
            error = pv_uc.emu_start(c->uc, ENV64(c->env, ENV_RIP), 0, 0, 0);
            pv_cache_leave(c);
            if (c->escaped)
                hold_ring(c);
            else
                break;
        } while (!error && c->why == PV_RUNNING);
        if (c->why != PV_ESCAPED && !pv_level_holds(c))
            hold_ring(c); /* stopped between the load of SS and the block after it */
    }
    c->abort_jump = outer;
    if (error)
        pv_stop(c, PV_ENGINE_ERROR, 0, "%s at RIP %#llx", pv_uc.strerror(error), (unsigned long long)ENV64(c->env, ENV_RIP));
}

/* What has to happen before the guest goes on. False where it does not. Only where it has to: an interrupt that the guest
 * lets in without an exit comes at its next one, not where slices end. */
static bool settle_first(struct pv_vcpu *c)
{
    if (c->unsettled || c->waiting || c->flush_translations) {
        c->unsettled = false;
        pv_settle(c);
    }
    return c->why == PV_RUNNING && !c->waiting;
}

static bool watch(struct pv_vcpu *c)
{
    if (pv_watch(c))
        return true;
    pv_stop(c, PV_ENGINE_ERROR, 0, "cannot start the slicer thread");
    return false;
}

/* What moves virtual time: exits, and where they take none readings of the time-stamp counter. */
static uint64_t steps(const struct pv_vcpu *c) { return c->exits + c->clock_reads; }

static void count_quiet(struct pv_vcpu *c, uint64_t steps_before, uint64_t ran_before_ns)
{
    c->quiet_ns = steps(c) == steps_before ? c->quiet_ns + ran_ns() - ran_before_ns : 0;
    if (c->why == PV_RUNNING && c->quiet_ns >= PATIENCE_NS)
        pass_time(c);
}

enum pv_why pv_run_slice(struct pv_vcpu *c)
{
    uint64_t steps_before = steps(c);
    c->slice_start_ns = pv_clock_ns();
    c->slice_end_ns = c->slice_start_ns + c->slice_ns;
    c->python_exits = 0;
    if (!settle_first(c) || !watch(c))
        return c->why;
    uint64_t ran_before_ns = ran_ns();
    struct pv_vcpu *outer = pv_guard_enter(c);
    enter_engine(c);
    pv_guard_leave(outer, false);
    pv_unwatch(c);
    c->slices++;
    count_quiet(c, steps_before, ran_before_ns);
    return c->why;
}

/* A stretch of a function that the host has called: until it returns, something stops it, or the slice is over. Made in a
 * handler, it runs in the slice of that exit, and the guard and the watch of that slice stand. further: not its first. */
void pv_run_call(struct pv_vcpu *c, bool further)
{
    bool inside = c->call->in_hook;
    uint64_t steps_before = steps(c);
    if (further || !inside) {
        c->slice_start_ns = pv_clock_ns();
        c->slice_end_ns = c->slice_start_ns + c->slice_ns;
    }
    if (!settle_first(c) || (!inside && !watch(c)))
        return;
    uint64_t ran_before_ns = further ? ran_ns() : 0;
    struct pv_vcpu *outer = inside ? NULL : pv_guard_enter(c);
    c->in_hook = false;
    enter_engine(c);
    c->in_hook = inside;
    if (!inside) {
        pv_guard_leave(outer, true);
        pv_unwatch(c);
    }
    if (further)
        count_quiet(c, steps_before, ran_before_ns);
}
