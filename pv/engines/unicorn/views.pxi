# An exit and the privileged registers, as Python sees them: views onto the C structures, nothing copied. Included by
# core.pyx.


cdef class Exit:
    """The one exit of a vcpu, refilled in place: valid only while its handler runs."""

    cdef Core core
    cdef pv_vcpu *c

    @property
    def reason(self):
        return self.c.exit.reason

    @property
    def key(self):
        return self.c.exit.key

    @property
    def value(self):
        return self.c.exit.value

    @property
    def size(self):
        return self.c.exit.size

    @property
    def address(self):
        return self.c.exit.address

    @property
    def error_code(self):
        return self.c.exit.error_code

    @property
    def length(self):
        return self.c.exit.length

    @property
    def insn(self):
        return <object>self.c.exit.insn if self.c.exit.insn != NULL else None

    @property
    def rip(self):
        return ENV64(self.c.env, ENV_RIP)

    @property
    def cpl(self):
        return pv_cpl(self.c)


cdef class VirtualCpu:
    """The privileged registers that the guest believes in (pv.engines.base.VirtualCpu)."""

    cdef Core core
    cdef pv_vcpu *c

    @property
    def interrupt_flag(self):
        return pv_virtual_get(self.c, PV_INTERRUPT_FLAG) != 0

    @interrupt_flag.setter
    def interrupt_flag(self, bint on):
        pv_virtual_set(self.c, PV_INTERRUPT_FLAG, on)

    @property
    def cr0(self):
        return pv_virtual_get(self.c, PV_CR0)

    @cr0.setter
    def cr0(self, uint64_t value):
        pv_virtual_set(self.c, PV_CR0, value)

    @property
    def cr2(self):
        return pv_virtual_get(self.c, PV_CR2)

    @cr2.setter
    def cr2(self, uint64_t value):
        pv_virtual_set(self.c, PV_CR2, value)

    @property
    def cr3(self):
        return pv_virtual_get(self.c, PV_CR3)

    @cr3.setter
    def cr3(self, uint64_t value):
        pv_virtual_set(self.c, PV_CR3, value)

    @property
    def cr4(self):
        return pv_virtual_get(self.c, PV_CR4)

    @cr4.setter
    def cr4(self, uint64_t value):
        pv_virtual_set(self.c, PV_CR4, value)

    @property
    def cr8(self):
        return pv_virtual_get(self.c, PV_CR8)

    @cr8.setter
    def cr8(self, uint64_t value):
        pv_virtual_set(self.c, PV_CR8, value)

    @property
    def efer(self):
        return pv_virtual_get(self.c, PV_EFER)

    @efer.setter
    def efer(self, uint64_t value):
        pv_virtual_set(self.c, PV_EFER, value)

    @property
    def gdt_base(self):
        return pv_virtual_get(self.c, PV_GDT_BASE)

    @gdt_base.setter
    def gdt_base(self, uint64_t value):
        pv_virtual_set(self.c, PV_GDT_BASE, value)

    @property
    def gdt_limit(self):
        return pv_virtual_get(self.c, PV_GDT_LIMIT)

    @gdt_limit.setter
    def gdt_limit(self, uint32_t value):
        pv_virtual_set(self.c, PV_GDT_LIMIT, value)

    @property
    def idt_base(self):
        return pv_virtual_get(self.c, PV_IDT_BASE)

    @idt_base.setter
    def idt_base(self, uint64_t value):
        pv_virtual_set(self.c, PV_IDT_BASE, value)

    @property
    def idt_limit(self):
        return pv_virtual_get(self.c, PV_IDT_LIMIT)

    @idt_limit.setter
    def idt_limit(self, uint32_t value):
        pv_virtual_set(self.c, PV_IDT_LIMIT, value)

    @property
    def ldt_selector(self):
        return pv_virtual_get(self.c, PV_LDT_SELECTOR)

    @ldt_selector.setter
    def ldt_selector(self, uint16_t value):
        pv_virtual_set(self.c, PV_LDT_SELECTOR, value)

    @property
    def ldt_base(self):
        return pv_virtual_get(self.c, PV_LDT_BASE)

    @ldt_base.setter
    def ldt_base(self, uint64_t value):
        pv_virtual_set(self.c, PV_LDT_BASE, value)

    @property
    def ldt_limit(self):
        return pv_virtual_get(self.c, PV_LDT_LIMIT)

    @ldt_limit.setter
    def ldt_limit(self, uint32_t value):
        pv_virtual_set(self.c, PV_LDT_LIMIT, value)

    @property
    def tr_selector(self):
        return pv_virtual_get(self.c, PV_TR_SELECTOR)

    @tr_selector.setter
    def tr_selector(self, uint16_t value):
        pv_virtual_set(self.c, PV_TR_SELECTOR, value)

    @property
    def tr_base(self):
        return pv_virtual_get(self.c, PV_TR_BASE)

    @tr_base.setter
    def tr_base(self, uint64_t value):
        pv_virtual_set(self.c, PV_TR_BASE, value)

    @property
    def tr_limit(self):
        return pv_virtual_get(self.c, PV_TR_LIMIT)

    @tr_limit.setter
    def tr_limit(self, uint32_t value):
        pv_virtual_set(self.c, PV_TR_LIMIT, value)

    @property
    def star(self):
        return pv_virtual_get(self.c, PV_STAR)

    @star.setter
    def star(self, uint64_t value):
        pv_virtual_set(self.c, PV_STAR, value)

    @property
    def lstar(self):
        return pv_virtual_get(self.c, PV_LSTAR)

    @lstar.setter
    def lstar(self, uint64_t value):
        pv_virtual_set(self.c, PV_LSTAR, value)

    @property
    def cstar(self):
        return pv_virtual_get(self.c, PV_CSTAR)

    @cstar.setter
    def cstar(self, uint64_t value):
        pv_virtual_set(self.c, PV_CSTAR, value)

    @property
    def fmask(self):
        return pv_virtual_get(self.c, PV_FMASK)

    @fmask.setter
    def fmask(self, uint64_t value):
        pv_virtual_set(self.c, PV_FMASK, value)

    @property
    def kernel_gs_base(self):
        return pv_virtual_get(self.c, PV_KERNEL_GS_BASE)

    @kernel_gs_base.setter
    def kernel_gs_base(self, uint64_t value):
        pv_virtual_set(self.c, PV_KERNEL_GS_BASE, value)

    @property
    def tsc_offset(self):
        return pv_virtual_get(self.c, PV_TSC_OFFSET)

    @tsc_offset.setter
    def tsc_offset(self, uint64_t value):
        pv_virtual_set(self.c, PV_TSC_OFFSET, value)

    @property
    def tsc_aux(self):
        return pv_virtual_get(self.c, PV_TSC_AUX)

    @tsc_aux.setter
    def tsc_aux(self, uint64_t value):
        pv_virtual_set(self.c, PV_TSC_AUX, value)

    @property
    def iopl(self):
        return pv_virtual_get(self.c, PV_IOPL)

    @iopl.setter
    def iopl(self, uint8_t value):
        pv_virtual_set(self.c, PV_IOPL, value)
