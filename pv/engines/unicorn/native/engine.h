/* libunicorn as the core uses it: functions found at run time in the installed wheel, and where its private state lies.
 *
 * The offsets are those of Unicorn 2.1.4 on x86-64 (QEMU 5.0.1's CPUX86State). They are not API: probe.c compares
 * them with a live engine at import, and nothing runs where they differ. */
#ifndef PV_ENGINE_H
#define PV_ENGINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unicorn/unicorn.h>

#define PV_UNICORN_VERSION 0x02010400u /* major, minor, patch, extra: a byte each */

struct pv_engine_api {
    unsigned (*version)(unsigned *, unsigned *);
    uc_err (*open)(uc_arch, uc_mode, uc_engine **);
    uc_err (*close)(uc_engine *);
    const char *(*strerror)(uc_err);
    uc_err (*reg_read)(uc_engine *, int, void *);
    uc_err (*reg_write)(uc_engine *, int, const void *);
    uc_err (*mem_map_ptr)(uc_engine *, uint64_t, uint64_t, uint32_t, void *);
    uc_err (*hook_add)(uc_engine *, uc_hook *, int, void *, void *, uint64_t, uint64_t, ...);
    uc_err (*emu_start)(uc_engine *, uint64_t, uint64_t, uint64_t, size_t);
    uc_err (*emu_stop)(uc_engine *);
    uc_err (*ctl)(uc_engine *, uc_control_type, ...);
    size_t (*context_size)(uc_engine *);
    uc_err (*context_alloc)(uc_engine *, uc_context **);
    uc_err (*context_save)(uc_engine *, uc_context *);
    uc_err (*free)(void *);
    /* internals that the library exports, by their exported names */
    void (*tlb_flush)(void *cpu);
    void (*tlb_flush_page)(void *cpu, uint64_t gva);
    void (*tb_invalidate_phys_range)(uc_engine *uc, uint64_t first, uint64_t end); /* by guest-physical address */
    void (*raise_exception_err)(void *env, int vector, int error_code);
    void (*do_interrupt)(void *cpu); /* the exception in flight, through IDT and TSS */
    void (*cpu_x86_cpuid)(void *env, uint32_t leaf, uint32_t subleaf, uint32_t *, uint32_t *, uint32_t *, uint32_t *);
};
extern struct pv_engine_api pv_uc;

/* Load the library at `path`. Returns NULL, or a message that says what is wrong and how to mend it. */
const char *pv_engine_load(const char *path);
bool pv_bound_blocks(void *library);
/* Compare the layout below with a live engine. Returns NULL, or what differs. */
const char *pv_engine_probe(void);

/* The way from a handle to its CPU object, to its CPUX86State, to the flag that makes stops exact and to the one that asks
 * for a stop. It is found by the probe: the saved context, whose layout follows from its size, is the reference that the live struct is known by. */
struct pv_route { uint32_t cpu_word, env_word, no_exit_request, stop_request; };
extern struct pv_route pv_route;
enum { PV_CPU_INTERRUPT_REQUEST = 0x1c, PV_CONTEXT_ENV = 40, PV_ENV_SIZE = 5568 };

/* Offsets in CPUX86State. */
enum { ENV_RIP = 0x80, ENV_EFLAGS = 0x88, ENV_CC_OP = 0xa8, ENV_DF = 0xac, ENV_HFLAGS = 0xb0, ENV_HFLAGS2 = 0xb4,
       ENV_SEGMENTS = 0xb8, ENV_LDT = 0x148, ENV_TR = 0x160, ENV_GDT = 0x178, ENV_IDT = 0x190, ENV_CR = 0x1a8,
       ENV_EFER = 0x250, ENV_FPU = 0x25c, ENV_FPU_CONTROL = 0x262, ENV_FPU_CS = 0x2f2, ENV_FPU_IP = 0x2f8, ENV_MXCSR = 0x330, ENV_XMM = 0x338, ENV_XMM_END = ENV_XMM + 16 * 64,
       ENV_ERROR_CODE = 0x1508, ENV_EXCEPTION_IS_INT = 0x150c, ENV_NEXT_RIP = 0x1510, ENV_OLD_EXCEPTION = 0x1578,
       ENV_VMCB = 0x1580, ENV_INTERCEPT = 0x1590, ENV_INTERCEPT_CR_READ = 0x1598, ENV_INTERCEPT_CR_WRITE = 0x159a, ENV_INTERCEPT_DR_READ = 0x159c,
       ENV_INTERCEPT_DR_WRITE = 0x159e, ENV_STAR = 0x12d8, ENV_LSTAR = 0x12e8, ENV_CSTAR = 0x12f0, ENV_FMASK = 0x12f8, ENV_KERNEL_GS_BASE = 0x1300,
             ENV_BND0 = 0x200, ENV_BND1 = 0x210 /* their upper bounds */, ENV_PKRU = 0x14b8,
             ENV_INTERCEPT_EXCEPTIONS = 0x15a0, ENV_NESTED_CR3 = 0x15a8, ENV_NESTED_MODE = 0x15b0 };

/* hflags: the bits of CPUX86State.hflags that the core reads or sets. */
enum { HF_CPL = 3, HF_INHIBIT_IRQ = 1 << 3, HF_CS32 = 1 << 4, HF_SS32 = 1 << 5, HF_ADDSEG = 1 << 6, HF_PE = 1 << 7, HF_TF = 1 << 8, HF_MP = 1 << 9,
       HF_TS = 1 << 11, HF_IOPL = 3 << 12, HF_LMA = 1 << 14, HF_CS64 = 1 << 15, HF_RF = 1 << 16, HF_GUEST = 1 << 21, HF_BOUNDS = 3 << 25 /* MPX is on, and in use */ };
#define CR4_PKE (1ull << 22)
enum { HF2_GIF = 1 << 0, HF2_NPT = 1 << 6 };

enum { PV_RAX, PV_RCX, PV_RDX, PV_RBX, PV_RSP, PV_RBP, PV_RSI, PV_RDI, PV_R8, PV_R9, PV_R10, PV_R11 };
enum { PV_ES, PV_CS, PV_SS, PV_DS, PV_FS, PV_GS };

#define ENV64(env, at) (*(uint64_t *)((uint8_t *)(env) + (at)))
#define ENV32(env, at) (*(uint32_t *)((uint8_t *)(env) + (at)))
#define ENV16(env, at) (*(uint16_t *)((uint8_t *)(env) + (at)))

struct pv_segment { uint32_t selector; uint32_t pad; uint64_t base; uint32_t limit; uint32_t flags; };
_Static_assert(sizeof(struct pv_segment) == 24, "SegmentCache is 24 bytes");
#endif
