/* Guest mode: the processor's own intercepts and nested paging (APM vol. 2, 15.9-15.12, 15.25), entered by setting state,
 * never by VMRUN. EFER.SVME stays clear, so the guest cannot execute an SVM instruction.
 *
 * Every guest is in guest mode: CPUID exits by an intercept. Under hardware it is all there is: the guest runs at its own
 * CPL 0, on its own page tables over nested ones, and the control block says what exits. What the processor holds while the
 * guest runs is the guest's; the monitor's is a stack frame that emu_start left, and comes back when a hook is called: that
 * is the whole of saving and loading state at an exit and an entry. */
#include "vcpu.h"
#include <stdlib.h>

enum { CR_READ = 0x00, CR_WRITE = 0x10, DR_READ = 0x20, DR_WRITE = 0x30, EXCEPTION = 0x40, INSTRUCTION = 0x60, VINTR = 0x64,
       RDTSC = 0x6e, CPUID = 0x72, INVD = 0x76, MSR = 0x7c, VMMCALL = 0x81, WBINVD = 0x89, NPF = 0x400 };
enum { VMCB_MSR_MAP = 0x48, VMCB_EXIT_INFO_2 = 0x80 }; /* offsets in the control area */
enum { MSR_MAP_READ = 1, NESTED_LONG_PAE_NX = 7, MAP_ALL = 15 };
#define BIT(code) (1ull << ((code) - INSTRUCTION))
#define TABLE_READS (BIT(0x66) | BIT(0x67) | BIT(0x68) | BIT(0x69))

/* What every guest runs under: CPUID exits. Nothing else is intercepted until it is asked for. */
void pv_guest_mode_start(struct pv_vcpu *c)
{
    ENV32(c->env, ENV_HFLAGS) |= HF_GUEST;
    ENV32(c->env, ENV_HFLAGS2) |= HF2_GIF;
    ENV64(c->env, ENV_INTERCEPT) = BIT(CPUID);
    if (c->cache) { /* as a processor with UMIP has CPL 3 fault: SGDT, SIDT, SLDT, STR, SMSW. At CPL 1 none of them runs */
        ENV64(c->env, ENV_INTERCEPT) |= TABLE_READS;
        ENV16(c->env, ENV_INTERCEPT_CR_READ) = 1;
    }
}

/* Nested tables that map all of guest memory at its own gpa, and the pages of the control block. False: no pages left. */
bool pv_hardware_begin(struct pv_vcpu *c)
{
    c->port_map = malloc(PV_PORT_MAP);
    if (!c->port_map || c->pool.used + PV_CONTROL_PAGES > c->pool.pages)
        return false;
    memset(c->port_map, 0xff, PV_PORT_MAP);
    c->pool.pages -= PV_CONTROL_PAGES; /* off the end of the pool, which hands out no page twice */
    c->vmcb_page = c->pool.pages;
    c->ring = 0;
    return true;
}

/* The pages of devices' windows exit, wherever they lie; those of memory do not. False: no pages left. */
bool pv_nested_windows(struct pv_vcpu *c)
{
    uint64_t pages = c->ram_size / PV_PAGE;
    if (pv_tables_map(c, 0, 0, 0, pages, MAP_ALL) != (int64_t)pages)
        return false;
    for (uint32_t i = 0; i < c->window_count; i++) {
        uint64_t first = c->windows[i].first / PV_PAGE, last = c->windows[i].last / PV_PAGE;
        if (first < pages && pv_tables_unmap(c, 0, first * PV_PAGE, (last < pages ? last + 1 : pages) - first) < 0)
            return false;
    }
    pv_uc.tlb_flush(c->cpu);
    c->nested_ready = true;
    return true;
}

/* Load the control block: what was declared, and what the processor is to stop for besides (microcode.c). */
void pv_hardware_controls(struct pv_vcpu *c)
{
    uint8_t *reads = (uint8_t *)pv_page(&c->pool, c->vmcb_page + 1) + 2048; /* of MSRs 0xc0000000 to 0xc0001fff, two bits each */
    memset(pv_page(&c->pool, c->vmcb_page), 0, PV_PAGE);
    memset(pv_page(&c->pool, c->vmcb_page + 1), 0xff, 2 * PV_PAGE);
    pv_page(&c->pool, c->vmcb_page)[VMCB_MSR_MAP / 8] = pv_page_gpa(c->vmcb_page + 1);
    for (uint32_t index = 0xc0000080; index < 0xc0000104; index++) {
        int row = pv_msr_row(index);
        if (row >= 0 && !(c->controls.msrs >> row & 1))
            reads[(index & 0x1fff) / 4] &= (uint8_t)~(MSR_MAP_READ << 2 * (index & 3));
    }
    uint64_t window = ENV64(c->env, ENV_INTERCEPT) & BIT(VINTR);
    ENV64(c->env, ENV_VMCB) = pv_page_gpa(c->vmcb_page);
    ENV64(c->env, ENV_INTERCEPT) = c->controls.instructions | window | BIT(CPUID) | BIT(MSR) | BIT(RDTSC) | BIT(WBINVD);
    ENV16(c->env, ENV_INTERCEPT_CR_READ) = c->controls.cr_reads | 1u << 8;
    ENV16(c->env, ENV_INTERCEPT_CR_WRITE) = c->controls.cr_writes | 1u << 3 | 1u << 8;
    ENV16(c->env, ENV_INTERCEPT_DR_READ) = c->controls.dr_reads;
    ENV16(c->env, ENV_INTERCEPT_DR_WRITE) = c->controls.dr_writes;
    ENV32(c->env, ENV_INTERCEPT_EXCEPTIONS) = c->controls.exceptions;
    ENV32(c->env, ENV_HFLAGS2) |= HF2_NPT;
    ENV64(c->env, ENV_NESTED_CR3) = pv_page_gpa(c->tables.roots[0]);
    ENV32(c->env, ENV_NESTED_MODE) = NESTED_LONG_PAE_NX;
    pv_uc.tlb_flush(c->cpu);
    pv_uc.ctl(c->uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0)); /* a block has the intercepts of when it was translated */
}

/* Copy what delivery and the check of ports look at, which the guest changes without exits. */
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
    c->v.iopl = ENV64(c->env, ENV_EFLAGS) >> 12 & 3;
}

/* What an exit code is here. insn: the handler needs the decoded instruction. */
static const struct { uint16_t first, last; uint32_t reason; uint8_t write; bool instruction, insn; } rows[] = {
    { CR_READ, CR_READ + 15, R_CR, 0, true, true }, { CR_WRITE, CR_WRITE + 15, R_CR, 1, true, true },
    { DR_READ, DR_READ + 15, R_DR, 0, true, true }, { DR_WRITE, DR_WRITE + 15, R_DR, 1, true, true },
    { EXCEPTION, EXCEPTION + 31, R_EXCEPTION, 0, false, false }, { 0x66, 0x67, R_GDTR_IDTR, 0, true, true }, { 0x68, 0x69, R_LDTR_TR, 0, true, true },
    { 0x6a, 0x6b, R_GDTR_IDTR, 0, true, true }, { 0x6c, 0x6d, R_LDTR_TR, 0, true, true }, { RDTSC, RDTSC, R_RDTSC, 0, true, false }, { 0x6f, 0x6f, R_RDPMC, 0, true, false },
    { CPUID, CPUID, R_CPUID, 0, true, false }, { INVD, INVD, R_INVD, 0, true, false }, { 0x77, 0x77, R_PAUSE, 0, true, false },
    { 0x78, 0x78, R_HLT, 0, true, false }, { 0x79, 0x79, R_INVLPG, 0, true, true }, { MSR, MSR, R_MSR_READ, 0, true, false },
    { VMMCALL, VMMCALL, R_VMCALL, 0, true, false }, { WBINVD, WBINVD, R_WBINVD, 0, true, false },
};

/* Whether the monitor asked for this exit, or the processor stopped for its own sake. */
static bool declared(struct pv_vcpu *c, uint32_t code)
{
    const struct pv_controls *asked = &c->controls;
    if (!pv_hardware(c) || code == CPUID)
        return true;
    if (code < EXCEPTION)
        return (code < CR_WRITE ? asked->cr_reads : code < DR_READ ? asked->cr_writes : code < DR_WRITE ? asked->dr_reads : asked->dr_writes) >> (code & 15) & 1;
    if (code < INSTRUCTION)
        return asked->exceptions >> (code - EXCEPTION) & 1;
    int row = code == MSR ? pv_msr_row((uint32_t)*pv_register(c, PV_RCX)) : -1;
    return code == MSR ? row < 0 || asked->msrs >> row & 1 : asked->instructions >> (code - INSTRUCTION) & 1;
}

static int64_t key_of(struct pv_vcpu *c, uint32_t code, size_t row, const struct pv_decoded *slot)
{
    int64_t key = code - rows[row].first;
    uint64_t rax = *pv_register(c, PV_RAX);
    switch (rows[row].reason) {
    case R_CR:
    case R_DR:
        return key * 2 + rows[row].write;
    case R_CPUID:
        return (uint32_t)rax;
    case R_VMCALL:
        return rax >> 31 ? PV_NO_NUMBER : (int64_t)rax;
    case R_MSR_READ:
        return (uint32_t)*pv_register(c, PV_RCX);
    case R_GDTR_IDTR:
    case R_LDTR_TR:
        return slot->key;
    case R_EXCEPTION:
        return key;
    default:
        return 0;
    }
}

/* An interrupt waited for a guest that could not take one; now it can. With interrupt-controller virtualization the
 * processor delivers it by itself. */
static void window_opens(struct pv_vcpu *c)
{
    pv_close_window(c);
    if (pv_hardware(c) && !c->controls.apic_virtual)
        pv_take(c, R_INTERRUPT_WINDOW, 0, 0);
}

/* Memory no longer holds the instruction that exits: the guest has changed its tables, and the processor had the old page
 * in its TLB, which may forget any page at any time. It is fetched again. */
static void fetch_again(struct pv_vcpu *c)
{
    pv_uc.tlb_flush(c->cpu);
    c->flush_translations = true;
}

static bool ends_with(const uint8_t *bytes, int length, int have, uint8_t last) { return length > 0 && length <= have && bytes[length - 1] == last; }

void pv_svm_exit(struct pv_vcpu *c, uint32_t code)
{
    uint64_t rip = ENV64(c->env, ENV_RIP);
    uint32_t access = ENV32(c->env, ENV_ERROR_CODE);
    uint8_t bytes[16] = { 0 };
    if (code == VINTR) {
        window_opens(c);
        return;
    }
    if (code == NPF && pv_hardware(c)) {
        pv_nested_fault(c, pv_page(&c->pool, c->vmcb_page)[VMCB_EXIT_INFO_2 / 8], access & (PF_W | PF_I));
        return;
    }
    int have = pv_fetch(c, rip, bytes);
    bool instruction = code < EXCEPTION || code >= INSTRUCTION;
    if (instruction && !have) {
        fetch_again(c);
        return;
    }
    if (instruction && (pv_hardware(c) || c->cache) && pv_locked(bytes, have)) { /* which the engine overlooks (SDM vol. 2, LOCK) */
        pv_happens(c, PV_FAULT(VEC_UD));
        return;
    }
    if (code == EXCEPTION + VEC_UD && pv_asks(c, bytes, have))
        code = VMMCALL; /* without EFER.SVME the processor calls it undefined */
    if (code == WBINVD && ends_with(bytes, pv_length(bytes, have), have, 0x08))
        code = INVD; /* the engine takes the two for one */
    if (code == MSR && pv_virtual_msr(c))
        return;
    if (!declared(c, code) && pv_microcode(c, code, bytes, have))
        return;
    size_t row = 0;
    while (row < sizeof rows / sizeof *rows && (code < rows[row].first || code > rows[row].last))
        row++;
    if (row == sizeof rows / sizeof *rows) {
        pv_stop(c, PV_ENGINE_ERROR, 0, "intercept %#x, which was not asked for, at RIP %#llx", code, (unsigned long long)rip);
        return;
    }
    struct pv_decoded *slot = NULL;
    if (rows[row].insn) {
        slot = pv_decode(c, bytes, have);
        if (slot && !slot->insn && c->cache) { /* with a VEX prefix, which the engine passes over */
            pv_happens(c, PV_FAULT(VEC_UD));
            return;
        }
        if (!slot || !slot->insn) {
            pv_stop(c, PV_UNHANDLED, 0, "the instruction at RIP %#llx exits with %#x, and is not one that is emulated", (unsigned long long)rip, code);
            return;
        }
    }
    uint32_t reason = rows[row].reason;
    int64_t key = key_of(c, code, row, slot);
    if (slot && (slot->reason != reason || slot->key != key)) {
        fetch_again(c);
        return;
    }
    if (reason == R_MSR_READ && access & 1)
        reason = R_MSR_WRITE;
    int length = !rows[row].instruction ? 0 : slot ? slot->length : pv_length(bytes, have);
    if (reason == R_RDTSC && ends_with(bytes, length, have, 0xf9))
        reason = R_RDTSCP;
    struct pv_entry *entry = pv_take(c, reason, 0, key);
    c->exit.insn = slot ? slot->insn : NULL;
    c->exit.length = (uint32_t)length;
    c->exit.value = reason == R_MSR_WRITE ? (*pv_register(c, PV_RDX) << 32) | (uint32_t)*pv_register(c, PV_RAX) : 0;
    c->exit.error_code = access;
    /* CR2 is not written where a #PF exits (APM vol. 2, 15.12.15) */
    c->exit.address = code == EXCEPTION + VEC_PF ? pv_page(&c->pool, c->vmcb_page)[VMCB_EXIT_INFO_2 / 8] : ENV64(c->env, ENV_CR + 16);
    pv_answer(c, entry);
    if (rows[row].instruction)
        ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
}
