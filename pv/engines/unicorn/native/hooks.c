/* The engine's hooks: what happened, told apart and handed to pv_take and pv_answer.
 *
 * These are called between blocks (exceptions, intercepts, undefined opcodes), where the whole state may change. Those
 * that are called inside a block stand in in_block.c. */
#include "vcpu.h"

enum { SVM_BASE = 0x100, SVM_LAST = 0x600, KEY_IN_ECX = -2, FLAG_TF = 1 << 8 };

/* Bytes before the opcode. LOCK counts: the processor beneath runs SYSCALL, IN and their like with it. */
int pv_prefixes(const uint8_t *code, int have)
{
    int at = 0;
    while (at < have && (code[at] == 0x66 || code[at] == 0x67 || code[at] == 0xf2 || code[at] == 0xf3 || code[at] == 0x2e || code[at] == 0x36
                         || code[at] == 0x3e || code[at] == 0x26 || code[at] == 0x64 || code[at] == 0x65 || code[at] == 0xf0
                         || (code[at] & 0xf0) == 0x40))
        at++;
    return at;
}

bool pv_locked(const uint8_t *code, int have) { return memchr(code, 0xf0, (size_t)pv_prefixes(code, have)) != NULL; }

/* The length of an instruction of those that exit by their opcode alone; 0 where its bytes could not be had. */
int pv_length(const uint8_t *code, int have)
{
    int at = pv_prefixes(code, have);
    if (at >= have)
        return 0;
    if (code[at] == 0x0f)
        return at + 1 < have && code[at + 1] == 0x01 ? at + 3 : at + 2; /* RDTSCP, VMCALL; CPUID, RDTSC, SYSCALL */
    return code[at] >= 0xe4 && code[at] <= 0xe7 ? at + 2 : at + 1;      /* IN and OUT, immediate or DX */
}

int pv_length_here(struct pv_vcpu *c, bool *string)
{
    uint8_t code[15];
    int have = pv_fetch(c, ENV64(c->env, ENV_RIP), code), at = pv_prefixes(code, have);
    if (string)
        *string = at < have && code[at] >= 0x6c && code[at] <= 0x6f;
    return pv_length(code, have);
}

static bool ring_holds(struct pv_vcpu *c)
{
    if (pv_level_holds(c))
        return true;
    pv_stop(c, PV_ESCAPED, 0, "the guest runs at CPL %d at RIP %#llx", pv_cpl(c), (unsigned long long)ENV64(c->env, ENV_RIP));
    pv_uc.emu_stop(c->uc);
    return false;
}

static bool is_mov(const struct pv_decoded *slot) { return slot->code[pv_prefixes(slot->code, slot->length)] == 0x8e; }

/* RDTSC (0F 31) and RDTSCP (0F 01 F9): #GP at any privilege, since the processor's CR4.TSD is set. */
bool pv_time_stamp(struct pv_vcpu *c, const uint8_t *code, int have)
{
    int length = pv_length(code, have);
    bool plain = length >= 2 && length <= have && code[length - 2] == 0x0f && code[length - 1] == 0x31;
    bool with_processor = length >= 3 && length <= have && code[length - 3] == 0x0f && code[length - 2] == 0x01 && code[length - 1] == 0xf9;
    if (!plain && !with_processor)
        return false;
    struct pv_entry *entry = pv_take(c, plain ? R_RDTSC : R_RDTSCP, 0, 0);
    c->exit.length = (uint32_t)length;
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    return true;
}

/* The decoding of the instruction at RIP, made once for each place where it stands; its insn is NULL where the monitor
 * emulates nothing there. NULL: the decoder failed, or the guest stops here. */
struct pv_decoded *pv_decode(struct pv_vcpu *c, const uint8_t *code, int have)
{
    uint64_t rip = ENV64(c->env, ENV_RIP);
    if (!pv_long_code(c)) { /* the same bytes mean something else there */
        pv_stop(c, PV_UNHANDLED, 0, "the instruction at RIP %#llx is in compatibility mode, where none is emulated", (unsigned long long)rip);
        return NULL;
    }
    struct pv_decoded *slot = &c->decoded[(rip ^ rip >> 12) & (PV_DECODED - 1)];
    if (slot->rip != rip || slot->length > have || !slot->length || memcmp(slot->code, code, slot->length)) {
        pv_take_gil(c);
        if (!have || !pv_python.decode(c, slot, code, have))
            return NULL;
    }
    return slot;
}

/* The instruction at RIP is the monitor's to carry out: an exit. */
void pv_emulate(struct pv_vcpu *c, struct pv_decoded *slot)
{
    struct pv_entry *entry = pv_take(c, slot->reason, 0, slot->key == KEY_IN_ECX ? (int64_t)(uint32_t)*pv_register(c, PV_RCX) : slot->key);
    c->exit.insn = slot->insn;
    c->exit.length = slot->length;
    if (slot->reason == R_MSR_WRITE)
        c->exit.value = (*pv_register(c, PV_RDX) << 32) | (uint32_t)*pv_register(c, PV_RAX);
    bool before = c->v.interrupt_flag;
    uint64_t delivered = c->events_delivered;
    pv_answer(c, entry);
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
    /* STI, and MOV to SS but not LSS, hold interrupts off for one instruction; pv_settle drops what nobody waits for */
    if (slot->reason == R_FLAG ? !before && c->v.interrupt_flag
                               : slot->reason == R_SEGMENT && slot->key == PV_SS && c->events_delivered == delivered && is_mov(slot))
        ENV32(c->env, ENV_HFLAGS) |= HF_INHIBIT_IRQ;
}

/* #GP: the instruction that the guest's kernel may not execute. */
static bool emulated(struct pv_vcpu *c)
{
    uint8_t code[15];
    bool user = pv_user(c);
    int have = pv_fetch(c, ENV64(c->env, ENV_RIP), code);
    if (!c->exit.error_code && pv_time_stamp(c, code, have))
        return true;
    /* CLI and STI, which IOPL may allow it; SYSRET, which is undefined before it is privileged */
    bool flag = c->v.iopl == 3, undefined = !(c->v.efer & 1), own = user && !c->exit.error_code && (flag || undefined);
    if (user && (c->mode != PV_TRAP || (!own && !c->exit.error_code)))
        return false; /* a privileged instruction of the guest's own user mode: its kernel hears of it */
    struct pv_decoded *slot = pv_decode(c, code, have);
    if (!slot)
        return c->why != PV_RUNNING;
    bool of_user = own ? (flag && slot->reason == R_FLAG) || (undefined && slot->reason == R_SYSRET)
                       : slot->reason == R_IRET || slot->reason == R_SEGMENT || slot->reason == R_FAR;
    if (!slot->insn || slot->reason == R_MMIO || (user && !of_user))
        return false;
    pv_emulate(c, slot);
    return true;
}

/* The trap behind an instruction that began with TF set (SDM vol. 3, 18.3.1.4), where the monitor was the processor: RIP has
 * left `rip`, and no event came instead. MOV to SS holds it off; it ends a HLT. */
__attribute__((noinline, cold)) void pv_single_step(struct pv_vcpu *c, uint64_t rip, uint64_t delivered)
{
    if (c->why != PV_RUNNING || ENV64(c->env, ENV_RIP) == rip || c->events_delivered != delivered)
        return;
    if (c->exit.reason == R_SEGMENT && ENV32(c->env, ENV_HFLAGS) & HF_INHIBIT_IRQ)
        return;
    c->waiting = false;
    pv_happens(c, PV_FAULT(VEC_DB));
}

static void leave_block(struct pv_vcpu *c)
{
    int how = c->leave;
    c->leave = PV_LEAVE_NONE;
    if (how == PV_LEAVE_ADVANCE) {
        ENV64(c->env, ENV_RIP) += (uint64_t)pv_length_here(c, NULL);
        ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ; /* the instruction in the shadow is done */
    } else if (how == PV_LEAVE_FAULT) {
        pv_deliver(c, c->leave_fault.vector, c->leave_fault.has_error, c->leave_fault.error, PV_EXCEPTION);
    } else if (how == PV_LEAVE_EXCEPTION) {
        pv_happens(c, c->leave_fault);
    }
}

/* Under hardware an event that the control block does not name is the guest's: delivered as the processor would. */
static void by_itself(struct pv_vcpu *c, int vector, bool software)
{
    c->v.cr2 = ENV64(c->env, ENV_CR + 16);
    pv_deliver(c, vector, !software && pv_has_error_code(vector), ENV32(c->env, ENV_ERROR_CODE), software ? PV_SOFTWARE : PV_EXCEPTION);
}

static void on_interrupt(uc_engine *uc, uint32_t number, void *user)
{
    struct pv_vcpu *c = user;
    (void)uc;
    c->in_hook = true;
    bool software = ENV32(c->env, ENV_EXCEPTION_IS_INT), instruction = false, own = pv_cache_exception(c, software ? -1 : (int)number);
    bool stepping = !own && ENV64(c->env, ENV_EFLAGS) & FLAG_TF;
    uint64_t rip = ENV64(c->env, ENV_RIP), delivered = c->events_delivered;
    ENV32(c->env, ENV_OLD_EXCEPTION) = 0xffffffff; /* else a second contributory fault arrives as a double fault */
    ENV32(c->env, ENV_EXCEPTION_IS_INT) = 0;       /* else the next exit has a stale RIP */
    if (own) {
        /* nothing of the guest's */
    } else if (number == PV_LEAVE_BLOCK) {
        leave_block(c);
        instruction = true;
    } else if (number >= SVM_BASE && number < SVM_LAST) {
        pv_svm_exit(c, number - SVM_BASE);
        instruction = true;
    } else if (number > 0xff) {
        pv_stop(c, PV_ENGINE_ERROR, 0, "the engine reports event %#x at RIP %#llx", number, (unsigned long long)ENV64(c->env, ENV_RIP));
    } else if (pv_hardware(c)) {
        by_itself(c, (int)number, software);
    } else if (number == VEC_PF && !pv_level_holds(c) && ENV32(c->env, ENV_ERROR_CODE) & PF_FETCH) {
        /* Translating the first block at that privilege came upon a page that is not there: on_new_block was not asked. */
        c->escaped = true;
        pv_uc.emu_stop(c->uc);
        c->unsettled = true;
        c->in_hook = false;
        return;
    } else if (ring_holds(c)) {
        c->exit.error_code = ENV32(c->env, ENV_ERROR_CODE);
        c->exit.address = ENV64(c->env, ENV_CR + 16);
        if (software)
            pv_answer(c, pv_take(c, R_SOFTWARE, 0, number & 0xff));
        else if (!(instruction = (number == VEC_GP && emulated(c)) || (number == VEC_PF && pv_device_access(c)))) {
            uint32_t error = ENV32(c->env, ENV_ERROR_CODE);
            struct pv_entry *entry = pv_take(c, R_EXCEPTION, 0, number);
            c->exit.error_code = error;
            pv_answer(c, entry);
        }
    }
    if (stepping && instruction)
        pv_single_step(c, rip, delivered);
    pv_settle(c);
    pv_cache_enter(c);
    c->in_hook = false;
}

/* VMCALL (C1) or VMMCALL (D9), where the monitor takes them; the processor beneath knows neither. */
bool pv_asks(struct pv_vcpu *c, const uint8_t *code, int have)
{
    enum { VMMCALL_BIT = 0x81 - 0x60 };
    bool taken = pv_hardware(c) ? c->controls.instructions >> VMMCALL_BIT & 1 : c->mode == PV_PARAVIRT;
    return taken && have >= 3 && code[0] == 0x0f && code[1] == 0x01 && (code[2] == 0xc1 || code[2] == 0xd9);
}

static bool on_invalid(uc_engine *uc, void *user)
{
    struct pv_vcpu *c = user;
    uint8_t code[15];
    if (ENV32(c->env, ENV_EXCEPTION_IS_INT)) { /* INT 6, which comes here for its vector, and with RIP before it */
        ENV64(c->env, ENV_RIP) = ENV64(c->env, ENV_NEXT_RIP);
        on_interrupt(uc, VEC_UD, user);
        return true;
    }
    c->in_hook = true;
    pv_cache_leave(c);
    if (ring_holds(c)) {
        int have = pv_fetch(c, ENV64(c->env, ENV_RIP), code);
        if (pv_asks(c, code, have)) {
            uint64_t number = *pv_register(c, PV_RAX), rip = ENV64(c->env, ENV_RIP), delivered = c->events_delivered;
            bool stepping = ENV64(c->env, ENV_EFLAGS) & FLAG_TF;
            struct pv_entry *entry = pv_take(c, R_VMCALL, 0, number >> 31 ? PV_NO_NUMBER : (int64_t)number);
            c->exit.length = 3;
            c->hypercall = true;
            pv_answer(c, entry);
            c->hypercall = false;
            if (c->dead) /* in a function that the handler called: nothing may run in this engine any more */
                siglongjmp(*c->abort_jump, 1);
            ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_INHIBIT_IRQ;
            if (stepping)
                pv_single_step(c, rip, delivered);
        } else {
            int at = pv_prefixes(code, have);
            bool icebp = at < have && code[at] == 0xf1; /* INT1: a debug exception behind it (SDM vol. 2, INT n) */
            ENV64(c->env, ENV_RIP) += icebp ? (uint64_t)at + 1 : 0;
            bool counter = c->mode == PV_TRAP && at + 1 < have && code[at] == 0x0f && code[at + 1] == 0x33; /* RDPMC: there is none */
            pv_happens(c, icebp ? PV_FAULT(VEC_DB) : counter ? PV_FAULT_CODE(VEC_GP, 0) : PV_FAULT(VEC_UD));
        }
    }
    pv_settle(c);
    pv_cache_enter(c);
    c->in_hook = false;
    return true;
}

/* The first block translated at a privilege that no guest may have: stopped before it runs. The processor beneath
 * goes to CPL 0 on a load of SS with a null selector; a real one would stay where it is, and so does this one. */
static void on_new_block(uc_engine *uc, uc_tb *block, uc_tb *before, void *user)
{
    struct pv_vcpu *c = user;
    (void)block;
    (void)before;
    if (!pv_level_holds(c)) {
        c->escaped = true;
        pv_uc.emu_stop(uc);
    }
}

bool pv_hooks_install(struct pv_vcpu *c)
{
    static const struct { int type, instruction; void *hook; } hooks[] = {
        { UC_HOOK_INTR, 0, on_interrupt },
        { UC_HOOK_INSN_INVALID, 0, on_invalid },
        { UC_HOOK_EDGE_GENERATED, 0, on_new_block },
        /* SYSCALL first: once a stop has been asked for, the engine's helper looks no further than the first hook on an
         * instruction. CPUID has the same fault, so it exits by an intercept, and RDTSC by CR4.TSD. */
        { UC_HOOK_INSN, UC_X86_INS_SYSCALL, pv_on_syscall },
        { UC_HOOK_INSN, UC_X86_INS_IN, pv_on_in },
        { UC_HOOK_INSN, UC_X86_INS_OUT, pv_on_out },
        { UC_HOOK_INSN, UC_X86_INS_SYSENTER, pv_on_sysenter }, /* which CPUID hides: passed over where a stop is asked for */
    };
    uc_hook handle;
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
        if (pv_uc.hook_add(c->uc, &handle, hooks[i].type, hooks[i].hook, c, 1, 0, hooks[i].instruction))
            return false;
    return true;
}
