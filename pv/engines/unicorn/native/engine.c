/* Finding libunicorn's functions, and proving its layout before anything trusts it. */
#define _GNU_SOURCE
#include "engine.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct pv_engine_api pv_uc;
struct pv_route pv_route;
static char message[512];

static const struct { const char *name; size_t at; } symbols[] = {
#define API(field, name) { name, offsetof(struct pv_engine_api, field) }
    API(version, "uc_version"), API(open, "uc_open"), API(close, "uc_close"), API(strerror, "uc_strerror"),
    API(reg_read, "uc_reg_read"), API(reg_write, "uc_reg_write"), API(mem_map_ptr, "uc_mem_map_ptr"),
    API(hook_add, "uc_hook_add"), API(emu_start, "uc_emu_start"), API(emu_stop, "uc_emu_stop"), API(ctl, "uc_ctl"),
    API(context_size, "uc_context_size"), API(context_alloc, "uc_context_alloc"),
    API(context_save, "uc_context_save"), API(free, "uc_free"),
    API(tlb_flush, "tlb_flush_x86_64"), API(tlb_flush_page, "tlb_flush_page_x86_64"),
    API(tb_invalidate_phys_range, "tb_invalidate_phys_range_x86_64"),
    API(raise_exception_err, "raise_exception_err_x86_64"), API(cpu_x86_cpuid, "cpu_x86_cpuid_x86_64"),
    API(do_interrupt, "x86_cpu_do_interrupt_x86_64"),
#undef API
};

const char *pv_engine_load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(message, sizeof message, "cannot load %s: %s; reinstall it with: pip install unicorn==2.1.4", path, dlerror());
        return message;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (!function) {
            snprintf(message, sizeof message, "%s has no %s; pvkit needs the wheel of Unicorn 2.1.4: pip install unicorn==2.1.4",
                     path, symbols[i].name);
            return message;
        }
        memcpy((uint8_t *)&pv_uc + symbols[i].at, &function, sizeof function);
    }
    if (!pv_bound_blocks(library)) {
        snprintf(message, sizeof message, "%s calls its translator in a way that pvkit does not know; it needs the wheel of "
                 "Unicorn 2.1.4: pip install unicorn==2.1.4", path);
        return message;
    }
    return NULL;
}

/* Copy from an address that may not be mapped: write() answers EFAULT where a load would kill the process. */
static bool safe_read(const void *from, void *to, size_t size)
{
    int ends[2];
    if (pipe(ends))
        return false;
    bool done = write(ends[1], from, size) == (ssize_t)size && read(ends[0], to, size) == (ssize_t)size;
    close(ends[0]);
    close(ends[1]);
    return done;
}

static bool plausible(uint64_t pointer) { return pointer >= 1 << 16 && pointer < 1ull << 47 && !(pointer & 7); }

/* Is there, behind this word of the handle and that word of the CPU object, the struct whose copy `blob` is? The CPU
 * object holds the struct within itself, a short way after its start. */
static bool leads(const uint64_t *handle, uint32_t cpu_word, uint32_t env_word, const uint8_t *blob)
{
    uint64_t cpu = handle[cpu_word], env;
    uint8_t state[ENV_RIP + 8];
    return plausible(cpu) && safe_read((uint64_t *)cpu + env_word, &env, 8) && env > cpu && env - cpu < 1 << 16 && plausible(env)
        && safe_read((void *)env, state, sizeof state) && !memcmp(state, blob, sizeof state);
}

enum { HANDLE_WORDS = 256, CPU_WORDS = 64, KNOWN_CPU_WORD = 55, KNOWN_ENV_WORD = 37 };

static bool find_route(uc_engine *uc, const uint8_t *blob)
{
    uint64_t handle[HANDLE_WORDS];
    struct pv_route known = { KNOWN_CPU_WORD, KNOWN_ENV_WORD, 0, 0 };
    if (!safe_read(uc, handle, sizeof handle))
        return false;
    bool found = leads(handle, known.cpu_word, known.env_word, blob); /* where 2.1.4's wheel has it, before a search */
    for (uint32_t cpu_word = 0; !found && cpu_word < HANDLE_WORDS; cpu_word++)
        for (uint32_t env_word = 0; !found && plausible(handle[cpu_word]) && env_word < CPU_WORDS; env_word++)
            if ((found = leads(handle, cpu_word, env_word, blob)))
                known = (struct pv_route){ cpu_word, env_word, 0, 0 };
    /* struct uc_struct: cpu_context_size, next_pc, then four bools: hook_insert, first_tb, no_exit_request, init_done */
    const uint8_t *bytes = (const uint8_t *)handle;
    for (uint32_t word = 0; found && !known.no_exit_request && word + 2 < HANDLE_WORDS; word++)
        if ((uint32_t)handle[word] == PV_ENV_SIZE && !bytes[8 * word + 18] && bytes[8 * word + 19] == 1)
            known.no_exit_request = 8 * word + 18;
    pv_route = known;
    return found && known.no_exit_request;
}

/* Where nothing is being emulated, to ask for a stop sets one flag of the handle and changes nothing else of it. */
static bool find_stop_request(uc_engine *uc)
{
    uint8_t before[8 * HANDLE_WORDS], after[8 * HANDLE_WORDS];
    if (!safe_read(uc, before, sizeof before) || pv_uc.emu_stop(uc) || !safe_read(uc, after, sizeof after))
        return false;
    uint32_t changed = 0;
    for (uint32_t at = 0; at < sizeof before; at++)
        if (before[at] != after[at]) {
            pv_route.stop_request = at;
            changed++;
        }
    return changed == 1 && !before[pv_route.stop_request] && after[pv_route.stop_request] == 1;
}

static struct { int vector; int error; uint64_t rip; } seen;
static uint8_t *probe_env;
static void on_probe_interrupt(uc_engine *uc, uint32_t vector, void *unused)
{
    (void)unused;
    seen.vector = (int)vector;
    seen.error = (int)ENV32(probe_env, ENV_ERROR_CODE);
    seen.rip = ENV64(probe_env, ENV_RIP);
    pv_uc.emu_stop(uc);
}

#define NEED(condition, what) do { if (!(condition)) return what; } while (0)

/* MSRs where the core reads them, and guest mode by state alone: each word of intercepts has its instruction exit. */
static const char *probe_guest_mode(uc_engine *uc, uint8_t *env, uint8_t *memory)
{
    enum { EXIT = 0x100, CPUID = 0x72, FIRST = 0x60 };
    static const struct { uint32_t index; int at; } msrs[] = {
        { 0xc0000081, ENV_STAR }, { 0xc0000082, ENV_LSTAR }, { 0xc0000083, ENV_CSTAR }, { 0xc0000084, ENV_FMASK }, { 0xc0000102, ENV_KERNEL_GS_BASE },
    };
    static const struct { const char *code; int size, at, exit; uint64_t value; } intercepts[] = {
        { "\x0f\xa2", 2, ENV_INTERCEPT, CPUID, 1ull << (CPUID - FIRST) }, { "\x0f\x20\xd8", 3, ENV_INTERCEPT_CR_READ, 3, 1 << 3 },
        { "\x0f\x22\xd8", 3, ENV_INTERCEPT_CR_WRITE, 0x13, 1 << 3 }, { "\x0f\x21\xf8", 3, ENV_INTERCEPT_DR_READ, 0x27, 1 << 7 },
        { "\x0f\x23\xf8", 3, ENV_INTERCEPT_DR_WRITE, 0x37, 1 << 7 }, { "\x31\xc0\xf7\xf0", 4, ENV_INTERCEPT_EXCEPTIONS, 0x40, 1 },
    };
    for (size_t i = 0; i < sizeof msrs / sizeof *msrs; i++) {
        uc_x86_msr marker = { msrs[i].index, 0x1111000022220000ull + i };
        pv_uc.reg_write(uc, UC_X86_REG_MSR, &marker);
        NEED(ENV64(env, msrs[i].at) == marker.value, "where the MSRs of system calls lie");
    }
    ENV32(env, ENV_HFLAGS) = (ENV32(env, ENV_HFLAGS) & ~(uint32_t)HF_CPL) | HF_GUEST;
    for (size_t i = 0; i < sizeof intercepts / sizeof *intercepts; i++) {
        memcpy(env + intercepts[i].at, &intercepts[i].value, intercepts[i].at == ENV_INTERCEPT ? 8 : intercepts[i].at == ENV_INTERCEPT_EXCEPTIONS ? 4 : 2);
        memcpy(memory + 0x1000, intercepts[i].code, (size_t)intercepts[i].size);
        ENV32(env, ENV_OLD_EXCEPTION) = 0xffffffff;
        seen.vector = -1;
        uc_err error = pv_uc.emu_start(uc, 0x1000, 0, 0, 0);
        NEED(!error && seen.vector == EXIT + intercepts[i].exit, "where guest mode's intercepts lie");
        pv_uc.ctl(uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
    }
    return NULL;
}

/* What the translation cache stands on: bound registers, and pages that may be executed and not read. At CPL 1. */
static const char *probe_cache(uc_engine *uc, uint8_t *env, uint8_t *memory)
{
    enum { BR = 5, PF = 14, BY_KEY = 0x20, CODE = 0x1000 };
    static const struct { const char *code; int size, vector; } runs[] = {
        { "\xf3\x0f\x1b\x04\x25\x34\x12\0\0\xf3\x0f\x1b\x0c\x25\x05\0\0\0\xf2\x0f\x1a\x0c\x25\x06\0\0\0\x90", 28, BR },
        { "\x48\x8b\x04\x25\x00\x10\0\0", 8, PF },
    };
    uint64_t user[3] = { 0x4007, 0x5007, 0x87 | 1ull << 59 }, before[3];
    ENV32(env, ENV_HFLAGS) |= HF_BOUNDS;
    ENV64(env, ENV_CR + 32) |= CR4_PKE;
    ENV32(env, ENV_PKRU) = 3 << 2;
    for (int i = 0; i < 3; i++) {
        memcpy(&before[i], memory + 0x3000 + 0x1000 * i, 8);
        memcpy(memory + 0x3000 + 0x1000 * i, &user[i], 8);
    }
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        memcpy(memory + CODE, runs[i].code, (size_t)runs[i].size);
        pv_uc.tlb_flush((void *)((uint64_t *)uc)[pv_route.cpu_word]);
        pv_uc.ctl(uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
        ENV32(env, ENV_OLD_EXCEPTION) = 0xffffffff;
        seen.vector = -1;
        uc_err error = pv_uc.emu_start(uc, CODE, 0, 0, 0);
        NEED(!error && seen.vector == runs[i].vector, i ? "where PKRU lies" : "its bound registers");
    }
    NEED(ENV64(env, ENV_BND0) == ~0x1234ull && ENV64(env, ENV_BND1) == ~5ull, "where bound registers lie");
    NEED(seen.error & BY_KEY, "its protection keys");
    for (int i = 0; i < 3; i++)
        memcpy(memory + 0x3000 + 0x1000 * i, &before[i], 8);
    ENV32(env, ENV_HFLAGS) &= ~(uint32_t)HF_BOUNDS;
    ENV64(env, ENV_CR + 32) &= ~CR4_PKE;
    pv_uc.tlb_flush((void *)((uint64_t *)uc)[pv_route.cpu_word]);
    pv_uc.ctl(uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
    return NULL;
}

static const char *probe(uc_engine *uc, uc_context *context, uint8_t *memory)
{
    /* Markers through the public API, found again where the layout says. */
    for (int i = 0; i < 16; i++) {
        static const int registers[16] = { UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP,
            UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8, UC_X86_REG_R9, UC_X86_REG_R10, UC_X86_REG_R11,
            UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15 };
        uint64_t marker = 0x1122334455660000ull + (uint64_t)i;
        pv_uc.reg_write(uc, registers[i], &marker);
    }
    uint64_t rip = 0x1000, cr2 = 0x5a5a1234, cr3 = 0x3000, fs = 0x7777000, cr0 = 0x80050033;
    uc_x86_mmr idtr = { 0, 0x2345000, 0xabc, 0 };
    uc_x86_msr efer = { 0xc0000080, 0xd01 };
    pv_uc.reg_write(uc, UC_X86_REG_RIP, &rip);
    pv_uc.reg_write(uc, UC_X86_REG_CR2, &cr2);
    pv_uc.reg_write(uc, UC_X86_REG_FS_BASE, &fs);
    pv_uc.reg_write(uc, UC_X86_REG_IDTR, &idtr);
    uint64_t first[2] = { 0x1020304050607080, 0x90a0b0c0d0e0f000 }, last[2] = { 0x0102030405060708, 0x090a0b0c0d0e0f01 };
    uint32_t mxcsr = 0x1fc0;
    uint16_t fpu_control = 0x027f;
    pv_uc.reg_write(uc, UC_X86_REG_XMM0, first);
    pv_uc.reg_write(uc, UC_X86_REG_XMM15, last);
    pv_uc.reg_write(uc, UC_X86_REG_MXCSR, &mxcsr);
    pv_uc.reg_write(uc, UC_X86_REG_FPCW, &fpu_control);
    NEED(pv_uc.context_size(uc) == PV_CONTEXT_ENV + PV_ENV_SIZE, "the size of its saved context");
    NEED(!pv_uc.context_save(uc, context), "saving a context");
    const uint8_t *blob = (const uint8_t *)context + PV_CONTEXT_ENV;
    for (uint64_t i = 0; i < 16; i++)
        NEED(ENV64(blob, 8 * i) == 0x1122334455660000ull + i, "where general registers lie");
    NEED(find_route(uc, blob), "the way to its CPU state");
    NEED(find_stop_request(uc), "where a stop is asked for");
    uint8_t *env = (uint8_t *)((uint64_t **)uc)[pv_route.cpu_word][pv_route.env_word];
    probe_env = env;
    NEED(ENV64(env, ENV_RIP) == rip, "where RIP lies");
    NEED(ENV64(env, ENV_CR + 16) == cr2, "where CR2 lies");
    NEED(ENV64(env, ENV_SEGMENTS + 24 * PV_FS + 8) == fs, "where segment caches lie");
    NEED(ENV64(env, ENV_IDT + 8) == idtr.base && ENV32(env, ENV_IDT + 16) == idtr.limit, "where IDTR lies");
    NEED(ENV32(env, ENV_OLD_EXCEPTION) == 0xffffffff, "where the exception in flight lies");
    NEED(!memcmp(env + ENV_XMM, first, 16) && !memcmp(env + ENV_XMM_END - 64, last, 16), "where XMM registers lie");
    NEED(ENV32(env, ENV_MXCSR) == mxcsr && ENV16(env, ENV_FPU_CONTROL) == fpu_control, "where the FPU's control words lie");

    /* Paging on, CPL 1 by patching, then faults with known vectors and error codes: hflags mean what we think. */
    uint64_t tables[3] = { 0x4003, 0x5003, 0x83 };
    for (int i = 0; i < 3; i++)
        memcpy(memory + 0x3000 + 0x1000 * i, &tables[i], 8);
    uint64_t cr4 = 0x620;
    uc_x86_mmr gdtr = { 0, 0, 0, 0 };
    pv_uc.reg_write(uc, UC_X86_REG_GDTR, &gdtr);
    pv_uc.reg_write(uc, UC_X86_REG_CR3, &cr3);
    pv_uc.reg_write(uc, UC_X86_REG_CR4, &cr4);
    pv_uc.reg_write(uc, UC_X86_REG_CR0, &cr0);
    pv_uc.reg_write(uc, UC_X86_REG_MSR, &efer);
    NEED(ENV64(env, ENV_CR) == cr0 && ENV64(env, ENV_CR + 24) == cr3 && ENV64(env, ENV_CR + 32) == cr4, "where CR0-CR4 lie");
    NEED((ENV64(env, ENV_EFER) & 0x900) == 0x900, "where EFER lies");
    ENV32(env, ENV_HFLAGS) = (ENV32(env, ENV_HFLAGS) & ~(uint32_t)(HF_CPL)) | HF_CS64 | HF_CS32 | HF_SS32 | HF_LMA | HF_PE | 1;
    uc_hook hook;
    NEED(!pv_uc.hook_add(uc, &hook, UC_HOOK_INTR, on_probe_interrupt, NULL, 1, 0), "its interrupt hook");
    static const struct { const char *code; int size, vector, error; const char *what; } faults[] = {
        { "\xfa", 1, 13, 0, "CPL 1 set through hflags" },
        { "\x66\xb8\x58\x00\x8e\xd8", 6, 13, 0x58, "where the error code lies" },
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        memcpy(memory + 0x1000, faults[i].code, (size_t)faults[i].size);
        ENV32(env, ENV_OLD_EXCEPTION) = 0xffffffff;
        seen.vector = -1;
        uc_err error = pv_uc.emu_start(uc, 0x1000, 0, 0, 0);
        NEED(!error && seen.vector == faults[i].vector && seen.error == faults[i].error, faults[i].what);
        NEED(ENV32(env, ENV_OLD_EXCEPTION) == 13, "where the exception in flight lies");
        pv_uc.ctl(uc, UC_CTL_WRITE(UC_CTL_TB_FLUSH, 0));
    }
    const char *wrong = probe_cache(uc, env, memory);
    return wrong ? wrong : probe_guest_mode(uc, env, memory);
}

const char *pv_engine_probe(void)
{
    unsigned version = pv_uc.version(NULL, NULL);
    if ((version & 0xffffff00u) != PV_UNICORN_VERSION) {
        snprintf(message, sizeof message, "Unicorn %u.%u.%u is installed; the core knows the layout of 2.1.4 only. Mend it with: pip install unicorn==2.1.4",
                 version >> 24, version >> 16 & 0xff, version >> 8 & 0xff);
        return message;
    }
    uc_engine *uc = NULL;
    if (pv_uc.open(UC_ARCH_X86, UC_MODE_64, &uc))
        return "Unicorn cannot open an x86-64 engine";
    pv_uc.ctl(uc, UC_CTL_WRITE(UC_CTL_TCG_BUFFER_SIZE, 1), (uint32_t)(1 << 20));
    uint8_t *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uc_context *context = NULL;
    const char *wrong = "an engine for the probe";
    if (memory != MAP_FAILED && !pv_uc.mem_map_ptr(uc, 0, 1 << 16, UC_PROT_ALL, memory) && !pv_uc.context_alloc(uc, &context))
        wrong = probe(uc, context, memory);
    if (context)
        pv_uc.free(context);
    pv_uc.close(uc);
    if (memory != MAP_FAILED)
        munmap(memory, 1 << 16);
    if (!wrong)
        return NULL;
    snprintf(message, sizeof message, "this libunicorn differs from what the core knows: %s. Install the wheel it was made for: pip install --force-reinstall unicorn==2.1.4", wrong);
    return message;
}
