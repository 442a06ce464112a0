/* Hypercalls as functions of C. Generated from the table of calls: do not edit.
 * A result of -4095..-1 is a negated errno. */
#ifndef PVKIT_CALLS_H
#define PVKIT_CALLS_H
#ifndef PVKIT_ABI_H
#include <pvkit_abi.h>
#endif

extern unsigned char pvkit_hypercall_page[4096]; /* filled by the monitor before main */

/* By number, for calls that are in no table. */
static inline int64_t pvkit_call0(uint64_t number)
{
    int64_t result;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call1(uint64_t number, uint64_t a0)
{
    int64_t result;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call2(uint64_t number, uint64_t a0, uint64_t a1)
{
    int64_t result;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0), "S"(a1) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call3(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2)
{
    int64_t result;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0), "S"(a1), "d"(a2) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call4(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = a3;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0), "S"(a1), "d"(a2), "r"(r10) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call5(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = a3;
    register uint64_t r8 __asm__("r8") = a4;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8) : "memory", "cc");
    return result;
}

static inline int64_t pvkit_call6(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = a3;
    register uint64_t r8 __asm__("r8") = a4;
    register uint64_t r9 __asm__("r9") = a5;
    __asm__ volatile("call pvkit_hypercall_page" : "=a"(result) : "a"(number), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9) : "memory", "cc");
    return result;
}

/* the ABI version */
static inline int64_t pvkit_abi_version(void)
{
    return pvkit_call0(PVKIT_CALL_ABI_VERSION);
}

/* the feature bits */
static inline int64_t pvkit_abi_features(void)
{
    return pvkit_call0(PVKIT_CALL_ABI_FEATURES);
}

/* number of the named call, or -ENOENT */
static inline int64_t pvkit_abi_query(const void *name, uint64_t name_bytes)
{
    return pvkit_call2(PVKIT_CALL_ABI_QUERY, (uint64_t)(uintptr_t)name, name_bytes);
}

/* does not return */
__attribute__((noreturn)) static inline void pvkit_exit(uint64_t status)
{
    pvkit_call1(PVKIT_CALL_EXIT, status);
    __builtin_trap();
}

/* does not return: ends a call that the host made */
__attribute__((noreturn)) static inline void pvkit_call_return(uint64_t result, uint64_t more)
{
    pvkit_call2(PVKIT_CALL_CALL_RETURN, result, more);
    __builtin_trap();
}

/* does not return: the guest gave up */
__attribute__((noreturn)) static inline void pvkit_panic(const void *message, uint64_t message_bytes)
{
    pvkit_call2(PVKIT_CALL_PANIC, (uint64_t)(uintptr_t)message, message_bytes);
    __builtin_trap();
}

/* bytes written */
static inline int64_t pvkit_console_write(const void *data, uint64_t data_bytes)
{
    return pvkit_call2(PVKIT_CALL_CONSOLE_WRITE, (uint64_t)(uintptr_t)data, data_bytes);
}

/* ns since the machine started */
static inline int64_t pvkit_clock_read(void)
{
    return pvkit_call0(PVKIT_CALL_CLOCK_READ);
}

/* 0; the page then holds clock_page */
static inline int64_t pvkit_clock_page(void *page)
{
    return pvkit_call1(PVKIT_CALL_CLOCK_PAGE, (uint64_t)(uintptr_t)page);
}

/* 0; raises the port then */
static inline int64_t pvkit_timer_set(uint32_t port, uint64_t deadline_ns, uint64_t period_ns)
{
    return pvkit_call3(PVKIT_CALL_TIMER_SET, port, deadline_ns, period_ns);
}

/* 0 */
static inline int64_t pvkit_timer_cancel(uint32_t port)
{
    return pvkit_call1(PVKIT_CALL_TIMER_CANCEL, port);
}

/* bytes of guest memory */
static inline int64_t pvkit_memory_size(void)
{
    return pvkit_call0(PVKIT_CALL_MEMORY_SIZE);
}

/* pages mapped */
static inline int64_t pvkit_map(uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    return pvkit_call4(PVKIT_CALL_MAP, gva, gpa, pages, flags);
}

/* pages unmapped */
static inline int64_t pvkit_unmap(uint64_t gva, uint64_t pages)
{
    return pvkit_call2(PVKIT_CALL_UNMAP, gva, pages);
}

/* id of a new address space that shares the boot mappings */
static inline int64_t pvkit_space_create(void)
{
    return pvkit_call0(PVKIT_CALL_SPACE_CREATE);
}

/* 0 */
static inline int64_t pvkit_space_switch(uint32_t space)
{
    return pvkit_call1(PVKIT_CALL_SPACE_SWITCH, space);
}

/* 0 */
static inline int64_t pvkit_space_destroy(uint32_t space)
{
    return pvkit_call1(PVKIT_CALL_SPACE_DESTROY, space);
}

/* entries done */
static inline int64_t pvkit_page_update(const void *updates, uint64_t count)
{
    return pvkit_call2(PVKIT_CALL_PAGE_UPDATE, (uint64_t)(uintptr_t)updates, count);
}

/* 0 */
static inline int64_t pvkit_set_trap_table(const void *entries, uint64_t count)
{
    return pvkit_call2(PVKIT_CALL_SET_TRAP_TABLE, (uint64_t)(uintptr_t)entries, count);
}

/* 0 */
static inline int64_t pvkit_set_kernel_stack(uint64_t rsp)
{
    return pvkit_call1(PVKIT_CALL_SET_KERNEL_STACK, rsp);
}

/* 0 */
static inline int64_t pvkit_set_syscall_entry(uint64_t rip)
{
    return pvkit_call1(PVKIT_CALL_SET_SYSCALL_ENTRY, rip);
}

/* 0 */
static inline int64_t pvkit_set_segment_base(uint32_t which, uint64_t base)
{
    return pvkit_call2(PVKIT_CALL_SET_SEGMENT_BASE, which, base);
}

/* 0; the registers are written */
static inline int64_t pvkit_cpuid(uint32_t leaf, uint32_t subleaf, void *registers)
{
    return pvkit_call3(PVKIT_CALL_CPUID, leaf, subleaf, (uint64_t)(uintptr_t)registers);
}

/* 0; 8 bytes are written */
static inline int64_t pvkit_msr_read(uint32_t index, void *value)
{
    return pvkit_call2(PVKIT_CALL_MSR_READ, index, (uint64_t)(uintptr_t)value);
}

/* 0 */
static inline int64_t pvkit_msr_write(uint32_t index, uint64_t value)
{
    return pvkit_call2(PVKIT_CALL_MSR_WRITE, index, value);
}

/* 0; the page then holds event_page */
static inline int64_t pvkit_event_page(void *page, uint64_t upcall_rip)
{
    return pvkit_call2(PVKIT_CALL_EVENT_PAGE, (uint64_t)(uintptr_t)page, upcall_rip);
}

/* a new port */
static inline int64_t pvkit_event_open(void)
{
    return pvkit_call0(PVKIT_CALL_EVENT_OPEN);
}

/* 0 */
static inline int64_t pvkit_event_close(uint32_t port)
{
    return pvkit_call1(PVKIT_CALL_EVENT_CLOSE, port);
}

/* 0 */
static inline int64_t pvkit_event_send(uint32_t port)
{
    return pvkit_call1(PVKIT_CALL_EVENT_SEND, port);
}

/* 0 */
static inline int64_t pvkit_event_mask(uint32_t port, uint32_t masked)
{
    return pvkit_call2(PVKIT_CALL_EVENT_MASK, port, masked);
}

/* 0 once an unmasked event is pending */
static inline int64_t pvkit_event_wait(void)
{
    return pvkit_call0(PVKIT_CALL_EVENT_WAIT);
}

/* 0; delivers what became pending while the guest had upcalls disabled */
static inline int64_t pvkit_event_deliver(void)
{
    return pvkit_call0(PVKIT_CALL_EVENT_DELIVER);
}

/* entries done */
static inline int64_t pvkit_multicall(void *entries, uint64_t count)
{
    return pvkit_call2(PVKIT_CALL_MULTICALL, (uint64_t)(uintptr_t)entries, count);
}

/* id of a new ring of calls */
static inline int64_t pvkit_ring_open(void *ring, uint32_t entries, uint32_t port)
{
    return pvkit_call3(PVKIT_CALL_RING_OPEN, (uint64_t)(uintptr_t)ring, entries, port);
}

/* submissions taken */
static inline int64_t pvkit_ring_kick(uint32_t ring)
{
    return pvkit_call1(PVKIT_CALL_RING_KICK, ring);
}

/* 0 */
static inline int64_t pvkit_ring_close(uint32_t ring)
{
    return pvkit_call1(PVKIT_CALL_RING_CLOSE, ring);
}

/* 0; block_info is written */
static inline int64_t pvkit_block_info(uint32_t disk, void *info)
{
    return pvkit_call2(PVKIT_CALL_BLOCK_INFO, disk, (uint64_t)(uintptr_t)info);
}

/* bytes read */
static inline int64_t pvkit_block_read(uint32_t disk, uint64_t offset, void *data, uint64_t data_bytes)
{
    return pvkit_call4(PVKIT_CALL_BLOCK_READ, disk, offset, (uint64_t)(uintptr_t)data, data_bytes);
}

/* bytes written */
static inline int64_t pvkit_block_write(uint32_t disk, uint64_t offset, const void *data, uint64_t data_bytes)
{
    return pvkit_call4(PVKIT_CALL_BLOCK_WRITE, disk, offset, (uint64_t)(uintptr_t)data, data_bytes);
}

/* 0 */
static inline int64_t pvkit_block_flush(uint32_t disk)
{
    return pvkit_call1(PVKIT_CALL_BLOCK_FLUSH, disk);
}

#endif /* PVKIT_CALLS_H */
