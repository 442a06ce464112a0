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
        return self.c.v.interrupt_flag != 0

    @interrupt_flag.setter
    def interrupt_flag(self, bint on):
        self.c.v.interrupt_flag = on

    @property
    def cr0(self):
        return self.c.v.cr0

    @cr0.setter
    def cr0(self, uint64_t value):
        self.c.v.cr0 = value

    @property
    def cr2(self):
        return self.c.v.cr2

    @cr2.setter
    def cr2(self, uint64_t value):
        self.c.v.cr2 = value

    @property
    def cr3(self):
        return self.c.v.cr3

    @cr3.setter
    def cr3(self, uint64_t value):
        self.c.v.cr3 = value

    @property
    def cr4(self):
        return self.c.v.cr4

    @cr4.setter
    def cr4(self, uint64_t value):
        self.c.v.cr4 = value

    @property
    def cr8(self):
        return self.c.v.cr8

    @cr8.setter
    def cr8(self, uint64_t value):
        self.c.v.cr8 = value

    @property
    def efer(self):
        return self.c.v.efer

    @efer.setter
    def efer(self, uint64_t value):
        self.c.v.efer = value

    @property
    def gdt_base(self):
        return self.c.v.gdt_base

    @gdt_base.setter
    def gdt_base(self, uint64_t value):
        self.c.v.gdt_base = value

    @property
    def idt_base(self):
        return self.c.v.idt_base

    @idt_base.setter
    def idt_base(self, uint64_t value):
        self.c.v.idt_base = value

    @property
    def tr_base(self):
        return self.c.v.tr_base

    @tr_base.setter
    def tr_base(self, uint64_t value):
        self.c.v.tr_base = value

    @property
    def ldt_base(self):
        return self.c.v.ldt_base

    @ldt_base.setter
    def ldt_base(self, uint64_t value):
        self.c.v.ldt_base = value

    @property
    def star(self):
        return self.c.v.star

    @star.setter
    def star(self, uint64_t value):
        self.c.v.star = value

    @property
    def lstar(self):
        return self.c.v.lstar

    @lstar.setter
    def lstar(self, uint64_t value):
        self.c.v.lstar = value

    @property
    def fmask(self):
        return self.c.v.fmask

    @fmask.setter
    def fmask(self, uint64_t value):
        self.c.v.fmask = value

    @property
    def kernel_gs_base(self):
        return self.c.v.kernel_gs_base

    @kernel_gs_base.setter
    def kernel_gs_base(self, uint64_t value):
        self.c.v.kernel_gs_base = value

    @property
    def gdt_limit(self):
        return self.c.v.gdt_limit

    @gdt_limit.setter
    def gdt_limit(self, uint32_t value):
        self.c.v.gdt_limit = value

    @property
    def idt_limit(self):
        return self.c.v.idt_limit

    @idt_limit.setter
    def idt_limit(self, uint32_t value):
        self.c.v.idt_limit = value

    @property
    def tr_limit(self):
        return self.c.v.tr_limit

    @tr_limit.setter
    def tr_limit(self, uint32_t value):
        self.c.v.tr_limit = value

    @property
    def ldt_limit(self):
        return self.c.v.ldt_limit

    @ldt_limit.setter
    def ldt_limit(self, uint32_t value):
        self.c.v.ldt_limit = value

    @property
    def ldt_selector(self):
        return self.c.v.ldt_selector

    @ldt_selector.setter
    def ldt_selector(self, uint16_t value):
        self.c.v.ldt_selector = value

    @property
    def tr_selector(self):
        return self.c.v.tr_selector

    @tr_selector.setter
    def tr_selector(self, uint16_t value):
        self.c.v.tr_selector = value

    @property
    def iopl(self):
        return self.c.v.iopl

    @iopl.setter
    def iopl(self, uint8_t value):
        self.c.v.iopl = value
