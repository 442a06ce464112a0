/* What ports have to say to the guest's kernel in translation, where no block is left to run behind an access: IN and OUT that
 * are stepped, and INS and OUTS, which the engine would run in place, one trap an element. */
#include "cache.h"

enum { OPERAND_SIZE = 0x66, ADDRESS_SIZE = 0x67, FS_OVERRIDE = 0x64, GS_OVERRIDE = 0x65, REPE = 0xf3, REPNE = 0xf2, LOCK = 0xf0 };

static bool has(const uint8_t *code, int prefixes, uint8_t prefix) { return memchr(code, prefix, (size_t)prefixes) != NULL; }

/* True: it is done, and what was read stands in c->exit.value. Handlers of ports answer as they do inside a block: they say
 * nothing, or what is to come of it. */
static bool answered(struct pv_vcpu *c, bool write, uint32_t number, int size, uint32_t value)
{
    c->in_block = true;
    pv_access_port(c, write, number, size, value);
    c->in_block = false;
    int how = c->leave;
    c->leave = PV_LEAVE_NONE;
    if (how == PV_LEAVE_FAULT)
        pv_deliver(c, c->leave_fault.vector, c->leave_fault.has_error, c->leave_fault.error, PV_EXCEPTION);
    return how == PV_LEAVE_NONE && c->why != PV_RAISED;
}

/* IN and OUT, not of strings: E4-E7 with a number, EC-EF with DX (SDM vol. 2, IN). */
void pv_port(struct pv_vcpu *c, const uint8_t *code, int have)
{
    int at = pv_prefixes(code, have), length = pv_length(code, have);
    uint8_t opcode = code[at];
    bool write = opcode & 2;
    int size = !(opcode & 1) ? 1 : has(code, at, OPERAND_SIZE) && !(at && (code[at - 1] & 0xf8) == 0x48) ? 2 : 4;
    uint32_t number = opcode & 8 ? (uint16_t)*pv_register(c, PV_RDX) : code[at + 1];
    uint64_t *rax = pv_register(c, PV_RAX), mask = size == 4 ? UINT32_MAX : (1ull << 8 * size) - 1;
    if (!answered(c, write, number, size, (uint32_t)(*rax & mask)))
        return;
    ENV64(c->env, ENV_RIP) += (uint64_t)length;
    if (!write)
        *rax = size == 4 ? (uint32_t)c->exit.value : (*rax & ~mask) | (c->exit.value & mask);
}

/* An element may be moved to or from memory at `at`: looked at before the port is. */
static struct pv_fault reachable(struct pv_vcpu *c, uint64_t at, int size, bool to_memory, bool *device)
{
    struct pv_mapping to;
    for (int byte = 0; byte < size; byte += size > 1 ? size - 1 : 1) { /* its first and its last */
        struct pv_fault fault = pv_guest_walk(c, at + (uint64_t)byte, to_memory ? PF_W : 0, &to);
        if (fault.vector == VEC_PF)
            c->v.cr2 = at + (uint64_t)byte;
        if (fault.vector >= 0)
            return fault;
        *device |= !pv_gpa(c, to.gpa, 1) || pv_is_device(c, to.gpa);
    }
    return PV_NO_FAULT;
}

/* INS and OUTS (6C-6F), up to where the guest must be left. False: not one that is done here, or not with that memory. */
bool pv_string_port(struct pv_vcpu *c, const uint8_t *code, int have)
{
    int at = pv_prefixes(code, have);
    if (at >= have || code[at] < 0x6c || code[at] > 0x6f || has(code, at, ADDRESS_SIZE) || has(code, at, FS_OVERRIDE) || has(code, at, GS_OVERRIDE) || has(code, at, LOCK))
        return false;
    bool write = code[at] & 2, repeats = has(code, at, REPE) || has(code, at, REPNE);
    int size = !(code[at] & 1) ? 1 : has(code, at, OPERAND_SIZE) && !(at && (code[at - 1] & 0xf8) == 0x48) ? 2 : 4;
    uint64_t *rcx = pv_register(c, PV_RCX), *address = pv_register(c, write ? PV_RSI : PV_RDI);
    uint64_t step = (uint64_t)((int64_t)(int32_t)ENV32(c->env, ENV_DF) * size), rip = ENV64(c->env, ENV_RIP);
    while (!repeats || *rcx) {
        uint32_t value = 0;
        bool device = false;
        struct pv_fault fault = reachable(c, *address, size, !write, &device);
        if (device)
            return false;
        if (fault.vector >= 0) {
            pv_happens(c, fault);
            return true;
        }
        if (write)
            pv_linear(c, *address, &value, (uint64_t)size, false, false);
        if (!answered(c, write, (uint16_t)*pv_register(c, PV_RDX), size, value))
            return true;
        value = (uint32_t)c->exit.value;
        if (!write && pv_linear(c, *address, &value, (uint64_t)size, true, false).vector >= 0)
            return true; /* its handler took the page away: it is asked again */
        *address += step;
        *rcx -= repeats;
        if (!repeats)
            break;
        bool over = c->stop_asked || (!(*rcx & 15) && pv_clock_ns() >= c->slice_end_ns);
        c->unsettled |= over;
        if (*rcx && (over || pv_must_leave(c))) /* as between any two elements (SDM vol. 2, REP) */
            return true;
    }
    if (ENV64(c->env, ENV_RIP) == rip)
        ENV64(c->env, ENV_RIP) = rip + (uint64_t)at + 1;
    return true;
}
