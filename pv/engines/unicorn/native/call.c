/* How does the processor run a function for the host, in the middle of an exit or between two runs?
 *
 * What it was doing is put away, the function entered as System V would have it, and all is put back once call_return has
 * come: an exit leaves the guest's registers as they were, whatever its handler called. Memory, page tables, the trap table
 * and what else the function changed by calls of its own stay changed. The emulation inside an emulation is the engine's own
 * (uc_emu_start counts its levels), and is entered between blocks only: inside one, new code could take the place of the
 * code that waits. */
#include "vcpu.h"
#include <stdio.h>

enum { KERNEL_CS = 0x08, KERNEL_SS = 0x10, RED_ZONE = 128, FLAGS_AT_ENTRY = 0x202 }; /* the processor's IF is always set */

/* What the function's stack may grow down from: below what the kernel has there, or the whole of its stack where a program
 * was interrupted. 0: that one has never been named. */
uint64_t pv_call_stack(struct pv_vcpu *c)
{
    return pv_user(c) ? c->kernel_stack : *pv_register(c, PV_RSP) - RED_ZONE;
}

/* `image` of `size` bytes becomes the stack whose top is at `rsp`: the return address, and the arguments in memory.
 * pointers: a bit for each argument that is an offset into these. Nothing has changed where a fault comes back. */
struct pv_fault pv_call_enter(struct pv_vcpu *c, struct pv_call *call, uint64_t rip, const uint64_t arguments[6], uint32_t pointers, void *image, uint64_t size)
{
    static const int registers[6] = { PV_RDI, PV_RSI, PV_RDX, PV_RCX, PV_R8, PV_R9 };
    uint64_t rsp = ((pv_call_stack(c) - (size - 8)) & ~15ull) - 8, cr2 = c->v.cr2;
    struct pv_fault fault = pv_canonical(rsp) && pv_canonical(rsp + size - 1) ? pv_linear(c, rsp, image, size, true, false)
                                                                              : PV_FAULT_CODE(VEC_SS, 0);
    if (fault.vector >= 0) {
        c->v.cr2 = cr2;
        return fault;
    }
    call->outer = c->call;
    call->exit = c->exit;
    call->space = c->tables.active;
    call->iopl = c->v.iopl;
    call->interrupt_flag = c->v.interrupt_flag;
    call->done = false;
    call->in_hook = c->in_hook;
    call->hypercall = c->hypercall;
    call->waiting = c->waiting;
    call->unsettled = c->unsettled;
    memcpy(call->registers, c->env, sizeof call->registers);
    memcpy(call->fpu, c->env + ENV_FPU, sizeof call->fpu);
    c->call = call;
    c->call_depth++;
    c->hypercall = c->waiting = c->unsettled = false;
    c->quiet_ns = 0;
    if (pv_user(c))
        pv_enter_level(c, 0, KERNEL_CS, KERNEL_SS);
    for (int i = 0; i < 6; i++)
        *pv_register(c, registers[i]) = arguments[i] + (pointers >> i & 1 ? rsp + 8 : 0);
    *pv_register(c, PV_RAX) = 0; /* a variadic function looks here: no vector registers are in use */
    *pv_register(c, PV_RSP) = rsp;
    ENV64(c->env, ENV_RIP) = rip;
    ENV64(c->env, ENV_EFLAGS) = FLAGS_AT_ENTRY;
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)(HF_TF | HF_RF | HF_INHIBIT_IRQ);
    return PV_NO_FAULT;
}

/* The innermost call is over, one way or another. False where its caller's address space is no more. */
bool pv_call_leave(struct pv_vcpu *c)
{
    struct pv_call *call = c->call;
    memcpy(c->env, call->registers, sizeof call->registers);
    memcpy(c->env + ENV_FPU, call->fpu, sizeof call->fpu);
    c->v.iopl = call->iopl;
    c->v.interrupt_flag = call->interrupt_flag;
    c->exit = call->exit;
    c->in_hook = call->in_hook;
    c->hypercall = call->hypercall;
    c->waiting = call->waiting;
    c->unsettled = call->unsettled || c->unsettled;
    c->call = call->outer;
    c->call_depth--;
    if (call->in_hook)
        ((volatile uint8_t *)c->uc)[pv_route.stop_request] = 0; /* that of the emulation which is over */
    return c->tables.active == call->space || pv_tables_activate(c, call->space) >= 0;
}

/* The run has ended in a function that the host called: the place goes to the outcome's line, that of the innermost. */
void pv_call_note(struct pv_vcpu *c, uint64_t rip)
{
    static const char where[] = "in a function that the host called, at rip";
    size_t length = strlen(c->detail);
    if (!strstr(c->detail, where))
        snprintf(c->detail + length, sizeof c->detail - length, "%s%s %#llx", length ? ", " : "", where, (unsigned long long)rip);
}
