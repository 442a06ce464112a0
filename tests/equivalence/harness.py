"""What does every random program stand on? Tables, a boot that loads them, and handlers that log an event and go on.

A program is slots of SLOT_BYTES; each notes its number first. An event of any vector is logged with what the processor
pushed and CR2, and the program resumes at the next slot, at CPL 0 and on a fresh stack. The vector DONE ends the run,
and so does an event beyond EVENTS_MOST.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

from tests.equivalence import layout as at
from tests.pv.engines.unicorn.guests import assemble, gate, segment, system_segment

TRAP_FLAG, DEBUG, UNDEFINED = 1 << 8, 1, 6
CR4_OSFXSR: Final = 1 << 9  # a program that has cleared it gets #UD at the next SSE instruction
ERROR_CODES: Final = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
DOUBLE_FAULT, STACK_FAULT = 8, 12
PRESENT_RWU, KERNEL_RW = 0x67, 0x63
KEPT_FLAGS: Final = 0x240AD5  # of what was interrupted: arithmetic, IF, AC and ID; no TF, DF, IOPL or NT

BOOT: Final = f"""
    mov eax, {at.ROOT}
    mov cr3, rax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x801
    wrmsr
    lgdt [{at.VARIABLES + 0x40}]
    lidt [{at.VARIABLES + 0x50}]
    mov eax, {at.TSS_SELECTOR}
    ltr ax
    mov rax, cr0
    or eax, 0x10000
    mov cr0, rax
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, {0x13 << 16 | at.KERNEL_CS}
    wrmsr
    inc ecx
    mov eax, {at.HANDLER}
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, 0x40700
    wrmsr
    mov eax, {at.KERNEL_SS}
    mov ds, eax
    mov es, eax
    mov rsp, {at.STACK}
    push {at.KERNEL_SS}
    push {at.STACK}
    push 0x202
    push {at.KERNEL_CS}
    push {at.CODE}
    iretq
"""

SYSTEM_CALL: Final = f"""
    mov [{at.SAVED}], rsp
    mov rsp, {at.KERNEL_STACK}
    push {at.USER_SS}
    push qword ptr [{at.SAVED}]
    push r11
    push {at.USER_CS}
    push rcx
    push {at.NO_ERROR_CODE}
    push {at.SYSTEM_CALL}
"""

# Seven words lie on the stack: vector, error code, RIP, CS, RFLAGS, RSP, SS; above three saved registers.
COMMON: Final = f"""
    push rax
    push rcx
    push rdx
    mov ecx, [{at.COUNT}]
    cmp ecx, {at.EVENTS_MOST}
    jae overrun
    lea eax, [ecx + 1]
    mov [{at.COUNT}], eax
    shl ecx, 6
    add ecx, {at.LOG}
    mov rax, [rsp + 24]
    mov [rcx], rax
    mov rax, [rsp + 32]
    mov [rcx + 8], rax
    mov rax, [rsp + 40]
    mov [rcx + 16], rax
    mov rax, [rsp + 48]
    mov [rcx + 24], rax
    mov rax, [rsp + 56]
    mov [rcx + 32], rax
    mov rax, [rsp + 64]
    mov [rcx + 40], rax
    mov rax, [rsp + 72]
    mov [rcx + 48], rax
    mov rax, cr2
    mov [rcx + 56], rax
    mov dword ptr [{at.TRACING}], 0
    cmp dword ptr [rsp + 24], {UNDEFINED}
    jne defined
    mov rax, cr4
    or eax, {CR4_OSFXSR}
    mov cr4, rax
defined:
    cmp dword ptr [rsp + 24], {at.DONE}
    je done
    mov eax, [{at.SLOT}]
    inc eax
    shl eax, 6
    add eax, {at.CODE}
    mov [rsp + 40], rax
    mov qword ptr [rsp + 48], {at.KERNEL_CS}
    and dword ptr [rsp + 56], {KEPT_FLAGS}
    mov qword ptr [rsp + 64], {at.STACK}
    mov qword ptr [rsp + 72], {at.KERNEL_SS}
    cld
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
done:
    mov al, {at.FINISHED}
    out 0xf4, al
overrun:
    mov al, {at.OVERRUN}
    out 0xf4, al
"""

# #DB while steps are to be taken: RIP is noted, and the program goes on where it stands. Else as any event.
STEP: Final = f"""
    cmp dword ptr [{at.TRACING}], 0
    je {at.STUBS + at.STUB_BYTES}
    push rax
    push rcx
    mov eax, [{at.TRACED}]
    inc dword ptr [{at.TRACED}]
    and eax, {at.TRACE_WORDS - 1}
    mov rcx, [rsp + 16]
    mov [rax * 8 + {at.TRACE}], rcx
    dec dword ptr [{at.TRACING}]
    jnz more
    and dword ptr [rsp + 32], {~TRAP_FLAG & 0xFFFFFFFF}
more:
    pop rcx
    pop rax
    iretq
"""


def stub(vector: int) -> bytes:
    """Push what the processor did not, and the vector; to COMMON."""
    code = b"" if vector in ERROR_CODES else b"\x68" + at.NO_ERROR_CODE.to_bytes(4, "little")
    code += b"\x68" + vector.to_bytes(4, "little")
    target = at.HANDLER + len(assemble(SYSTEM_CALL, at.HANDLER))
    begin = at.STUBS + at.STUB_BYTES * vector
    return code + b"\xe9" + (target - begin - len(code) - 5).to_bytes(4, "little", signed=True)


@cache
def image() -> bytes:
    """What the loader places from BOOT on: boot and handlers, and room for a program."""
    built = bytearray(at.IMAGE_END - at.BOOT)
    handler = assemble(SYSTEM_CALL, at.HANDLER)
    handler += assemble(COMMON, at.HANDLER + len(handler))
    assert at.HANDLER + len(handler) <= at.TRACER
    pieces = {at.BOOT: assemble(BOOT, at.BOOT), at.HANDLER: handler, at.TRACER: assemble(STEP, at.TRACER)}
    pieces |= {at.STUBS + at.STUB_BYTES * vector: stub(vector) for vector in range(256)}
    for place, code in pieces.items():
        built[place - at.BOOT : place - at.BOOT + len(code)] = code
    return bytes(built)


def descriptors() -> bytes:
    """The GDT, up to BEYOND."""
    words = (
        0, segment(0x9B, long=True), segment(0x93, big=True), segment(0xF3, big=True), segment(0xFB, long=True),
        *system_segment(9, at.TSS, 0x67), *system_segment(2, at.LDT, 0x1F),
        *system_segment(9, at.SECOND_TSS, 0x67), *system_segment(9 & 0xF, at.SECOND_TSS, 0x67),
        segment(0x9F, long=True), segment(0x13, big=True), segment(0x1B, long=True), segment(0x99, long=True),
        segment(0x91, big=True), segment(0x9B, big=True), segment(0xF3, base=0x54321000, big=True),
    )  # fmt: skip
    table = bytearray(struct.pack(f"<{len(words)}Q", *words))
    table[at.ABSENT_TSS + 5] &= 0x7F
    return bytes(table)


def gates() -> bytes:
    """The IDT: CPL 3 may use every vector from 0x80 on, and #DF and #SS have a stack of their own."""
    return b"".join(
        gate(
            at.TRACER if vector == DEBUG else at.STUBS + at.STUB_BYTES * vector,
            dpl=3 if vector >= 0x80 or vector in (3, 4) else 0,
            ist=1 if vector in (DOUBLE_FAULT, STACK_FAULT) else 0,
            kind=15 if vector % 5 == 0 else 14,
            present=vector != at.ABSENT_GATE,
        )
        for vector in range(256)
    )


def functions(frame: int) -> bytes:
    """A page of functions: each adds a number of its own to a word of DATA; NOPs; RET. INT3 between them."""
    page = b""
    for number in range(at.FUNCTIONS):
        code = b"\xb8" + (frame << 16 | number << 8 | 1).to_bytes(4, "little")  # MOV EAX, imm32
        code += b"\x01\x04\x25" + (at.DATA + 0xA00 + 4 * number).to_bytes(4, "little")  # ADD [word], EAX
        page += (code + b"\x90" * at.FUNCTION_GAP_BYTES + b"\xc3").ljust(at.FUNCTION_BYTES, b"\xcc")
    return page.ljust(0x1000, b"\xcc")


def task_state() -> bytes:
    """RSP0 and IST1; no I/O bitmap."""
    return struct.pack("<IQQQQQ", 0, at.KERNEL_STACK, 0, 0, 0, at.IST1).ljust(102, b"\0") + b"\x68\0"


def frame_entry(frame: int, flags: int = PRESENT_RWU) -> int:
    """A window entry that leads to one of FRAMES."""
    return at.FRAMES + 0x1000 * frame | flags


def tables() -> dict[int, list[int]]:
    """The page tables: memory to itself, open to CPL 3 but for the tables; a window; the APIC's page."""
    identity = [page << 12 | PRESENT_RWU for page in range(512)]
    for page in range(at.GDT >> 12, at.FRAMES >> 12):
        identity[page] = page << 12 | KERNEL_RW
    window = [frame_entry(frame) for frame in range(at.FRAMES_MOST)] + [0] * (at.CODE_PAGE - at.FRAMES_MOST)
    other = [frame_entry(frame ^ 1) for frame in range(at.FRAMES_MOST)] + [0] * (at.CODE_PAGE - at.FRAMES_MOST)
    for number in range(at.CODE_FRAMES_MOST):
        window.append(at.CODE_FRAMES + 0x1000 * number | PRESENT_RWU)
        other.append(at.CODE_FRAMES + 0x1000 * (number ^ 1) | PRESENT_RWU)
    apic = 0xFEE00000 | 0x1F3  # a page of 2 MiB, global, uncached
    return {
        at.ROOT: [at.POINTERS | PRESENT_RWU],
        at.POINTERS: [
            at.DIRECTORY | PRESENT_RWU,
            at.WINDOW_DIRECTORY | PRESENT_RWU,
            0,
            at.DEVICE_DIRECTORY | KERNEL_RW,
        ],
        at.DIRECTORY: [at.TABLE | PRESENT_RWU],
        at.TABLE: identity,
        at.WINDOW_DIRECTORY: [at.WINDOW_TABLE | PRESENT_RWU],
        at.WINDOW_TABLE: window,
        at.OTHER_ROOT: [at.OTHER_POINTERS | PRESENT_RWU],
        at.OTHER_POINTERS: [
            at.DIRECTORY | PRESENT_RWU,
            at.OTHER_DIRECTORY | PRESENT_RWU,
            0,
            at.DEVICE_DIRECTORY | KERNEL_RW,
        ],
        at.OTHER_DIRECTORY: [at.OTHER_TABLE | PRESENT_RWU],
        at.OTHER_TABLE: other,
        at.DEVICE_DIRECTORY: [0] * 503 + [apic],
    }


@cache
def furniture() -> tuple[tuple[int, bytes], ...]:
    """What stands in memory beside the image: (gpa, bytes)."""
    pseudo = struct.pack("<HQ", at.BEYOND - 1, at.GDT).ljust(16, b"\0") + struct.pack("<HQ", 0xFFF, at.IDT)
    ldt = struct.pack("<4Q", 0, segment(0x93, big=True), segment(0xF2, base=0x777000), 0)
    return (
        (at.VARIABLES + 0x40, pseudo),
        (at.GDT, descriptors()),
        (at.IDT, gates()),
        (at.TSS, task_state()),
        (at.SECOND_TSS, task_state()),
        (at.LDT, ldt),
        (at.STACK, (at.CODE + at.SLOT_BYTES * at.SLOTS_MOST).to_bytes(8, "little") * 16),  # where RET goes from no CALL
        (at.CODE_FRAMES, b"".join(map(functions, range(at.CODE_FRAMES_MOST))).ljust(at.END - at.CODE_FRAMES, b"\xcc")),
        *((page, struct.pack(f"<{len(entries)}Q", *entries)) for page, entries in tables().items()),
    )
