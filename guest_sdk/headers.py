"""What do C and assembler guests include? The ABI as a C header and as an assembler include, and C functions for calls.

`python -m guest_sdk.headers` rewrites the committed copies in guest_sdk/include; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from guest_sdk import abi
from guest_sdk.constants import NO_FEATURES, groups
from guest_sdk.stubs import calls_header

PREFIX = "PVKIT_"
INCLUDE = Path(__file__).parent / "include"
C_TYPES = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
BANNER = "The pvkit hypercall ABI, version {version}. Generated from guest_sdk/abi.py: do not edit."
CONVENTION = "Number in RAX, arguments in RDI RSI RDX R10 R8 R9, result in RAX; -4095..-1 is a negated errno."


def _signature(call: abi.Call) -> str:
    arguments = ", ".join(f"{name}:{bits}" for name, bits in call.arguments)
    text = f"{call.name}({arguments}) -> {call.result}"
    return " ".join(text.replace("*/", "* /").split())  # a plugin's words stay inside the comment


def _field(name: str, size_bytes: int, offset: int) -> str:
    if size_bytes in C_TYPES:
        return f"    {C_TYPES[size_bytes]} {name};"
    if size_bytes % 8 == 0 and offset % 8 == 0:
        return f"    uint64_t {name}[{size_bytes // 8}];"
    return f"    uint8_t {name}[{size_bytes}];"


def _struct(struct: abi.Struct) -> list[str]:
    tag = f"pvkit_{struct.name}"
    return [
        "",
        f"struct {tag} {{",
        *(_field(name, size, struct.offset(name)) for name, size in struct.fields),
        "} __attribute__((packed));",
        f'PVKIT_STATIC_ASSERT(sizeof(struct {tag}) == {struct.size_bytes}, "{struct.name}");',
    ]


def c_header(calls: Iterable[abi.Call] = abi.CALLS, features: Mapping[str, int] = NO_FEATURES) -> str:
    """The C header: macros for every constant, packed structures, and assertions on their sizes."""
    calls = tuple(calls)
    lines = [f"/* {BANNER.format(version=abi.VERSION)}", f" * {CONVENTION} */"]
    lines += ["#ifndef PVKIT_ABI_H", "#define PVKIT_ABI_H"]
    comments = {f"CALL_{call.name.upper()}": _signature(call) for call in calls}
    for heading, group in groups(calls, features).items():
        lines += ["", f"/* {heading}. */"]
        for name, value in group.items():
            comment = f" /* {comments[name]} */" if name in comments else ""
            lines.append(f"#define {PREFIX}{name} {value:#x}{comment}")
    lines += [
        "",
        "#ifndef __ASSEMBLER__",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        "#define PVKIT_STATIC_ASSERT static_assert",
        "#else",
        "#define PVKIT_STATIC_ASSERT _Static_assert",
        "#endif",
    ]
    for struct in abi.STRUCTS:
        lines += _struct(struct)
    lines += ["", "/* X(EPERM) X(ENOENT) and so on: every errno. */"]
    lines.append(f"#define {PREFIX}ERRNO_LIST(X) {' '.join(f'X({name})' for name in abi.ERRNO)}")
    return "\n".join([*lines, "#endif /* __ASSEMBLER__ */", "", "#endif /* PVKIT_ABI_H */", ""])


def asm_header(calls: Iterable[abi.Call] = abi.CALLS, features: Mapping[str, int] = NO_FEATURES) -> str:
    """The assembler include: `.equ` for every constant, as GNU as and its kin read it."""
    calls = tuple(calls)
    lines = [f"# {BANNER.format(version=abi.VERSION)}", f"# {CONVENTION}"]
    comments = {f"CALL_{call.name.upper()}": _signature(call) for call in calls}
    for heading, group in groups(calls, features).items():
        lines += ["", f"# {heading}."]
        for name, value in group.items():
            comment = f" # {comments[name]}" if name in comments else ""
            lines.append(f".equ {PREFIX}{name}, {value:#x}{comment}")
    return "\n".join([*lines, ""])


FILES: Final[dict[str, Callable[[], str]]] = {
    "pvkit_abi.h": c_header,
    "pvkit_abi.inc": asm_header,
    "pvkit_calls.h": calls_header,
}


def main() -> None:
    """Rewrite the committed copies."""
    for name, generate in FILES.items():
        (INCLUDE / name).write_text(generate())


if __name__ == "__main__":
    main()
