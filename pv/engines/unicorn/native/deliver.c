/* Events as the processor would deliver them: through the guest's IDT and TSS in 64-bit mode (SDM vol. 3, 6.14), or
 * through the trap table of a paravirtual guest; and the ways back: IRET, SYSRET; and the way in: SYSCALL. */
#include "vcpu.h"

enum { CONFORMING_CODE = 1 << 12 | 3 << 10 }; /* of a segment cache: S, code, conforming */
enum { EXT = 1, IDT_BIT = 2 };
enum { FLAG_TF = 1 << 8, FLAG_IF = 1 << 9, FLAG_NT = 1 << 14, FLAG_RF = 1 << 16, FLAG_VM = 1 << 17 };

static struct pv_fault push_frame(struct pv_vcpu *c, uint64_t rsp, const uint64_t *frame, int words, uint32_t ext, bool user, uint64_t *top)
{
    uint64_t image[6];
    for (int i = 0; i < words; i++)
        image[words - 1 - i] = frame[i];
    *top = rsp - 8 * (uint64_t)words;
    if (!pv_canonical(*top) || !pv_canonical(rsp - 1))
        return PV_FAULT_CODE(VEC_SS, ext);
    return pv_linear(c, *top, image, 8 * (uint64_t)words, true, user);
}

/* Faults push RF set, so that returning to an instruction with a breakpoint does not meet it again (SDM vol. 3, 18.3.1.1). */
static bool pushes_rf(int vector, enum pv_source source)
{
    return source == PV_EXCEPTION && vector != VEC_DB && vector != VEC_DF && vector != VEC_MC;
}

/* SDM vol. 3, 6.12-6.14: gate, code segment, stack, frame. Nothing of the guest changes unless all of it works. */
static struct pv_fault through_idt(struct pv_vcpu *c, int vector, bool has_error, uint32_t error, enum pv_source source)
{
    uint32_t ext = source == PV_SOFTWARE ? 0 : EXT, code = (uint32_t)vector * 8 + IDT_BIT + ext;
    uint64_t gate[2], descriptor, code_at, rsp = *pv_register(c, PV_RSP), top, rflags = pv_rflags(c);
    int cpl = pv_seen_cpl(c);
    if (16u * (uint32_t)vector + 15 > c->v.idt_limit)
        return PV_FAULT_CODE(VEC_GP, code);
    struct pv_fault fault = pv_linear(c, c->v.idt_base + 16u * (uint32_t)vector, gate, 16, false, false);
    if (fault.vector >= 0)
        return fault;
    uint32_t type = gate[0] >> 40 & 0x1f, gate_dpl = gate[0] >> 45 & 3, ist = gate[0] >> 32 & 7;
    uint16_t selector = (uint16_t)(gate[0] >> 16);
    uint64_t rip = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
    if ((type != 14 && type != 15) || (source == PV_SOFTWARE && gate_dpl < (uint32_t)cpl))
        return PV_FAULT_CODE(VEC_GP, code);
    if (!(gate[0] >> 47 & 1))
        return PV_FAULT_CODE(VEC_NP, code);
    fault = pv_code_descriptor(c, selector, &descriptor, &code_at);
    if (fault.vector >= 0) {
        fault.error |= fault.vector == VEC_GP ? ext : 0;
        return fault;
    }
    int dpl = (int)(descriptor >> 45 & 3), level = descriptor >> 42 & 1 ? cpl : dpl; /* conforming keeps the level */
    if (dpl > cpl || (level != 0 && level != 3 && !pv_hardware(c)))
        return PV_FAULT_CODE(VEC_GP, (selector & ~3u) | ext);
    fault = pv_code_present(c, selector, &descriptor, code_at);
    if (fault.vector >= 0) {
        fault.error |= fault.vector == VEC_NP ? ext : 0;
        return fault;
    }
    if (ist || level < cpl) {
        uint64_t at = ist ? 36 + 8 * (uint64_t)(ist - 1) : 4 + 8 * (uint64_t)level;
        if (at + 7 > c->v.tr_limit)
            return PV_FAULT_CODE(VEC_TS, (c->v.tr_selector & ~3u) | ext);
        fault = pv_linear(c, c->v.tr_base + at, &rsp, 8, false, false);
        if (fault.vector >= 0)
            return fault;
    }
    rsp &= ~15ull;
    uint64_t frame[6] = { pv_seen_selector(c, PV_SS), *pv_register(c, PV_RSP), rflags | (pushes_rf(vector, source) ? FLAG_RF : 0),
                          pv_seen_selector(c, PV_CS), ENV64(c->env, ENV_RIP), error };
    fault = push_frame(c, rsp, frame, has_error ? 6 : 5, ext, level == 3, &top);
    if (fault.vector >= 0)
        return fault;
    if (!pv_canonical(rip))
        return PV_FAULT_CODE(VEC_GP, ext);
    pv_enter_level(c, level, selector, level < cpl ? 0 : pv_seen_selector(c, PV_SS));
    *pv_register(c, PV_RSP) = top;
    ENV64(c->env, ENV_RIP) = rip;
    rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (type == 14 ? FLAG_IF : 0));
    pv_set_rflags(c, rflags);
    return PV_NO_FAULT;
}

enum { KERNEL_CS = 0x08, KERNEL_SS = 0x10, TRAP_DPL = 3, TRAP_MASKS = 4 };

static struct pv_fault onto_kernel_stack(struct pv_vcpu *c, uint64_t rip, bool has_error, uint32_t error, bool mask)
{
    uint64_t top, rsp = pv_user(c) ? c->kernel_stack : *pv_register(c, PV_RSP), rflags = pv_rflags(c);
    uint64_t frame[6] = { pv_segment(c, PV_SS)->selector & 0xffff, *pv_register(c, PV_RSP), rflags,
                          pv_segment(c, PV_CS)->selector & 0xffff, ENV64(c->env, ENV_RIP), error };
    struct pv_fault fault = push_frame(c, rsp & ~15ull, frame, has_error ? 6 : 5, 0, false, &top);
    if (fault.vector >= 0)
        return fault;
    pv_enter_level(c, 0, KERNEL_CS, KERNEL_SS);
    *pv_register(c, PV_RSP) = top;
    ENV64(c->env, ENV_RIP) = rip;
    pv_set_rflags(c, rflags & ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | (mask ? FLAG_IF : 0)));
    return PV_NO_FAULT;
}

static struct pv_fault through_trap_table(struct pv_vcpu *c, int vector, bool has_error, uint32_t error, enum pv_source source)
{
    if (source == PV_EXTERNAL)
        return onto_kernel_stack(c, c->upcall_rip, false, 0, true);
    struct pv_trap *trap = &c->traps[vector];
    if (source == PV_SOFTWARE && (trap->flags & TRAP_DPL) < (pv_user(c) ? 3u : 0))
        return PV_FAULT_CODE(VEC_GP, (uint32_t)vector * 8 + IDT_BIT);
    if (!trap->rip)
        return PV_FAULT_CODE(VEC_GP, (uint32_t)vector * 8 + IDT_BIT);
    return onto_kernel_stack(c, trap->rip, has_error, error, trap->flags & TRAP_MASKS);
}

static bool contributory(int vector) { return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP); }

/* A fault on the way to a handler exits as any other, where the control block names it (APM vol. 2, 15.12); a monitor would
 * send it on, or the double fault that it makes. */
static void exits_on_the_way(struct pv_vcpu *c, struct pv_fault fault, bool doubled)
{
    int vector = c->controls.exceptions >> fault.vector & 1 ? fault.vector : doubled ? VEC_DF : -1;
    if (pv_hardware(c) && vector >= 0 && c->controls.exceptions >> vector & 1)
        pv_take(c, R_EXCEPTION, 0, vector);
}

/* Deliver an event; a fault on the way is delivered in its place, or makes a double fault, or ends the guest
 * (SDM vol. 3, table 6-5). */
void pv_deliver(struct pv_vcpu *c, int vector, bool has_error, uint32_t error, enum pv_source source)
{
    int first = source == PV_EXCEPTION ? vector : -1, wanted = vector;
    if (pv_hardware(c)) {
        pv_see_registers(c);
        if (vector != VEC_PF) /* else its address stands there already */
            c->v.cr2 = ENV64(c->env, ENV_CR + 16);
    }
    for (int tries = 0; tries < 4; tries++) {
        if (vector == VEC_PF && c->event_page)
            memcpy(c->event_page + 8, &c->v.cr2, 8);
        struct pv_fault fault = c->mode == PV_PARAVIRT ? through_trap_table(c, vector, has_error, error, source)
                                                      : through_idt(c, vector, has_error, error, source);
        if (fault.vector < 0) {
            c->events_delivered++;
            c->interrupts_delivered += source == PV_EXTERNAL;
            if (pv_hardware(c)) /* of a #PF on the way as well */
                ENV64(c->env, ENV_CR + 16) = c->v.cr2;
            return;
        }
        if (fault.vector == VEC_PF && pv_hardware(c)) /* its own, even where it makes a double fault */
            ENV64(c->env, ENV_CR + 16) = c->v.cr2;
        if (source == PV_SOFTWARE) { /* the fault is of the INT instruction, RIP stands behind it */
            uint8_t code[15];
            uint64_t rip = ENV64(c->env, ENV_RIP);
            ENV64(c->env, ENV_RIP) -= pv_fetch(c, rip - 2, code) >= 2 && code[0] == 0xcd && code[1] == vector ? 2 : 1;
        }
        if (first == VEC_DF)
            break;
        bool second = contributory(fault.vector) || (first == VEC_PF && fault.vector == VEC_PF);
        bool doubled = first >= 0 && second && (contributory(first) || first == VEC_PF);
        exits_on_the_way(c, fault, doubled);
        if (doubled) {
            fault = PV_FAULT_CODE(VEC_DF, 0);
            c->double_faults++;
        }
        first = vector = fault.vector;
        has_error = fault.has_error;
        error = fault.error;
        source = PV_EXCEPTION;
    }
    pv_stop(c, PV_SHUTDOWN, 0, "vector %d could not be delivered, nor the faults that followed", wanted);
}

/* An exception of the guest's, found by the core where the processor would have: an exit where the IDT is the monitor's; under
 * hardware the processor delivers it by itself, unless the control block names it. */
void pv_happens(struct pv_vcpu *c, struct pv_fault fault)
{
    if (pv_hardware(c) && !(c->controls.exceptions >> fault.vector & 1)) {
        pv_deliver(c, fault.vector, fault.has_error, fault.error, PV_EXCEPTION);
        return;
    }
    struct pv_entry *entry = pv_take(c, R_EXCEPTION, 0, fault.vector);
    c->exit.error_code = fault.error;
    c->exit.address = c->v.cr2;
    pv_answer(c, entry);
}

/* Enter the level that a return names: IRET, and far RET outward (SDM vol. 2, IRET). */
struct pv_fault pv_return_to(struct pv_vcpu *c, uint64_t rip, uint64_t cs, uint64_t rsp, uint64_t ss)
{
    int cpl = pv_user(c) ? 3 : 0, level = (int)(cs & 3);
    if (c->mode == PV_PARAVIRT) {
        /* flat segments of the ABI: only their privilege is real */
        level = level == 3 ? 3 : 0;
        if ((cs != (KERNEL_CS | 1) && cs != 0x23) || (level == 3 ? ss != 0x1b : ss != (KERNEL_SS | 1)) || level < cpl)
            return PV_FAULT_CODE(VEC_GP, cs & 0xfffc);
    } else {
        uint64_t code, code_at, data;
        struct pv_fault fault = pv_code_descriptor(c, (uint16_t)cs, &code, &code_at);
        if (fault.vector >= 0)
            return fault;
        int dpl = (int)(code >> 45 & 3);
        if (level < cpl || (level != 0 && level != 3) || (code >> 42 & 1 ? dpl > level : dpl != level))
            return PV_FAULT_CODE(VEC_GP, cs & 0xfffc);
        fault = pv_code_present(c, (uint16_t)cs, &code, code_at);
        if (fault.vector >= 0)
            return fault;
        if (!(ss & 0xfffc)) {
            if (level == 3)
                return PV_FAULT_CODE(VEC_GP, 0);
        } else {
            bool local = ss & 4;
            uint32_t limit = local ? c->v.ldt_limit : c->v.gdt_limit;
            if ((ss | 7) > limit)
                return PV_FAULT_CODE(VEC_GP, ss & 0xfffc);
            uint64_t at = (local ? c->v.ldt_base : c->v.gdt_base) + (ss & 0xfff8);
            fault = pv_linear(c, at, &data, 8, false, false);
            if (fault.vector >= 0)
                return fault;
            if ((ss & 3) != (uint64_t)level || (data >> 40 & 0x1a) != 0x12 || (int)(data >> 45 & 3) != level)
                return PV_FAULT_CODE(VEC_GP, ss & 0xfffc);
            if (!(data >> 47 & 1))
                return PV_FAULT_CODE(VEC_SS, ss & 0xfffc);
            fault = pv_set_accessed(c, &data, at);
            if (fault.vector >= 0)
                return fault;
        }
    }
    if (!pv_canonical(rip))
        return PV_FAULT_CODE(VEC_GP, 0);
    pv_enter_level(c, level, (uint16_t)cs, (uint16_t)ss);
    if (level > cpl)
        for (int segment = 0; segment < 6; segment++) { /* segments of the inner level do not survive outside */
            struct pv_segment *s = pv_segment(c, segment);
            bool own = segment == PV_CS || segment == PV_SS, conforming = (s->flags & CONFORMING_CODE) == CONFORMING_CODE;
            if (!own && s->selector && !conforming && (s->flags >> 13 & 3) < 3)
                *s = (struct pv_segment){ .base = segment >= PV_FS && !(s->selector & ~3u) ? s->base : 0 };
        }
    *pv_register(c, PV_RSP) = rsp;
    ENV64(c->env, ENV_RIP) = rip;
    return PV_NO_FAULT;
}

struct pv_fault pv_interrupt_return(struct pv_vcpu *c)
{
    /* paravirt: the hypercall's number is in RAX, so the interrupted one lies on top of the frame */
    uint64_t image[6], *frame = image + (c->mode == PV_PARAVIRT), seen = pv_rflags(c), rsp = *pv_register(c, PV_RSP);
    uint64_t size = 40 + 8 * (c->mode == PV_PARAVIRT);
    bool user = pv_user(c);
    if (seen & FLAG_NT)
        return PV_FAULT_CODE(VEC_GP, 0);
    if (!pv_canonical(rsp) || !pv_canonical(rsp + size - 1))
        return PV_FAULT_CODE(VEC_SS, 0);
    struct pv_fault fault = pv_linear(c, rsp, image, size, false, user);
    if (fault.vector >= 0)
        return fault;
    fault = pv_return_to(c, frame[0], frame[1] & 0xffff, frame[3], frame[4] & 0xffff);
    if (fault.vector >= 0)
        return fault;
    uint64_t mine = 0x254dd5;
    if (!user)
        mine |= 0x3000 | FLAG_IF;
    else if (c->v.iopl == 3)
        mine |= FLAG_IF;
    pv_set_rflags(c, (frame[2] & mine) | (seen & ~mine));
    if (c->mode == PV_PARAVIRT)
        *pv_register(c, PV_RAX) = image[0];
    return PV_NO_FAULT;
}

struct pv_fault pv_system_return(struct pv_vcpu *c, int operand_bits)
{
    uint64_t rip = *pv_register(c, PV_RCX);
    if (!(c->v.efer & 1))
        return PV_FAULT(VEC_UD);
    if (pv_user(c) || operand_bits != 64 || !pv_canonical(rip)) /* to compatibility mode: not offered */
        return PV_FAULT_CODE(VEC_GP, 0);
    uint16_t base = (uint16_t)(c->v.star >> 48);
    pv_enter_level(c, 3, (uint16_t)(base + 16), (uint16_t)(base + 8));
    ENV64(c->env, ENV_RIP) = rip;
    pv_set_rflags(c, (*pv_register(c, PV_R11) & 0x3c7fd7) | 2);
    return PV_NO_FAULT;
}

/* SYSCALL: false where the guest must get #UD instead. */
bool pv_system_call(struct pv_vcpu *c, uint64_t next_rip)
{
    uint64_t rflags = pv_rflags(c);
    if (c->mode == PV_PARAVIRT) {
        if (!pv_user(c) || !c->syscall_entry)
            return false;
        *pv_register(c, PV_RCX) = next_rip;
        *pv_register(c, PV_R11) = rflags;
        ENV64(c->env, ENV_RIP) = next_rip;
        struct pv_fault fault = onto_kernel_stack(c, c->syscall_entry, false, 0, true);
        if (fault.vector >= 0)
            pv_deliver(c, fault.vector, fault.has_error, fault.error, PV_EXCEPTION);
        return true;
    }
    if (!(c->v.efer & 1))
        return false;
    *pv_register(c, PV_RCX) = next_rip;
    *pv_register(c, PV_R11) = rflags & ~(uint64_t)FLAG_RF;
    uint16_t base = (uint16_t)(pv_virtual_get(c, PV_STAR) >> 32);
    bool long_code = pv_long_code(c);
    pv_enter_level(c, 0, base & 0xfffc, (uint16_t)(base + 8));
    ENV64(c->env, ENV_RIP) = long_code ? pv_virtual_get(c, PV_LSTAR) : ENV64(c->env, ENV_CSTAR); /* APM vol. 3, SYSCALL */
    pv_set_rflags(c, rflags & ~(pv_virtual_get(c, PV_FMASK) | FLAG_RF));
    return true;
}
