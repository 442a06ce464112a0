/* The journey of an exit once its hook knows the reason: the one lookup and count, the answer, and what follows
 * before the guest goes on: sleeping, deadlines, interrupts, budgets. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "vcpu.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct pv_python pv_python;
enum { INTERRUPT_VIRTUAL = 0x100 };
#define VINTR_INTERCEPT (1ull << (0x64 - 0x60))

void pv_take_gil(struct pv_vcpu *c)
{
    if (!c->gil) {
        PyEval_RestoreThread(c->thread_state);
        c->gil = true;
    }
    c->python_exits++;
}

/* Slices of a guest that asks little of Python run without the GIL; its first exit to Python takes it back. Several in a
 * row, since to come back for signals means to wait for the GIL as long as another thread may hold it. */
enum pv_why pv_run_released(struct pv_vcpu *c, uint64_t until_ns)
{
    enum { SLICES = 8 };
    enum pv_why why = PV_RUNNING;
    c->thread_state = PyEval_SaveThread();
    c->gil = false;
    for (int i = 0; i < SLICES && why == PV_RUNNING && !c->gil && !c->stop_asked && pv_clock_ns() < until_ns; i++)
        why = pv_run_slice(c);
    if (!c->gil) {
        PyEval_RestoreThread(c->thread_state);
        c->gil = true;
    }
    return why;
}

void pv_stop(struct pv_vcpu *c, enum pv_why why, int status, const char *format, ...)
{
    va_list arguments;
    if (c->why != PV_RUNNING)
        return; /* the first reason stands */
    c->why = why;
    c->status = status;
    va_start(arguments, format);
    vsnprintf(c->detail, sizeof c->detail, format, arguments);
    va_end(arguments);
}

void pv_set_cr3(struct pv_vcpu *c, uint64_t gpa)
{
    ENV64(c->env, ENV_CR + 24) = gpa;
    c->shadow.loads++;
    pv_uc.tlb_flush(c->cpu);
}

void pv_show_time(struct pv_vcpu *c)
{
    if (c->clock_page) {
        c->clock_page[1] = c->now_ns;
        c->clock_page[0] += 2;
    }
}

/* Count an exit, move the clock, write the flight record. */
struct pv_entry *pv_take(struct pv_vcpu *c, uint32_t reason, int write, int64_t key)
{
    struct pv_entry *entry = pv_entry_for(c, reason, write, key);
    struct pv_recorded *r = &c->records[c->exits % PV_RECORDS];
    entry->count++;
    c->now_ns += c->exit_cost_ns;
    pv_show_time(c);
    r->number = c->exits++;
    r->tag = entry->tag;
    r->rip = ENV64(c->env, ENV_RIP);
    r->eflags = ENV64(c->env, ENV_EFLAGS);
    r->cr3 = ENV64(c->env, ENV_CR + 24);
    r->cpl = (uint8_t)pv_cpl(c);
    memcpy(r->registers, c->env, sizeof r->registers);
    c->exit.reason = reason;
    c->exit.key = key;
    c->exit.insn = NULL;
    c->exit.length = 0;
    return entry;
}

/* ---- what is native: events that need no policy ---- */

bool pv_has_error_code(int vector) { return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == 17; }

static void reflect(struct pv_vcpu *c)
{
    int vector = (int)c->exit.key;
    if (c->exit.reason == R_SOFTWARE)
        pv_deliver(c, vector, false, 0, PV_SOFTWARE);
    else {
        if (vector == VEC_PF)
            c->v.cr2 = c->exit.address;
        pv_deliver(c, vector, pv_has_error_code(vector), c->exit.error_code, PV_EXCEPTION);
    }
}

static void shadow_fault(struct pv_vcpu *c)
{
    struct pv_fault fault = pv_shadow_fault(c, c->exit.address, c->exit.error_code);
    if (fault.vector == -2)
        pv_stop(c, PV_UNHANDLED, 0, "no memory and no device at the page that gva %#llx maps", (unsigned long long)c->exit.address);
    else if (fault.vector >= 0)
        pv_deliver(c, fault.vector, fault.has_error, fault.error, PV_EXCEPTION);
}

/* An exit took from `start` to now. Its histogram is made by the first that is timed. */
void pv_time(struct pv_entry *entry, uint64_t start)
{
    if (entry->histogram || (entry->histogram = calloc(1, sizeof *entry->histogram)))
        pv_histogram_add(entry->histogram, pv_clock_ns() - start);
}

void pv_answer(struct pv_vcpu *c, struct pv_entry *entry)
{
    uint64_t start = c->timing ? pv_clock_ns() : 0;
    if (!entry->row) {
        if (c->exit.reason == R_VMCALL) {
            *pv_register(c, PV_RAX) = (uint64_t)-ENOSYS;
            ENV64(c->env, ENV_RIP) += c->exit.length;
        } else {
            pv_stop(c, PV_UNHANDLED, 0, "nothing answers exit reason %#x, key %#llx", c->exit.reason, (unsigned long long)c->exit.key);
        }
    } else if (entry->row->shape != PV_SHAPE_NATIVE) {
        pv_take_gil(c);
        pv_python.answer(c, entry);
    } else if (entry->row->native == PV_NATIVE_SHADOW_FAULT) {
        shadow_fault(c);
    } else {
        reflect(c);
    }
    if (c->timing)
        pv_time(entry, start);
}

/* ---- after an exit, between blocks ---- */

enum { TAKEN_MOST = 16 }; /* interrupts at one place; a source that never falls silent is asked again after the next exit */

void pv_close_window(struct pv_vcpu *c)
{
    if (!c->window_open)
        return;
    c->window_open = false;
    ENV32(c->cpu, PV_CPU_INTERRUPT_REQUEST) &= ~(uint32_t)INTERRUPT_VIRTUAL;
    ENV64(c->env, ENV_INTERCEPT) &= ~VINTR_INTERCEPT;
}

/* An interrupt waits and the guest stands in an interrupt shadow: have the processor say when it is over, by the
 * virtual-interrupt intercept of its guest mode (APM vol. 2, 15.21.6). */
void pv_open_window(struct pv_vcpu *c)
{
    c->window_open = true;
    ENV32(c->cpu, PV_CPU_INTERRUPT_REQUEST) |= INTERRUPT_VIRTUAL;
    ENV64(c->env, ENV_INTERCEPT) |= VINTR_INTERCEPT;
}

static void deliver_interrupt(struct pv_vcpu *c)
{
    pv_close_window(c);
    c->interrupt_pending = false;
    int vector = pv_apic_acknowledge(c);
    if (vector < 0) {
        pv_take_gil(c);
        vector = pv_python.acknowledge(c);
    }
    if (vector >= 0 && c->why == PV_RUNNING)
        pv_deliver(c, vector, false, 0, PV_EXTERNAL);
}

/* Sleep until an interrupt can be taken. False where the slice is over first: it is gone on with then. */
static bool wait_for_event(struct pv_vcpu *c)
{
    while (c->why == PV_RUNNING) {
        bool wakes = c->mode == PV_PARAVIRT || pv_interrupts_on(c);
        if (c->interrupt_pending && wakes)
            break;
        if (!wakes || c->deadline_ns == UINT64_MAX) {
            pv_stop(c, PV_HALTED, 0, "halted with %s", wakes ? "nothing that could wake it" : "interrupts off");
            break;
        }
        if (c->deadline_ns > c->now_ns) {
            c->now_ns = c->deadline_ns;
            pv_show_time(c);
        }
        pv_take_gil(c);
        pv_python.deadline(c);
        if (c->stop_asked || pv_clock_ns() >= c->slice_start_ns + c->slice_ns)
            return false;
    }
    c->waiting = false;
    return true;
}

static bool interrupt_waits(struct pv_vcpu *c) { return c->why == PV_RUNNING && c->interrupt_pending && !c->call; }

static void settle_interrupt(struct pv_vcpu *c)
{
    bool shadow = ENV32(c->env, ENV_HFLAGS) & HF_INHIBIT_IRQ;
    if (shadow && interrupt_waits(c) && pv_interrupts_on(c) && !c->cache) /* in the cache that instruction is stepped */
        pv_open_window(c);
    /* more than one, where a trap gate leaves interrupts on: each comes before the first instruction of the last's handler */
    for (int taken = 0; !shadow && taken < TAKEN_MOST && interrupt_waits(c) && pv_interrupts_on(c); taken++)
        deliver_interrupt(c);
    if (!pv_hardware(c))
        return;
    if (interrupt_waits(c)) /* its STI and POPF do not exit: the processor says when */
        pv_open_window(c);
    else /* an open one would keep a processor that is to stop from doing so */
        pv_close_window(c);
}

void pv_settle(struct pv_vcpu *c)
{
    if (c->call && c->call->done) { /* back to the host first; what is due comes after the exit in which it called */
        pv_uc.emu_stop(c->uc);
        return;
    }
    if (c->waiting && !wait_for_event(c)) {
        pv_uc.emu_stop(c->uc);
        return;
    }
    if (c->why == PV_RUNNING && c->now_ns >= c->deadline_ns) {
        pv_take_gil(c);
        pv_python.deadline(c);
    }
    if (!c->interrupt_pending)
        ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ; /* a shadow is worth a block of its own only where it hides something */
    settle_interrupt(c);
    if (c->why == PV_RUNNING && c->exits >= c->max_exits)
        pv_stop(c, PV_MAX_EXITS, 0, "after %llu exits", (unsigned long long)c->exits);
    if (c->flush_translations) {
        c->flush_translations = false;
        pv_uc.ctl(c->uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
    }
    if (c->why != PV_RUNNING)
        pv_uc.emu_stop(c->uc);
}

