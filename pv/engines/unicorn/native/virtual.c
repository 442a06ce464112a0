/* Where does a privileged register of the guest lie? For a deprivileged guest in what the monitor keeps of it; under hardware
 * in the processor, whose own it is, with a copy of what delivery and walks look at. */
#include "vcpu.h"
#include <stddef.h>

enum { NOWHERE = -1, SELECTOR = 0, BASE = 8, LIMIT = 16 }; /* the last three: in a segment cache */

#define OF(field) offsetof(struct pv_vcpu, v.field), sizeof(((struct pv_vcpu *)0)->v.field)
static const struct { uint32_t at, size; int env; } places[] = {
    [PV_CR0] = { OF(cr0), ENV_CR }, [PV_CR2] = { OF(cr2), ENV_CR + 16 }, [PV_CR3] = { OF(cr3), ENV_CR + 24 }, [PV_CR4] = { OF(cr4), ENV_CR + 32 },
    [PV_CR8] = { OF(cr8), NOWHERE }, [PV_EFER] = { OF(efer), ENV_EFER }, [PV_GDT_BASE] = { OF(gdt_base), ENV_GDT + BASE },
    [PV_IDT_BASE] = { OF(idt_base), ENV_IDT + BASE }, [PV_TR_BASE] = { OF(tr_base), ENV_TR + BASE }, [PV_LDT_BASE] = { OF(ldt_base), ENV_LDT + BASE },
    [PV_STAR] = { OF(star), ENV_STAR }, [PV_LSTAR] = { OF(lstar), ENV_LSTAR }, [PV_CSTAR] = { OF(cstar), ENV_CSTAR }, [PV_FMASK] = { OF(fmask), ENV_FMASK },
    [PV_KERNEL_GS_BASE] = { OF(kernel_gs_base), ENV_KERNEL_GS_BASE }, [PV_TSC_OFFSET] = { OF(tsc_offset), NOWHERE }, [PV_TSC_AUX] = { OF(tsc_aux), NOWHERE },
    [PV_GDT_LIMIT] = { OF(gdt_limit), ENV_GDT + LIMIT }, [PV_IDT_LIMIT] = { OF(idt_limit), ENV_IDT + LIMIT },
    [PV_TR_LIMIT] = { OF(tr_limit), ENV_TR + LIMIT }, [PV_LDT_LIMIT] = { OF(ldt_limit), ENV_LDT + LIMIT },
    [PV_LDT_SELECTOR] = { OF(ldt_selector), ENV_LDT + SELECTOR }, [PV_TR_SELECTOR] = { OF(tr_selector), ENV_TR + SELECTOR },
    [PV_INTERRUPT_FLAG] = { OF(interrupt_flag), NOWHERE }, [PV_IOPL] = { OF(iopl), NOWHERE },
};

enum { FLAG_IF = 1 << 9, FLAG_IOPL = 3 << 12, EFER_LMA = 1 << 10, EFER_SVME = 1 << 12 };

uint64_t pv_virtual_get(struct pv_vcpu *c, enum pv_which which)
{
    uint64_t value = 0;
    if (pv_hardware(c) && which >= PV_INTERRUPT_FLAG)
        return which == PV_IOPL ? ENV64(c->env, ENV_EFLAGS) >> 12 & 3 : ENV64(c->env, ENV_EFLAGS) >> 9 & 1;
    bool own = pv_hardware(c) && places[which].env != NOWHERE;
    memcpy(&value, own ? c->env + places[which].env : (uint8_t *)c + places[which].at, places[which].size);
    return value;
}

/* The processor's own register, with what it keeps beside it. EFER.SVME is nobody's: an SVM instruction would act on the host. */
static void load(struct pv_vcpu *c, enum pv_which which, uint64_t value)
{
    if (which == PV_CR0 && c->uc) {
        pv_uc.reg_write(c->uc, UC_X86_REG_CR0, &value);
    } else if (which == PV_CR4 && c->uc) {
        pv_uc.reg_write(c->uc, UC_X86_REG_CR4, &value);
    } else if (which == PV_EFER) {
        ENV64(c->env, ENV_EFER) = (value & ~(uint64_t)(EFER_SVME | EFER_LMA)) | (ENV64(c->env, ENV_EFER) & EFER_LMA);
    } else if (which == PV_INTERRUPT_FLAG) {
        ENV64(c->env, ENV_EFLAGS) = (ENV64(c->env, ENV_EFLAGS) & ~(uint64_t)FLAG_IF) | (value ? FLAG_IF : 0);
    } else if (which == PV_IOPL) {
        ENV64(c->env, ENV_EFLAGS) = (ENV64(c->env, ENV_EFLAGS) & ~(uint64_t)FLAG_IOPL) | (value & 3) << 12; /* where POPF puts it */
    } else if (places[which].env != NOWHERE) {
        memcpy(c->env + places[which].env, &value, places[which].size);
    }
}

/* What translated code has as a constant (pv.translate.block, Bakes). */
static uint8_t baked(enum pv_which which, uint64_t changed)
{
    enum { GDTR = 1, IDTR = 2, LDTR = 4, TR = 8, CR0 = 16, CR4 = 64, EM_ONLY = 128, CR0_EM = 4 };
    switch (which) {
    case PV_GDT_BASE: case PV_GDT_LIMIT: return GDTR;
    case PV_IDT_BASE: case PV_IDT_LIMIT: return IDTR;
    case PV_LDT_SELECTOR: return LDTR;
    case PV_TR_SELECTOR: return TR;
    case PV_CR0: return CR0 | (changed & CR0_EM ? EM_ONLY : 0);
    case PV_CR4: return CR4;
    default: return 0;
    }
}

void pv_virtual_set(struct pv_vcpu *c, enum pv_which which, uint64_t value)
{
    uint64_t changed = c->cache ? pv_virtual_get(c, which) ^ value : 0;
    if (changed)
        pv_cache_rebake(c, baked(which, changed));
    memcpy((uint8_t *)c + places[which].at, &value, places[which].size);
    if (pv_hardware(c))
        load(c, which, value);
}
