/* The hooks that the engine calls inside a block: IN and OUT, SYSCALL, SYSENTER.
 *
 * RIP may not change there. Where more is to be done than to go on, the hook raises a private exception, and the rest happens
 * between blocks (hooks.c). */
#include "vcpu.h"

enum { SYSCALL_BYTES = 2 };

bool pv_must_leave(struct pv_vcpu *c)
{
    bool window = pv_hardware(c) && !c->window_open; /* an interrupt for a guest that cannot take it yet asks for one */
    return c->leave != PV_LEAVE_NONE || c->why != PV_RUNNING || (c->interrupt_pending && !c->call && (window || pv_interrupts_on(c))) || c->waiting
        || c->now_ns >= c->deadline_ns || c->exits >= c->max_exits || c->flush_translations || pv_cache_steps(c);
}

/* Something is left to do between blocks, or the rest of this one is no longer what is to run. */
static bool port_leaves(struct pv_vcpu *c) { return pv_must_leave(c) || pv_cache_astray(c); }

/* Does not return where the block is to be left. */
static void end_in_block(struct pv_vcpu *c, int how)
{
    c->in_block = false;
    if (how == PV_LEAVE_ADVANCE ? port_leaves(c) : pv_must_leave(c)) {
        bool string = false;
        if (c->leave == PV_LEAVE_NONE) /* what a handler failed to answer is not done, and may be asked again */
            c->leave = c->why == PV_RAISED ? PV_LEAVE_STAY : how;
        if (c->leave == PV_LEAVE_ADVANCE)
            pv_length_here(c, &string);
        if (string) { /* INS and OUTS: the element is moved after the hook; settle at the block's end */
            c->leave = PV_LEAVE_NONE;
            c->unsettled = true;
            pv_uc.emu_stop(c->uc);
        } else {
            c->in_hook = false;
            pv_uc.raise_exception_err(c->env, PV_LEAVE_BLOCK, 0);
        }
    }
    pv_cache_enter(c);
    c->in_hook = false;
    if (pv_cache_out(c)) { /* a system call's entry is not to be had */
        c->leave = PV_LEAVE_STAY;
        pv_uc.raise_exception_err(c->env, PV_LEAVE_BLOCK, 0);
    }
}

/* goes_on: the instruction does, behind the hook, so that where its kernel is being stepped (step.c) it still is. */
static void begin_in_block(struct pv_vcpu *c, bool goes_on)
{
    c->in_hook = c->in_block = true;
    if (!goes_on || !pv_cache_in_place(c))
        pv_cache_leave(c);
    if (!pv_level_holds(c))
        pv_stop(c, PV_ESCAPED, 0, "the guest runs at CPL %d at RIP %#llx", pv_cpl(c), (unsigned long long)ENV64(c->env, ENV_RIP));
}

static void fault_in_block(struct pv_vcpu *c, struct pv_fault fault)
{
    c->leave = PV_LEAVE_EXCEPTION;
    c->leave_fault = fault;
}

/* SDM vol. 1, 19.5: CPL against IOPL, then the bitmap of the guest's own TSS. */
static struct pv_fault check_port(struct pv_vcpu *c, uint32_t port, int size)
{
    struct pv_fault denied = PV_FAULT_CODE(VEC_GP, 0), fault;
    if (pv_hardware(c))
        pv_see_registers(c);
    if (pv_seen_cpl(c) <= c->v.iopl)
        return PV_NO_FAULT;
    uint16_t map, bits;
    if (c->mode == PV_PARAVIRT || c->v.tr_limit < 103)
        return denied;
    fault = pv_linear(c, c->v.tr_base + 102, &map, 2, false, false);
    if (fault.vector >= 0)
        return fault;
    uint32_t at = map + port / 8;
    if (at + 1 > c->v.tr_limit)
        return denied;
    fault = pv_linear(c, c->v.tr_base + at, &bits, 2, false, false);
    if (fault.vector >= 0)
        return fault;
    return bits >> (port & 7) & ((1u << size) - 1) ? denied : PV_NO_FAULT;
}

/* An access to a port: an exit, unless the bitmap of the control block lets the guest have the port to itself (hardware). */
void pv_access_port(struct pv_vcpu *c, int write, uint32_t port, int size, uint32_t value)
{
    struct pv_entry *entry;
    bool passed = pv_hardware(c);
    for (uint32_t at = port; passed && at < port + (uint32_t)size; at++)
        passed = !(c->port_map[(at & 0xffff) / 8] >> (at & 7) & 1);
    if (passed) {
        entry = pv_entry_for(c, R_IO, write, port & 0xffff);
        c->ports_passed++;
        c->exit.reason = R_IO;
        c->exit.key = port & 0xffff;
        c->exit.insn = NULL;
        c->exit.length = 0;
    } else {
        entry = pv_take(c, R_IO, write, port & 0xffff);
    }
    c->exit.size = (uint32_t)size;
    c->exit.value = value;
    pv_answer(c, entry);
}

void pv_on_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *user)
{
    struct pv_vcpu *c = user;
    (void)uc;
    begin_in_block(c, true);
    struct pv_fault fault = check_port(c, port, size);
    if (fault.vector >= 0) {
        fault_in_block(c, fault);
    } else {
        pv_access_port(c, 1, port, size, value);
    }
    end_in_block(c, PV_LEAVE_ADVANCE);
}

uint32_t pv_on_in(uc_engine *uc, uint32_t port, int size, void *user)
{
    struct pv_vcpu *c = user;
    (void)uc;
    begin_in_block(c, true);
    c->exit.value = 0;
    struct pv_fault fault = check_port(c, port, size);
    if (fault.vector >= 0) {
        fault_in_block(c, fault);
    } else {
        pv_access_port(c, 0, port, size, 0);
    }
    bool string = false;
    if (port_leaves(c) && c->leave == PV_LEAVE_NONE && c->why != PV_RAISED && pv_length_here(c, &string) && !string) {
        uint64_t mask = size == 4 ? ~0ull : (1ull << 8 * size) - 1, *rax = pv_register(c, PV_RAX);
        *rax = size == 4 ? (uint32_t)c->exit.value : (*rax & ~mask) | (c->exit.value & mask);
    }
    end_in_block(c, PV_LEAVE_ADVANCE);
    return (uint32_t)c->exit.value;
}

/* The cache's own. Nothing of a block is left to run behind it, so handlers may do what they may between blocks. */
static void on_callout(struct pv_vcpu *c)
{
    c->in_hook = true;
    pv_callout(c);
    if (pv_cache_runs(c)) { /* still, or again: its RIP is set */
        c->in_hook = false;
        return;
    }
    if (!pv_must_leave(c))
        pv_cache_enter(c);
    if (pv_cache_out(c)) {
        c->leave = PV_LEAVE_STAY;
        c->in_hook = false;
        pv_uc.raise_exception_err(c->env, PV_LEAVE_BLOCK, 0);
    }
    ENV64(c->env, ENV_RIP) -= SYSCALL_BYTES; /* the engine adds it when the hook returns */
    c->in_hook = false;
}

void pv_on_syscall(uc_engine *uc, void *user)
{
    struct pv_vcpu *c = user;
    if (pv_cache_runs(c)) {
        on_callout(c);
        return;
    }
    uint8_t code[15];
    int have = pv_fetch(c, ENV64(c->env, ENV_RIP), code), length = pv_length(code, have);
    int opcode = pv_prefixes(code, have);
    bool vex = opcode < have && (code[opcode] == 0xc4 || code[opcode] == 0xc5); /* which the engine passes over */
    bool undefined = vex || pv_locked(code, have);
    (void)uc;
    begin_in_block(c, false);
    uint64_t start = c->timing ? pv_clock_ns() : 0;
    struct pv_entry *entry = pv_hardware(c) ? NULL : pv_take(c, R_SYSCALL, 0, 0); /* none: the processor enters by itself */
    c->system_calls += !entry;
    if ((entry && !entry->row) || undefined || !pv_system_call(c, ENV64(c->env, ENV_RIP) + (uint64_t)length)) {
        c->leave = entry ? PV_LEAVE_FAULT : PV_LEAVE_EXCEPTION; /* the monitor's answer to the exit, or the processor's */
        c->leave_fault = PV_FAULT(VEC_UD);
    }
    if (c->timing && entry)
        pv_time(entry, start);
    end_in_block(c, PV_LEAVE_STAY);
    ENV64(c->env, ENV_RIP) -= (uint64_t)length; /* the engine adds it when the hook returns */
}

void pv_on_sysenter(uc_engine *uc, void *user)
{
    (void)uc;
    begin_in_block(user, false);
    fault_in_block(user, PV_FAULT(VEC_UD)); /* as AMD's processors in long mode (APM vol. 3, SYSENTER) */
    end_in_block(user, PV_LEAVE_STAY);
}
