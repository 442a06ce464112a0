"""What an engine offers to call functions of the guest: a part of pv.engines.base.Vcpu."""

from __future__ import annotations

from typing import Any, Final, Protocol

CALL_DEPTH_MOST: Final = 8  # calls into the guest, each made by the handler of a hypercall within the one before
CALL_BYTES_MOST: Final = 4064  # bytes of arguments that a call puts on the guest's stack


class CallsGuest(Protocol):
    """Functions of the guest that the host calls (paravirt)."""

    @property
    def running(self) -> bool:
        """Whether the guest runs: in run(), or in a call from outside of it."""
        ...

    def set_call_return(self, rip: int) -> None:
        """Where a function that the host calls returns to: code that makes the call_return of abi. 0: nowhere."""
        ...

    def call_guest(
        self, rip: int, arguments: tuple[int | bytes | str, ...], read_most: int = -1, timeout_ns: int = 0
    ) -> Any:
        """Run the function at `rip` until it returns: RAX and RDX, or the bytes that they point to and count.

        From the handler of a hypercall, at most CALL_DEPTH_MOST deep, or while the guest does not run. System V:
        an argument takes a register, bytes and text take two, pointer and length of a copy on the guest's stack.
        read_most: the most bytes of a result to be copied; -1 for a result in registers. timeout_ns: of the host, 0
        for no limit of its own. Afterwards all registers are as they were. Raises GuestCallError, ValueError and
        TypeError for an argument, RuntimeError for a call at no time to call, and what a handler raised.
        """
        ...

    def end_call(self, result: int, more: int) -> None:
        """The innermost function that the host called returns. Raises GuestError(EPERM) where there is none."""
        ...
