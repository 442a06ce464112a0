/* One virtual processor: its engine, the privileged state its guest believes in, and what is counted.
 *
 * ring is the CPL at which the guest's kernel really runs: 1 under trap and paravirt. What the guest sees as
 * CPL 0 is that ring; CPL 3 is CPL 3. Under hardware (svm.c) the guest has all four levels, and they are its own. */
#ifndef PV_VCPU_H
#define PV_VCPU_H
#include "engine.h"
#include <pthread.h>
#include <setjmp.h>

#define PV_PAGE 4096ull
#define PV_MONITOR_BASE (1ull << 36) /* gpa of the monitor's own pages: no guest entry ever points there */
#define PV_FRAME 0x000ffffffffff000ull
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80 };
#define PTE_NX (1ull << 63)
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PV_PEEK = 1 << 16 };
enum { VEC_DE = 0, VEC_DB = 1, VEC_UD = 6, VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_AC = 17, VEC_MC = 18 };
enum { PF_FETCH = 0x10 }; /* in the error code of a #PF: an instruction was to be read */
enum pv_mode { PV_TRAP, PV_PARAVIRT, PV_HARDWARE };

/* An exception that the guest must get; vector -1: none. */
struct pv_fault { int vector; bool has_error; uint32_t error; };
#define PV_NO_FAULT ((struct pv_fault){ -1, false, 0 })
#define PV_FAULT(v) ((struct pv_fault){ (v), false, 0 })
#define PV_FAULT_CODE(v, e) ((struct pv_fault){ (v), true, (uint32_t)(e) })

/* What the guest believes of its privileged registers. Under hardware the processor's own are the guest's: what stands here
 * of CR0, CR3, CR4 and EFER is a copy that is always true, since each write of them exits, of descriptor tables and flags
 * one that pv_see_registers makes (svm.c), and the rest of what the processor has is not used. */
struct pv_virtual {
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint64_t gdt_base, idt_base, tr_base, ldt_base;
    uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_offset, tsc_aux;
    uint32_t gdt_limit, idt_limit, tr_limit, ldt_limit;
    uint16_t ldt_selector, tr_selector;
    uint8_t interrupt_flag, iopl;
};

/* Pages of the monitor: page tables of either kind. */
struct pv_pool { uint8_t *base; uint32_t pages, used, free_head; uint32_t *next; };

struct pv_shadow_page { uint64_t tag; uint32_t hash_next; uint8_t level, live, unsync, idle; };
struct pv_shadow {
    struct pv_shadow_page *pages; /* one for each page of the pool */
    uint32_t *hash, *unsync_list; /* chains by tag; pages the guest may be writing */
    uint32_t hash_mask, unsync_count, root;
    uint8_t *tracked;   /* for each guest frame: is it a shadowed table that is write-protected */
    uint32_t *mapped_by; /* for each guest frame: which shadow entry maps it writable: 0 none, ~0 several, else index + 1 */
    uint64_t fills, table_writes, guest_faults, syncs, zaps, roots, root_hits;
    uint64_t loads; /* of CR3, and INVLPG: until the next a processor may go on with what it knew */
    uint64_t epoch; /* moves on where an entry is dropped by which code was found: that may be no more */
};

enum { PV_SPACES = 4096, PV_SHADOW_FIRST = 2 /* the pool's first page that a shadow may use */ };
struct pv_tables { uint32_t *roots; uint32_t active, common; };

struct pv_trap { uint64_t rip; uint32_t flags; };

/* apic.c. mode, svr, ldr, dfr and timer_vector are what the chip has told; external: an 8259 asks, past the queue */
enum pv_apic_mode { PV_APIC_DISABLED, PV_APIC_PAGE, PV_APIC_MSRS }; /* pv.devices.local_apic_registers.Mode */
struct pv_apic {
    uint64_t irr[4], isr[4], tmr[4], command; /* command: the ICR */
    uint32_t svr, ldr, dfr;
    uint8_t tpr, mode, timer_vector;
    bool external;
    uint64_t accesses, delivered; /* that virtualization carried out */
};

struct pv_window { uint64_t first, last; }; /* gpas of devices, whole pages */

struct pv_exit { uint32_t reason; int64_t key; uint64_t value, address; uint32_t size, error_code, length; void *insn; };

enum { PV_SHAPE_EXIT, PV_SHAPE_CALL, PV_SHAPE_READ, PV_SHAPE_WRITE, PV_SHAPE_NATIVE };
enum { PV_BUCKETS = 160 };
struct pv_histogram { uint64_t count, total_ns, min_ns, max_ns, buckets[PV_BUCKETS]; };
/* callable and bound: the handler, a functools.partial taken apart */
struct pv_row { uint32_t reason; int64_t first, last; void *handler, *callable, *bound[2]; uint8_t bound_count, shape, native, argc, user_allowed, batchable, bits[6]; };
struct pv_entry {
    uint64_t tag, count, calls;
    const struct pv_row *row; /* NULL: nobody answers */
    struct pv_histogram *histogram;
};
/* What exits under hardware, as declared; the processor may be told to stop for more, which is then its own affair.
 * instructions: bit n for exit code 0x60 + n. msrs: bit n for row n of the table of MSRs that a guest may have to itself. */
struct pv_controls { uint64_t instructions; uint32_t exceptions, msrs; uint16_t cr_reads, cr_writes, dr_reads, dr_writes; bool apic_virtual; };

enum { PV_ENTRIES = 4096, PV_INDEX = 8192 };

struct pv_recorded { uint64_t number, tag, rip, registers[16], eflags, cr3; uint8_t cpl; };
enum { PV_RECORDS = 64 };

/* An operand in memory, as far as registers give its address. base, index: general registers, -1 for none.
 * bits: the register whose bit offset reaches beyond the operand, -1 for none. */
struct pv_operand { int64_t displacement; uint64_t mask; int8_t base, index, segment, bits; uint8_t scale, size, write; };
enum { PV_OPERANDS = 2 };
struct pv_decoded { uint64_t rip; struct pv_operand operand[PV_OPERANDS]; uint8_t operands; uint8_t code[16]; void *insn; uint32_t reason; int64_t key; uint8_t length; };
enum { PV_DECODED = 1024 };

/* A function of the guest that the host has called: the state that the call is to leave as it was, and what came of it. */
struct pv_call {
    struct pv_call *outer; /* in whose handler this one is made; NULL: none */
    struct pv_exit exit;
    uint64_t result, more;
    uint32_t space;
    uint8_t iopl, interrupt_flag;
    bool done, in_hook, hypercall, waiting, unsettled; /* done: the function has returned */
    uint8_t registers[ENV_LDT], fpu[ENV_XMM_END - ENV_FPU];
};

enum pv_why { PV_RUNNING = -1, PV_EXITED, PV_HALTED, PV_MAX_EXITS, PV_TIMEOUT, PV_SHUTDOWN, PV_UNHANDLED, PV_ESCAPED,
              PV_ENGINE_ABORT, PV_ENGINE_ERROR, PV_STOPPED, PV_PANICKED, PV_RAISED };

struct pv_vcpu {
    uc_engine *uc;
    uint8_t *cpu, *env;
    enum pv_mode mode;
    uint8_t ring;
    uint8_t *ram;
    uint64_t ram_size;
    struct pv_virtual v;
    struct pv_pool pool;
    struct pv_shadow shadow;
    struct pv_tables tables;
    struct pv_apic apic;
    struct pv_cache *cache; /* cache.h; NULL where the guest's kernel runs as it is */
    /* paravirt */
    struct pv_trap traps[256];
    uint64_t kernel_stack, syscall_entry, upcall_rip;
    uint8_t *event_page;
    uint64_t *clock_page;
    /* dispatch */
    struct pv_row *rows;
    uint32_t row_count, entry_count;
    uint16_t *index;
    struct pv_entry *entries;
    struct pv_exit exit;
    struct pv_decoded *decoded;
    struct pv_window *windows;
    uint32_t window_count;
    struct pv_recorded *records;
    /* run state */
    enum pv_why why;
    int status;
    char detail[256];
    uint64_t exits, max_exits;
    uint64_t now_ns, deadline_ns, exit_cost_ns;
    bool interrupt_pending, in_hook, in_block, timing, flush_translations, dead, waiting, unsettled, window_open;
    struct pv_controls controls; /* hardware: what the monitor asked for */
    uint32_t vmcb_page; /* hardware: the control block; the two pages behind it say which MSRs exit */
    bool nested_ready;  /* hardware: nested tables map all of memory but the windows of devices */
    uint8_t *port_map;  /* hardware: a bit for each port that exits */
    bool escaped, hypercall; /* hypercall: a VMCALL is being answered, between blocks: its handler may call the guest */
    /* functions that the host calls */
    struct pv_call *call; /* the innermost under way */
    uint32_t call_depth;
    uint64_t call_return; /* the gva that they return to; 0: the guest has named none */
    /* unsettled: something fell due that no exit will settle, so the next slice begins with it */
    /* what an in-block hook could not do there, done once the block is left */
    enum { PV_LEAVE_NONE, PV_LEAVE_ADVANCE, PV_LEAVE_STAY, PV_LEAVE_FAULT /* injected */, PV_LEAVE_EXCEPTION /* the processor's */ } leave;
    struct pv_fault leave_fault;
    volatile uint32_t stop_asked;
    int stop_status;
    uint64_t slice_ns, slice_start_ns, quiet_ns; /* quiet_ns: how long the guest has run since its last exit, counted by slices */
    volatile uint64_t slice_end_ns; /* the slicer moves it on when it repeats a stop */
    struct pv_vcpu *watch_next;
    sigjmp_buf *abort_jump; /* where an abort leads: of the innermost emulation */
    uint64_t events_delivered, interrupts_delivered, double_faults, escapes, slices, ports_passed, system_calls, clock_reads;
    void *python; /* the Cython object, and whether its thread holds the GIL */
    void *thread_state;
    bool gil;
    uint64_t python_exits; /* of this slice: none lets the next one run without the GIL */
};

static inline uint64_t *pv_register(struct pv_vcpu *c, int n) { return (uint64_t *)c->env + n; }
static inline struct pv_segment *pv_segment(struct pv_vcpu *c, int n) { return (struct pv_segment *)(c->env + ENV_SEGMENTS) + n; }
static inline int pv_cpl(struct pv_vcpu *c) { return (int)(ENV32(c->env, ENV_HFLAGS) & HF_CPL); }
static inline bool pv_user(struct pv_vcpu *c) { return pv_cpl(c) == 3; }
/* 64-bit code: not compatibility mode, which only a guest under hardware can enter. */
static inline bool pv_long_code(struct pv_vcpu *c) { return ENV32(c->env, ENV_HFLAGS) & HF_CS64; }
static inline bool pv_hardware(const struct pv_vcpu *c) { return c->mode == PV_HARDWARE; }
static inline bool pv_level_holds(struct pv_vcpu *c) { return pv_hardware(c) || pv_cpl(c) == c->ring || pv_user(c); }
/* The privilege that the guest believes in. */
static inline int pv_seen_cpl(struct pv_vcpu *c) { return pv_hardware(c) ? pv_cpl(c) : pv_user(c) ? 3 : 0; }
static inline bool pv_canonical(uint64_t a) { return (uint64_t)((int64_t)(a << 16) >> 16) == a; }

/* memory.c: from addresses to bytes */
struct pv_mapping { uint64_t gpa; uint64_t flags; int level; };
uint8_t *pv_gpa(struct pv_vcpu *c, uint64_t gpa, uint64_t size);
bool pv_processor_walk(struct pv_vcpu *c, uint64_t gva, struct pv_mapping *to);
uint64_t pv_reserved(struct pv_vcpu *c, uint64_t entry, int level);
struct pv_fault pv_guest_walk(struct pv_vcpu *c, uint64_t gva, uint32_t access, struct pv_mapping *to);
struct pv_fault pv_linear(struct pv_vcpu *c, uint64_t gva, void *data, uint64_t size, bool write, bool user);
uint64_t pv_code_linear(struct pv_vcpu *c, uint64_t rip);
int pv_fetch(struct pv_vcpu *c, uint64_t rip, uint8_t code[15]);
/* arena.c: where tables and what is known of them lie */
uint64_t pv_arena(struct pv_vcpu *c, uint8_t *base, uint32_t pages);
bool pv_arena_check(const struct pv_vcpu *c, uint8_t *levels, bool begun);
/* tables.c: the pool and paravirt's tables */
void pv_pool_init(struct pv_pool *p);
void pv_pool_reset(struct pv_pool *p, uint32_t keep);
int64_t pv_pool_take(struct pv_pool *p);
void pv_pool_give(struct pv_pool *p, uint32_t page);
static inline uint64_t *pv_page(struct pv_pool *p, uint32_t page) { return (uint64_t *)(p->base + PV_PAGE * page); }
static inline uint64_t pv_page_gpa(uint32_t page) { return PV_MONITOR_BASE + PV_PAGE * page; }
bool pv_tables_init(struct pv_vcpu *c);
int pv_tables_create(struct pv_vcpu *c);
int pv_tables_destroy(struct pv_vcpu *c, uint32_t space);
int pv_tables_activate(struct pv_vcpu *c, uint32_t space);
int64_t pv_tables_map(struct pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags);
int64_t pv_tables_unmap(struct pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t pages);
bool pv_tables_lookup(struct pv_vcpu *c, uint32_t space, uint64_t gva, struct pv_mapping *to);
/* shadow.c */
static inline uint32_t pv_shadow_bucket(const struct pv_shadow *s, uint64_t tag) { return (uint32_t)(tag * 0x9e3779b97f4a7c15ull >> 40) & s->hash_mask; }
void pv_shadow_load(struct pv_vcpu *c, uint64_t cr3);
void pv_shadow_invalidate(struct pv_vcpu *c, uint64_t gva);
void pv_shadow_flush(struct pv_vcpu *c);
void pv_shadow_note_write(struct pv_vcpu *c, uint64_t gpa);
struct pv_fault pv_shadow_fault(struct pv_vcpu *c, uint64_t gva, uint32_t error);
void pv_shadow_protect(struct pv_vcpu *c, uint64_t gfn);
/* cache.c, cache_blocks.c, cache_tables.c, callout.c: none does anything without a cache */
bool pv_cache_open(struct pv_vcpu *c, uint32_t pages);
void pv_cache_close(struct pv_vcpu *c);
uint64_t pv_cache_memory(struct pv_vcpu *c, uint8_t **base);
void pv_cache_leave(struct pv_vcpu *c);
void pv_cache_enter(struct pv_vcpu *c);
bool pv_cache_exception(struct pv_vcpu *c, int vector);
bool pv_cache_written(struct pv_vcpu *c, uint64_t gfn);
bool pv_cache_guards(const struct pv_vcpu *c, uint64_t gfn);
void pv_cache_store(struct pv_vcpu *c);
bool pv_cache_claims(struct pv_vcpu *c, uint64_t gva);
void pv_cache_place(struct pv_vcpu *c);
void pv_cache_rebake(struct pv_vcpu *c, uint8_t which);
void pv_cache_trapped(struct pv_vcpu *c, uint64_t rip);
void pv_cache_forget(struct pv_vcpu *c);
void pv_cache_restored(struct pv_vcpu *c);
bool pv_cache_runs(const struct pv_vcpu *c);
bool pv_cache_steps(const struct pv_vcpu *c);
bool pv_cache_astray(const struct pv_vcpu *c);
bool pv_cache_out(const struct pv_vcpu *c);
bool pv_cache_in_place(const struct pv_vcpu *c);
bool pv_cache_has_code(const struct pv_vcpu *c, uint64_t gfn);
void pv_callout(struct pv_vcpu *c);
/* device.c */
bool pv_windows_set(struct pv_vcpu *c);
bool pv_is_device(struct pv_vcpu *c, uint64_t gpa);
bool pv_device_access(struct pv_vcpu *c);
bool pv_device_operand(struct pv_vcpu *c, const struct pv_decoded *slot);
bool pv_walk_faults(struct pv_vcpu *c, uint64_t gva, uint32_t access, struct pv_mapping *to);
void pv_nested_fault(struct pv_vcpu *c, uint64_t gpa, uint32_t access);
/* virtual.c */
enum pv_which { PV_CR0, PV_CR2, PV_CR3, PV_CR4, PV_CR8, PV_EFER, PV_GDT_BASE, PV_IDT_BASE, PV_TR_BASE, PV_LDT_BASE, PV_STAR, PV_LSTAR, PV_CSTAR, PV_FMASK,
                PV_KERNEL_GS_BASE, PV_TSC_OFFSET, PV_TSC_AUX, PV_GDT_LIMIT, PV_IDT_LIMIT, PV_TR_LIMIT, PV_LDT_LIMIT, PV_LDT_SELECTOR,
                PV_TR_SELECTOR, PV_INTERRUPT_FLAG, PV_IOPL };
uint64_t pv_virtual_get(struct pv_vcpu *c, enum pv_which which);
void pv_virtual_set(struct pv_vcpu *c, enum pv_which which, uint64_t value);
/* apic.c */
uint32_t pv_apic_priority(const struct pv_apic *a);
int pv_apic_next(const struct pv_apic *a);
void pv_apic_accept(struct pv_apic *a, int vector, bool level);
void pv_apic_serve(struct pv_vcpu *c, int vector);
int pv_apic_end(struct pv_apic *a);
bool pv_apic_access(struct pv_vcpu *c, uint32_t reg, bool write, bool msr, uint64_t *value);
bool pv_apic_cr8(struct pv_vcpu *c, uint64_t value);
int pv_apic_acknowledge(struct pv_vcpu *c);
/* virtual_apic.c */
bool pv_virtual_page(struct pv_vcpu *c, const struct pv_decoded *slot, uint64_t gpa, bool write);
bool pv_virtual_msr(struct pv_vcpu *c);
/* segments.c */
void pv_enter_level(struct pv_vcpu *c, int cpl, uint16_t cs, uint16_t ss);
uint16_t pv_seen_selector(struct pv_vcpu *c, int segment);
struct pv_fault pv_load_segment(struct pv_vcpu *c, int segment, uint16_t selector);
struct pv_fault pv_set_accessed(struct pv_vcpu *c, uint64_t *descriptor, uint64_t at);
struct pv_fault pv_code_descriptor(struct pv_vcpu *c, uint16_t selector, uint64_t *descriptor, uint64_t *at);
struct pv_fault pv_code_present(struct pv_vcpu *c, uint16_t selector, uint64_t *descriptor, uint64_t at);
struct pv_fault pv_far_transfer(struct pv_vcpu *c, uint16_t selector, uint64_t rip);
uint64_t pv_rflags(struct pv_vcpu *c);
void pv_set_rflags(struct pv_vcpu *c, uint64_t rflags);
bool pv_interrupts_on(struct pv_vcpu *c);
void pv_set_interrupts(struct pv_vcpu *c, bool on);
/* deliver.c */
enum pv_source { PV_EXCEPTION, PV_SOFTWARE, PV_EXTERNAL };
void pv_deliver(struct pv_vcpu *c, int vector, bool has_error, uint32_t error, enum pv_source source);
struct pv_fault pv_interrupt_return(struct pv_vcpu *c);
struct pv_fault pv_return_to(struct pv_vcpu *c, uint64_t rip, uint64_t cs, uint64_t rsp, uint64_t ss);
struct pv_fault pv_system_return(struct pv_vcpu *c, int operand_bits);
bool pv_system_call(struct pv_vcpu *c, uint64_t next_rip);
/* exits.c */
bool pv_hooks_install(struct pv_vcpu *c);
struct pv_entry *pv_entry_for(struct pv_vcpu *c, uint32_t reason, int write, int64_t key);
void pv_stop(struct pv_vcpu *c, enum pv_why why, int status, const char *format, ...);
void pv_settle(struct pv_vcpu *c);
void pv_show_time(struct pv_vcpu *c);
uint64_t pv_clock_ns(void);
enum pv_why pv_run_slice(struct pv_vcpu *c);
enum pv_why pv_run_released(struct pv_vcpu *c, uint64_t until_ns);
void pv_set_cr3(struct pv_vcpu *c, uint64_t gpa);
/* what is counted, in one number: a reason, a direction, and 48 bits of key, of which all ones are -1 */
enum { PV_KEY_BITS = 48 };
#define PV_KEY_MASK ((1ull << PV_KEY_BITS) - 1)
static inline uint64_t pv_tag(uint32_t reason, int write, int64_t key)
{
    return (uint64_t)reason << (PV_KEY_BITS + 1) | (uint64_t)write << PV_KEY_BITS | ((uint64_t)key & PV_KEY_MASK);
}
static inline uint32_t pv_tag_reason(uint64_t tag) { return (uint32_t)(tag >> (PV_KEY_BITS + 1)); }
static inline int pv_tag_write(uint64_t tag) { return (int)(tag >> PV_KEY_BITS & 1); }
static inline int64_t pv_tag_key(uint64_t tag) { return (tag & PV_KEY_MASK) == PV_KEY_MASK ? -1 : (int64_t)(tag & PV_KEY_MASK); }
enum { R_EXCEPTION = 0, R_INTERRUPT_WINDOW = 7, R_CPUID = 10, R_HLT = 12, R_INVD = 13, R_INVLPG = 14, R_RDPMC = 15, R_RDTSC = 16, R_VMCALL = 18, R_CR = 28, R_DR = 29, R_IO = 30,
       R_MSR_READ = 31, R_MSR_WRITE = 32, R_PAUSE = 40, R_GDTR_IDTR = 46, R_LDTR_TR = 47, R_EPT_VIOLATION = 48, R_RDTSCP = 51, R_WBINVD = 54, R_FLAG = 0x100, R_IRET = 0x101, R_SEGMENT = 0x102,
       R_FAR = 0x103, R_SYSCALL = 0x104, R_SYSRET = 0x105, R_SOFTWARE = 0x107, R_MMIO = 0x108 }; /* pv.exits.Reason */
#define PV_NO_NUMBER 0xffffffffll /* the key of every hypercall number that has bits above 30 */
void pv_take_gil(struct pv_vcpu *c);
struct pv_entry *pv_take(struct pv_vcpu *c, uint32_t reason, int write, int64_t key);
void pv_answer(struct pv_vcpu *c, struct pv_entry *entry);
void pv_time(struct pv_entry *entry, uint64_t start);
void pv_open_window(struct pv_vcpu *c);
void pv_close_window(struct pv_vcpu *c);
bool pv_time_stamp(struct pv_vcpu *c, const uint8_t *code, int have);
void pv_emulate(struct pv_vcpu *c, struct pv_decoded *slot);
void pv_single_step(struct pv_vcpu *c, uint64_t rip, uint64_t delivered);
bool pv_must_leave(struct pv_vcpu *c);
void pv_access_port(struct pv_vcpu *c, int write, uint32_t port, int size, uint32_t value);
bool pv_has_error_code(int vector);
enum { PV_LEAVE_BLOCK = 0xe00 }; /* the private exception by which a hook leaves its block */
void pv_on_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *user);
uint32_t pv_on_in(uc_engine *uc, uint32_t port, int size, void *user);
void pv_on_syscall(uc_engine *uc, void *user);
void pv_on_sysenter(uc_engine *uc, void *user);
int pv_prefixes(const uint8_t *code, int have);
int pv_length(const uint8_t *code, int have);
int pv_length_here(struct pv_vcpu *c, bool *string);
void pv_guest_mode_start(struct pv_vcpu *c);
void pv_see_registers(struct pv_vcpu *c);
bool pv_locked(const uint8_t *code, int have);
bool pv_asks(struct pv_vcpu *c, const uint8_t *code, int have);
struct pv_decoded *pv_decode(struct pv_vcpu *c, const uint8_t *code, int have);
void pv_svm_exit(struct pv_vcpu *c, uint32_t code);
void pv_happens(struct pv_vcpu *c, struct pv_fault fault);
enum { PV_CONTROL_PAGES = 3, PV_PORT_MAP = 1 << 13 };
bool pv_hardware_begin(struct pv_vcpu *c);
void pv_hardware_controls(struct pv_vcpu *c);
bool pv_nested_windows(struct pv_vcpu *c);
/* microcode.c: what the processor is told to stop for, and then does by itself */
bool pv_microcode(struct pv_vcpu *c, uint32_t code, const uint8_t *bytes, int have);
int pv_msr_row(uint32_t index);
const struct pv_row *pv_row_for(struct pv_vcpu *c, uint32_t reason, int write, int64_t key);
void pv_histogram_add(struct pv_histogram *h, uint64_t ns);
enum { PV_NATIVE_NONE, PV_NATIVE_REFLECT, PV_NATIVE_SHADOW_FAULT, PV_NATIVE_SYSCALL };
/* the five ways into Python; core.pyx fills them in. Each is called with the GIL held. */
struct pv_python {
    void (*answer)(struct pv_vcpu *c, struct pv_entry *entry);
    bool (*decode)(struct pv_vcpu *c, struct pv_decoded *slot, const uint8_t *code, int size);
    bool (*translate)(struct pv_vcpu *c, uint64_t rip, const uint8_t *code, uint32_t size, uint32_t room, bool checked, uint32_t most);
    int (*acknowledge)(struct pv_vcpu *c);
    void (*deadline)(struct pv_vcpu *c);
};
extern struct pv_python pv_python;
/* ring.c: a ring of calls in guest memory, as abi.py has it */
struct pv_ring { uint32_t submit_tail, complete_head, notify_at, guest[13], submit_head, complete_tail, kick_at, broken, monitor[12]; };
struct pv_ring_call { uint64_t number, arguments[6], token; };
struct pv_ring_completion { uint64_t token; int64_t result; };
uint64_t pv_ring_size(uint32_t entries);
bool pv_ring_count(const struct pv_ring *ring, uint32_t entries, uint32_t submit_head, uint32_t complete_tail, uint32_t *count);
void pv_ring_read(const struct pv_ring *ring, uint32_t entries, uint32_t at, struct pv_ring_call *call);
void pv_ring_write(struct pv_ring *ring, uint32_t entries, uint32_t at, uint64_t token, int64_t result);
void pv_ring_publish(struct pv_ring *ring, uint32_t submit_head, uint32_t complete_tail);
/* call.c: functions that the host calls. run.c: the time they get */
uint64_t pv_call_stack(struct pv_vcpu *c);
struct pv_fault pv_call_enter(struct pv_vcpu *c, struct pv_call *call, uint64_t rip, const uint64_t arguments[6], uint32_t pointers, void *image, uint64_t size);
bool pv_call_leave(struct pv_vcpu *c);
void pv_call_note(struct pv_vcpu *c, uint64_t rip);
void pv_run_call(struct pv_vcpu *c, bool further);
/* state.c: what a snapshot keeps of a processor */
struct pv_field { const char *name; uint32_t at; uint16_t size, count, stride; bool of_env; uint64_t vary, most, vary_own; };
extern const struct pv_field pv_fields[];
extern const int pv_field_count;
uint64_t pv_field_get(struct pv_vcpu *c, const struct pv_field *f);
bool pv_field_set(struct pv_vcpu *c, const struct pv_field *f, uint64_t value);
void pv_field_bytes(struct pv_vcpu *c, const struct pv_field *f, uint8_t *bytes, bool set);
bool pv_state_check(const struct pv_vcpu *c, bool begun);
void pv_state_settle(struct pv_vcpu *c);
void pv_forget_code(struct pv_vcpu *c, uint64_t start, uint64_t end);
bool pv_counts_set(struct pv_vcpu *c, const uint64_t *counts, uint64_t entries);
struct pv_entry *pv_entry_again(struct pv_vcpu *c, uint64_t tag);
/* watchdog.c */
bool pv_watch(struct pv_vcpu *c);
void pv_unwatch(struct pv_vcpu *c);
/* guard.c */
struct pv_vcpu *pv_guard_enter(struct pv_vcpu *c);
void pv_guard_leave(struct pv_vcpu *outer, bool brief);
bool pv_guarded(void);
#endif
