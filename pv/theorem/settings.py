"""What may only a monitor change? Settings of the resources that it guards, each varied by itself.

An instruction whose visible result differs between two settings shows a program the monitor's state:
behaviour-sensitive (Popek and Goldberg 1974). A setting that `grants` gives a program more than a monitor would: it
tells under which condition an instruction that traps would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pv.theorem import ground
from pv.theorem.processor import CR4, EFER, IF

IOPL_3: Final = 3 << 12
TSD, PCE, UMIP, OSXSAVE = 1 << 2, 1 << 8, 1 << 11, 1 << 18
TS: Final = 1 << 3
LMA: Final = 1 << 10


class Setting(NamedTuple):
    """One setting: `flip` is xored into the state that a case begins with, `state` put in its place.

    resource: what of the machine it varies, the name where empty. other_subject: the descriptor is the case's second.
    elsewhere: run on the other processor model. port: what IN reads.
    """

    name: str
    state: Mapping[str, int] = {}
    flip: Mapping[str, int] = {}
    other_subject: bool = False
    elsewhere: bool = False
    port: int | None = None
    grants: bool = False
    resource: str = ""

    @property
    def of(self) -> str:
        """The resource that it varies."""
        return self.resource or self.name


BASELINE: Final = Setting("as a monitor has it")
AGAIN: Final = Setting("the moment")
"""The same once more: what differs then is time's or chance's, which the theorem leaves out."""

SETTINGS: Final = (
    AGAIN,
    Setting("IF", flip={"rflags": IF}),
    Setting("GDTR", {"gdtr.base": ground.GDT_ELSEWHERE, "gdtr.limit": ground.GDT_LIMIT + 8}),
    Setting("GDT", other_subject=True),
    Setting("IDTR", {"idtr.base": ground.IDT_ELSEWHERE, "idtr.limit": ground.IDT_LIMIT - 16}),
    Setting("LDTR", {"ldtr.selector": ground.OTHER_LDT, "ldtr.base": ground.LDT + 0x100, "ldtr.limit": 0xF}),
    Setting("TR", {"tr.selector": ground.OTHER_LDT, "tr.base": ground.TSS + 0x400}),
    Setting("CR0", flip={"cr0": TS}),
    Setting("CR2", {"cr2": 0x6000}),
    Setting("CR3", {"cr3": ground.ROOT_ELSEWHERE}),
    Setting("CR4", {"cr4": CR4 & ~OSXSAVE}),
    Setting("CR8", {"cr8": 7}),
    Setting("EFER", {"efer": (EFER | LMA) & ~1}),
    Setting("MSRs", {
        "star": 0x0020_0018 << 32, "lstar": ground.LANDING + 1, "fmask": 0x300, "kernel_gs_base": 0x7100, "tsc_aux": 6,
        "sysenter_cs": 0x18, "sysenter_eip": ground.LANDING + 1, "sysenter_esp": ground.STACK - 0x100,
    }),
    Setting("XCR0", {"xcr0": 7}),
    Setting("DR0", {"dr0": 0x6600}),
    Setting("ports", port=0xA5),
    Setting("processor", elsewhere=True),
    Setting("UMIP 1", {"cr4": CR4 | UMIP}, resource="CR4"),
    Setting("IOPL 3", flip={"rflags": IOPL_3}, grants=True, resource="IOPL"),
    Setting("TSD 0", {"cr4": CR4 & ~TSD}, grants=True, resource="CR4"),
    Setting("PCE 1", {"cr4": CR4 | PCE}, grants=True, resource="CR4"),
)  # fmt: skip
