"""A bare processor for guests under test: Unicorn at CPL 0, no monitor; hypercalls and ports are answered here."""

from __future__ import annotations

import io
from dataclasses import dataclass

import unicorn
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from unicorn import x86_const as x86

from guest_sdk import abi

MEMORY_BYTES = 4 << 20
COM1, LINE_STATUS, TRANSMITTER_EMPTY = 0x3F8, 0x3FD, 0x20
REGISTERS = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in ("rax", "rdi", "rsi", "rbx", "r12", "rbp")}
MOST_INSTRUCTIONS = 100_000


@dataclass
class Ran:
    status: int | None
    output: bytes
    calls: list[int]


def symbol_table(file: ELFFile) -> SymbolTableSection:
    table = file.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    return table


def run(elf: bytes) -> Ran:
    """Run until exit by hypercall or debug-exit port."""
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0, MEMORY_BYTES)
    file = ELFFile(io.BytesIO(elf))
    for segment in file.iter_segments("PT_LOAD"):
        uc.mem_write(segment["p_vaddr"], segment.data())
    ran = Ran(None, b"", [])

    def port_out(_uc: object, port: int, _size: int, value: int, _user: object) -> None:
        if port == abi.DEBUG_EXIT_PORT:
            ran.status = value
            uc.emu_stop()
        elif port == COM1:
            ran.output += bytes([value])

    def port_in(_uc: object, port: int, _size: int, _user: object) -> int:
        return TRANSMITTER_EMPTY if port == LINE_STATUS else 0

    def page(_uc: object, _address: int, _size: int, _user: object) -> None:
        number, first, second = (uc.reg_read(REGISTERS[name]) for name in ("rax", "rdi", "rsi"))
        ran.calls.append(number)
        if number == abi.BY_NAME["console_write"].number:
            ran.output += bytes(uc.mem_read(first, second))
            uc.reg_write(REGISTERS["rax"], second)
        elif number == abi.BY_NAME["exit"].number:
            ran.status = first
            uc.emu_stop()

    uc.hook_add(unicorn.UC_HOOK_INSN, port_out, None, 1, 0, x86.UC_X86_INS_OUT)
    uc.hook_add(unicorn.UC_HOOK_INSN, port_in, None, 1, 0, x86.UC_X86_INS_IN)
    for symbol in symbol_table(file).iter_symbols():
        if symbol.name == "hypercall_page":  # the page is RET after RET: the hook stands for what a monitor fills in
            uc.hook_add(unicorn.UC_HOOK_CODE, page, None, symbol["st_value"], symbol["st_value"])
    uc.emu_start(file["e_entry"], 0, count=MOST_INSTRUCTIONS)
    return ran
