/* What does the processor do by itself that this engine gets wrong, or has not? It is told to stop there, and the instruction
 * is carried out here: no exit, since a real processor would not leave its guest for it. Under hardware alone.
 *
 * - RDTSC and RDTSCP read the host's clock beneath. A guest sees virtual time, moved on by what an instruction takes, so that
 *   one that waits by reading it gets there (SDM vol. 3, 25.6.5, TSC offsetting).
 * - MOV to CR3 takes reserved bits beneath, and WRMSR any address (SDM vol. 2, MOV to CR and WRMSR: #GP).
 * - INVD and WBINVD are one to it; either has nothing to do, since guest memory is always coherent.
 * - CR8 is nowhere beneath. A guest reads it from the virtual TPR (APM vol. 2, 15.21.2), and with APIC virtualization writes
 *   it there. */
#include "vcpu.h"

enum { CR8_READ = 0x08, CR3_WRITE = 0x13, CR8_WRITE = 0x18, RDTSC = 0x6e, INVD = 0x76, MSR = 0x7c, WBINVD = 0x89 };
enum { TIME_STAMP_NS = 200 }; /* about what it takes here */
#define ADDRESS_BITS ((1ull << 40) - 1) /* as CPUID says */
#define MASK_32 0xffffffffull

static bool any_value(uint64_t value) { (void)value; return true; }
static bool low_half(uint64_t value) { return value <= MASK_32; }

/* MSRs that a guest may have to itself: they change nothing but the guest, and each context switch of a kernel writes some. */
static const struct { uint32_t index; int env; bool (*may)(uint64_t); } msrs[] = {
    { 0xc0000081, ENV_STAR, any_value }, { 0xc0000082, ENV_LSTAR, pv_canonical }, { 0xc0000083, ENV_CSTAR, pv_canonical },
    { 0xc0000084, ENV_FMASK, low_half }, { 0xc0000100, ENV_SEGMENTS + 24 * PV_FS + 8, pv_canonical },
    { 0xc0000101, ENV_SEGMENTS + 24 * PV_GS + 8, pv_canonical }, { 0xc0000102, ENV_KERNEL_GS_BASE, pv_canonical },
};

int pv_msr_row(uint32_t index)
{
    for (int i = 0; i < (int)(sizeof msrs / sizeof *msrs); i++)
        if (msrs[i].index == index)
            return i;
    return -1;
}

/* The general register of MOV to or from a control register: REX.B and r/m of the byte behind the opcode. */
static int operand(const uint8_t *bytes, int have)
{
    for (int at = 0, rex = 0; at + 2 < have; at++) {
        if (bytes[at] == 0x0f)
            return (bytes[at + 2] & 7) | (rex & 1) << 3;
        rex = (bytes[at] & 0xf0) == 0x40 ? bytes[at] : 0;
    }
    return -1;
}

static struct pv_fault time_stamp(struct pv_vcpu *c, bool with_processor)
{
    c->now_ns += TIME_STAMP_NS;
    c->clock_reads++;
    pv_show_time(c);
    uint64_t ticks = c->now_ns + c->v.tsc_offset;
    *pv_register(c, PV_RAX) = ticks & MASK_32;
    *pv_register(c, PV_RDX) = ticks >> 32;
    if (with_processor)
        *pv_register(c, PV_RCX) = c->v.tsc_aux;
    return PV_NO_FAULT;
}

static struct pv_fault load_cr3(struct pv_vcpu *c, uint64_t value)
{
    if (value & ~ADDRESS_BITS)
        return PV_FAULT_CODE(VEC_GP, 0);
    c->v.cr3 = value;
    pv_set_cr3(c, value);
    return PV_NO_FAULT;
}

static struct pv_fault write_msr(struct pv_vcpu *c)
{
    int row = pv_msr_row((uint32_t)*pv_register(c, PV_RCX));
    uint64_t value = *pv_register(c, PV_RDX) << 32 | (*pv_register(c, PV_RAX) & MASK_32);
    if (!msrs[row].may(value))
        return PV_FAULT_CODE(VEC_GP, 0);
    ENV64(c->env, msrs[row].env) = value;
    return PV_NO_FAULT;
}

/* Carry out the instruction at RIP, for which the processor stopped with `code`. False: it is not one of these. */
bool pv_microcode(struct pv_vcpu *c, uint32_t code, const uint8_t *bytes, int have)
{
    struct pv_fault fault = PV_NO_FAULT;
    int register_number = code < 0x20 ? operand(bytes, have) : 0, length = pv_length(bytes, have);
    if (register_number < 0)
        return false;
    uint64_t *general = pv_register(c, register_number), value = pv_long_code(c) ? *general : *general & MASK_32;
    switch (code) {
    case RDTSC:
        fault = time_stamp(c, length >= 3 && length <= have && bytes[length - 1] == 0xf9);
        break;
    case CR3_WRITE:
        fault = load_cr3(c, value);
        length += 1;
        break;
    case CR8_READ:
        *general = c->v.cr8;
        length += 1;
        break;
    case CR8_WRITE: /* with APIC virtualization, and of an APIC that is on */
        if (!pv_apic_cr8(c, value))
            return false;
        length += 1;
        break;
    case MSR:
        fault = write_msr(c);
        break;
    case INVD:
    case WBINVD:
        break;
    default:
        return false;
    }
    if (fault.vector >= 0)
        pv_happens(c, fault);
    else
        ENV64(c->env, ENV_RIP) += (uint64_t)length;
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    return true;
}
