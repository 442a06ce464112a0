# What Python sees of a processor's state: views onto the C structures, nothing copied. Included by core.pyx.


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


cdef pv_vcpu *with_tables(pv_vcpu *c) except NULL:
    """`c`, where its page tables are the monitor's. Raises EngineError where it is closed, or made for mode "trap"."""
    if alive(c).tables.roots == NULL:
        raise EngineError("this machine has shadow page tables, not the monitor's own: its technique is no paravirt")
    return c


cdef pv_vcpu *with_shadow(pv_vcpu *c) except NULL:
    """`c`, where it has shadow page tables. Raises EngineError where it is closed, or made for mode "paravirt"."""
    if alive(c).shadow.hash == NULL:
        raise EngineError("this machine has the monitor's page tables, not shadow ones: its technique is paravirt")
    return c


cdef class Tables:
    """Page tables that the monitor owns (pv.engines.base.Tables). All raise EngineError where there are none."""

    cdef Core core
    cdef pv_vcpu *c

    def create(self):
        return checked(pv_tables_create(with_tables(self.c)))

    def destroy(self, uint32_t root):
        checked(pv_tables_destroy(with_tables(self.c), root))

    def activate(self, uint32_t root):
        checked(pv_tables_activate(with_tables(self.c), root))

    @property
    def active(self):
        return self.c.tables.active

    def root_gpa(self, uint32_t root):
        """Where the processor finds the tables of a space: what nested paging starts from. Raises GuestError(EINVAL)."""
        if root >= PV_SPACES or not with_tables(self.c).tables.roots[root]:
            raise GuestError(EINVAL, f"no space {root}")
        return pv_page_gpa(self.c.tables.roots[root])

    def map(self, uint32_t root, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags):
        if pages > PAGES_MOST:
            raise GuestError(E2BIG)
        return checked(pv_tables_map(with_tables(self.c), root, gva, gpa, pages, flags))

    def unmap(self, uint32_t root, uint64_t gva, uint64_t pages):
        if pages > PAGES_MOST:
            raise GuestError(E2BIG)
        return checked(pv_tables_unmap(with_tables(self.c), root, gva, pages))

    def lookup(self, uint32_t root, uint64_t gva):
        """(gpa, abi map flags) of a mapped address, else None."""
        cdef pv_mapping to
        if not pv_tables_lookup(with_tables(self.c), root, gva, &to):
            return None
        return to.gpa, 1 | (to.flags & 2) | (to.flags & 4) | (0 if to.flags >> 63 else 8)


cdef class Shadow:
    """Shadow page tables (pv.engines.base.Shadow). All that change them raise EngineError where there are none."""

    cdef Core core
    cdef pv_vcpu *c

    def load(self, uint64_t cr3):
        pv_shadow_load(with_shadow(self.c), cr3)

    def invalidate(self, uint64_t gva):
        pv_shadow_invalidate(with_shadow(self.c), gva)

    def flush(self):
        pv_shadow_flush(with_shadow(self.c))

    def statistics(self):
        cdef pv_shadow *s = &self.c.shadow
        return {
            "shadow fills": s.fills,
            "guest page faults": s.guest_faults,
            "page-table writes": s.table_writes,
            "shadow syncs": s.syncs,
            "shadow drops": s.zaps,
            "address-space loads": s.roots,
            "address-space hits": s.root_hits,
        }


cdef class Registers:
    """Properties of the general registers, by name."""

    cdef pv_vcpu *c

    @property
    def rax(self):
        return pv_register(self.c, 0)[0]

    @rax.setter
    def rax(self, uint64_t value):
        pv_register(self.c, 0)[0] = value

    @property
    def rcx(self):
        return pv_register(self.c, 1)[0]

    @rcx.setter
    def rcx(self, uint64_t value):
        pv_register(self.c, 1)[0] = value

    @property
    def rdx(self):
        return pv_register(self.c, 2)[0]

    @rdx.setter
    def rdx(self, uint64_t value):
        pv_register(self.c, 2)[0] = value

    @property
    def rbx(self):
        return pv_register(self.c, 3)[0]

    @rbx.setter
    def rbx(self, uint64_t value):
        pv_register(self.c, 3)[0] = value

    @property
    def rsp(self):
        return pv_register(self.c, 4)[0]

    @rsp.setter
    def rsp(self, uint64_t value):
        pv_register(self.c, 4)[0] = value

    @property
    def rbp(self):
        return pv_register(self.c, 5)[0]

    @rbp.setter
    def rbp(self, uint64_t value):
        pv_register(self.c, 5)[0] = value

    @property
    def rsi(self):
        return pv_register(self.c, 6)[0]

    @rsi.setter
    def rsi(self, uint64_t value):
        pv_register(self.c, 6)[0] = value

    @property
    def rdi(self):
        return pv_register(self.c, 7)[0]

    @rdi.setter
    def rdi(self, uint64_t value):
        pv_register(self.c, 7)[0] = value

    @property
    def r8(self):
        return pv_register(self.c, 8)[0]

    @r8.setter
    def r8(self, uint64_t value):
        pv_register(self.c, 8)[0] = value

    @property
    def r9(self):
        return pv_register(self.c, 9)[0]

    @r9.setter
    def r9(self, uint64_t value):
        pv_register(self.c, 9)[0] = value

    @property
    def r10(self):
        return pv_register(self.c, 10)[0]

    @r10.setter
    def r10(self, uint64_t value):
        pv_register(self.c, 10)[0] = value

    @property
    def r11(self):
        return pv_register(self.c, 11)[0]

    @r11.setter
    def r11(self, uint64_t value):
        pv_register(self.c, 11)[0] = value

    @property
    def r12(self):
        return pv_register(self.c, 12)[0]

    @r12.setter
    def r12(self, uint64_t value):
        pv_register(self.c, 12)[0] = value

    @property
    def r13(self):
        return pv_register(self.c, 13)[0]

    @r13.setter
    def r13(self, uint64_t value):
        pv_register(self.c, 13)[0] = value

    @property
    def r14(self):
        return pv_register(self.c, 14)[0]

    @r14.setter
    def r14(self, uint64_t value):
        pv_register(self.c, 14)[0] = value

    @property
    def r15(self):
        return pv_register(self.c, 15)[0]

    @r15.setter
    def r15(self, uint64_t value):
        pv_register(self.c, 15)[0] = value

    @property
    def rip(self):
        return ENV64(self.c.env, ENV_RIP)

    @property
    def cpl(self):
        return pv_cpl(self.c)

    @property
    def rflags(self):
        return pv_rflags(self.c) if self.c.uc != NULL else ENV64(self.c.env, ENV_EFLAGS)

    @rflags.setter
    def rflags(self, uint64_t value):
        pv_set_rflags(alive(self.c), value)

    @property
    def fs_base(self):
        return pv_segment(self.c, PV_FS).base

    @fs_base.setter
    def fs_base(self, uint64_t value):
        pv_segment(self.c, PV_FS).base = value

    @property
    def gs_base(self):
        return pv_segment(self.c, PV_GS).base

    @gs_base.setter
    def gs_base(self, uint64_t value):
        pv_segment(self.c, PV_GS).base = value

    def get(self, unsigned int register):
        if register > 15:
            raise IndexError(f"register {register} is not 0-15")
        return pv_register(self.c, register)[0]

    def set(self, unsigned int register, uint64_t value):
        if register > 15:
            raise IndexError(f"register {register} is not 0-15")
        pv_register(self.c, register)[0] = value

    def selector(self, unsigned int segment):
        if segment > 5:
            raise IndexError(f"segment {segment} is not 0-5")
        return pv_seen_selector(self.c, segment)
