"""How does a guest in C make a hypercall? A header with a function `pvkit_NAME` for every call of a table.

    int64_t pvkit_console_write(const void *data, uint64_t data_bytes);

A plugin's call of a name that the guest library has is `pvkit_NAME_`. An argument `NAME_gpa` is a pointer `NAME`: in a
guest every address is its gpa until the guest maps it elsewhere; it points to const where the call only reads. Others
are of their bits. A call that does not return is noreturn; one that `jumps` takes what is on the stack, which C cannot
lay out, and has none. The functions call the hypercall page with each value in its register; RAX alone changes, and all
memory may.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from guest_sdk import abi
from guest_sdk.calls import NamedCall, as_call

PAGE_SYMBOL: Final = "pvkit_hypercall_page"
WRITES: Final[Mapping[str, Collection[str]]] = {  # call: the arguments of it whose memory the monitor writes
    "clock_page": ("page_gpa",),
    "cpuid": ("registers_gpa",),
    "msr_read": ("value_gpa",),
    "event_page": ("page_gpa",),
    "multicall": ("entries_gpa",),
    "ring_open": ("ring_gpa",),
    "block_info": ("info_gpa",),
    "block_read": ("data_gpa",),
}
INTEGERS: Final = {8: "uint8_t", 16: "uint16_t", 32: "uint32_t", 64: "uint64_t"}
WORDS: Final = """
alignas alignof asm auto bitand bitor bool case catch char compl const constexpr decltype default delete do double
enum explicit export extern false float friend goto inline int linux long mutable namespace new noexcept nullptr
operator private protected public register short signed sizeof static static_assert struct switch template this
thread_local throw true typedef typename typeid typeof union unix unsigned using virtual void volatile wchar_t xor
NULL
"""
# C11's and C++17's that a Python parameter may be called, and what GNU C takes for words of its own.
KEYWORDS: Final = frozenset(re.findall(r"\w+", WORDS))
BUILT_IN: Final = frozenset(call.name for call in abi.CALLS)
LIBRARY: Final = Path(__file__).parent / "c"
# The constraint of each argument register, in order; those without a letter of their own are variables bound to them.
LETTERS: Final = {"rdi": "D", "rsi": "S", "rdx": "d"}
MOST: Final = len(abi.ARGUMENT_REGISTERS)

HEAD: Final = f"""/* Hypercalls as functions of C. Generated from the table of calls: do not edit.
 * A result of -4095..-1 is a negated errno. */
#ifndef PVKIT_CALLS_H
#define PVKIT_CALLS_H
#ifndef PVKIT_ABI_H
#include <pvkit_abi.h>
#endif

extern unsigned char {PAGE_SYMBOL}[4096]; /* filled by the monitor before main */

/* By number, for calls that are in no table. */
"""


def raw_function(count: int) -> str:
    """pvkit_call<count>: a number and so many arguments."""
    names = [f"a{index}" for index in range(count)]
    registers = abi.ARGUMENT_REGISTERS[:count]
    lines = [
        f"static inline int64_t pvkit_call{count}({', '.join(f'uint64_t {name}' for name in ('number', *names))})",
        "{",
        "    int64_t result;",
    ]
    inputs = ['"a"(number)']
    for register, name in zip(registers, names, strict=True):
        if register in LETTERS:
            inputs.append(f'"{LETTERS[register]}"({name})')
        else:
            lines.append(f'    register uint64_t {register} __asm__("{register}") = {name};')
            inputs.append(f'"r"({register})')
    asm = f'"call {PAGE_SYMBOL}" : "=a"(result) : {", ".join(inputs)} : "memory", "cc"'
    return "\n".join([*lines, f"    __asm__ volatile({asm});", "    return result;", "}", ""])


def parameter(name: str, bits: int, writes: Collection[str]) -> tuple[str, str]:
    """(declaration, expression) of one argument."""
    if name.endswith("_gpa"):
        plain = safe(name.removesuffix("_gpa"))
        return f"{'' if name in writes else 'const '}void *{plain}", f"(uint64_t)(uintptr_t){plain}"
    # A width of none of C's integers is passed whole, and the monitor refuses what is too wide.
    return f"{INTEGERS.get(bits, 'uint64_t')} {safe(name)}", safe(name)


def safe(name: str) -> str:
    """`name` as C takes it: one of C's own words gets an underscore."""
    return f"{name}_" if name in KEYWORDS else name


@cache
def library_names() -> frozenset[str]:
    """What follows `pvkit_` in every name of the guest library, and in pvkit_call0 and its kin."""
    files = (path for path in LIBRARY.rglob("*") if path.suffix in (".h", ".c", ".S", ".ld"))
    names = re.findall(r"\bpvkit_(\w+)", "\n".join(path.read_text(encoding="utf-8") for path in files))
    return frozenset(names) | {f"call{count}" for count in range(MOST + 1)}


def function_name(call: abi.Call) -> str:
    """`pvkit_NAME`; a plugin's call of a name that the guest library has gets an underscore."""
    return f"pvkit_{call.name}{'_' * (call.name not in BUILT_IN and call.name in library_names())}"


def stub(call: abi.Call, writes: Collection[str] = ()) -> str:
    """The function of one call, with its result as the comment above it."""
    parts = [parameter(name, bits, writes) for name, bits in call.arguments]
    declared = ", ".join(declaration for declaration, _ in parts) or "void"
    passed = ", ".join([f"PVKIT_CALL_{call.name.upper()}", *(expression for _, expression in parts)])
    head = f"/* {' '.join(call.result.replace('*/', '* /').split()) or 'an integer'} */\n"
    ask = f"pvkit_call{len(parts)}({passed})"
    if call.result.startswith("does not return"):
        # Refused all the same (not granted, over quota): UD2 ends the guest where it stands.
        return (
            f"{head}__attribute__((noreturn)) static inline void {function_name(call)}({declared})\n{{\n"
            f"    {ask};\n    __builtin_trap();\n}}\n"
        )
    return f"{head}static inline int64_t {function_name(call)}({declared})\n{{\n    return {ask};\n}}\n"


def calls_header(calls: Iterable[NamedCall] = abi.CALLS, writes: Mapping[str, Collection[str]] = WRITES) -> str:
    """The header. writes: names of the `_gpa` arguments, by call, whose memory the monitor writes."""
    rows = map(as_call, calls)
    text = HEAD + "\n".join(raw_function(count) for count in range(MOST + 1)) + "\n"
    text += "\n".join(stub(call, writes.get(call.name, ())) for call in rows if not call.jumps)
    return f"{text}\n#endif /* PVKIT_CALLS_H */\n"
