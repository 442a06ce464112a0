/* Where does an event enter the guest? Here, on the stack of what it interrupted, with upcalls disabled.
 * On the stack lie RIP CS RFLAGS RSP SS. What a function of C may change is saved, SSE and x87 included (FXSAVE), so
 * that a handler may be any C; then pvkit_events_serve runs what is due. return_from_event takes RAX from the stack. */
#include <pvkit_abi.h>

    .section .text.pvkit_upcall, "ax"
    .globl pvkit_upcall
pvkit_upcall:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbp
    movq %rsp, %rbp
    subq $512, %rsp
    andq $-16, %rsp
    fxsave64 (%rsp)
    cld
    call pvkit_events_serve
    fxrstor64 (%rsp)
    movq %rbp, %rsp
    popq %rbp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    movl $PVKIT_CALL_RETURN_FROM_EVENT, %eax
    jmp pvkit_hypercall_page
    .type pvkit_upcall, @function
    .size pvkit_upcall, . - pvkit_upcall

    .section .note.GNU-stack, "", @progbits
