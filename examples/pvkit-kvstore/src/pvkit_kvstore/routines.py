"""Which routines does a guest written in Python get? Numbers into the store and out of it, without knowing msgpack.

`Guest(name, paravirt=True, plugins=[PLUGIN])` adds them. Both may change RAX, RCX, RDX, RSI, RDI, R8, R10 and flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guest_sdk import Guest

DOCUMENT = "kvstore_document"  # the document under way; its address is passed as a gpa, so it stays mapped to itself
BYTES = 9  # 0xcf and a number of 64 bits, big-endian


def add_routines(guest: Guest) -> None:
    """kvstore_put_number: RDI key, RSI its bytes, RDX the number -> RAX as kv_put.

    kvstore_get_number: RDI key, RSI its bytes -> RAX 0 and RDX the number, or RAX a negated errno; -EINVAL where the
    document is no whole number from 0 on.
    """
    guest.bss(DOCUMENT, 16)
    guest.asm("kvstore_put_number:")
    guest.asm(f"""
        mov byte ptr [{DOCUMENT}], 0xcf     ; msgpack: an unsigned number of 8 bytes
        bswap rdx
        mov [{DOCUMENT} + 1], rdx
    """)
    guest.call.kv_put("rdi", "rsi", DOCUMENT, BYTES)
    guest.asm("ret")

    guest.asm("kvstore_get_number:")
    guest.call.kv_get("rdi", "rsi", DOCUMENT, BYTES)
    guest.asm(f"""
        test rax, rax
        js .done
        movzx edx, byte ptr [{DOCUMENT}]    ; below 0x80 it is the number itself
        xor eax, eax
        cmp edx, 0x80
        jb .done
        mov eax, -EINVAL
        cdqe
        lea ecx, [rdx - 0xcc]               ; 0xcc to 0xcf: a number of 1, 2, 4, 8 bytes follows
        cmp ecx, 3
        ja .done
        mov esi, 1
        shl esi, cl
        lea rdi, [{DOCUMENT} + 1]
        xor edx, edx
    .next:
        shl rdx, 8
        movzx eax, byte ptr [rdi]
        or rdx, rax
        inc rdi
        dec esi
        jnz .next
        xor eax, eax
    .done:
        ret
    """)
