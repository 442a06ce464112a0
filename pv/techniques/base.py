"""What is a technique to the machine? A decoder, a list of rows, and how the guest begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pv.dispatch import Row
from pv.emulate.system_registers import SystemRegisters
from pv.engines.base import Vcpu, VirtualCpu
from pv.exits import Decoded
from pv.techniques.controls import ControlBlock
from pv.translate.block import Translator

NativeHandler = Callable[..., Any]  # opaque: an engine's own function, called by the engine alone (Shape.NATIVE)


class NativeHandlers(Protocol):
    """The handlers that an engine has ready. A row names one; only the engine knows how it is called.

    reflect: hand the event to the guest through its IDT. shadow_fault: fill the shadow, or reflect the #PF.
    syscall: enter the kernel by STAR, LSTAR and FMASK. trap_table: hand the event to the guest by the table
    that it registered. syscall_entry: enter the kernel where the guest said.
    """

    @property
    def reflect(self) -> NativeHandler: ...
    @property
    def shadow_fault(self) -> NativeHandler: ...
    @property
    def syscall(self) -> NativeHandler: ...
    @property
    def trap_table(self) -> NativeHandler: ...
    @property
    def syscall_entry(self) -> NativeHandler: ...


@dataclass(frozen=True, slots=True)
class Technique:
    """One way to virtualize a guest's privileged code.

    decode: code at RIP and RIP -> the instruction, or None where its #GP belongs to the guest.
    rows: the table rows of one vcpu, whose further registers are handed over.
    takes_hypercalls: whether VMCALL is an exit; else it is #UD to the guest.
    mode: what the engine is asked for; controls: what exits, where a control block says so.
    translator: what translates its kernel's code, made of the guest's privileged state; None: it runs as it is.
    boot: whose page tables the guest starts on: its own, put in its memory by the loader, or the monitor's.
    """

    name: str
    summary: str
    decode: Callable[[bytes, int], Decoded | None]
    rows: Callable[[Vcpu, NativeHandlers, SystemRegisters], list[Row]]
    takes_hypercalls: bool
    boot: Literal["guest tables", "monitor tables"]
    mode: Literal["trap", "paravirt", "translate", "hardware"]
    controls: ControlBlock | None = None
    translator: Callable[[VirtualCpu], Translator] | None = None
