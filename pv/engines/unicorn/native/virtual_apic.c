/* Is an intercept an access to the local APIC that virtualization carries out? The instruction, and what it moves.
 *
 * The page is reached by plain MOVs of 32 bits between a register or an immediate and a register's first byte, as compilers
 * and kernels do it; all else exits and is emulated. The MSRs are by RDMSR and WRMSR; CR8 is in microcode.c. */
#include "vcpu.h"

enum { APIC_PAGE = 0xfee00000u, APIC_MSRS = 0x800, MSRS = 0x40, REX_W = 8, REX_R = 4 };
enum { STORE = 0x89, LOAD = 0x8b, STORE_IMMEDIATE = 0xc7 }; /* MOV r/m32, r32; MOV r32, r/m32; MOV r/m32, imm32 */

struct code { const uint8_t *bytes; int have, at; uint8_t rex; };

/* Up to the opcode. LOCK, REP and the operand-size prefix are of no form that is known here. */
static struct code opcode_of(const uint8_t *bytes, int have)
{
    struct code code = { bytes, have, 0, 0 };
    while (code.at < have && memchr("\x2e\x36\x3e\x26\x64\x65\x67", bytes[code.at], 7))
        code.at++;
    if (code.at < have && (bytes[code.at] & 0xf0) == 0x40)
        code.rex = bytes[code.at++];
    return code;
}

/* Bytes of ModRM, SIB and displacement of a memory operand at `modrm`; 0 where it is a register, or not all there. */
static int operand_bytes(const struct code *code, int modrm)
{
    if (modrm >= code->have)
        return 0;
    uint8_t mod = code->bytes[modrm] >> 6, rm = code->bytes[modrm] & 7;
    bool sib = rm == 4;
    if (sib && modrm + 1 >= code->have)
        return 0;
    bool no_base = mod == 0 && (rm == 5 || (sib && (code->bytes[modrm + 1] & 7) == 5));
    return mod == 3 ? 0 : 1 + sib + (mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0);
}

static void step_over(struct pv_vcpu *c, int length)
{
    ENV64(c->env, ENV_RIP) += (uint64_t)length;
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
}

static bool page(struct pv_vcpu *c, struct code code, uint64_t gpa, bool write)
{
    if ((gpa & ~(PV_PAGE - 1)) != APIC_PAGE || gpa & 15 || c->apic.mode != PV_APIC_PAGE)
        return false;
    if (code.at >= code.have || code.rex & REX_W)
        return false;
    uint8_t opcode = code.bytes[code.at];
    int modrm = code.at + 1, operand = operand_bytes(&code, modrm), end = modrm + operand + (opcode == STORE_IMMEDIATE ? 4 : 0);
    if (!operand || end > code.have || write != (opcode != LOAD) || (opcode != STORE && opcode != LOAD && opcode != STORE_IMMEDIATE))
        return false;
    uint64_t *moved = pv_register(c, (code.bytes[modrm] >> 3 & 7) | (code.rex & REX_R ? 8 : 0)), value = 0;
    if (opcode == STORE_IMMEDIATE)
        memcpy(&value, code.bytes + end - 4, 4);
    else if (write)
        value = (uint32_t)*moved;
    if (!pv_apic_access(c, (uint32_t)(gpa & (PV_PAGE - 1)) / 16, write, false, &value))
        return false;
    if (!write)
        *moved = (uint32_t)value;
    step_over(c, end);
    return true;
}

static bool msr(struct pv_vcpu *c, bool write)
{
    uint64_t *rax = pv_register(c, PV_RAX), *rdx = pv_register(c, PV_RDX), value = *rdx << 32 | (uint32_t)*rax;
    uint32_t index = (uint32_t)*pv_register(c, PV_RCX) - APIC_MSRS;
    if (index >= MSRS || !pv_apic_access(c, index, write, true, &value))
        return false;
    if (!write) {
        *rax = (uint32_t)value;
        *rdx = value >> 32;
    }
    step_over(c, pv_length_here(c, NULL));
    return true;
}

/* An access to gpa by the instruction at RIP, one of whose operands lies there. True: it is done, and no exit is taken. */
bool pv_virtual_page(struct pv_vcpu *c, const struct pv_decoded *slot, uint64_t gpa, bool write)
{
    return c->controls.apic_virtual && page(c, opcode_of(slot->code, slot->length), gpa, write);
}

/* The same of RDMSR or WRMSR at RIP. Where every MSR is to exit, that comes first. */
bool pv_virtual_msr(struct pv_vcpu *c)
{
    return c->controls.apic_virtual && !c->controls.msrs && msr(c, ENV32(c->env, ENV_ERROR_CODE) & 1);
}
