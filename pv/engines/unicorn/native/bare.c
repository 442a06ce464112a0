/* What does a guest cost with nobody beside it? The engine alone, its guest at CPL 0 on its own page tables: the native
 * figure that techniques are measured against.
 *
 * Unicorn hands every event to a hook and delivers none. What a processor does by itself is done here: exceptions and
 * software interrupts go through IDT and TSS by the engine's own routine, SYSCALL by its MSRs. There are no chips. The bus
 * reads ones and loses writes, but for the console's port, whose bytes are kept, and the one that ends the run. */
#include "bare.h"

enum { CONSOLE_PORT = 0x3f8, STAR = 0xc0000081, LSTAR = 0xc0000082, FMASK = 0xc0000084, LONGEST_SYSCALL = 2 };

static void on_interrupt(uc_engine *uc, uint32_t vector, void *user)
{
    struct pv_bare *b = user;
    (void)uc, (void)vector; /* it stands in the processor's state, where the routine looks for it */
    pv_uc.do_interrupt(b->cpu); /* a fault on the way there is the next one in flight, up to the triple, which halts */
    ENV32(b->env, ENV_EXCEPTION_IS_INT) = 0;
    b->events++;
}

static uint64_t msr(struct pv_bare *b, uint32_t index)
{
    uc_x86_msr read = { index, 0 };
    pv_uc.reg_read(b->uc, UC_X86_REG_MSR, &read);
    return read.value;
}

/* APM vol. 2, 6.1.1; the engine adds the instruction's length to RIP when the hook returns. */
static void on_syscall(uc_engine *uc, void *user)
{
    struct pv_bare *b = user;
    uint64_t flags = 0;
    if (!b->lstar) {
        b->star = msr(b, STAR);
        b->lstar = msr(b, LSTAR);
        b->fmask = msr(b, FMASK);
    }
    pv_uc.reg_read(uc, UC_X86_REG_RFLAGS, &flags);
    ENV64(b->env, 8 * PV_RCX) = ENV64(b->env, ENV_RIP) + LONGEST_SYSCALL;
    ENV64(b->env, 8 * PV_R11) = flags;
    struct pv_segment *segments = (struct pv_segment *)(b->env + ENV_SEGMENTS);
    uint32_t base = (uint32_t)(b->star >> 32) & 0xfffc;
    segments[PV_CS] = (struct pv_segment){ base, 0, 0, 0xffffffff, 0x00af9b00 };
    segments[PV_SS] = (struct pv_segment){ base + 8, 0, 0, 0xffffffff, 0x00cf9300 };
    ENV32(b->env, ENV_HFLAGS) = (ENV32(b->env, ENV_HFLAGS) & ~(uint32_t)HF_CPL) | HF_CS64 | HF_CS32 | HF_SS32;
    flags &= ~b->fmask;
    pv_uc.reg_write(uc, UC_X86_REG_RFLAGS, &flags);
    ENV64(b->env, ENV_RIP) = b->lstar - LONGEST_SYSCALL;
    b->events++;
}

static uint32_t on_in(uc_engine *uc, uint32_t port, int size, void *user)
{
    (void)uc, (void)port, (void)user;
    return size == 4 ? 0xffffffffu : (1u << 8 * size) - 1;
}

static void on_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *user)
{
    struct pv_bare *b = user;
    (void)size;
    if (port == CONSOLE_PORT && b->console_bytes < PV_BARE_CONSOLE)
        b->console[b->console_bytes++] = (uint8_t)value;
    if (port != b->exit_port || b->ended)
        return;
    b->ended = true;
    b->status = value;
    pv_uc.emu_stop(uc);
}

const char *pv_bare_open(struct pv_bare *b, uint8_t *ram, uint64_t ram_size, uint32_t translation_buffer_bytes)
{
    static const struct { int type, instruction; void *hook; } hooks[] = {
        { UC_HOOK_INTR, 0, on_interrupt },
        { UC_HOOK_INSN, UC_X86_INS_SYSCALL, on_syscall },
        { UC_HOOK_INSN, UC_X86_INS_IN, on_in },
        { UC_HOOK_INSN, UC_X86_INS_OUT, on_out },
    };
    uc_err error = pv_uc.open(UC_ARCH_X86, UC_MODE_64, &b->uc);
    if (!error)
        error = pv_uc.ctl(b->uc, UC_CTL_WRITE(UC_CTL_TCG_BUFFER_SIZE, 1), translation_buffer_bytes);
    if (!error)
        error = pv_uc.mem_map_ptr(b->uc, 0, ram_size, UC_PROT_ALL, ram);
    for (size_t i = 0; !error && i < sizeof hooks / sizeof *hooks; i++) {
        uc_hook handle;
        error = pv_uc.hook_add(b->uc, &handle, hooks[i].type, hooks[i].hook, b, 1, 0, hooks[i].instruction);
    }
    if (error)
        return pv_uc.strerror(error);
    b->cpu = (uint8_t *)((uint64_t *)b->uc)[pv_route.cpu_word];
    b->env = (uint8_t *)((uint64_t *)b->cpu)[pv_route.env_word];
    ((uint8_t *)b->uc)[pv_route.no_exit_request] = 1; /* as every engine of the core has it: memory is four times as quick */
    return NULL;
}

/* The state at an unmodified guest's first instruction. */
const char *pv_bare_start(struct pv_bare *b, uint64_t rip, uint64_t rsp, uint64_t cr3, uint64_t gdt_base, uint32_t gdt_limit)
{
    const uint64_t cr0 = 0x80050033, cr4 = 0x620;
    const uc_x86_msr efer = { 0xc0000080, 0xd00 };
    const uc_x86_mmr gdt = { 0, gdt_base, gdt_limit, 0 };
    const struct { int which; const void *value; } registers[] = {
        { UC_X86_REG_GDTR, &gdt }, { UC_X86_REG_CR3, &cr3 }, { UC_X86_REG_CR4, &cr4 },
        { UC_X86_REG_CR0, &cr0 }, { UC_X86_REG_MSR, &efer }, { UC_X86_REG_RSP, &rsp },
    };
    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++) {
        uc_err error = pv_uc.reg_write(b->uc, registers[i].which, registers[i].value);
        if (error)
            return pv_uc.strerror(error);
    }
    struct pv_segment *segments = (struct pv_segment *)(b->env + ENV_SEGMENTS);
    for (int i = 0; i < 6; i++)
        segments[i] = (struct pv_segment){ 0, 0, 0, 0xffffffff, 0x00cf9300 };
    segments[PV_CS] = (struct pv_segment){ 0x08, 0, 0, 0xffffffff, 0x00af9b00 };
    segments[PV_SS].selector = 0x10;
    ENV32(b->env, ENV_HFLAGS) |= HF_CS64 | HF_CS32 | HF_SS32 | HF_LMA | HF_PE;
    ENV64(b->env, ENV_RIP) = rip;
    return NULL;
}

const char *pv_bare_run(struct pv_bare *b)
{
    uc_err error = pv_uc.emu_start(b->uc, ENV64(b->env, ENV_RIP), 0, 0, 0);
    return error ? pv_uc.strerror(error) : NULL;
}
