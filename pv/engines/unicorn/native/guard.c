/* An abort inside the engine ends the run, not the process.
 *
 * Unicorn's translator calls abort() on some guest bytes (LOCK BT with a register operand: four of them). While a
 * thread runs guest code, and only then, SIGABRT jumps back to where the run began; the engine is not used again. */
#include "vcpu.h"
#include <signal.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static unsigned guarded;
static __thread struct pv_vcpu *running;

static void on_abort(int signal_number)
{
    struct pv_vcpu *c = running;
    if (c && !c->in_hook)
        siglongjmp(c->abort_jump, 1);
    sigaction(SIGABRT, &before, NULL); /* not ours: let it take its course */
    raise(signal_number);
}

void pv_guard_enter(struct pv_vcpu *c)
{
    pthread_mutex_lock(&lock);
    if (!guarded++) {
        struct sigaction ours = { .sa_handler = on_abort, .sa_flags = SA_NODEFER };
        sigemptyset(&ours.sa_mask);
        sigaction(SIGABRT, &ours, &before);
    }
    pthread_mutex_unlock(&lock);
    running = c;
}

void pv_guard_leave(void)
{
    running = NULL;
    pthread_mutex_lock(&lock);
    if (!--guarded)
        sigaction(SIGABRT, &before, NULL);
    pthread_mutex_unlock(&lock);
}
