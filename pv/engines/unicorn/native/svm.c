/* Guest mode: the processor's own intercepts (APM vol. 2, 15.9-15.12), entered by setting state, never by VMRUN.
 *
 * EFER.SVME stays clear, so the guest cannot execute an SVM instruction. */
#include "vcpu.h"

enum { CR_READ = 0x00, CR_WRITE = 0x10, DR_READ = 0x20, DR_WRITE = 0x30, EXCEPTION = 0x40, VINTR = 0x64, CPUID = 0x72, HLT = 0x78,
       INVLPG = 0x79, MSR = 0x7c, VMMCALL = 0x81, NPF = 0x400 };

/* What every guest runs under: CPUID exits. Nothing else is intercepted until it is asked for. */
void pv_guest_mode_start(struct pv_vcpu *c)
{
    ENV32(c->env, ENV_HFLAGS) |= HF_GUEST;
    ENV32(c->env, ENV_HFLAGS2) |= HF2_GIF;
    ENV64(c->env, ENV_INTERCEPT) = 1ull << (CPUID - 0x60);
}

/* Run the guest at its own CPL 0 under these intercepts; a nested root of 0 leaves nested paging off. */
void pv_guest_mode(struct pv_vcpu *c, uint64_t intercepts, uint16_t cr_reads, uint16_t cr_writes, uint32_t exceptions, uint64_t nested_root)
{
    c->ring = 0;
    c->guest_mode = true;
    ENV64(c->env, ENV_VMCB) = pv_page_gpa(c->vmcb_page);
    ENV64(c->env, ENV_INTERCEPT) = intercepts | 1ull << (CPUID - 0x60);
    ENV16(c->env, ENV_INTERCEPT_CR_READ) = cr_reads;
    ENV16(c->env, ENV_INTERCEPT_CR_WRITE) = cr_writes;
    ENV32(c->env, ENV_INTERCEPT_EXCEPTIONS) = exceptions;
    if (nested_root) {
        ENV32(c->env, ENV_HFLAGS2) |= HF2_NPT;
        ENV64(c->env, ENV_NESTED_CR3) = nested_root;
        ENV32(c->env, ENV_NESTED_MODE) = 7; /* long mode, PAE, NX */
    }
    pv_uc.tlb_flush(c->cpu);
}

void pv_svm_exit(struct pv_vcpu *c, uint32_t code)
{
    static const struct { uint16_t first, last; uint32_t reason; uint8_t write, length; } rows[] = {
        { CR_READ, CR_READ + 15, R_CR, 0, 3 }, { CR_WRITE, CR_WRITE + 15, R_CR, 1, 3 },
        { DR_READ, DR_READ + 15, R_DR, 0, 3 }, { DR_WRITE, DR_WRITE + 15, R_DR, 1, 3 },
        { EXCEPTION, EXCEPTION + 31, R_EXCEPTION, 0, 0 }, { CPUID, CPUID, R_CPUID, 0, 2 }, { HLT, HLT, R_HLT, 0, 1 },
        { INVLPG, INVLPG, R_INVLPG, 0, 3 }, { VMMCALL, VMMCALL, R_VMCALL, 0, 3 }, { NPF, NPF, R_EPT_VIOLATION, 0, 0 },
    };
    if (code == VINTR) {
        pv_close_window(c);
        return;
    }
    uint32_t reason = R_EXCEPTION, length = 0, number = code;
    int write = 0;
    if (code == MSR) {
        write = (int)(ENV32(c->env, ENV_ERROR_CODE) & 1);
        reason = write ? R_MSR_WRITE : R_MSR_READ;
        number = (uint32_t)*pv_register(c, PV_RCX);
        length = 2;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (code >= rows[i].first && code <= rows[i].last) {
            reason = rows[i].reason;
            write = rows[i].write;
            length = rows[i].length;
            number = code - rows[i].first;
            if (reason == R_CR || reason == R_DR)
                number = number * 2 + (uint32_t)write;
            else if (reason == R_CPUID || reason == R_VMCALL)
                number = (uint32_t)*pv_register(c, PV_RAX);
        }
    uint32_t access = ENV32(c->env, ENV_ERROR_CODE);
    struct pv_entry *entry = pv_take(c, reason, 0, number);
    if (code == CPUID)
        length = (uint32_t)pv_length_here(c, NULL); /* prefixes may stand before it */
    c->exit.length = length;
    c->exit.error_code = access;
    c->exit.address = reason == R_EPT_VIOLATION ? pv_page(&c->pool, c->vmcb_page)[0x80 / 8] : ENV64(c->env, ENV_CR + 16);
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
}
