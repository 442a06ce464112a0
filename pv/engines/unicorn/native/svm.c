/* Guest mode: the processor's own intercepts (APM vol. 2, 15.9-15.12), entered by setting state, never by VMRUN.
 *
 * EFER.SVME stays clear, so the guest cannot execute an SVM instruction. */
#include "vcpu.h"

enum { CR_READ = 0x00, CR_WRITE = 0x10, DR_READ = 0x20, DR_WRITE = 0x30, EXCEPTION = 0x40, VINTR = 0x64, CPUID = 0x72, HLT = 0x78,
       INVLPG = 0x79, MSR = 0x7c, VMMCALL = 0x81, NPF = 0x400 };
enum { VMCB_MSR_MAP = 0x48, VMCB_EXIT_INFO_2 = 0x80 }; /* offsets in the control area */

/* What every guest runs under: CPUID exits. Nothing else is intercepted until it is asked for. */
void pv_guest_mode_start(struct pv_vcpu *c)
{
    ENV32(c->env, ENV_HFLAGS) |= HF_GUEST;
    ENV32(c->env, ENV_HFLAGS2) |= HF2_GIF;
    ENV64(c->env, ENV_INTERCEPT) = 1ull << (CPUID - 0x60);
}

/* Run the guest at its own CPL 0 under these intercepts; a nested root of 0 leaves nested paging off. False: no pages. */
bool pv_guest_mode(struct pv_vcpu *c, uint64_t intercepts, uint16_t cr_reads, uint16_t cr_writes, uint32_t exceptions, uint64_t nested_root)
{
    if (!c->vmcb_page) { /* off the end of the pool: the shadow recycles all that is in it */
        if (c->pool.used + PV_GUEST_MODE_PAGES > c->pool.pages)
            return false;
        c->pool.pages -= PV_GUEST_MODE_PAGES;
        c->vmcb_page = c->pool.pages;
        memset(pv_page(&c->pool, c->vmcb_page + 1), 0xff, 2 * PV_PAGE);
        pv_page(&c->pool, c->vmcb_page)[VMCB_MSR_MAP / 8] = pv_page_gpa(c->vmcb_page + 1);
    }
    c->ring = 0;
    c->guest_mode = true;
    ENV64(c->env, ENV_VMCB) = pv_page_gpa(c->vmcb_page);
    ENV64(c->env, ENV_INTERCEPT) = intercepts | 1ull << (CPUID - 0x60);
    ENV16(c->env, ENV_INTERCEPT_CR_READ) = cr_reads;
    ENV16(c->env, ENV_INTERCEPT_CR_WRITE) = cr_writes;
    ENV32(c->env, ENV_INTERCEPT_EXCEPTIONS) = exceptions;
    c->nested = nested_root != 0;
    if (c->nested) {
        ENV32(c->env, ENV_HFLAGS2) |= HF2_NPT;
        ENV64(c->env, ENV_NESTED_CR3) = nested_root;
        ENV32(c->env, ENV_NESTED_MODE) = 7; /* long mode, PAE, NX */
    } else {
        ENV32(c->env, ENV_HFLAGS2) &= ~(uint32_t)HF2_NPT;
    }
    pv_uc.tlb_flush(c->cpu);
    return true;
}

/* In guest mode the processor holds what the guest loaded: copy what delivery and the page walk look at. */
void pv_see_registers(struct pv_vcpu *c)
{
    const struct pv_segment *ldt = (struct pv_segment *)(c->env + ENV_LDT), *tr = (struct pv_segment *)(c->env + ENV_TR),
                            *gdt = (struct pv_segment *)(c->env + ENV_GDT), *idt = (struct pv_segment *)(c->env + ENV_IDT);
    c->v.gdt_base = gdt->base;
    c->v.gdt_limit = gdt->limit;
    c->v.idt_base = idt->base;
    c->v.idt_limit = idt->limit;
    c->v.ldt_selector = (uint16_t)ldt->selector;
    c->v.ldt_base = ldt->base;
    c->v.ldt_limit = ldt->limit;
    c->v.tr_selector = (uint16_t)tr->selector;
    c->v.tr_base = tr->base;
    c->v.tr_limit = tr->limit;
    if (!c->nested)
        return; /* CR3 is the shadow's, and what the guest believes of control registers is the handlers' affair */
    c->v.cr0 = ENV64(c->env, ENV_CR);
    c->v.cr3 = ENV64(c->env, ENV_CR + 24);
    c->v.cr4 = ENV64(c->env, ENV_CR + 32);
    c->v.efer = ENV64(c->env, ENV_EFER);
}

/* What an exit code is here. An instruction's length is that of its decoding, or counted over its prefixes. */
static const struct { uint16_t first, last; uint32_t reason; uint8_t write; bool instruction; } rows[] = {
    { CR_READ, CR_READ + 15, R_CR, 0, true }, { CR_WRITE, CR_WRITE + 15, R_CR, 1, true },
    { DR_READ, DR_READ + 15, R_DR, 0, true }, { DR_WRITE, DR_WRITE + 15, R_DR, 1, true },
    { EXCEPTION, EXCEPTION + 31, R_EXCEPTION, 0, false }, { CPUID, CPUID, R_CPUID, 0, true }, { HLT, HLT, R_HLT, 0, true },
    { INVLPG, INVLPG, R_INVLPG, 0, true }, { MSR, MSR, R_MSR_READ, 0, true }, { VMMCALL, VMMCALL, R_VMCALL, 0, true },
    { NPF, NPF, R_EPT_VIOLATION, 0, false },
};

void pv_svm_exit(struct pv_vcpu *c, uint32_t code)
{
    if (code == VINTR) {
        pv_close_window(c);
        return;
    }
    uint8_t bytes[15];
    int have = pv_fetch(c, ENV64(c->env, ENV_RIP), bytes);
    if (code == EXCEPTION + VEC_UD && pv_asks(c, bytes, have))
        code = VMMCALL; /* without EFER.SVME the processor calls it undefined */
    size_t row = 0;
    while (row < sizeof rows / sizeof *rows && (code < rows[row].first || code > rows[row].last))
        row++;
    if (row == sizeof rows / sizeof *rows) {
        pv_stop(c, PV_ENGINE_ERROR, 0, "intercept %#x, which was not asked for, at RIP %#llx", code, (unsigned long long)ENV64(c->env, ENV_RIP));
        return;
    }
    uint64_t rax = *pv_register(c, PV_RAX);
    uint32_t access = ENV32(c->env, ENV_ERROR_CODE), reason = rows[row].reason;
    int64_t key = code - rows[row].first;
    if (reason == R_CR || reason == R_DR)
        key = key * 2 + rows[row].write;
    else if (reason == R_CPUID)
        key = (uint32_t)rax;
    else if (reason == R_VMCALL)
        key = rax >> 31 ? PV_NO_NUMBER : (int64_t)rax;
    else if (code == MSR) {
        reason = access & 1 ? R_MSR_WRITE : R_MSR_READ;
        key = (uint32_t)*pv_register(c, PV_RCX);
    }
    struct pv_decoded *slot = NULL;
    if (rows[row].instruction && reason != R_CPUID && reason != R_VMCALL)
        slot = pv_decode(c, bytes, have);
    struct pv_entry *entry = pv_take(c, reason, 0, key);
    if (slot && slot->insn) {
        c->exit.insn = slot->insn;
        c->exit.length = slot->length;
    } else if (rows[row].instruction) {
        c->exit.length = (uint32_t)pv_length_here(c, NULL);
    }
    if (reason == R_MSR_WRITE)
        c->exit.value = (*pv_register(c, PV_RDX) << 32) | (uint32_t)rax;
    c->exit.error_code = access;
    c->exit.address = reason == R_EPT_VIOLATION ? pv_page(&c->pool, c->vmcb_page)[VMCB_EXIT_INFO_2 / 8] : ENV64(c->env, ENV_CR + 16);
    pv_answer(c, entry);
    if (rows[row].instruction)
        ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
}
