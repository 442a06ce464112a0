# A guest alone on an engine, for benchmarks: see native/bare.c. Included by core.pyx.

cdef class BareEngine:
    """An engine with a guest at CPL 0 and no monitor: no exits, no devices, no budgets. Only for guests of one's own.

    memory: a GuestMemory that holds the guest. exit_port: a write there ends the run, with its value as the status.
    """

    cdef pv_bare bare
    cdef readonly object memory
    cdef object view

    def __init__(self, memory, *, unsigned int exit_port, unsigned int translation_buffer_bytes):
        cdef unsigned char[::1] ram = memory.view
        self.memory = memory
        self.view = memory.view[:]
        self.bare.exit_port = exit_port
        self.must(pv_bare_open(&self.bare, &ram[0], memory.size_bytes, translation_buffer_bytes), "open an engine")

    cdef must(self, const char *wrong, str what):
        if wrong != NULL:
            raise EngineError(f"cannot {what}: {wrong.decode()}")

    def start_guest_tables(self, uint64_t rip, uint64_t rsp, uint64_t cr3, uint64_t gdt_base, uint32_t gdt_limit):
        """The state at an unmodified guest's first instruction: its own tables and GDT, written by a loader."""
        self.must(pv_bare_start(&self.bare, rip, rsp, cr3, gdt_base, gdt_limit), "start the guest")

    def run(self):
        """Run to the end; host seconds inside the engine. Raises EngineError where the engine gave up."""
        cdef uint64_t start
        cdef const char *wrong
        with nogil:
            start = pv_clock_ns()
            wrong = pv_bare_run(&self.bare)
            start = pv_clock_ns() - start
        self.must(wrong, "run the guest")
        return start / 1e9

    def stop(self):
        """Have run() return soon; from any thread."""
        pv_uc.emu_stop(self.bare.uc)

    def close(self):
        if self.bare.uc != NULL:
            pv_uc.close(self.bare.uc)
            self.bare.uc = NULL
        self.view = None

    def __dealloc__(self):
        if self.bare.uc != NULL:
            pv_uc.close(self.bare.uc)

    @property
    def status(self):
        """What was written to the exit port, None where the guest did not end so."""
        return self.bare.status if self.bare.ended else None

    @property
    def events(self):
        """Exceptions, software interrupts and system calls that the guest took."""
        return self.bare.events

    @property
    def console(self):
        """The first bytes of what it wrote to the serial port."""
        return (<char *>self.bare.console)[:self.bare.console_bytes]
