/* An abort inside the engine ends the run, not the process.
 *
 * Unicorn's translator calls abort() on some guest bytes (LOCK BT with a register operand: four of them). While a
 * thread runs guest code, and only then, SIGABRT jumps back to where the run began; the engine is not used again.
 * A SIGABRT that another process sends, or that a handler of ours raises, takes its course. */
#include "vcpu.h"
#include <signal.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before, beneath; /* what stood there; what stood there under a handler set meanwhile */
static volatile unsigned guarded;
static volatile bool lingers; /* the handler stands although nobody is guarded: see pv_guard_leave */
static __thread struct pv_vcpu *running;
static __thread unsigned depth; /* a handler may run another machine */

static void on_abort(int signal_number, siginfo_t *info, void *unused)
{
    struct pv_vcpu *c = running;
    (void)unused;
    if (c && !c->in_hook && info->si_code == SI_TKILL && info->si_pid == getpid())
        siglongjmp(*c->abort_jump, 1);
    /* Not ours. A handler that was set while a guest ran saved this one, and comes back here once it has been asked. */
    static volatile sig_atomic_t passed_on;
    sigaction(SIGABRT, (guarded || lingers) && !passed_on++ ? &before : &beneath, NULL);
    raise(signal_number);
}

/* Only the thread that forked goes on in the child. */
static void in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    if (guarded && !depth)
        sigaction(SIGABRT, &before, NULL);
    guarded = depth;
}

/* Returns what pv_guard_leave must be given: the vcpu in whose handler this one runs, or NULL. */
struct pv_vcpu *pv_guard_enter(struct pv_vcpu *c)
{
    static bool registered;
    struct pv_vcpu *outer = running;
    pthread_mutex_lock(&lock);
    if (!registered)
        registered = !pthread_atfork(NULL, NULL, in_child);
    if (!guarded++) {
        struct sigaction ours = { .sa_sigaction = on_abort, .sa_flags = SA_NODEFER | SA_SIGINFO };
        sigemptyset(&ours.sa_mask);
        struct sigaction now;
        sigaction(SIGABRT, &ours, &now);
        if (now.sa_sigaction != on_abort) {
            if (lingers)
                beneath = before;
            before = now;
        }
        lingers = false;
    }
    pthread_mutex_unlock(&lock);
    depth++;
    running = c;
    return outer;
}

/* Whether this thread runs a guest of ours. */
bool pv_guarded(void) { return running != NULL; }

/* brief: one of many short stays, and the next may follow at once: the handler is left where it is, since each of two system
 * calls would cost a tenth of the stay. A SIGABRT that comes meanwhile is not ours and is passed on. */
void pv_guard_leave(struct pv_vcpu *outer, bool brief)
{
    struct sigaction now;
    running = outer;
    depth--;
    pthread_mutex_lock(&lock);
    guarded--;
    lingers = !guarded && brief;
    if (!guarded && !brief && !sigaction(SIGABRT, &before, &now) && now.sa_sigaction != on_abort) {
        beneath = before;
        sigaction(SIGABRT, &now, NULL); /* somebody has put a handler of theirs there meanwhile: it stays */
    }
    pthread_mutex_unlock(&lock);
}
