/* The pvkit hypercall ABI, version 1. Generated from guest_sdk/abi.py: do not edit.
 * Number in RAX, arguments in RDI RSI RDX R10 R8 R9, result in RAX; -4095..-1 is a negated errno. */
#ifndef PVKIT_ABI_H
#define PVKIT_ABI_H

/* Scalars. */
#define PVKIT_ABI_VERSION 0x1
#define PVKIT_CPUID_SIGNATURE_LEAF 0x40000000
#define PVKIT_CPUID_FEATURES_LEAF 0x40000001
#define PVKIT_CPUID_HYPERCALL_LEAF 0x40000002
#define PVKIT_HYPERCALL_PAGE_MSR 0x50564b00
#define PVKIT_FOREIGN_LAST 0xfff
#define PVKIT_BUILT_IN_FIRST 0x1000
#define PVKIT_BUILT_IN_LAST 0x1fff
#define PVKIT_PLUGIN_FIRST 0x8000
#define PVKIT_PLUGIN_LAST 0xffff
#define PVKIT_EVENT_PORTS 0x400
#define PVKIT_TIMER_PERIOD_LEAST 0x2710
#define PVKIT_TIME_MOST 0x4000000000000000
#define PVKIT_MULTICALL_MOST 0x1000
#define PVKIT_UPDATES_MOST 0x1000
#define PVKIT_RING_MOST 0x1000
#define PVKIT_NO_PORT 0xffffffff
#define PVKIT_BLOCK_MOST 0x100000
#define PVKIT_SECTOR_BYTES 0x200
#define PVKIT_CALL_RETURN_OFFSET 0x40
#define PVKIT_NOTE_TYPE 0x50564b31
#define PVKIT_LOAD_FIRST 0x100000
#define PVKIT_BOOT_STACK_TOP 0x80000
#define PVKIT_DEBUG_EXIT_PORT 0xf4

/* The signature, as CPUID returns it. */
#define PVKIT_SIGNATURE_EBX 0x696b7670
#define PVKIT_SIGNATURE_ECX 0x6b767074
#define PVKIT_SIGNATURE_EDX 0x76707469

/* Feature masks. */
#define PVKIT_FEATURE_INLINE_VMCALL 0x1
#define PVKIT_FEATURE_CONSOLE 0x2
#define PVKIT_FEATURE_CLOCK_PAGE 0x4
#define PVKIT_FEATURE_MEMORY 0x8
#define PVKIT_FEATURE_CPU 0x10
#define PVKIT_FEATURE_EVENTS 0x20
#define PVKIT_FEATURE_MULTICALL 0x40
#define PVKIT_FEATURE_TIMER 0x80
#define PVKIT_FEATURE_RING 0x100
#define PVKIT_FEATURE_BLOCK 0x200
#define PVKIT_FEATURE_GUEST_CALLS 0x400

/* Hypercall numbers. */
#define PVKIT_CALL_ABI_VERSION 0x1000 /* abi_version() -> the ABI version */
#define PVKIT_CALL_ABI_FEATURES 0x1001 /* abi_features() -> the feature bits */
#define PVKIT_CALL_ABI_QUERY 0x1002 /* abi_query(name_gpa:64, name_bytes:64) -> number of the named call, or -ENOENT */
#define PVKIT_CALL_EXIT 0x1003 /* exit(status:64) -> does not return */
#define PVKIT_CALL_CALL_RETURN 0x1004 /* call_return(result:64, more:64) -> does not return: ends a call that the host made */
#define PVKIT_CALL_PANIC 0x1005 /* panic(message_gpa:64, message_bytes:64) -> does not return: the guest gave up */
#define PVKIT_CALL_CONSOLE_WRITE 0x1010 /* console_write(data_gpa:64, data_bytes:64) -> bytes written */
#define PVKIT_CALL_CLOCK_READ 0x1020 /* clock_read() -> ns since the machine started */
#define PVKIT_CALL_CLOCK_PAGE 0x1021 /* clock_page(page_gpa:64) -> 0; the page then holds clock_page */
#define PVKIT_CALL_TIMER_SET 0x1022 /* timer_set(port:32, deadline_ns:64, period_ns:64) -> 0; raises the port then */
#define PVKIT_CALL_TIMER_CANCEL 0x1023 /* timer_cancel(port:32) -> 0 */
#define PVKIT_CALL_MEMORY_SIZE 0x1030 /* memory_size() -> bytes of guest memory */
#define PVKIT_CALL_MAP 0x1031 /* map(gva:64, gpa:64, pages:64, flags:32) -> pages mapped */
#define PVKIT_CALL_UNMAP 0x1032 /* unmap(gva:64, pages:64) -> pages unmapped */
#define PVKIT_CALL_SPACE_CREATE 0x1033 /* space_create() -> id of a new address space that shares the boot mappings */
#define PVKIT_CALL_SPACE_SWITCH 0x1034 /* space_switch(space:32) -> 0 */
#define PVKIT_CALL_SPACE_DESTROY 0x1035 /* space_destroy(space:32) -> 0 */
#define PVKIT_CALL_PAGE_UPDATE 0x1036 /* page_update(updates_gpa:64, count:64) -> entries done */
#define PVKIT_CALL_SET_TRAP_TABLE 0x1040 /* set_trap_table(entries_gpa:64, count:64) -> 0 */
#define PVKIT_CALL_SET_KERNEL_STACK 0x1041 /* set_kernel_stack(rsp:64) -> 0 */
#define PVKIT_CALL_SET_SYSCALL_ENTRY 0x1042 /* set_syscall_entry(rip:64) -> 0 */
#define PVKIT_CALL_SET_SEGMENT_BASE 0x1043 /* set_segment_base(which:32, base:64) -> 0 */
#define PVKIT_CALL_RETURN_FROM_EVENT 0x1044 /* return_from_event() -> does not return: pops rax rip cs rflags rsp ss */
#define PVKIT_CALL_CPUID 0x1045 /* cpuid(leaf:32, subleaf:32, registers_gpa:64) -> 0; the registers are written */
#define PVKIT_CALL_MSR_READ 0x1046 /* msr_read(index:32, value_gpa:64) -> 0; 8 bytes are written */
#define PVKIT_CALL_MSR_WRITE 0x1047 /* msr_write(index:32, value:64) -> 0 */
#define PVKIT_CALL_EVENT_PAGE 0x1050 /* event_page(page_gpa:64, upcall_rip:64) -> 0; the page then holds event_page */
#define PVKIT_CALL_EVENT_OPEN 0x1051 /* event_open() -> a new port */
#define PVKIT_CALL_EVENT_CLOSE 0x1052 /* event_close(port:32) -> 0 */
#define PVKIT_CALL_EVENT_SEND 0x1053 /* event_send(port:32) -> 0 */
#define PVKIT_CALL_EVENT_MASK 0x1054 /* event_mask(port:32, masked:32) -> 0 */
#define PVKIT_CALL_EVENT_WAIT 0x1055 /* event_wait() -> 0 once an unmasked event is pending */
#define PVKIT_CALL_EVENT_DELIVER 0x1056 /* event_deliver() -> 0; delivers what became pending while the guest had upcalls disabled */
#define PVKIT_CALL_MULTICALL 0x1060 /* multicall(entries_gpa:64, count:64) -> entries done */
#define PVKIT_CALL_RING_OPEN 0x1061 /* ring_open(ring_gpa:64, entries:32, port:32) -> id of a new ring of calls */
#define PVKIT_CALL_RING_KICK 0x1062 /* ring_kick(ring:32) -> submissions taken */
#define PVKIT_CALL_RING_CLOSE 0x1063 /* ring_close(ring:32) -> 0 */
#define PVKIT_CALL_BLOCK_INFO 0x1070 /* block_info(disk:32, info_gpa:64) -> 0; block_info is written */
#define PVKIT_CALL_BLOCK_READ 0x1071 /* block_read(disk:32, offset:64, data_gpa:64, data_bytes:64) -> bytes read */
#define PVKIT_CALL_BLOCK_WRITE 0x1072 /* block_write(disk:32, offset:64, data_gpa:64, data_bytes:64) -> bytes written */
#define PVKIT_CALL_BLOCK_FLUSH 0x1073 /* block_flush(disk:32) -> 0 */

/* Errno: a failed call returns the value negated. */
#define PVKIT_EPERM 0x1
#define PVKIT_ENOENT 0x2
#define PVKIT_EIO 0x5
#define PVKIT_E2BIG 0x7
#define PVKIT_EAGAIN 0xb
#define PVKIT_ENOMEM 0xc
#define PVKIT_EFAULT 0xe
#define PVKIT_EEXIST 0x11
#define PVKIT_ENODEV 0x13
#define PVKIT_EINVAL 0x16
#define PVKIT_ENOSPC 0x1c
#define PVKIT_EROFS 0x1e
#define PVKIT_ENOSYS 0x26

/* Flags of map and page_update. */
#define PVKIT_MAP_PRESENT 0x1
#define PVKIT_MAP_WRITE 0x2
#define PVKIT_MAP_USER 0x4
#define PVKIT_MAP_EXECUTE 0x8

/* Flags of block_info. */
#define PVKIT_BLOCK_READ_ONLY 0x1

/* Segment bases. */
#define PVKIT_SEGMENT_FS 0x0
#define PVKIT_SEGMENT_GS 0x1
#define PVKIT_SEGMENT_KERNEL_GS 0x2

/* Selectors. */
#define PVKIT_KERNEL_CS 0x9
#define PVKIT_KERNEL_SS 0x11
#define PVKIT_USER_SS 0x1b
#define PVKIT_USER_CS 0x23

/* Offsets and sizes of structures, in bytes. */
#define PVKIT_CLOCK_PAGE_SEQUENCE 0x0
#define PVKIT_CLOCK_PAGE_NS 0x8
#define PVKIT_CLOCK_PAGE_SIZE 0x10
#define PVKIT_PAGE_UPDATE_SPACE 0x0
#define PVKIT_PAGE_UPDATE_FLAGS 0x4
#define PVKIT_PAGE_UPDATE_GVA 0x8
#define PVKIT_PAGE_UPDATE_GPA 0x10
#define PVKIT_PAGE_UPDATE_PAGES 0x18
#define PVKIT_PAGE_UPDATE_SIZE 0x20
#define PVKIT_TRAP_ENTRY_VECTOR 0x0
#define PVKIT_TRAP_ENTRY_FLAGS 0x4
#define PVKIT_TRAP_ENTRY_RIP 0x8
#define PVKIT_TRAP_ENTRY_SIZE 0x10
#define PVKIT_EVENT_PAGE_ENABLED 0x0
#define PVKIT_EVENT_PAGE_UPCALL_PENDING 0x1
#define PVKIT_EVENT_PAGE_RESERVED 0x2
#define PVKIT_EVENT_PAGE_CR2 0x8
#define PVKIT_EVENT_PAGE_PENDING 0x10
#define PVKIT_EVENT_PAGE_MASK 0x90
#define PVKIT_EVENT_PAGE_SIZE 0x110
#define PVKIT_MULTICALL_ENTRY_NUMBER 0x0
#define PVKIT_MULTICALL_ENTRY_ARGUMENTS 0x8
#define PVKIT_MULTICALL_ENTRY_RESULT 0x38
#define PVKIT_MULTICALL_ENTRY_SIZE 0x40
#define PVKIT_CPUID_REGISTERS_EAX 0x0
#define PVKIT_CPUID_REGISTERS_EBX 0x4
#define PVKIT_CPUID_REGISTERS_ECX 0x8
#define PVKIT_CPUID_REGISTERS_EDX 0xc
#define PVKIT_CPUID_REGISTERS_SIZE 0x10
#define PVKIT_RING_SUBMIT_TAIL 0x0
#define PVKIT_RING_COMPLETE_HEAD 0x4
#define PVKIT_RING_NOTIFY_AT 0x8
#define PVKIT_RING_GUEST_RESERVED 0xc
#define PVKIT_RING_SUBMIT_HEAD 0x40
#define PVKIT_RING_COMPLETE_TAIL 0x44
#define PVKIT_RING_KICK_AT 0x48
#define PVKIT_RING_BROKEN 0x4c
#define PVKIT_RING_MONITOR_RESERVED 0x50
#define PVKIT_RING_SIZE 0x80
#define PVKIT_RING_SUBMISSION_NUMBER 0x0
#define PVKIT_RING_SUBMISSION_ARGUMENTS 0x8
#define PVKIT_RING_SUBMISSION_TOKEN 0x38
#define PVKIT_RING_SUBMISSION_SIZE 0x40
#define PVKIT_RING_COMPLETION_TOKEN 0x0
#define PVKIT_RING_COMPLETION_RESULT 0x8
#define PVKIT_RING_COMPLETION_SIZE 0x10
#define PVKIT_BLOCK_INFO_DISK_BYTES 0x0
#define PVKIT_BLOCK_INFO_SECTOR_BYTES 0x8
#define PVKIT_BLOCK_INFO_FLAGS 0xc
#define PVKIT_BLOCK_INFO_SIZE 0x10

#ifndef __ASSEMBLER__
#include <stdint.h>
#ifdef __cplusplus
#define PVKIT_STATIC_ASSERT static_assert
#else
#define PVKIT_STATIC_ASSERT _Static_assert
#endif

struct pvkit_clock_page {
    uint64_t sequence;
    uint64_t ns;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_clock_page) == 16, "clock_page");

struct pvkit_page_update {
    uint32_t space;
    uint32_t flags;
    uint64_t gva;
    uint64_t gpa;
    uint64_t pages;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_page_update) == 32, "page_update");

struct pvkit_trap_entry {
    uint32_t vector;
    uint32_t flags;
    uint64_t rip;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_trap_entry) == 16, "trap_entry");

struct pvkit_event_page {
    uint8_t enabled;
    uint8_t upcall_pending;
    uint8_t reserved[6];
    uint64_t cr2;
    uint64_t pending[16];
    uint64_t mask[16];
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_event_page) == 272, "event_page");

struct pvkit_multicall_entry {
    uint64_t number;
    uint64_t arguments[6];
    uint64_t result;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_multicall_entry) == 64, "multicall_entry");

struct pvkit_cpuid_registers {
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_cpuid_registers) == 16, "cpuid_registers");

struct pvkit_ring {
    uint32_t submit_tail;
    uint32_t complete_head;
    uint32_t notify_at;
    uint8_t guest_reserved[52];
    uint32_t submit_head;
    uint32_t complete_tail;
    uint32_t kick_at;
    uint32_t broken;
    uint64_t monitor_reserved[6];
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_ring) == 128, "ring");

struct pvkit_ring_submission {
    uint64_t number;
    uint64_t arguments[6];
    uint64_t token;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_ring_submission) == 64, "ring_submission");

struct pvkit_ring_completion {
    uint64_t token;
    uint64_t result;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_ring_completion) == 16, "ring_completion");

struct pvkit_block_info {
    uint64_t disk_bytes;
    uint32_t sector_bytes;
    uint32_t flags;
} __attribute__((packed));
PVKIT_STATIC_ASSERT(sizeof(struct pvkit_block_info) == 16, "block_info");

/* X(EPERM) X(ENOENT) and so on: every errno. */
#define PVKIT_ERRNO_LIST(X) X(EPERM) X(ENOENT) X(EIO) X(E2BIG) X(EAGAIN) X(ENOMEM) X(EFAULT) X(EEXIST) X(ENODEV) X(EINVAL) X(ENOSPC) X(EROFS) X(ENOSYS)
#endif /* __ASSEMBLER__ */

#endif /* PVKIT_ABI_H */
