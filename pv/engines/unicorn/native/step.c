/* One instruction of the guest's kernel, outside the cache: done by the monitor, where it is one of those that the monitor
 * emulates, else in place, at its own address and CPL 1, with TF set: for code that cannot be translated, for a store to the
 * page that it stands on, and in the shadow of STI and MOV to SS. */
#include "cache.h"

enum { FLAG_TF = 1 << 8, FLAG_RF = 1 << 16, FLAG_VM = 1 << 17, POPF_16 = 0xffff, PUSHF = 0x9c, POPF = 0x9d };

bool pv_push_flags(struct pv_vcpu *c, int bytes, uint64_t next)
{
    uint64_t flags = pv_rflags(c) & ~(uint64_t)(FLAG_RF | FLAG_VM), rsp = *pv_register(c, PV_RSP) - (uint64_t)bytes;
    struct pv_fault fault = pv_linear(c, rsp, &flags, (uint64_t)bytes, true, false);
    if (fault.vector >= 0) {
        pv_happens(c, fault);
        return false;
    }
    *pv_register(c, PV_RSP) = rsp;
    ENV64(c->env, ENV_RIP) = next;
    return true;
}

bool pv_pop_flags(struct pv_vcpu *c, int bytes, uint64_t next)
{
    uint64_t flags = 0, before = pv_rflags(c), mask = bytes == 2 ? POPF_16 : UINT64_MAX;
    struct pv_fault fault = pv_linear(c, *pv_register(c, PV_RSP), &flags, (uint64_t)bytes, false, false);
    if (fault.vector >= 0) {
        pv_happens(c, fault);
        return false;
    }
    *pv_register(c, PV_RSP) += (uint64_t)bytes;
    ENV64(c->env, ENV_RIP) = next;
    pv_set_rflags(c, ((flags & mask) | (before & ~mask)) & ~(uint64_t)(FLAG_RF | FLAG_VM));
    return true;
}

/* Carry out the instruction at RIP, which is the monitor's: an exit, as if it had trapped. */
void pv_service(struct pv_vcpu *c, struct pv_decoded *slot, const uint8_t *code, int have)
{
    if (slot->reason == R_IO) {
        pv_port(c, code, have);
    } else if (slot->reason == R_CPUID) {
        struct pv_entry *entry = pv_take(c, R_CPUID, 0, (uint32_t)*pv_register(c, PV_RAX));
        c->exit.length = slot->length;
        pv_answer(c, entry);
    } else if (!pv_time_stamp(c, code, have)) {
        pv_emulate(c, slot);
    }
}

/* True: the guest's RIP is where the engine is to go on, for one instruction. False: it is done, or a fault of it delivered. */
bool pv_step(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    uint8_t code[15];
    uint64_t rip = ENV64(c->env, ENV_RIP), delivered = c->events_delivered;
    bool trap = ENV64(c->env, ENV_EFLAGS) & FLAG_TF;
    int have = pv_fetch(c, rip, code), at = pv_prefixes(code, have);
    struct pv_decoded *slot = NULL;
    k->shadow = ENV32(c->env, ENV_HFLAGS) & HF_INHIBIT_IRQ;
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    k->step = k->stepped = false;
    k->counts.steps++;
    if (at < have && (code[at] == PUSHF || code[at] == POPF)) {
        int bytes = memchr(code, 0x66, (size_t)at) && (code[at - 1] & 0xf8) != 0x48 ? 2 : 8;
        (code[at] == PUSHF ? pv_push_flags : pv_pop_flags)(c, bytes, rip + (uint64_t)at + 1);
    } else {
        slot = have ? pv_decode(c, code, have) : NULL;
        if (c->why != PV_RUNNING)
            return false;
        if (!slot || !slot->insn || slot->reason == R_MMIO) {
            k->step = true;
            k->step_rip = rip;
            k->own_flag = !trap;
            ENV64(c->env, ENV_EFLAGS) |= FLAG_TF;
            if (pv_cache_claims(c, rip) || pv_cache_claims(c, rip + sizeof code)) /* which the TLB may have: it is not there for the guest */
                pv_uc.tlb_flush(c->cpu);
            k->where = PV_IN_PLACE;
            k->resumable = false;
            return true;
        }
        pv_service(c, slot, code, have);
    }
    k->shadow = false;
    if (trap)
        pv_single_step(c, rip, delivered);
    return false;
}
