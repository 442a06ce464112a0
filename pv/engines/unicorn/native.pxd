"""The C side of the core, as Cython sees it: see native/vcpu.h for what each field means."""

from libc.stdint cimport int16_t, int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
cdef extern from "stdbool.h":
    ctypedef bint cbool "_Bool"


cdef extern from "native/cache.h" nogil:
    enum: PV_HOT, PV_HOT_AT, PV_POINTS_MOST, PV_LINKS_MOST, PV_CONTEXTS
    struct pv_point:
        uint16_t at
        int16_t guest
        uint8_t undo
    struct pv_link:
        uint64_t target
        uint16_t stub
        int16_t patch
        cbool chained
    struct pv_draft:
        uint8_t *code
        pv_point *point
        pv_link *link
        uint16_t size, source_bytes, instructions, points, links
        uint8_t bakes
    struct pv_block:
        uint64_t rip
        uint32_t at
        uint16_t size, source_bytes, points, links
        cbool live, checked
        pv_point *point
        pv_link *link
        uint8_t *source
    struct pv_cache_counts:
        uint64_t translations, instructions, source_bytes, cache_bytes, chained, lookups, hits, evicted, invalidated, writes, faults
        uint64_t moved, steps, windows, checks, retranslated
        uint64_t *callouts
    struct pv_hot:
        uint64_t rip
        uint32_t count
    struct pv_cache:
        pv_hot *hot
        uint8_t *base
        uint64_t linear
        uint32_t block_room
        pv_block *blocks
        pv_draft draft
        pv_cache_counts counts


cdef extern from "native/vcpu.h" nogil:
    ctypedef struct uc_engine:
        pass
    ctypedef int uc_err

    struct pv_engine_api:
        uc_err (*open)(int, int, uc_engine **)
        uc_err (*close)(uc_engine *)
        const char *(*strerror)(uc_err)
        uc_err (*reg_read)(uc_engine *, int, void *)
        uc_err (*reg_write)(uc_engine *, int, const void *)
        uc_err (*mem_map_ptr)(uc_engine *, uint64_t, uint64_t, uint32_t, void *)
        uc_err (*emu_stop)(uc_engine *)
        uc_err (*ctl)(uc_engine *, int, ...)
        void (*tlb_flush)(void *)
        void (*tlb_flush_page)(void *, uint64_t)
        void (*tb_invalidate_phys_range)(uc_engine *, uint64_t, uint64_t)
        void (*cpu_x86_cpuid)(void *, uint32_t, uint32_t, uint32_t *, uint32_t *, uint32_t *, uint32_t *)
    pv_engine_api pv_uc
    const char *pv_engine_load(const char *path)
    const char *pv_engine_probe()

    int UC_ARCH_X86, UC_MODE_64, UC_PROT_ALL, UC_PROT_READ, UC_PROT_WRITE
    int UC_X86_REG_CR0, UC_X86_REG_CR3, UC_X86_REG_CR4, UC_X86_REG_MSR, UC_X86_REG_GDTR, UC_X86_REG_IDTR
    int UC_CTL_TCG_BUFFER_SIZE, UC_CTL_TB_FLUSH
    int UC_CTL_WRITE(int, int)
    ctypedef struct uc_x86_mmr:
        uint16_t selector
        uint64_t base
        uint32_t limit
        uint32_t flags
    ctypedef struct uc_x86_msr:
        uint32_t rid
        uint64_t value

    struct pv_route_s "pv_route":
        uint32_t cpu_word, env_word, no_exit_request
    pv_route_s pv_route
    int PV_ENV_SIZE
    int ENV_RIP, ENV_CR, ENV_GDT, ENV_HFLAGS, ENV_EFLAGS, ENV_XMM
    int HF_MP, HF_TS, HF_INHIBIT_IRQ
    int PV_RAX, PV_RSP, PV_FS, PV_GS
    uint64_t ENV64(void *env, int at)
    uint32_t ENV32(void *env, int at)

    struct pv_segment_s "pv_segment":
        uint32_t selector
        uint64_t base
        uint32_t limit
        uint32_t flags

    enum: PV_TRAP, PV_PARAVIRT, PV_HARDWARE
    enum: PV_SHAPE_EXIT, PV_SHAPE_CALL, PV_SHAPE_READ, PV_SHAPE_WRITE, PV_SHAPE_NATIVE
    enum: R_EXCEPTION, R_SOFTWARE, R_SYSCALL
    enum: PV_NATIVE_NONE, PV_NATIVE_REFLECT, PV_NATIVE_SHADOW_FAULT, PV_NATIVE_SYSCALL
    enum: PV_RUNNING, PV_EXITED, PV_MAX_EXITS, PV_STOPPED, PV_PANICKED, PV_TIMEOUT, PV_UNHANDLED, PV_RAISED
    enum: PV_LEAVE_NONE, PV_LEAVE_STAY, PV_LEAVE_FAULT
    enum: PV_BUCKETS, PV_ENTRIES, PV_INDEX, PV_RECORDS, PV_DECODED
    enum: R_VMCALL, R_IO, R_MMIO
    uint64_t PV_MONITOR_BASE

    struct pv_fault:
        int vector
        cbool has_error
        uint32_t error
    struct pv_virtual:
        uint64_t cr0, cr2, cr3, cr4, cr8, efer
        uint64_t gdt_base, idt_base, tr_base, ldt_base
        uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_offset, tsc_aux
        uint32_t gdt_limit, idt_limit, tr_limit, ldt_limit
        uint16_t ldt_selector, tr_selector
        uint8_t interrupt_flag, iopl
    struct pv_pool:
        uint8_t *base
        uint32_t pages, used
        uint32_t *next
    struct pv_shadow:
        uint32_t *hash
        uint64_t fills, table_writes, guest_faults, syncs, zaps, roots, root_hits
    struct pv_tables:
        uint32_t *roots
        uint32_t active
    enum: PV_SPACES, PV_SHADOW_FIRST
    struct pv_apic:
        uint64_t *irr
        uint64_t *isr
        uint64_t *tmr
        uint64_t command, accesses, delivered
        uint32_t svr, ldr, dfr
        uint8_t tpr, mode, timer_vector
        cbool external
    enum: PV_APIC_MSRS
    uint32_t pv_apic_priority(const pv_apic *a)
    int pv_apic_next(const pv_apic *a)
    void pv_apic_accept(pv_apic *a, int vector, cbool level)
    void pv_apic_serve(pv_vcpu *c, int vector)
    int pv_apic_end(pv_apic *a)
    struct pv_trap:
        uint64_t rip
        uint32_t flags
    struct pv_exit:
        uint32_t reason
        int64_t key
        uint64_t value, address
        uint32_t size, error_code, length
        void *insn
    struct pv_histogram:
        uint64_t count, total_ns, min_ns, max_ns
        uint64_t *buckets
    struct pv_row:
        uint32_t reason
        int64_t first, last
        void *handler
        void *callable
        void **bound
        uint8_t bound_count
        uint8_t shape, native, argc, user_allowed, batchable
        uint8_t *bits
    struct pv_entry:
        uint64_t tag, count, calls
        const pv_row *row
        pv_histogram *histogram
    struct pv_recorded:
        uint64_t number, tag, rip, eflags, cr3
        uint64_t *registers
        uint8_t cpl
    struct pv_controls:
        uint64_t instructions
        uint32_t exceptions, msrs
        uint16_t cr_reads, cr_writes, dr_reads, dr_writes
        cbool apic_virtual
    struct pv_operand:
        int64_t displacement
        uint64_t mask
        int8_t base, index, segment, bits
        uint8_t scale, size, write
    enum: PV_OPERANDS, PV_PORT_MAP
    struct pv_decoded:
        uint64_t rip
        pv_operand *operand
        uint8_t operands
        uint8_t *code
        void *insn
        uint32_t reason
        int64_t key
        uint8_t length
    struct pv_mapping:
        uint64_t gpa, flags
        int level

    struct pv_call:
        uint64_t result, more
        cbool done

    struct pv_vcpu:
        uc_engine *uc
        uint8_t *cpu
        uint8_t *env
        int mode
        uint8_t ring
        uint8_t *ram
        uint64_t ram_size
        pv_virtual v
        pv_pool pool
        pv_shadow shadow
        pv_tables tables
        pv_apic apic
        pv_cache *cache
        pv_trap *traps
        uint64_t kernel_stack, syscall_entry, upcall_rip
        uint8_t *event_page
        uint64_t *clock_page
        pv_row *rows
        uint32_t row_count, entry_count
        uint16_t *index
        pv_entry *entries
        pv_exit exit
        pv_decoded *decoded
        void *windows
        pv_recorded *records
        int why, status
        char *detail
        uint64_t exits, max_exits, now_ns, deadline_ns, exit_cost_ns, slice_ns
        cbool interrupt_pending, in_hook, in_block, timing, flush_translations, dead, waiting, unsettled
        int leave
        pv_fault leave_fault
        uint32_t stop_asked
        int stop_status
        uint64_t events_delivered, interrupts_delivered, double_faults, escapes, slices, python_exits
        uint32_t vmcb_page
        pv_controls controls
        uint8_t *port_map
        uint64_t ports_passed, system_calls, clock_reads
        cbool hypercall
        pv_call *call
        uint32_t call_depth
        uint64_t call_return
        void *python
        void *thread_state
        cbool gil

    uint64_t *pv_register(pv_vcpu *c, int n)
    pv_segment_s *pv_segment(pv_vcpu *c, int n)
    int pv_cpl(pv_vcpu *c)
    cbool pv_user(pv_vcpu *c)
    cbool pv_canonical(uint64_t)
    uint8_t *pv_gpa(pv_vcpu *c, uint64_t gpa, uint64_t size)
    cbool pv_is_device(pv_vcpu *c, uint64_t gpa)
    struct pv_ring:
        pass
    struct pv_ring_call:
        uint64_t number
        uint64_t arguments[6]
        uint64_t token
    uint64_t pv_ring_size(uint32_t entries)
    cbool pv_ring_count(const pv_ring *ring, uint32_t entries, uint32_t submit_head, uint32_t complete_tail, uint32_t *count)
    void pv_ring_read(const pv_ring *ring, uint32_t entries, uint32_t at, pv_ring_call *call)
    void pv_ring_write(pv_ring *ring, uint32_t entries, uint32_t at, uint64_t token, int64_t result)
    void pv_ring_publish(pv_ring *ring, uint32_t submit_head, uint32_t complete_tail)
    pv_fault pv_linear(pv_vcpu *c, uint64_t gva, void *data, uint64_t size, cbool write, cbool user)
    int pv_fetch(pv_vcpu *c, uint64_t rip, uint8_t *code)
    uint64_t pv_arena(pv_vcpu *c, uint8_t *base, uint32_t pages)
    cbool pv_arena_check(const pv_vcpu *c, uint8_t *levels, cbool begun)
    void pv_pool_init(pv_pool *p)
    void pv_pool_reset(pv_pool *p, uint32_t keep)
    int64_t pv_pool_take(pv_pool *p)
    uint64_t *pv_page(pv_pool *p, uint32_t page)
    uint64_t pv_page_gpa(uint32_t page)
    cbool pv_tables_init(pv_vcpu *c)
    int pv_tables_create(pv_vcpu *c)
    int pv_tables_destroy(pv_vcpu *c, uint32_t space)
    int pv_tables_activate(pv_vcpu *c, uint32_t space)
    int64_t pv_tables_map(pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags)
    int64_t pv_tables_unmap(pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t pages)
    cbool pv_tables_lookup(pv_vcpu *c, uint32_t space, uint64_t gva, pv_mapping *to)
    void pv_shadow_load(pv_vcpu *c, uint64_t cr3)
    void pv_shadow_invalidate(pv_vcpu *c, uint64_t gva)
    void pv_shadow_flush(pv_vcpu *c)
    void pv_enter_level(pv_vcpu *c, int cpl, uint16_t cs, uint16_t ss)
    uint16_t pv_seen_selector(pv_vcpu *c, int segment)
    pv_fault pv_load_segment(pv_vcpu *c, int segment, uint16_t selector)
    pv_fault pv_far_transfer(pv_vcpu *c, uint16_t selector, uint64_t rip)
    pv_fault pv_return_to(pv_vcpu *c, uint64_t rip, uint64_t cs, uint64_t rsp, uint64_t ss)
    uint64_t pv_rflags(pv_vcpu *c)
    void pv_set_rflags(pv_vcpu *c, uint64_t rflags)
    cbool pv_interrupts_on(pv_vcpu *c)
    enum: PV_EXCEPTION, PV_SOFTWARE, PV_EXTERNAL
    void pv_deliver(pv_vcpu *c, int vector, cbool has_error, uint32_t error, int source)
    pv_fault pv_interrupt_return(pv_vcpu *c)
    pv_fault pv_system_return(pv_vcpu *c, int operand_bits)
    cbool pv_hooks_install(pv_vcpu *c)
    pv_entry *pv_entry_for(pv_vcpu *c, uint32_t reason, int write, int64_t key)
    uint32_t pv_tag_reason(uint64_t tag)
    int pv_tag_write(uint64_t tag)
    int64_t pv_tag_key(uint64_t tag)
    cbool pv_windows_set(pv_vcpu *c)
    pv_fault pv_guest_walk(pv_vcpu *c, uint64_t gva, uint32_t access, pv_mapping *to)
    enum: PF_W, PF_U, VEC_PF, VEC_GP
    const pv_row *pv_row_for(pv_vcpu *c, uint32_t reason, int write, int64_t key)
    void pv_stop(pv_vcpu *c, int why, int status, const char *format, ...)
    void pv_guest_mode_start(pv_vcpu *c)
    enum: PV_CONTROL_PAGES
    cbool pv_hardware(const pv_vcpu *c)
    cbool pv_hardware_begin(pv_vcpu *c)
    void pv_hardware_controls(pv_vcpu *c)
    void pv_close_window(pv_vcpu *c)
    cbool pv_nested_windows(pv_vcpu *c)
    int pv_msr_row(uint32_t index)
    enum pv_which:
        PV_CR0, PV_CR2, PV_CR3, PV_CR4, PV_CR8, PV_EFER, PV_GDT_BASE, PV_IDT_BASE, PV_TR_BASE, PV_LDT_BASE, PV_STAR, PV_LSTAR, PV_CSTAR
        PV_FMASK, PV_KERNEL_GS_BASE, PV_TSC_OFFSET, PV_TSC_AUX, PV_GDT_LIMIT, PV_IDT_LIMIT, PV_TR_LIMIT, PV_LDT_LIMIT
        PV_LDT_SELECTOR, PV_TR_SELECTOR, PV_INTERRUPT_FLAG, PV_IOPL
    uint64_t pv_virtual_get(pv_vcpu *c, pv_which which)
    void pv_virtual_set(pv_vcpu *c, pv_which which, uint64_t value)
    uint64_t pv_clock_ns()
    void pv_set_cr3(pv_vcpu *c, uint64_t gpa)
    struct pv_field:
        const char *name
        uint16_t size, count
    const pv_field *pv_fields
    int pv_field_count
    uint64_t pv_field_get(pv_vcpu *c, const pv_field *f)
    cbool pv_field_set(pv_vcpu *c, const pv_field *f, uint64_t value)
    void pv_field_bytes(pv_vcpu *c, const pv_field *f, uint8_t *bytes, cbool set)
    cbool pv_state_check(const pv_vcpu *c, cbool begun)
    void pv_state_settle(pv_vcpu *c)
    void pv_forget_code(pv_vcpu *c, uint64_t start, uint64_t end)
    cbool pv_counts_set(pv_vcpu *c, const uint64_t *counts, uint64_t entries)
    struct pv_python_s "pv_python":
        void (*answer)(pv_vcpu *, pv_entry *) noexcept
        cbool (*decode)(pv_vcpu *, pv_decoded *, const uint8_t *, int) noexcept
        cbool (*translate)(pv_vcpu *, uint64_t, const uint8_t *, uint32_t, uint32_t, cbool, uint32_t) noexcept
        int (*acknowledge)(pv_vcpu *) noexcept
        void (*deadline)(pv_vcpu *) noexcept
    pv_python_s pv_python


cdef extern from "native/vcpu.h":
    int pv_run_slice(pv_vcpu *c)
    int pv_run_released(pv_vcpu *c, uint64_t until_ns)
    void pv_run_call(pv_vcpu *c, cbool further)
    uint64_t pv_call_stack(pv_vcpu *c)
    pv_fault pv_call_enter(pv_vcpu *c, pv_call *call, uint64_t rip, uint64_t *arguments, uint32_t pointers, void *image, uint64_t size)
    cbool pv_call_leave(pv_vcpu *c)
    void pv_call_note(pv_vcpu *c, uint64_t rip)


cdef extern from "native/bare.h" nogil:
    struct pv_bare:
        uc_engine *uc
        uint64_t events
        uint32_t console_bytes, status
        cbool ended
        uint16_t exit_port
        uint8_t *console
    const char *pv_bare_open(pv_bare *b, uint8_t *ram, uint64_t ram_size, uint32_t translation_buffer_bytes)
    const char *pv_bare_start(pv_bare *b, uint64_t rip, uint64_t rsp, uint64_t cr3, uint64_t gdt_base, uint32_t gdt_limit)
    const char *pv_bare_run(pv_bare *b)


cdef extern from "native/cache.h" nogil:
    uint64_t PV_CACHE_BASE
    cbool pv_cache_open(pv_vcpu *c, uint32_t pages)
    void pv_cache_close(pv_vcpu *c)
    uint64_t pv_cache_memory(pv_vcpu *c, uint8_t **base)
    cbool pv_cache_written(pv_vcpu *c, uint64_t gfn)
    uint16_t pv_seen_selector(pv_vcpu *c, int segment)
