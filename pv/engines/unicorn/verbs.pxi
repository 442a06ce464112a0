# What handlers may do to a processor beyond its registers: privileged verbs, linear memory, time. Included by core.pyx.


cdef class Verbs(Registers):
    """The verbs of pv.engines.base.Vcpu that translate and decide nothing."""

    cdef Core core
    cdef object memory, interrupt_source, timer_source
    cdef readonly bint running  # in run(), or in a call from outside it

    def load_segment(self, unsigned int segment, unsigned int selector):
        if segment > 5 or segment == 1:
            raise IndexError(f"segment {segment} is not one of ES SS DS FS GS: 0, 2-5")
        cdef pv_fault fault = pv_load_segment(alive(self.c), segment, selector)
        if fault.vector >= 0:
            raise_fault(fault)

    def far_transfer(self, unsigned int selector, uint64_t rip, rsp=None, ss=None):
        """Far JMP or RET to the same privilege; with rsp and ss, far RET outward. Raises GuestFault."""
        cdef pv_fault fault
        if ss is None:
            fault = pv_far_transfer(alive(self.c), selector, rip)
        else:
            fault = pv_return_to(alive(self.c), rip, selector, rsp, ss)
        if fault.vector >= 0:
            raise_fault(fault)
        if ss is None and rsp is not None:
            pv_register(self.c, PV_RSP)[0] = rsp

    def jump(self, uint64_t rip):
        if (rip + (<uint64_t>1 << 47)) >> 48:
            raise GuestFault(VEC_GP, 0)
        (<uint64_t *>(alive(self.c).env + ENV_RIP))[0] = rip

    def interrupt_return(self):
        cdef pv_fault fault = pv_interrupt_return(alive(self.c))
        if fault.vector >= 0:
            raise_fault(fault)

    def system_return(self, int operand_bits):
        cdef pv_fault fault = pv_system_return(alive(self.c), operand_bits)
        if fault.vector >= 0:
            raise_fault(fault)

    def swap_gs(self):
        cdef uint64_t base = pv_segment(self.c, PV_GS).base
        pv_segment(self.c, PV_GS).base = pv_virtual_get(self.c, PV_KERNEL_GS_BASE)
        pv_virtual_set(self.c, PV_KERNEL_GS_BASE, base)

    def read_linear(self, uint64_t gva, unsigned int size_bytes, *, bint write=False):
        if size_bytes > 4096:
            raise ValueError(f"{size_bytes} bytes are more than a page")
        cdef uint8_t data[4096]
        cdef pv_fault fault = pv_linear(alive(self.c), gva, data, size_bytes, False, pv_user(self.c))
        if fault.vector < 0 and write:  # what is read will be written back: both must be allowed
            fault = pv_linear(self.c, gva, data, size_bytes, True, pv_user(self.c))
        if fault.vector >= 0:
            raise_fault(fault)
        return (<char *>data)[:size_bytes]

    def write_linear(self, uint64_t gva, const unsigned char[:] data):
        if data.shape[0] > 4096:
            raise ValueError(f"{data.shape[0]} bytes are more than a page")
        cdef pv_fault fault
        if data.shape[0]:
            fault = pv_linear(alive(self.c), gva, <void *>&data[0], data.shape[0], True, pv_user(self.c))
            if fault.vector >= 0:
                raise_fault(fault)

    def translate(self, uint64_t gva, *, bint write=False):
        cdef pv_mapping to
        if self.c.mode == PV_PARAVIRT:
            raise RuntimeError("a paravirtual guest has no page tables of its own: ask tables.lookup()")
        cdef pv_fault fault = pv_guest_walk(alive(self.c), gva, (PF_W if write else 0) | (PF_U if pv_user(self.c) else 0), &to)
        if fault.vector >= 0:
            if fault.vector == VEC_PF:
                self.c.v.cr2 = gva
            raise_fault(fault)
        if pv_gpa(self.c, to.gpa, 1) == NULL and not pv_is_device(self.c, to.gpa):
            pv_stop(self.c, PV_UNHANDLED, 0, b"no memory and no device at gpa %#llx, which gva %#llx maps (RIP %#llx)",
                    <unsigned long long>to.gpa, <unsigned long long>gva,
                    <unsigned long long>(<uint64_t *>(self.c.env + ENV_RIP))[0])
            raise GuestFault(VEC_GP, 0)
        return to.gpa

    def cpuid(self, uint32_t leaf, uint32_t subleaf):
        cdef uint32_t a = 0, b = 0, c = 0, d = 0
        pv_uc.cpu_x86_cpuid(alive(self.c).env, leaf, subleaf, &a, &b, &c, &d)
        return a, b, c, d

    def set_task_switched(self, bint on):
        if pv_hardware(self.c):
            return  # CR0 is the guest's own, TS and EM in it
        cdef uint64_t *cr0 = <uint64_t *>(self.c.env + ENV_CR)
        cdef uint32_t *hflags = <uint32_t *>(self.c.env + ENV_HFLAGS)
        cr0[0] = (cr0[0] & ~<uint64_t>8) | (8 if on else 0)
        hflags[0] = (hflags[0] & ~<uint32_t>HF_TS) | (HF_TS if on else 0)
        if self.c.cache != NULL:  # WAIT looks at MP besides, and at TS alone: not at what EM stands in for
            hflags[0] = (hflags[0] & ~<uint32_t>HF_MP) | (HF_MP if self.c.v.cr0 & 0xA == 0xA else 0)

    def write_code(self, gpa, data):
        self.memory.write(gpa, data)
        self.c.flush_translations = True

    def note_write(self, uint64_t gpa, uint64_t size_bytes):
        if pv_gpa(alive(self.c), gpa, size_bytes) == NULL:
            raise GuestError(EFAULT, f"gpa {gpa:#x}+{size_bytes:#x} is outside guest memory")
        if size_bytes:
            pv_forget_code(self.c, gpa, gpa + size_bytes)

    def set_interrupt_source(self, acknowledge):
        self.interrupt_source = acknowledge

    def request_interrupt(self):
        self.c.interrupt_pending = True

    def withdraw_interrupt(self):
        self.c.interrupt_pending = False
        if self.c.uc != NULL:
            pv_close_window(self.c)

    def describe_apic(self, int mode, uint32_t svr, uint32_t ldr, uint32_t dfr, uint8_t timer_vector):
        if not 0 <= mode <= PV_APIC_MSRS:
            raise ValueError(f"{mode} is no mode of a local APIC")
        self.c.apic.mode = mode
        self.c.apic.svr = svr
        self.c.apic.ldr = ldr
        self.c.apic.dfr = dfr
        self.c.apic.timer_vector = timer_vector

    def set_trap(self, unsigned int vector, uint64_t rip, uint32_t flags):
        if vector > 255:
            raise ValueError(f"vector {vector} is not 0-255")
        self.c.traps[vector].rip = rip
        self.c.traps[vector].flags = flags

    def set_kernel_stack(self, uint64_t rsp):
        self.c.kernel_stack = rsp

    def set_syscall_entry(self, uint64_t rip):
        self.c.syscall_entry = rip

    @property
    def now_ns(self):
        return self.c.now_ns

    def set_deadline(self, deadline_ns):
        self.c.deadline_ns = <uint64_t>-1 if deadline_ns < 0 else deadline_ns

    def set_timer_source(self, on_deadline):
        self.timer_source = on_deadline

    def set_slice(self, uint64_t slice_ns):
        """How long the guest runs before other threads and signals get their turn; 5 ms unless said otherwise."""
        if slice_ns < 1000:
            raise ValueError("a slice is at least 1000 ns")
        self.c.slice_ns = slice_ns

    cdef uint8_t *shared(self, gpa, size_bytes) except? NULL:
        if not isinstance(gpa, int) or gpa < 0 or gpa % 8 or gpa + size_bytes > self.c.ram_size:
            raise GuestError(EFAULT, f"no page of guest memory at gpa {gpa:#x}")
        return self.c.ram + <uint64_t>gpa

    def set_clock_page(self, gpa):
        self.c.clock_page = NULL if gpa == -1 else <uint64_t *>self.shared(gpa, 16)
        if self.c.clock_page != NULL:
            self.c.clock_page[0] = 0
            self.c.clock_page[1] = self.c.now_ns

    def set_event_page(self, gpa, uint64_t upcall_rip):
        self.c.event_page = NULL if gpa == -1 else self.shared(gpa, 272)
        self.c.upcall_rip = upcall_rip
