/* What runs before main? The stack, the hypercall page, constructors; then main, whose result is the exit status.
 * The monitor starts here in 64-bit mode with paging on, every address its own gpa, and all of .bss zero. */
#include <pvkit_abi.h>

    .section .text.pvkit_start, "ax"
    .globl _start
_start:
    movl $pvkit_stack_top, %esp
    movl $PVKIT_HYPERCALL_PAGE_MSR, %ecx
    movl $pvkit_hypercall_page + 1, %eax    /* bit 0 asks the monitor to fill the page */
    xorl %edx, %edx
    wrmsr
    xorl %ebp, %ebp                         /* no frame is outside this one */
    movl $pvkit_init_first, %ebx
1:  cmpl $pvkit_init_end, %ebx
    jae 2f
    call *(%rbx)
    addl $8, %ebx
    jmp 1b
2:  call main
    movl %eax, %edi
    movl $PVKIT_CALL_EXIT, %eax
    call pvkit_hypercall_page
    ud2                                     /* exit does not return */
    .type _start, @function
    .size _start, . - _start

    .section .hypercall, "ax"
    .globl pvkit_hypercall_page
    .balign 4096
pvkit_hypercall_page:
    .fill 4096, 1, 0xc3
    .type pvkit_hypercall_page, @function
    .size pvkit_hypercall_page, . - pvkit_hypercall_page

    .section .note.pvkit, "a", @note        /* gABI, chapter 5: owner, type, and the ABI's version */
    .balign 4
    .long 2f - 1f, 4f - 3f, PVKIT_NOTE_TYPE
1:  .asciz "pvkit"
2:  .balign 4
3:  .long PVKIT_ABI_VERSION
4:
    .section .note.GNU-stack, "", @progbits
