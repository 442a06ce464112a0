# Registers as properties of their name. Included by core.pyx.


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

    def xmm(self, unsigned int register):
        cdef uint64_t *lanes = self.lanes(register)
        return <object>lanes[1] << 64 | lanes[0]

    def set_xmm(self, unsigned int register, value):
        cdef uint64_t *lanes = self.lanes(register)
        cdef uint64_t low = value & 0xFFFFFFFFFFFFFFFF, high = value >> 64  # one past 128 bits raises OverflowError
        lanes[0] = low
        lanes[1] = high

    cdef uint64_t *lanes(self, unsigned int register) except NULL:
        if register > 15:
            raise IndexError(f"XMM register {register} is not 0-15")
        return <uint64_t *>(alive(self.c).env + ENV_XMM + 64 * register)  # a ZMM register has 64 bytes
