/* Is a page fault of the processor the guest's access to a device, and which instruction makes it?
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
    if (!c->window_count || c->nested || pv_guest_walk(c, gva, access, &to).vector >= 0 || !pv_is_device(c, to.gpa))
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
    struct pv_entry *entry = pv_take(c, R_MMIO, (access & PF_W) != 0, (int64_t)to.gpa);
    c->exit.error_code = access;
    c->exit.insn = slot->insn;
    c->exit.length = slot->length;
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    return true;
}
