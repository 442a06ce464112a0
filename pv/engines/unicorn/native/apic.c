/* The processor's part in a local APIC: its interrupt queue, and with APIC virtualization the accesses that need no exit.
 *
 * IRR, ISR, TMR, TPR and ICR stand here whether virtualization is on or not: the chip (pv/devices/local_apic.py) works on
 * them too, and there is one of each. Virtualized are what APICv's virtual-APIC page and virtual interrupt delivery do
 * (Intel SDM vol. 3, "APIC virtualization and virtual interrupts") and AVIC (AMD APM vol. 2, 15.29): reads of registers
 * that stand here or that the chip has told of, writes of TPR, EOI and the upper half of the ICR, and an interrupt to
 * oneself. All else exits: EOI of a level-triggered vector, commands to others, the timer, and what raises #GP. */
#include "vcpu.h"

enum { PRIORITY_CLASS = 0xf0, LEGAL_FIRST = 16, APIC_VERSION = 0x50014, APIC_ID = 0, SVR_ENABLED = 1 << 8 };
enum { A_ID = 0x02, A_VERSION = 0x03, A_TPR = 0x08, A_PPR = 0x0a, A_EOI = 0x0b, A_LDR = 0x0d, A_DFR = 0x0e, A_SVR = 0x0f, A_ISR = 0x10,
       A_TMR = 0x18, A_IRR = 0x20, A_ICR = 0x30, A_ICR_HIGH = 0x31, A_SELF_IPI = 0x3f };
/* Of the ICR's lower half, for an interrupt to oneself: all bits but these three must be as TO_SELF has them, so Fixed and
 * edge-triggered, and neither reserved nor the status; destination mode and level say nothing with a shorthand. */
enum { ICR_VECTOR = 0xff, ICR_LOGICAL = 1 << 11, ICR_LEVEL = 1 << 14, ICR_TO_SELF = 1 << 18 };

static int highest(const uint64_t bits[4])
{
    for (int i = 3; i >= 0; i--)
        if (bits[i])
            return 64 * i + 63 - __builtin_clzll(bits[i]);
    return -1;
}

static uint64_t mask_of(int vector) { return 1ull << (vector & 63); }

uint32_t pv_apic_priority(const struct pv_apic *a)
{
    int serving = highest(a->isr);
    uint32_t class = serving < 0 ? 0 : (uint32_t)serving & PRIORITY_CLASS;
    return (a->tpr & PRIORITY_CLASS) >= class ? a->tpr : class;
}

int pv_apic_next(const struct pv_apic *a)
{
    int vector = highest(a->irr);
    return vector >= 0 && ((uint32_t)vector & PRIORITY_CLASS) > (pv_apic_priority(a) & PRIORITY_CLASS) ? vector : -1;
}

void pv_apic_accept(struct pv_apic *a, int vector, bool level)
{
    a->irr[vector >> 6] |= mask_of(vector);
    if (level)
        a->tmr[vector >> 6] |= mask_of(vector);
    else
        a->tmr[vector >> 6] &= ~mask_of(vector);
}

/* The processor took it: by virtual interrupt delivery, where that is on. */
void pv_apic_serve(struct pv_vcpu *c, int vector)
{
    struct pv_apic *a = &c->apic;
    a->irr[vector >> 6] &= ~mask_of(vector);
    a->isr[vector >> 6] |= mask_of(vector);
    a->delivered += c->controls.apic_virtual;
}

int pv_apic_end(struct pv_apic *a)
{
    int vector = highest(a->isr);
    if (vector >= 0)
        a->isr[vector >> 6] &= ~mask_of(vector);
    return vector;
}

/* ---- with APIC virtualization ---- */

/* INTR, after the queue changed: what the chip's _update() does. */
static void evaluate(struct pv_vcpu *c) { c->interrupt_pending = c->apic.external || pv_apic_next(&c->apic) >= 0; }

static bool is_level(const struct pv_apic *a, int vector) { return vector >= 0 && a->tmr[vector >> 6] & mask_of(vector); }

static bool to_self(struct pv_vcpu *c, uint32_t vector)
{
    if (vector < LEGAL_FIRST || !(c->apic.svr & SVR_ENABLED))
        return false; /* an error of the chip's, or one that it does not take */
    pv_apic_accept(&c->apic, (int)vector, false);
    return true;
}

static bool write_register(struct pv_vcpu *c, uint32_t reg, bool msr, uint64_t value)
{
    struct pv_apic *a = &c->apic;
    if (msr && reg != A_ICR && value >> 8)
        return false; /* reserved bits, of those below */
    switch (reg) {
    case A_TPR:
        a->tpr = (uint8_t)value;
        c->v.cr8 = a->tpr >> 4;
        return true;
    case A_EOI:
        if ((msr && value) || is_level(a, highest(a->isr)))
            return false; /* its end is told to who asks */
        pv_apic_end(a);
        return true;
    case A_ICR:
        if (((uint32_t)value & ~(uint32_t)(ICR_VECTOR | ICR_LOGICAL | ICR_LEVEL)) != ICR_TO_SELF)
            return false;
        if (!to_self(c, value & ICR_VECTOR))
            return false;
        a->command = msr ? value : (a->command & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
        return true;
    case A_ICR_HIGH:
        if (msr)
            return false;
        a->command = (value & 0xff000000) << 32 | (uint32_t)a->command;
        return true;
    case A_SELF_IPI:
        return msr && to_self(c, (uint32_t)value);
    }
    return false;
}

static bool read_register(const struct pv_apic *a, uint32_t reg, bool msr, uint64_t *value)
{
    static const struct { uint8_t first; uint16_t at; } wide[] = {
        { A_ISR, offsetof(struct pv_apic, isr) }, { A_TMR, offsetof(struct pv_apic, tmr) }, { A_IRR, offsetof(struct pv_apic, irr) },
    };
    for (int i = 0; i < 3; i++)
        if (reg >= wide[i].first && reg < wide[i].first + 8u) {
            const uint64_t *bits = (const uint64_t *)((const uint8_t *)a + wide[i].at);
            uint32_t word = reg - wide[i].first;
            *value = (uint32_t)(bits[word / 2] >> 32 * (word & 1));
            return true;
        }
    switch (reg) {
    case A_ID: *value = msr ? APIC_ID : (uint64_t)APIC_ID << 24; return true;
    case A_VERSION: *value = APIC_VERSION; return true;
    case A_TPR: *value = a->tpr; return true;
    case A_PPR: *value = pv_apic_priority(a); return true;
    case A_LDR: *value = a->ldr; return true;
    case A_DFR: *value = a->dfr; return !msr;
    case A_SVR: *value = a->svr; return true;
    case A_ICR: *value = msr ? a->command : (uint32_t)a->command; return true;
    case A_ICR_HIGH: *value = a->command >> 32; return !msr;
    }
    return false;
}

/* An access to register `reg`, the offset in the page / 16 or the MSR - 0x800. False: it is to exit, and nothing is changed. */
bool pv_apic_access(struct pv_vcpu *c, uint32_t reg, bool write, bool msr, uint64_t *value)
{
    struct pv_apic *a = &c->apic;
    uint64_t read = 0;
    if (!c->controls.apic_virtual || a->mode != (msr ? PV_APIC_MSRS : PV_APIC_PAGE))
        return false;
    if (!(write ? write_register(c, reg, msr, *value) : read_register(a, reg, msr, &read)))
        return false;
    if (write)
        evaluate(c);
    else
        *value = read;
    a->accesses++;
    return true;
}

/* A write of CR8, which is bits 7-4 of the TPR. That of an APIC that is disabled is a register of its own: it exits. */
bool pv_apic_cr8(struct pv_vcpu *c, uint64_t value)
{
    uint64_t tpr = value << 4;
    return value <= 15 && pv_apic_access(c, A_TPR, true, c->apic.mode == PV_APIC_MSRS, &tpr);
}

/* The vector to be delivered now, by virtual interrupt delivery; -1 where Python is to be asked: for an 8259's vector, and
 * where the timer's is taken, since that lets its next tick be waited for. */
int pv_apic_acknowledge(struct pv_vcpu *c)
{
    struct pv_apic *a = &c->apic;
    bool here = c->controls.apic_virtual && a->mode != PV_APIC_DISABLED && !a->external;
    int vector = here ? pv_apic_next(a) : -1;
    if (vector < 0 || vector == a->timer_vector)
        return -1;
    pv_apic_serve(c, vector);
    evaluate(c);
    return vector;
}
