"""How does a guest use a ring of calls? A few routines as text, for a paravirtual guest.

    ring.add(guest, entries=64)      # the ring in .bss, and these routines

| routine | takes | gives |
|---|---|---|
| ring_open | RDI an event port or NO_PORT | RAX 0, or a negated errno |
| ring_submit | a call in the registers of a hypercall; RCX a token | RAX 0, or -EAGAIN: reap first |
| ring_kick_if_needed | nothing | RAX calls made at once, or 0 |
| ring_kick | nothing | RAX calls made |
| ring_reap | nothing | RAX 1, RDX the token, RCX the result; or RAX 0: nothing completed |
| ring_notify_after | RDI n | the n-th completion from here on raises the port; 0: none does |

They change RAX, RCX, RDX, R11 and flags; a kick RDI too. At most `entries` calls are between ring_submit and
ring_reap, so that completions always have room. The ring's address is passed as a gpa: it must stay mapped to itself.
"""

from __future__ import annotations

from typing import Final

from guest_sdk import abi
from guest_sdk.builder import Guest

LABEL: Final = "ring"
PAGE: Final = 4096


def size_bytes(entries: int) -> int:
    """Bytes of a ring of so many entries. Raises ValueError unless they are a power of two up to RING_MOST."""
    if not 0 < entries <= abi.RING_MOST or entries & entries - 1:
        raise ValueError(f"entries: {entries!r} is not a power of two up to {abi.RING_MOST}")
    head, submission, completion = (
        abi.STRUCT_BY_NAME[name].size_bytes for name in ("ring", "ring_submission", "ring_completion")
    )
    return head + entries * (submission + completion)


def submit(label: str, entries: int) -> str:
    """ring_submit: into the slot at submit_tail, then the step."""
    arguments = "\n".join(
        f"    mov [{label} + RING_SIZE + RING_SUBMISSION_ARGUMENTS + {8 * index} + r11], {register}"
        for index, register in enumerate(abi.ARGUMENT_REGISTERS)
    )
    return f"""
{label}_submit:
    mov r11d, [{label} + RING_SUBMIT_TAIL]
    sub r11d, [{label} + RING_COMPLETE_HEAD]
    cmp r11d, {entries}
    jae .full
    mov r11d, [{label} + RING_SUBMIT_TAIL]
    and r11d, {entries - 1}
    shl r11d, 6                     ; RING_SUBMISSION_SIZE
    mov [{label} + RING_SIZE + RING_SUBMISSION_NUMBER + r11], rax
{arguments}
    mov [{label} + RING_SIZE + RING_SUBMISSION_TOKEN + r11], rcx
    inc dword ptr [{label} + RING_SUBMIT_TAIL]
    xor eax, eax
    ret
.full:
    mov rax, -EAGAIN
    ret
"""


def kick_if_needed(label: str) -> str:
    """ring_kick_if_needed: did submit_tail, since it was looked at last, go past kick_at?"""
    return f"""
{label}_kick_if_needed:
    mov eax, [{label} + RING_SUBMIT_TAIL]
    mov ecx, eax
    sub ecx, [{label}_looked_at]
    mov [{label}_looked_at], eax
    sub eax, [{label} + RING_KICK_AT]
    dec eax
    cmp eax, ecx
    jb {label}_kick
    xor eax, eax
    ret
"""


def reap(label: str, entries: int) -> str:
    """ring_reap: the completion at complete_head, then the step."""
    return f"""
{label}_reap:
    mov r11d, [{label} + RING_COMPLETE_HEAD]
    xor eax, eax
    cmp r11d, [{label} + RING_COMPLETE_TAIL]
    je .none
    and r11d, {entries - 1}
    shl r11d, 4                     ; RING_COMPLETION_SIZE
    mov rdx, [{label} + RING_SIZE + {entries} * RING_SUBMISSION_SIZE + RING_COMPLETION_TOKEN + r11]
    mov rcx, [{label} + RING_SIZE + {entries} * RING_SUBMISSION_SIZE + RING_COMPLETION_RESULT + r11]
    inc dword ptr [{label} + RING_COMPLETE_HEAD]
    inc eax
.none:
    ret
"""


def notify_after(label: str) -> str:
    """ring_notify_after."""
    return f"""
{label}_notify_after:
    mov eax, [{label} + RING_COMPLETE_HEAD]
    lea eax, [rax + rdi - 1]
    mov [{label} + RING_NOTIFY_AT], eax
    ret
"""


def add(guest: Guest, *, entries: int, label: str = LABEL) -> None:
    """Append a ring and its routines to `guest`; `label` begins their names. Raises ValueError, AssemblyError."""
    guest.bss(label, size_bytes(entries), align=PAGE)
    guest.bss(f"{label}_looked_at", 8)
    guest.bss(f"{label}_id", 8)
    guest.asm(f"{label}_open:\npush rdx\npush rsi")
    guest.call.ring_open(label, entries, "rdi")
    guest.asm(f"pop rsi\npop rdx\ntest rax, rax\njs .failed\nmov [{label}_id], rax\nxor eax, eax\n.failed: ret")
    guest.asm(submit(label, entries) + kick_if_needed(label))
    guest.asm(f"{label}_kick:")
    guest.call.ring_kick(f"[{label}_id]")
    guest.asm("ret")
    guest.asm(reap(label, entries) + notify_after(label))
