"""Which operations are measured? A row each: its name in the literature, and why a column has no figure for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NATIVE: Final = "native"  # the column of the engine with the guest alone
PARAVIRT: Final = "paravirt"
UNMODIFIED: Final = "unmodified"  # every column but PARAVIRT: they run the same bytes

CHIPS: Final = "the bare engine has no chips"
NO_CALL: Final = "no hypercall does it, and none is needed"
NO_APIC: Final = "a paravirtual guest has event ports in place of an APIC"
ONE: Final = "a machine has one processor"


@dataclass(frozen=True, slots=True)
class NanoRow:
    """One operation. study: where it is from. without: why a column (or UNMODIFIED) has no figure."""

    name: str
    study: str
    operation: str
    without: Mapping[str, str] = field(default_factory=dict)

    def reason(self, column: str) -> str | None:
        """Why `column` has none; None where it has one."""
        if column != PARAVIRT and UNMODIFIED in self.without:
            return self.without[UNMODIFIED]
        return self.without.get(column)


ASPLOS: Final = "ASPLOS'06"
PAGING: Final = "paging"  # the rows of later studies, PVM's (SOSP 2023) among them
VMEXIT: Final = "vmexit.c"

ROWS: Final = (
    NanoRow("syscall", ASPLOS, "SYSCALL to the kernel, which adds two numbers and returns"),
    NanoRow("in", ASPLOS, "IN from port 0x80", {PARAVIRT: NO_CALL}),
    NanoRow("cr8wr", ASPLOS, "MOV to CR8; paravirt: the byte that masks events"),
    NanoRow("call/ret", ASPLOS, "CALL and RET"),
    NanoRow("pgfault", ASPLOS, "#PF, whose handler steps over the load"),
    NanoRow("divzero", ASPLOS, "#DE, whose handler steps over the division"),
    NanoRow("ptemod", ASPLOS, "an entry of a page table written; paravirt: a call to map"),
    NanoRow("ptemod, used", ASPLOS, "the same, INVLPG, and a load by the new entry"),
    NanoRow("first touch", PAGING, "a page touched for the first time, which the guest's #PF handler maps"),
    NanoRow("8 spaces", PAGING, "a switch to the next of eight address spaces, and its 16 pages touched"),
    NanoRow("cpuid", VMEXIT, "CPUID leaf 1"),
    NanoRow(
        "vmcall", VMEXIT, "a hypercall that reads the ABI's version", {UNMODIFIED: "it knows of no monitor to call"}
    ),
    NanoRow("mov_from_cr8", VMEXIT, "MOV from CR8; paravirt: the byte that masks events"),
    NanoRow("mov_dr", VMEXIT, "MOV to DR7", {PARAVIRT: NO_CALL}),
    NanoRow("inl_from_kernel", VMEXIT, "IN from port 0x4d0, the interrupt edge register", {PARAVIRT: NO_CALL}),
    NanoRow("outl_to_kernel", VMEXIT, "OUT to port 0x4d0", {PARAVIRT: NO_CALL}),
    NanoRow("inl_from_qemu", VMEXIT, "IN from port 0x1234, where nothing is", {PARAVIRT: NO_CALL}),
    NanoRow(
        "inl_from_pmtimer",
        VMEXIT,
        "IN from the ACPI timer",
        dict.fromkeys((PARAVIRT, UNMODIFIED), "there is no ACPI timer"),
    ),
    NanoRow(
        "self_ipi", VMEXIT, "an interrupt to oneself by the APIC, its handler, EOI; paravirt: an event", {NATIVE: CHIPS}
    ),
    NanoRow(
        "self_ipi_x2apic",
        VMEXIT,
        "an interrupt to oneself by the APIC's MSRs",
        {NATIVE: CHIPS, PARAVIRT: "an event has one way: see self_ipi"},
    ),
    NanoRow(
        "self_ipi_sti_hlt",
        VMEXIT,
        "an interrupt to oneself with interrupts off, then STI; HLT",
        {NATIVE: CHIPS, PARAVIRT: "waiting for an event that is there returns: see vmcall"},
    ),
    NanoRow("apic_read", VMEXIT, "a load from the APIC's TPR", {NATIVE: CHIPS, PARAVIRT: NO_APIC}),
    NanoRow("apic_write", VMEXIT, "a store to the APIC's TPR", {NATIVE: CHIPS, PARAVIRT: NO_APIC}),
    NanoRow("rdmsr", VMEXIT, "RDMSR of EFER; paravirt: a call"),
    NanoRow("wrmsr", VMEXIT, "WRMSR of KERNEL_GS_BASE; paravirt: a call"),
    NanoRow("rdtsc", VMEXIT, "RDTSC; paravirt: the clock page"),
    NanoRow("pause", VMEXIT, "PAUSE"),
    NanoRow("invlpg", VMEXIT, "INVLPG; paravirt: the page mapped anew"),
    NanoRow("wbinvd", VMEXIT, "WBINVD", {PARAVIRT: NO_CALL}),
    NanoRow("toggle_cr0_wp", VMEXIT, "CR0.WP off and on", {PARAVIRT: "rights are in the calls that map"}),
    NanoRow("toggle_cr4_pge", VMEXIT, "CR4.PGE off and on", {PARAVIRT: "rights are in the calls that map"}),
    NanoRow(
        "tsc_adjust", VMEXIT, "WRMSR of IA32_TSC_ADJUST", dict.fromkeys((PARAVIRT, UNMODIFIED), "CPUID offers none")
    ),
    NanoRow(
        "tscdeadline", VMEXIT, "WRMSR of IA32_TSC_DEADLINE", dict.fromkeys((PARAVIRT, UNMODIFIED), "CPUID offers none")
    ),
    NanoRow("ipi", VMEXIT, "an interrupt to another processor", dict.fromkeys((PARAVIRT, UNMODIFIED), ONE)),
    NanoRow("pci-io", VMEXIT, "a PCI device's port", dict.fromkeys((PARAVIRT, UNMODIFIED), "there is no PCI")),
)
