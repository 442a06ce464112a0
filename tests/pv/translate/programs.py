"""Random programs that end: forward branches, counted loops, calls; RBX and RBP lead to data, RSP to a stack.

R15 counts what goes backwards, R14 leads nowhere. A displacement from RIP of RELATIVE and more is in the data.
"""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from tests.pv.engines.unicorn.guests import CODE, assemble

RELATIVE: Final = 0x4000
ENTRY: Final = b"\xeb\x01\xf4"  # over a HLT, where each program ends
END: Final = 2
REGISTERS: Final = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r12")
NARROW: Final = {
    "rax": "eax",
    "rcx": "ecx",
    "rdx": "edx",
    "rsi": "esi",
    "rdi": "edi",
    "r8": "r8d",
    "r9": "r9d",
    "r12": "r12d",
}
CONDITIONS: Final = ("z", "nz", "c", "nc", "s", "ns", "o", "no", "p", "l", "g", "be", "a", "ge", "le", "np")


def one_of(names: str) -> st.SearchStrategy[str]:
    return st.sampled_from(names.split())


register = st.sampled_from(REGISTERS)
narrow = register.map(NARROW.__getitem__)
condition = st.sampled_from(CONDITIONS)
small = st.integers(-128, 127)
xmm = st.integers(0, 15)
strings = one_of("movsb stosq")
place = st.integers(0, 0x700).map(lambda offset: f"[rbx + {offset}]") | st.integers(RELATIVE, RELATIVE + 0x1000).map(
    lambda offset: f"[rip + {offset}]"
)


def _text(template: str, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return st.fixed_dictionaries(fields).map(lambda drawn: template.format(**drawn))


PLAIN: Final = st.one_of(
    _text("{op} {a}, {b}", op=one_of("mov add adc sub sbb xor and or cmp test imul"), a=register, b=register),
    _text("{op} {a}, {n}", op=one_of("mov add sub xor cmp"), a=narrow, n=small),
    _text("mov {a}, qword ptr {m}", a=register, m=place),
    _text("mov {a}, dword ptr {m}", a=narrow, m=place),
    _text("{op} qword ptr {m}, {a}", op=one_of("mov add xor sub xchg"), a=register, m=place),
    _text("{op} word ptr {m}, {n}", op=one_of("mov add cmp"), m=place, n=st.integers(0x80, 0x7FFF)),
    _text("{op} byte ptr {m}, {n}", op=one_of("shl ror"), m=place, n=st.integers(1, 7)),
    _text("lea {a}, {m}", a=register, m=place),
    _text("lea {a}, [{b} + {c} * 4 + {n}]", a=register, b=register, c=register, n=small),
    _text("set{c} byte ptr {m}", c=condition, m=place),
    _text("cmov{c} {a}, {b}", c=condition, a=register, b=register),
    _text("{op} {a}, {n}", op=one_of("shl shr sar rol"), a=register, n=st.integers(1, 63)),
    _text("push {a}; pop {b}", a=register, b=register),
    _text("movq xmm{x}, {a}; paddq xmm{x}, xmm{y}; movdqu xmmword ptr {m}, xmm{x}", x=xmm, y=xmm, a=register, m=place),
    _text("lea rsi, [rbx]; lea rdi, [rbp + {n}]; mov ecx, {n}; rep {op}", n=st.integers(0, 4), op=strings),
    _text("fld1; fstp qword ptr [rbx + {n}]", n=st.integers(0, 64)),
)  # fmt: skip
SENSITIVE: Final = st.one_of(
    st.sampled_from(["pushfq; pop rax", "pushfq; popfq", "pushf; popf", "mov ecx, 0; cpuid", "std; cld", "clc; cmc"]),
    _text("{op} {m}", op=st.sampled_from(["sgdt", "sidt"]), m=place),
    _text("{op} {a}", op=st.sampled_from(["smsw", "sldt", "str"]), a=register),
    _text("{op} word ptr {m}", op=st.sampled_from(["smsw", "sldt", "str"]), m=place),
    _text("mov {a}, {s}", a=narrow, s=st.sampled_from(["cs", "ds", "ss"])),
    _text("mov word ptr {m}, {s}", m=place, s=st.sampled_from(["cs", "ds"])),
    _text("mov eax, {n}; push rax; popfq", n=st.sampled_from([2, 0x8D7, 0x47])),
    st.just(".byte 0x0f, 0x1a, 0xc1; .byte 0xf3, 0x0f, 0x1b, 0x43, 0x10"),
)

FAULTING: Final = (
    *("mov qword ptr [r14], rax", "add rax, [r14]", "sgdt [r14]", "mov word ptr [r14], cs", "mov rsp, r14; call f"),
    *("push qword ptr [r14]", "call qword ptr [r14]", "jmp qword ptr [r14]"),
)


@st.composite
def programs(draw: st.DrawFn, *, faults: bool = False) -> bytes:
    """A program; it ends at offset END. faults: with accesses to where nothing is, now and then."""
    parts = draw(st.integers(1, 8))
    lines: list[str] = ["mov r15d, 3"]
    body = PLAIN | SENSITIVE
    if faults:
        body = body | st.sampled_from(FAULTING)
    for part in range(parts):
        lines.append(f"l{part}:")
        lines += draw(st.lists(body, max_size=6))
        after = f"l{draw(st.integers(part + 1, parts))}"
        lines.append(
            draw(
                st.sampled_from(
                    [
                        "",
                        "",
                        f"j{draw(condition)} {after}",
                        f"jmp {after}",
                        "call f",
                        "call g",
                        f"lea rax, [rip + {after}]; jmp rax",
                        f"lea rax, [rip + {after}]; mov [rbx + 8], rax; jmp qword ptr [rbx + 8]",
                        "lea rax, [rip + f]; mov [rbx + 16], rax; mov ecx, 2; call qword ptr [rbx + rcx * 8]",
                        "lea r12, [rip + g]; call r12",
                        f"lea rax, [rip + {after}]; push rax; ret",
                        f"jrcxz {after}",
                        f"mov ecx, 2; m{part}: {draw(PLAIN)}; mov ecx, 1; loop m{part}",
                        f"dec r15; jns l{draw(st.integers(0, part))}",
                    ]
                )
            )
        )
    lines += [
        f"l{parts}:",
        f"jmp {CODE + END}",
        "f:",
        draw(PLAIN),
        "ret",
        "g:",
        "push 7",
        "push 5",
        "call f",
        "pop rdx",
        "pop rcx",
        "ret 0",
    ]
    return ENTRY + assemble("\n".join(line for line in lines if line), CODE + len(ENTRY))
