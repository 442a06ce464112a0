/* Segments, flags and privilege as the guest sees them, on a processor where its kernel runs at CPL 1.
 *
 * The processor's own GDT is empty, so every load of a selector that is not null traps and is done here from the
 * guest's GDT. A descriptor of DPL 0 becomes one of the kernel's real ring; what the guest reads back from a trap
 * frame shows ring 0, what it reads by MOV from CS shows the real one: that is a hole of the technique. */
#include "vcpu.h"

enum { S = 1 << 12, CODE = 1 << 11, CONFORMING = 1 << 10, RW = 1 << 9, ACCESSED = 1 << 8, PRESENT = 1 << 15, LONG = 1 << 21, BIG = 1 << 22 };
static int dpl(uint64_t d) { return (int)(d >> 45 & 3); }
static uint32_t high(uint64_t d) { return (uint32_t)(d >> 32); }

void pv_enter_level(struct pv_vcpu *c, int cpl, uint16_t cs, uint16_t ss)
{
    uint32_t real = cpl == 3 || pv_hardware(c) ? (uint32_t)cpl : c->ring;
    *pv_segment(c, PV_CS) = (struct pv_segment){ (cs & ~3u) | real, 0, 0, 0xffffffff, 0x00af9b00 | real << 13 };
    *pv_segment(c, PV_SS) = (struct pv_segment){ (ss & ~3u) | real, 0, 0, 0xffffffff, 0x00cf9300 | real << 13 };
    ENV32(c->env, ENV_HFLAGS) = (ENV32(c->env, ENV_HFLAGS) & ~(uint32_t)(HF_CPL | HF_INHIBIT_IRQ | HF_ADDSEG)) | HF_CS64 | HF_CS32 | HF_SS32 | real;
}

uint16_t pv_seen_selector(struct pv_vcpu *c, int segment)
{
    uint32_t selector = pv_segment(c, segment)->selector & 0xffff;
    if (c->mode == PV_TRAP && (segment == PV_CS || segment == PV_SS) && (selector & 3) == c->ring)
        selector &= ~3u;
    return (uint16_t)selector;
}

/* The descriptor that a selector names in the guest's GDT or LDT; #GP(selector) where there is none. */
static struct pv_fault descriptor_of(struct pv_vcpu *c, uint16_t selector, uint64_t *descriptor, uint64_t *at)
{
    bool local = selector & 4;
    uint64_t base = local ? c->v.ldt_base : c->v.gdt_base;
    uint32_t limit = local ? (c->v.ldt_selector & ~3 ? c->v.ldt_limit : 0) : c->v.gdt_limit;
    if ((selector | 7u) > limit)
        return PV_FAULT_CODE(VEC_GP, selector & ~3u);
    *at = base + (selector & ~7u);
    return pv_linear(c, *at, descriptor, 8, false, false);
}

struct pv_fault pv_set_accessed(struct pv_vcpu *c, uint64_t *descriptor, uint64_t at)
{
    if (high(*descriptor) & ACCESSED)
        return PV_NO_FAULT;
    *descriptor |= (uint64_t)ACCESSED << 32;
    return pv_linear(c, at, descriptor, 8, true, false);
}

struct pv_fault pv_load_segment(struct pv_vcpu *c, int segment, uint16_t selector)
{
    uint32_t cpl = pv_user(c) ? 3 : 0, rpl = selector & 3, code = selector & ~3u;
    struct pv_segment *cache = pv_segment(c, segment);
    if (!code) {
        if (segment == PV_SS && (cpl == 3 || rpl != cpl))
            return PV_FAULT_CODE(VEC_GP, 0);
        *cache = (struct pv_segment){ segment == PV_SS ? c->ring : selector, 0, 0, 0, segment == PV_SS ? (uint32_t)c->ring << 13 : 0 };
        return PV_NO_FAULT;
    }
    uint64_t d, at;
    struct pv_fault fault = descriptor_of(c, selector, &d, &at);
    if (fault.vector >= 0)
        return fault;
    uint32_t h = high(d);
    if (!(h & S))
        return PV_FAULT_CODE(VEC_GP, code);
    if (segment == PV_SS) {
        if (rpl != cpl || h & CODE || !(h & RW) || (uint32_t)dpl(d) != cpl)
            return PV_FAULT_CODE(VEC_GP, code);
        if (!(h & PRESENT))
            return PV_FAULT_CODE(VEC_SS, code);
    } else {
        if ((h & CODE && !(h & RW)) || (!(h & CODE && h & CONFORMING) && ((uint32_t)dpl(d) < rpl || (uint32_t)dpl(d) < cpl)))
            return PV_FAULT_CODE(VEC_GP, code);
        if (!(h & PRESENT))
            return PV_FAULT_CODE(VEC_NP, code);
    }
    fault = pv_set_accessed(c, &d, at);
    if (fault.vector >= 0)
        return fault;
    h = high(d);
    uint32_t limit = (uint32_t)((d & 0xffff) | (h & 0xf0000));
    if (h >> 23 & 1)
        limit = limit << 12 | 0xfff;
    if (dpl(d) < 3)
        h = (h & ~0x6000u) | (uint32_t)c->ring << 13;
    if (segment == PV_SS && cpl != 3)
        selector = (uint16_t)((selector & ~3u) | c->ring);
    *cache = (struct pv_segment){ selector, 0, (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000), limit, h & 0x00f0ff00 };
    return PV_NO_FAULT;
}

/* A code segment of 64 bits, which stands `at`: its privilege is the caller's to check, and then whether it is present. */
struct pv_fault pv_code_descriptor(struct pv_vcpu *c, uint16_t selector, uint64_t *descriptor, uint64_t *at)
{
    if (!(selector & ~3u))
        return PV_FAULT_CODE(VEC_GP, 0);
    struct pv_fault fault = descriptor_of(c, selector, descriptor, at);
    if (fault.vector >= 0)
        return fault;
    uint32_t h = high(*descriptor);
    if (!(h & S) || !(h & CODE) || !(h & LONG) || h & BIG) /* compatibility mode is not offered to deprivileged guests */
        return PV_FAULT_CODE(VEC_GP, selector & ~3u);
    return PV_NO_FAULT;
}

struct pv_fault pv_code_present(struct pv_vcpu *c, uint16_t selector, uint64_t *descriptor, uint64_t at)
{
    return high(*descriptor) & PRESENT ? pv_set_accessed(c, descriptor, at) : PV_FAULT_CODE(VEC_NP, selector & ~3u);
}

/* Far JMP, or far RET to the same privilege (SDM vol. 2, JMP and RET). */
struct pv_fault pv_far_transfer(struct pv_vcpu *c, uint16_t selector, uint64_t rip)
{
    uint64_t d, at;
    struct pv_fault fault = pv_code_descriptor(c, selector, &d, &at);
    int cpl = pv_user(c) ? 3 : 0;
    if (fault.vector >= 0)
        return fault;
    bool conforming = high(d) & CONFORMING;
    if (conforming ? dpl(d) > cpl : (dpl(d) != cpl || (selector & 3) > cpl))
        return PV_FAULT_CODE(VEC_GP, selector & ~3u);
    fault = pv_code_present(c, selector, &d, at);
    if (fault.vector >= 0)
        return fault;
    if (!pv_canonical(rip))
        return PV_FAULT_CODE(VEC_GP, 0);
    pv_segment(c, PV_CS)->selector = (selector & ~3u) | (cpl == 3 ? 3 : c->ring);
    ENV64(c->env, ENV_RIP) = rip;
    return PV_NO_FAULT;
}

enum { FLAG_IF = 1 << 9, FLAG_IOPL = 3 << 12, FLAG_NT = 1 << 14, FLAG_VM = 1 << 17,
       FLAG_KEPT = 0x240dd5 }; /* all but RF: the processor has no breakpoint that it could mask */

bool pv_interrupts_on(struct pv_vcpu *c)
{
    if (pv_hardware(c))
        return ENV64(c->env, ENV_EFLAGS) & FLAG_IF; /* a guest at CPL 0 has the real one */
    return c->event_page ? c->event_page[0] : c->v.interrupt_flag;
}

void pv_set_interrupts(struct pv_vcpu *c, bool on)
{
    if (c->event_page)
        c->event_page[0] = on;
    else
        c->v.interrupt_flag = on;
}

uint64_t pv_rflags(struct pv_vcpu *c)
{
    uint64_t flags = 0;
    pv_uc.reg_read(c->uc, UC_X86_REG_RFLAGS, &flags);
    if (pv_hardware(c))
        return flags | 2;
    flags &= ~(uint64_t)(FLAG_IF | FLAG_IOPL);
    return flags | (pv_interrupts_on(c) ? FLAG_IF : 0) | (uint64_t)c->v.iopl << 12 | 2;
}

/* The processor keeps IF set and IOPL 0: what the guest sees of them is virtual, but in guest mode. */
void pv_set_rflags(struct pv_vcpu *c, uint64_t rflags)
{
    pv_set_interrupts(c, rflags & FLAG_IF);
    c->v.iopl = rflags >> 12 & 3;
    uint64_t real = (rflags & (FLAG_KEPT | FLAG_NT)) | (pv_hardware(c) ? rflags & (FLAG_IF | FLAG_IOPL) : FLAG_IF) | 2;
    pv_uc.reg_write(c->uc, UC_X86_REG_RFLAGS, &real);
}
