"""Which privileged registers does the guest have that the engine itself never looks at?

VirtualCpu (pv.engines.base) holds those that the engine needs for the delivery of events. The rest is
here, one object a vcpu, and only emulated instructions read it. Values are those after RESET or as a PC's
firmware leaves them (SDM vol. 3, table 9-1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from pv.emulate.architecture import DR6_ONES, DR7_ONES, MASK_64


@dataclass(slots=True)
class SystemRegisters:
    """Debug registers, and MSRs by the names of the SDM."""

    breakpoints: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # DR0-DR3
    dr6: int = DR6_ONES
    dr7: int = DR7_ONES
    microcode_revision: int = 0
    mtrr_capabilities: int = 0  # no variable and no fixed ranges
    mtrr_default_type: int = 0x806  # enabled, write-back
    pat: int = 0x0007_0406_0007_0406
    misc_enable: int = 0x1801  # fast strings; branch trace and precise sampling are not available
    sysenter_cs: int = 0
    sysenter_esp: int = 0
    sysenter_eip: int = 0

    def save(self) -> dict[str, Any]:
        return {"breakpoints": list(self.breakpoints)} | {name: getattr(self, name) for name in NUMBERS}

    def restore(self, saved: dict[str, Any]) -> None:
        """Raises ValueError for what is no state of these registers."""
        breakpoints = saved.get("breakpoints")
        if not isinstance(breakpoints, list) or len(breakpoints) != len(self.breakpoints):
            raise ValueError("its register breakpoints is missing")
        numbers = [saved.get(name) for name in NUMBERS]
        for number in breakpoints + numbers:
            if type(number) is not int or not 0 <= number <= MASK_64:
                raise ValueError(f"{str(number)[:40]} is no register's value")
        self.breakpoints[:] = breakpoints
        for name, number in zip(NUMBERS, numbers, strict=True):
            setattr(self, name, number)


NUMBERS: Final = tuple(field.name for field in fields(SystemRegisters) if field.name != "breakpoints")
