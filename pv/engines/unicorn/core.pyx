# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The native core: one vcpu on libunicorn, and the four ways from an exit into Python.

Mechanism only. Which handler answers what is decided by the table that a machine binds.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from pv.engines.unicorn.native cimport *

from functools import partial
from errno import E2BIG, EAGAIN, EFAULT, EINVAL, EIO, ENOSYS, EPERM

from pv.dispatch import Shape
from pv.engines.calling import CALL_BYTES_MOST, CALL_DEPTH_MOST
from pv.engines.base import GuestFault, Latency, RecordedExit
from pv.exits import AGAIN, NEXT, GuestCallError, GuestError, Reply, ReplyKind, StopWhy
from pv.pages import Pages


cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(PyObject *callable, PyObject **args, size_t count, PyObject *names) noexcept
    PyObject *box "PyLong_FromUnsignedLongLong"(unsigned long long) noexcept
    int PyErr_ExceptionMatches(object) noexcept
    void Py_DECREF_raw "Py_DECREF"(PyObject *) noexcept
    ctypedef struct PyThreadState:
        pass
    unsigned long PyThread_get_thread_ident()
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *)
    int PyLong_CheckExact(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1


DEF SLICE_NS = 5000000
DEF EXIT_COST_NS = 1000
DEF MOST_BOUND = 2
DEF MOST_ARGUMENTS = 6
DEF ENTRY_WORDS = 8  # abi's multicall_entry: number, six arguments, result
DEF PAGES_MOST = 1 << 20  # pages of one request, 4 GiB: no exit may take as long as the guest likes
WHY = tuple(StopWhy)
cdef int KIND_PANIC = ReplyKind.PANIC
SHAPES = {Shape.EXIT: PV_SHAPE_EXIT, Shape.CALL: PV_SHAPE_CALL, Shape.READ: PV_SHAPE_READ, Shape.WRITE: PV_SHAPE_WRITE,
          Shape.NATIVE: PV_SHAPE_NATIVE}
cdef object next_reply = NEXT, again_reply = AGAIN
cdef int KIND_AGAIN = ReplyKind.AGAIN, KIND_FAULT = ReplyKind.FAULT
cdef int KIND_WAIT = ReplyKind.WAIT, KIND_STOP = ReplyKind.STOP
cdef int errno_eperm = EPERM, errno_einval = EINVAL, errno_enosys = ENOSYS, errno_eagain = EAGAIN, errno_efault = EFAULT, errno_eio = EIO


class EngineError(RuntimeError):
    """The engine cannot be loaded, or cannot run this machine any more."""


def load_engine(str path):
    """Load libunicorn from `path` and prove its layout. Raises EngineError with what differs and how to mend it."""
    cdef const char *wrong = pv_engine_load(path.encode())
    if wrong == NULL:
        wrong = pv_engine_probe()
    if wrong != NULL:
        raise EngineError(wrong.decode())


def engine_route():
    """(cpu word, env word, flag offset): where the probe found the engine's CPU state from its handle."""
    return pv_route.cpu_word, pv_route.env_word, pv_route.no_exit_request


cdef object checked(int64_t result):
    if result < 0:
        raise GuestError(-result)
    return result


cdef object raise_fault(pv_fault fault):
    raise GuestFault(fault.vector, fault.error if fault.has_error else None)


include "holder.pxi"
include "views.pxi"
include "paging.pxi"
include "interrupts.pxi"
include "registers.pxi"
include "verbs.pxi"
include "counted.pxi"
include "translations.pxi"
include "state.pxi"
include "rows.pxi"
include "answers.pxi"
include "batches.pxi"
include "calls.pxi"
include "bare.pxi"


def no_interrupt():
    """The interrupt source of a machine without one."""
    return -1


def no_timer():
    """The timer source of a machine without one."""


cdef class UnicornVcpu(Saved):
    """One vcpu on an engine of its own (pv.engines.base.Vcpu).

    memory: the machine's GuestMemory, which must be closed after this. decode: bytes and RIP to a Decoded or None.
    mode: "trap" (shadow tables, IDT), "paravirt" (monitor's tables, trap table) or "hardware" (the guest's own tables over
    nested ones, and what `controls`, a pv.techniques.controls.ControlBlock, has exit). translator: what makes, of the
    vcpu's `virtual`, the pv.translate.block.Translator by which the kernel of mode "trap" runs, in a cache of cache_bytes. frozen: the arena's pages
    (pv.pages.FrozenPages) of a processor of the same sizes, whose state restore() then takes.
    Raises EngineError where the engine refuses, MemoryError where the host has no memory.
    """

    cdef readonly Exit exit
    cdef readonly VirtualCpu virtual
    cdef str panic_message
    cdef readonly Tables tables
    cdef readonly Shadow shadow
    cdef readonly InterruptQueue interrupt_queue
    cdef readonly object native
    cdef object view, decoder, error, translator
    cdef Compiled rows
    cdef list replaced  # rows that a handler may still be answering for
    cdef unsigned long runner  # the thread that runs it
    cdef uint64_t host_deadline_ns, call_end_ns  # 0: never
    cdef object __weakref__

    def __cinit__(self):
        self.core = Core()
        self.c = self.core.c

    def __init__(self, memory, *, decode, unsigned int monitor_pages, unsigned int translation_buffer_bytes, str mode, controls=None, frozen=None, translator=None, unsigned int cache_bytes=0):
        cdef pv_vcpu *c = self.c
        cdef unsigned char[::1] arena
        cdef unsigned char[::1] view = memory.view
        c.python = <void *>self
        c.mode = {"trap": PV_TRAP, "translate": PV_TRAP, "paravirt": PV_PARAVIRT, "hardware": PV_HARDWARE}[mode]
        c.ring = 1
        c.ram = &view[0]
        c.ram_size = memory.size_bytes
        c.exit_cost_ns = EXIT_COST_NS
        c.slice_ns = SLICE_NS
        c.deadline_ns = <uint64_t>-1
        c.rows = NULL
        c.why = PV_STOPPED
        if monitor_pages < 16:
            raise ValueError(f"monitor_pages={monitor_pages}: page tables need at least 16")
        self.memory = memory
        self.view = memory.view[:]
        self.decoder = decode
        self.interrupt_source = no_interrupt
        self.timer_source = no_timer
        self.replaced = []
        self.native = NativeHandlers
        self.make_views()
        c.index = <uint16_t *>calloc(PV_INDEX, sizeof(uint16_t))
        c.entries = <pv_entry *>calloc(PV_ENTRIES, sizeof(pv_entry))
        c.decoded = <pv_decoded *>calloc(PV_DECODED, sizeof(pv_decoded))
        c.records = <pv_recorded *>calloc(PV_RECORDS, sizeof(pv_recorded))
        if not (c.index and c.entries and c.decoded and c.records):
            raise MemoryError("no memory for a vcpu's tables")
        self.core.arena = Pages(pv_arena(c, NULL, monitor_pages), frozen)
        arena = self.core.arena.view
        pv_arena(c, &arena[0], monitor_pages)
        pv_pool_init(&c.pool)
        if translator is not None and not pv_cache_open(c, cache_bytes // 4096):
            raise MemoryError("no memory for a translation cache")
        self.open_engine(translation_buffer_bytes)
        if c.mode == PV_HARDWARE:
            self.begin_hardware(controls, frozen is None)
        if translator is not None:
            self.translator = translator(self.virtual)
        if frozen is not None or c.mode == PV_HARDWARE:
            return
        if c.mode == PV_TRAP:
            pv_pool_reset(&c.pool, PV_SHADOW_FIRST)
        elif not pv_tables_init(c):
            raise MemoryError("no memory for page tables")

    cdef begin_hardware(self, controls, bint fresh):
        """The control block, and nested tables; those of a snapshot are among its pages."""
        cdef pv_vcpu *c = self.c
        cdef pv_controls *to = &c.controls
        cdef uint64_t cr4 = c.v.cr4
        to.instructions = controls.instructions
        to.exceptions = controls.exceptions
        to.cr_reads, to.cr_writes = controls.cr_reads, controls.cr_writes
        to.dr_reads, to.dr_writes = controls.dr_reads, controls.dr_writes
        to.apic_virtual = controls.apic_virtual
        to.msrs = 0
        if not pv_hardware_begin(c) or (fresh and not pv_tables_init(c)):
            raise MemoryError("no memory for a control block and nested page tables")
        for index in controls.msrs:
            row = pv_msr_row(index)
            if row < 0:
                raise ValueError(f"MSR {index:#x} exits whatever the control block says")
            to.msrs |= 1 << row
        for port in controls.ports_passed:
            if not 0 <= port < 8 * PV_PORT_MAP:
                raise ValueError(f"port {port:#x} is not 0-0xffff")
            c.port_map[port // 8] &= ~(1 << port % 8)
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_CR4, &cr4), "write CR4")  # RDTSC exits by an intercept, not by CR4.TSD
        pv_hardware_controls(c)

    cdef make_views(self):
        self.exit = Exit.__new__(Exit)
        self.exit.core = self.core
        self.exit.c = self.c
        self.virtual = VirtualCpu.__new__(VirtualCpu)
        self.virtual.core = self.core
        self.virtual.c = self.c
        self.tables = Tables.__new__(Tables)
        self.tables.core = self.core
        self.tables.c = self.c
        self.shadow = Shadow.__new__(Shadow)
        self.shadow.core = self.core
        self.shadow.c = self.c
        self.interrupt_queue = InterruptQueue.__new__(InterruptQueue)
        self.interrupt_queue.core = self.core
        self.interrupt_queue.apic = &self.c.apic

    cdef open_engine(self, unsigned int translation_buffer_bytes):
        cdef pv_vcpu *c = self.c
        cdef uint64_t cr0 = 0x80050033, cr4 = 0x620, time_stamp_disable = 0x624  # RDTSC exits by #GP
        cdef uc_x86_msr efer
        cdef uc_x86_mmr empty
        self.must(pv_uc.open(UC_ARCH_X86, UC_MODE_64, &c.uc), "open an engine")
        self.must(pv_uc.ctl(c.uc, UC_CTL_WRITE(UC_CTL_TCG_BUFFER_SIZE, 1), <uint32_t>translation_buffer_bytes), "size its buffer")
        self.must(pv_uc.mem_map_ptr(c.uc, 0, c.ram_size, UC_PROT_ALL, c.ram), "map guest memory")
        self.must(pv_uc.mem_map_ptr(c.uc, PV_MONITOR_BASE, c.pool.pages * <uint64_t>4096, UC_PROT_READ | UC_PROT_WRITE, c.pool.base),
                  "map the monitor's pages")
        if c.cache != NULL:
            self.map_cache()
        c.cpu = <uint8_t *>(<uint64_t *>c.uc)[pv_route.cpu_word]
        c.env = <uint8_t *>(<uint64_t *>c.cpu)[pv_route.env_word]
        (<uint8_t *>c.uc)[pv_route.no_exit_request] = 1  # stops fall on block starts: see native/watchdog.c
        memset(&empty, 0, sizeof(empty))
        efer.rid = 0xC0000080
        efer.value = 0xD01
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_GDTR, &empty), "write GDTR")
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_IDTR, &empty), "write IDTR")
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_CR4, &time_stamp_disable), "write CR4")
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_CR0, &cr0), "write CR0")
        self.must(pv_uc.reg_write(c.uc, UC_X86_REG_MSR, &efer), "write EFER")
        (<uint32_t *>(c.env + ENV_HFLAGS))[0] |= 1 << 14
        memset(c.env, 0, 16 * 8)
        pv_guest_mode_start(c)
        c.v.cr0 = cr0
        c.v.cr4 = cr4
        c.v.efer = 0xD01
        if not pv_hooks_install(c):
            raise EngineError("the engine refuses a hook")

    cdef map_cache(self):
        cdef uint8_t *base
        cdef uint64_t size = pv_cache_memory(self.c, &base)
        self.must(pv_uc.mem_map_ptr(self.c.uc, PV_CACHE_BASE, size, UC_PROT_ALL, base), "map the translation cache")

    cdef must(self, uc_err error, str what):
        if error:
            raise EngineError(f"cannot {what}: {pv_uc.strerror(error).decode()}")

    cdef void fail(self, object error) noexcept:
        """Keep an exception of ours until the engine has been left."""
        if self.error is None:
            self.error = error
        pv_stop(self.c, PV_RAISED, 0, b"")

    # ---- start ----

    cdef start(self, uint64_t rip, uint64_t rsp, unsigned int cs, unsigned int ss):
        cdef pv_vcpu *c = self.c
        cdef int i
        pv_enter_level(c, 0, cs, ss)
        for i in (0, 3, 4, 5):  # ES DS FS GS: flat, usable
            pv_segment(c, i).selector = 0
            pv_segment(c, i).base = 0
            pv_segment(c, i).limit = 0xFFFFFFFF
            pv_segment(c, i).flags = 0x00CFF300
        pv_register(c, PV_RSP)[0] = rsp
        (<uint64_t *>(c.env + ENV_RIP))[0] = rip
        pv_set_rflags(c, 2)

    def start_guest_tables(self, uint64_t rip, uint64_t rsp, uint64_t cr3, uint64_t gdt_base, uint32_t gdt_limit):
        """The state at an unmodified guest's first instruction: its own tables and GDT, written by a loader."""
        if alive(self.c).mode != PV_HARDWARE:
            with_shadow(self.c)
        pv_virtual_set(self.c, PV_GDT_BASE, gdt_base)
        pv_virtual_set(self.c, PV_GDT_LIMIT, gdt_limit)
        self.start(rip, rsp, 0x08, 0x10)
        self.shadow.load(cr3)

    def start_monitor_tables(self, uint64_t rip, uint64_t rsp, segments):
        """The state at a paravirtual guest's first instruction. segments: (gpa, bytes, abi map flags), page-aligned.

        All other memory is mapped writable and not executable; page 0 is not mapped.

        Raises ValueError where the monitor has too few pages for tables of all memory.
        """
        if pv_tables_map(with_tables(self.c), 0, 0, 0, self.c.ram_size // 4096, 3) < 0 or pv_tables_unmap(self.c, 0, 0, 1) < 0:
            raise ValueError(f"monitor_pages={self.c.pool.pages} are too few to map {self.c.ram_size} bytes of memory")
        for gpa, size_bytes, flags in segments:
            checked(pv_tables_map(self.c, 0, gpa, gpa, -(-size_bytes // 4096), flags))
        self.start(rip, rsp, 0x08, 0x10)
        checked(pv_tables_activate(self.c, 0))

    def inject(self, int vector, error_code=None):
        alive(self.c)
        inject(self, vector, error_code)

    def call(self, uint64_t number, tuple arguments):
        cdef uint64_t registers[6]
        cdef int i
        memset(registers, 0, sizeof(registers))
        for i in range(min(6, len(arguments))):
            registers[i] = arguments[i]
        return call_one(self, number, registers, pv_user(self.c))

    def call_batch(self, uint64_t entries_gpa, uint64_t count):
        return call_entries(self, entries_gpa, count)

    def call_ring(self, ring):
        return call_ring(self, ring)

    # ---- functions of the guest ----

    def call_guest(self, uint64_t rip, tuple arguments, int64_t read_most=-1, uint64_t timeout_ns=0):
        return call_guest(self, rip, arguments, read_most, timeout_ns)

    def end_call(self, uint64_t result, uint64_t more):
        cdef pv_call *call = self.c.call
        if call == NULL or call.done:
            raise GuestError(EPERM, "no call of the host's is under way")
        call.result = result
        call.more = more
        call.done = True

    # ---- translated code ----

    def translation_statistics(self):
        return translation_statistics(alive(self.c))

    def translations(self):
        return translations_of(alive(self.c))

    def set_call_return(self, uint64_t rip):
        self.c.call_return = rip

    # ---- the table ----

    def bind(self, table):
        """Compile the table: rows by reason and key, handlers held, counts kept. A handler may do so: it is the last of its rows.

        Raises ValueError for a row that the core cannot run.
        """
        self.bind_rows(Compiled(table))

    def bind_like(self, UnicornVcpu other, later):
        """Take the rows that `other` has bound; later(index) -> (first, rows) makes the handlers of one party of them."""
        self.bind_rows(Compiled(other.rows, later))

    cdef bind_rows(self, Compiled compiled):
        cdef pv_vcpu *c = self.c
        cdef uint32_t i
        cdef pv_entry *entry
        for i in range(compiled.count):
            if compiled.rows[i].native == PV_NATIVE_SHADOW_FAULT:
                with_shadow(c)
        if self.running:
            self.replaced.append(self.rows)
        c.rows = compiled.rows
        c.row_count = compiled.count
        self.rows = compiled
        if c.mode != PV_PARAVIRT and not pv_windows_set(c):
            raise MemoryError("no memory for the windows of devices")
        for i in range(c.entry_count):
            entry = &c.entries[i]
            entry.row = pv_row_for(c, pv_tag_reason(entry.tag), pv_tag_write(entry.tag), pv_tag_key(entry.tag))

    # ---- run ----

    def run(self, uint64_t max_exits, uint64_t timeout_ns):
        cdef pv_vcpu *c = self.c
        cdef uint64_t now, slice_ns = c.slice_ns, end
        cdef bint release = False
        cdef PyThreadState *state
        if self.running:
            raise RuntimeError("the machine is running already: a handler cannot run it again")
        if c.uc == NULL or c.dead:
            raise EngineError("this machine's engine has ended; make a new machine")
        self.running = True
        self.runner = PyThread_get_thread_ident()
        self.error = None
        c.why = PV_RUNNING
        c.detail[0] = 0
        c.max_exits = c.exits + max_exits if max_exits and max_exits < ~c.exits else <uint64_t>-1
        c.unsettled = True  # what was asked for between two runs
        end = pv_clock_ns() + timeout_ns if timeout_ns else <uint64_t>-1
        self.host_deadline_ns = end if timeout_ns else 0
        self.call_end_ns = 0
        try:
            while True:
                now = pv_clock_ns()
                c.slice_ns = min(slice_ns, max(end - now, 1000)) if now < end else 1000
                if release:
                    pv_run_released(c, end)
                else:
                    c.gil = True
                    pv_run_slice(c)
                if c.stop_asked:
                    pv_stop(c, PV_STOPPED, c.stop_status, b"")
                if pv_clock_ns() >= end:
                    pv_stop(c, PV_TIMEOUT, 0, b"")
                if c.why != PV_RUNNING:
                    break
                if not release:
                    state = PyEval_SaveThread()
                    PyEval_RestoreThread(state)
                release = c.python_exits == 0
                if self.replaced:
                    self.replaced = []
                PyErr_CheckSignals()
        finally:
            c.slice_ns = slice_ns
            c.stop_asked = 0
            self.running = False
            self.replaced = []
        if c.why == PV_RAISED:
            error, self.error = self.error, None
            raise error
        detail = self.panic_message if c.why == PV_PANICKED else c.detail.decode("utf-8", "replace")
        return WHY[c.why], c.status, detail

    def stop(self, int status):
        self.c.stop_status = status
        self.c.stop_asked = 1

    cdef keep_registers(self):
        """Close the engine; registers stay readable from a copy, memory does not."""
        cdef pv_vcpu *c = self.c
        cdef uint8_t *copy = <uint8_t *>calloc(1, PV_ENV_SIZE)
        cdef uint64_t rflags = pv_rflags(c)
        if copy == NULL:
            raise MemoryError("no memory for the registers of a closed machine")
        memcpy(copy, c.env, PV_ENV_SIZE)
        pv_uc.close(c.uc)
        c.uc = NULL
        c.cpu = NULL
        c.env = copy
        (<uint64_t *>(c.env + ENV_EFLAGS))[0] = rflags
        c.event_page = NULL
        c.clock_page = NULL
        c.ram = NULL
        c.ram_size = 0

    def close(self):
        """Give everything back; the guest's memory stays with the machine. Closing twice is harmless."""
        cdef pv_vcpu *c = self.c
        cdef int i
        if self.running:
            raise RuntimeError("a running machine cannot be closed")
        if c == NULL:
            return
        if c.uc != NULL:
            self.keep_registers()
        self.view = None
        self.memory = None
        self.rows = None
        c.rows = NULL
        c.row_count = 0
        c.exit.insn = NULL
        self.decoder = self.interrupt_source = self.timer_source = None
        if c.decoded != NULL:
            for i in range(PV_DECODED):
                Py_XDECREF(<PyObject *>c.decoded[i].insn)
                c.decoded[i].insn = NULL
