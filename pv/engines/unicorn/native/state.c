/* What of a processor is its state? A table of names: what a snapshot keeps of CPUX86State and of struct pv_vcpu.
 *
 * Each row is a number, or an array of them that is kept as bytes. No host pointer is among them, nor anything that the
 * core set up once and for all. `vary` and `most` bound what may be restored: a file is not to be trusted. */
#include "vcpu.h"

enum { FPSTT = 0x25c, FPUS = 0x260, FPUC = 0x262, FPTAGS = 0x264, FPREGS = 0x270, FPOP = 0x2f0, FPCS = 0x2f2, FPDS = 0x2f4, FPIP = 0x2f8,
       FPDP = 0x300, FP_STATUS = 0x308, MMX_STATUS = 0x320, SSE_STATUS = 0x328, MXCSR = 0x330, XMM = 0x338, XMM_BYTES = 64,
       CC_DST = 0x90, CC_SRC = 0x98, CC_SRC2 = 0xa0, CC_OPS = 51 };
#define ALL UINT64_MAX
#define HFLAGS_VARY (HF_CPL | HF_INHIBIT_IRQ | HF_CS32 | HF_SS32 | HF_ADDSEG | HF_TF | 1u << 9 | 1u << 10 | HF_TS | HF_IOPL | HF_CS64 | HF_RF | 1u << 18)
#define CR0_VARY (1u << 1 | 1u << 2 | 1u << 3 | 1u << 16)
/* What a guest under hardware may set of registers that are its own (pv.emulate.control_registers, msrs), and no more. */
#define OWN_CR0 (1u << 1 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 16 | 1u << 18 | 1u << 29 | 1u << 30)
#define OWN_CR4 (1u << 2 | 1u << 3 | 1u << 4 | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 10)
#define OWN_EFER (1u << 0 | 1u << 11)
#define OWN_HFLAGS ((HFLAGS_VARY & ~(unsigned)HF_IOPL) | 1u << 22)
#define EFLAGS_VARY 0x254fd7u
#define VINTR (1ull << (0x64 - 0x60))

#define NUMBER(name, field, vary, most) { name, offsetof(struct pv_vcpu, field), sizeof(((struct pv_vcpu *)0)->field), 1, 0, false, vary, most, vary }
#define PLAIN(field) NUMBER(#field, field, ALL, ALL)
#define FLAG(field) NUMBER(#field, field, ALL, 1)
#define ENV(name, at, size, vary, most) { name, at, size, 1, 0, true, vary, most, vary }
#define OWN(name, at, size, vary, own) { name, at, size, 1, 0, true, vary, ALL, own } /* own: under hardware */
#define OWN_SEGMENT(name, at) OWN(name "_selector", at, 4, 0, ALL), OWN(name "_base", at + 8, 8, 0, ALL), OWN(name "_limit", at + 16, 4, 0, ALL), \
    OWN(name "_flags", at + 20, 4, 0, ALL)
#define ENV_ARRAY(name, at, size, count, stride) { name, at, size, count, stride, true, ALL, ALL, ALL }

const struct pv_field pv_fields[] = {
    ENV_ARRAY("registers", 0, 8, 16, 8),
    ENV("rip", ENV_RIP, 8, ALL, ALL),
    OWN("eflags", ENV_EFLAGS, 8, EFLAGS_VARY, EFLAGS_VARY | 3u << 12),
    ENV("cc_dst", CC_DST, 8, ALL, ALL),
    ENV("cc_src", CC_SRC, 8, ALL, ALL),
    ENV("cc_src2", CC_SRC2, 8, ALL, ALL),
    ENV("cc_op", ENV_CC_OP, 4, ALL, CC_OPS - 1),
    ENV("df", ENV_DF, 4, ALL, ALL),
    OWN("hflags", ENV_HFLAGS, 4, HFLAGS_VARY, OWN_HFLAGS),
    ENV("hflags2", ENV_HFLAGS2, 4, 0, ALL),
    ENV_ARRAY("selectors", ENV_SEGMENTS, 4, 6, 24),
    ENV_ARRAY("segment_bases", ENV_SEGMENTS + 8, 8, 6, 24),
    ENV_ARRAY("segment_limits", ENV_SEGMENTS + 16, 4, 6, 24),
    ENV_ARRAY("segment_flags", ENV_SEGMENTS + 20, 4, 6, 24),
    OWN_SEGMENT("ldt", ENV_LDT), OWN_SEGMENT("tr", ENV_TR), OWN_SEGMENT("gdt", ENV_GDT), OWN_SEGMENT("idt", ENV_IDT),
    OWN("star", ENV_STAR, 8, 0, ALL), OWN("lstar", ENV_LSTAR, 8, 0, ALL), OWN("cstar", ENV_CSTAR, 8, 0, ALL), OWN("fmask", ENV_FMASK, 8, 0, ALL),
    OWN("kernel_gs_base", ENV_KERNEL_GS_BASE, 8, 0, ALL),
    OWN("cr0", ENV_CR, 8, CR0_VARY, OWN_CR0),
    ENV("cr2", ENV_CR + 16, 8, ALL, ALL),
    ENV("cr3", ENV_CR + 24, 8, ALL, ALL),
    OWN("cr4", ENV_CR + 32, 8, 0, OWN_CR4),
    OWN("efer", ENV_EFER, 8, 0, OWN_EFER),
    ENV("fpu_top", FPSTT, 4, ALL, 7),
    ENV("fpu_status", FPUS, 2, ALL, ALL),
    ENV("fpu_control", FPUC, 2, ALL, ALL),
    ENV_ARRAY("fpu_tags", FPTAGS, 1, 8, 1),
    ENV_ARRAY("fpu_registers", FPREGS, 16, 8, 16),
    ENV("fpu_opcode", FPOP, 2, ALL, ALL),
    ENV("fpu_cs", FPCS, 2, ALL, ALL),
    ENV("fpu_ds", FPDS, 2, ALL, ALL),
    ENV("fpu_ip", FPIP, 8, ALL, ALL),
    ENV("fpu_dp", FPDP, 8, ALL, ALL),
    ENV_ARRAY("fpu_rounding", FP_STATUS, 1, 8, 1),
    ENV_ARRAY("mmx_rounding", MMX_STATUS, 1, 8, 1),
    ENV_ARRAY("sse_rounding", SSE_STATUS, 1, 8, 1),
    ENV("mxcsr", MXCSR, 4, ALL, 0xffff),
    ENV_ARRAY("xmm", XMM, 16, 16, XMM_BYTES),
    ENV("error_code", ENV_ERROR_CODE, 4, ALL, ALL),
    ENV("exception_is_int", ENV_EXCEPTION_IS_INT, 4, ALL, 1),
    ENV("exception_next_rip", ENV_NEXT_RIP, 8, ALL, ALL),
    ENV("old_exception", ENV_OLD_EXCEPTION, 4, ALL, ALL),
    ENV("intercepts", ENV_INTERCEPT, 8, VINTR, ALL),
    PLAIN(v.cr0), PLAIN(v.cr2), PLAIN(v.cr3), PLAIN(v.cr4), PLAIN(v.cr8), PLAIN(v.efer), PLAIN(v.gdt_base), PLAIN(v.idt_base),
    PLAIN(v.tr_base), PLAIN(v.ldt_base), PLAIN(v.star), PLAIN(v.lstar), PLAIN(v.cstar), PLAIN(v.fmask), PLAIN(v.kernel_gs_base), PLAIN(v.tsc_offset), PLAIN(v.tsc_aux), PLAIN(v.gdt_limit),
    PLAIN(v.idt_limit), PLAIN(v.tr_limit), PLAIN(v.ldt_limit), PLAIN(v.ldt_selector), PLAIN(v.tr_selector), FLAG(v.interrupt_flag),
    NUMBER("v.iopl", v.iopl, ALL, 3),
    PLAIN(pool.used), PLAIN(pool.free_head),
    PLAIN(tables.active), PLAIN(tables.common),
    PLAIN(shadow.unsync_count), PLAIN(shadow.root), PLAIN(shadow.fills), PLAIN(shadow.table_writes), PLAIN(shadow.guest_faults),
    PLAIN(shadow.syncs), PLAIN(shadow.zaps), PLAIN(shadow.roots), PLAIN(shadow.root_hits), PLAIN(shadow.epoch), PLAIN(shadow.loads),
    { "traps", offsetof(struct pv_vcpu, traps), sizeof(struct pv_trap), 256, sizeof(struct pv_trap), false, ALL, ALL, ALL },
    PLAIN(kernel_stack), PLAIN(syscall_entry), PLAIN(upcall_rip), PLAIN(call_return),
    PLAIN(exits), PLAIN(now_ns), PLAIN(deadline_ns),
    FLAG(interrupt_pending), FLAG(waiting), FLAG(unsettled), FLAG(window_open),
    PLAIN(events_delivered), PLAIN(interrupts_delivered), PLAIN(double_faults), PLAIN(escapes), PLAIN(ports_passed), PLAIN(system_calls), PLAIN(clock_reads),
    PLAIN(apic.accesses), PLAIN(apic.delivered), /* its registers are the chip's to save */
};
const int pv_field_count = sizeof pv_fields / sizeof *pv_fields;

static uint8_t *place(struct pv_vcpu *c, const struct pv_field *f) { return (f->of_env ? c->env : (uint8_t *)c) + f->at; }

uint64_t pv_field_get(struct pv_vcpu *c, const struct pv_field *f)
{
    uint64_t value = 0;
    memcpy(&value, place(c, f), f->size);
    return value;
}

/* False where the row does not allow `value`. */
bool pv_field_set(struct pv_vcpu *c, const struct pv_field *f, uint64_t value)
{
    uint64_t before = pv_field_get(c, f);
    if (value > f->most || (f->size < 8 && value >> 8 * f->size) || (value ^ before) & ~(pv_hardware(c) ? f->vary_own : f->vary))
        return false;
    memcpy(place(c, f), &value, f->size);
    return true;
}

/* An array, packed, to or from `bytes`. */
void pv_field_bytes(struct pv_vcpu *c, const struct pv_field *f, uint8_t *bytes, bool set)
{
    for (uint32_t i = 0; i < f->count; i++) {
        uint8_t *in = place(c, f) + (uint64_t)i * f->stride, *packed = bytes + i * f->size;
        memcpy(set ? in : packed, set ? packed : in, f->size);
    }
}

/* struct float_status: tininess, rounding mode, flags raised, precision of x87, and four bools. */
static bool rounding_holds(const uint8_t *status)
{
    return status[0] <= 1 && status[1] <= 3 && (status[3] == 32 || status[3] == 64 || status[3] == 80 || !status[3]) && status[4] <= 1
        && status[5] <= 1 && status[6] <= 1 && status[7] <= 1;
}

/* Under hardware the copies that walks look at are the processor's registers: a walk by others would never find its code. */
static bool copies_hold(const struct pv_vcpu *c)
{
    return !pv_hardware(c) || (c->v.cr0 == ENV64(c->env, ENV_CR) && c->v.cr3 == ENV64(c->env, ENV_CR + 24)
                               && c->v.cr4 == ENV64(c->env, ENV_CR + 32) && c->v.efer == ENV64(c->env, ENV_EFER));
}

/* What no row can say alone. begun: there is a guest, which is at no privilege but its own. */
bool pv_state_check(const struct pv_vcpu *c, bool begun)
{
    uint32_t df = ENV32(c->env, ENV_DF), hflags = ENV32(c->env, ENV_HFLAGS), cpl = hflags & HF_CPL;
    return (df == 1 || df == UINT32_MAX) && rounding_holds(c->env + FP_STATUS) && rounding_holds(c->env + MMX_STATUS)
        && rounding_holds(c->env + SSE_STATUS) && copies_hold(c) && (!begun || pv_hardware(c) || cpl == c->ring || cpl == 3)
        && (pv_hardware(c) || !((hflags ^ ENV32(c->env, ENV_EFLAGS)) & HF_IOPL));
}

/* After the fields: what follows from them, and what the engine must forget. */
void pv_state_settle(struct pv_vcpu *c)
{
    enum { INTERRUPT_VIRTUAL = 0x100 };
    uint32_t *request = &ENV32(c->cpu, PV_CPU_INTERRUPT_REQUEST);
    *request = c->window_open ? *request | INTERRUPT_VIRTUAL : *request & ~(uint32_t)INTERRUPT_VIRTUAL;
    c->quiet_ns = 0;
    c->leave = PV_LEAVE_NONE;
    if (pv_hardware(c)) /* what exits is this machine's to say, and no file's */
        pv_hardware_controls(c);
    pv_cache_restored(c);
    pv_uc.tlb_flush(c->cpu);
}

/* Forget what was translated from these guest frames; of all of memory where there are none to name. */
void pv_forget_code(struct pv_vcpu *c, uint64_t start, uint64_t end)
{
    if (start || end != c->ram_size)
        pv_uc.tb_invalidate_phys_range(c->uc, start, end);
    else if (c->cache)
        pv_cache_forget(c);
    for (uint64_t gfn = start / PV_PAGE; c->cache && gfn * PV_PAGE < end && gfn * PV_PAGE < c->ram_size; gfn++)
        pv_cache_written(c, gfn);
    if (!start && end == c->ram_size)
        pv_uc.ctl(c->uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
}

/* The counts and flight record of a processor, put back. False where there are too many. */
bool pv_counts_set(struct pv_vcpu *c, const uint64_t *counts, uint64_t entries)
{
    if (entries > PV_ENTRIES)
        return false;
    memset(c->index, 0, PV_INDEX * sizeof *c->index);
    c->entry_count = 0;
    for (uint64_t i = 0; i < entries; i++) {
        struct pv_entry *entry = pv_entry_again(c, counts[3 * i]);
        entry->count = counts[3 * i + 1];
        entry->calls = counts[3 * i + 2];
    }
    return true;
}
