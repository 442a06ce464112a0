/* Is a page fault of the processor the guest's access to a device, and which instruction makes it?
 *
 * Under shadow paging it is a #PF, whose address is the operand's; under nested paging it comes with a gpa alone, and the
 * operands of the instruction say which access it was, or whether the processor was walking the guest's tables.
 *
 * A device's window is gpas that rows of reason MMIO claim. The shadow never maps a page of one, so each access faults; the
 * guest's own tables say whether it may be made, and at which gpa. The row's handler carries out the instruction. */
#include "vcpu.h"
#include <stdlib.h>

bool pv_windows_set(struct pv_vcpu *c)
{
    struct pv_window *windows = calloc(c->row_count + 1, sizeof *windows);
    uint32_t count = 0;
    if (!windows)
        return false;
    for (uint32_t i = 0; i < c->row_count; i++)
        if (c->rows[i].reason == R_MMIO) {
            bool any = c->rows[i].first == -1; /* whatever memory does not answer */
            windows[count++] = (struct pv_window){ any ? c->ram_size : (uint64_t)c->rows[i].first & ~(PV_PAGE - 1),
                                                   any ? PV_MONITOR_BASE - 1 : (uint64_t)c->rows[i].last | (PV_PAGE - 1) };
        }
    bool same = count == c->window_count && (!count || !memcmp(windows, c->windows, count * sizeof *windows));
    free(c->windows);
    c->windows = windows;
    c->window_count = count;
    if (pv_hardware(c))
        return (same && c->nested_ready) || pv_nested_windows(c);
    if (!same && c->shadow.root) /* what the shadow maps may be a device's page now */
        pv_shadow_flush(c);
    return true;
}

bool pv_is_device(struct pv_vcpu *c, uint64_t gpa)
{
    for (uint32_t i = 0; i < c->window_count; i++)
        if (gpa >= c->windows[i].first && gpa <= c->windows[i].last)
            return true;
    return false;
}

/* Take the exit of an access to a device. False: the fault is something else, and is to be handled as what it is. */
bool pv_device_access(struct pv_vcpu *c)
{
    uint64_t gva = c->exit.address, rip = ENV64(c->env, ENV_RIP);
    uint32_t access = ENV32(c->env, ENV_ERROR_CODE) & (PF_W | PF_U | PF_I);
    struct pv_mapping to;
    uint8_t code[15];
    if (!c->window_count || pv_hardware(c) || pv_guest_walk(c, gva, access, &to).vector >= 0 || !pv_is_device(c, to.gpa))
        return false;
    if (access & PF_I) {
        pv_stop(c, PV_UNHANDLED, 0, "instruction fetch from the device at gpa %#llx", (unsigned long long)to.gpa);
        return true;
    }
    struct pv_decoded *slot = pv_decode(c, code, pv_fetch(c, rip, code));
    if (!slot || !slot->insn || slot->reason != R_MMIO) {
        pv_stop(c, PV_UNHANDLED, 0, "the instruction at RIP %#llx accesses the device at gpa %#llx, and is not one that is emulated",
                (unsigned long long)rip, (unsigned long long)to.gpa);
        return true;
    }
    if (slot->key && !(access & PF_W)) { /* a read-modify-write: the engine reads first, a processor asks for both at once */
        access |= PF_W;
        ENV32(c->env, ENV_ERROR_CODE) |= PF_W;
        if (pv_guest_walk(c, gva, access, &to).vector >= 0)
            return false;
    }
    pv_cache_trapped(c, rip);
    struct pv_entry *entry = pv_take(c, R_MMIO, (access & PF_W) != 0, (int64_t)to.gpa);
    c->exit.error_code = access;
    c->exit.insn = slot->insn;
    c->exit.length = slot->length;
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    return true;
}

/* ---- nested paging ---- */

static uint64_t operand_gva(struct pv_vcpu *c, const struct pv_operand *o)
{
    uint64_t at = (uint64_t)o->displacement + (o->base >= 0 ? *pv_register(c, o->base) : 0)
        + (o->index >= 0 ? *pv_register(c, o->index) * o->scale : 0);
    if (o->bits >= 0) { /* BT and its kin: an offset in bits, of the operand's width and signed */
        int unused = 64 - 8 * o->size;
        int64_t offset = (int64_t)(*pv_register(c, o->bits) << unused) >> unused;
        at += (uint64_t)(offset >> __builtin_ctz(8u * o->size)) * o->size;
    }
    return (at & o->mask) + (o->segment >= 0 ? pv_segment(c, o->segment)->base : 0);
}

/* The guest's own tables, of which the processor found a part where no memory is: the walk that says what a guest gets for
 * it (the bus reads ones), at `gva`. True: this was it, and the guest has it. */
bool pv_walk_faults(struct pv_vcpu *c, uint64_t gva, uint32_t access, struct pv_mapping *to)
{
    struct pv_fault fault = pv_guest_walk(c, gva, access | (pv_user(c) ? PF_U : 0), to);
    if (fault.vector < 0)
        return false;
    if (fault.vector == VEC_PF)
        c->v.cr2 = ENV64(c->env, ENV_CR + 16) = gva;
    pv_happens(c, fault);
    return true;
}

static void take_access(struct pv_vcpu *c, const struct pv_decoded *slot, uint64_t gva, uint64_t gpa, uint32_t access)
{
    if (!pv_is_device(c, gpa)) {
        pv_stop(c, PV_UNHANDLED, 0, "no memory and no device at gpa %#llx, which gva %#llx maps (RIP %#llx)", (unsigned long long)gpa,
                (unsigned long long)gva, (unsigned long long)ENV64(c->env, ENV_RIP));
        return;
    }
    if (pv_virtual_page(c, slot, gpa, access & PF_W))
        return;
    struct pv_entry *entry = pv_take(c, R_MMIO, (access & PF_W) != 0, (int64_t)gpa);
    c->exit.address = gva;
    c->exit.error_code = access;
    c->exit.insn = slot->insn;
    c->exit.length = slot->length;
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
}

/* Take the exit of the instruction at RIP before it runs, if it accesses a device. False: it does not. */
bool pv_device_operand(struct pv_vcpu *c, const struct pv_decoded *slot)
{
    for (int i = 0; i < slot->operands; i++) {
        const struct pv_operand *o = &slot->operand[i];
        uint64_t gva = operand_gva(c, o);
        uint32_t access = o->write ? PF_W : 0;
        struct pv_mapping to;
        if (pv_guest_walk(c, gva, access | PV_PEEK, &to).vector >= 0 || !pv_is_device(c, to.gpa) || pv_guest_walk(c, gva, access, &to).vector >= 0)
            continue;
        take_access(c, slot, gva, to.gpa, access);
        return true;
    }
    return false;
}

static const char *behind(struct pv_vcpu *c, uint64_t gpa) { return pv_is_device(c, gpa) ? "which is a device's" : "where no memory is"; }

/* An access to a gpa that nested tables do not map: PF_W, PF_I. */
void pv_nested_fault(struct pv_vcpu *c, uint64_t gpa, uint32_t access)
{
    uint64_t rip = ENV64(c->env, ENV_RIP), at = pv_code_linear(c, rip);
    struct pv_mapping to;
    uint8_t code[15];
    if (access & PF_I) {
        if (pv_walk_faults(c, at, PF_I, &to) || (to.gpa >> 12 != gpa >> 12 && pv_walk_faults(c, (at | (PV_PAGE - 1)) + 1, PF_I, &to)))
            return;
        pv_stop(c, PV_UNHANDLED, 0, "instruction fetch from gpa %#llx, %s (RIP %#llx)", (unsigned long long)gpa, behind(c, gpa), (unsigned long long)rip);
        return;
    }
    int have = pv_fetch(c, rip, code);
    if (!have && pv_walk_faults(c, at, PF_I, &to)) /* its tables are gone: as if the processor's TLB had dropped the page */
        return;
    struct pv_decoded *slot = pv_decode(c, code, have);
    if (!slot)
        return;
    for (int i = 0; slot->insn && slot->reason == R_MMIO && i < slot->operands; i++) {
        const struct pv_operand *o = &slot->operand[i];
        uint64_t gva = operand_gva(c, o), left = o->size;
        while (left) {
            uint64_t part = PV_PAGE - (gva & (PV_PAGE - 1));
            if (part > left)
                part = left;
            if (pv_walk_faults(c, gva, o->write ? PF_W : 0, &to))
                return;
            if (to.gpa >> 12 == gpa >> 12) {
                take_access(c, slot, gva, to.gpa, o->write ? PF_W : 0);
                return;
            }
            gva += part;
            left -= part;
        }
    }
    pv_stop(c, PV_UNHANDLED, 0, "the instruction at RIP %#llx accesses gpa %#llx, %s, and is not one that is emulated",
            (unsigned long long)rip, (unsigned long long)gpa, behind(c, gpa));
}
