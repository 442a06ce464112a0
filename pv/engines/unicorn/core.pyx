# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The native core: one vcpu on libunicorn, and the four ways from an exit into Python.

Mechanism only. Which handler answers what is decided by the table that a machine binds.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport munmap

from pv.engines.unicorn.native cimport *

from functools import partial
from errno import E2BIG, EAGAIN, EFAULT, EINVAL, EIO, ENOMEM, ENOSYS, EPERM

from pv.dispatch import Shape
from pv.engines.base import GuestFault, Latency, RecordedExit
from pv.exits import AGAIN, NEXT, WAIT, GuestError, Reply, ReplyKind, StopWhy


cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(PyObject *callable, PyObject **args, size_t count, PyObject *names) noexcept
    PyObject *box "PyLong_FromUnsignedLongLong"(unsigned long long) noexcept
    int PyErr_ExceptionMatches(object) noexcept
    void Py_DECREF_raw "Py_DECREF"(PyObject *) noexcept
    ctypedef struct PyThreadState:
        pass
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
SHAPES = {Shape.EXIT: PV_SHAPE_EXIT, Shape.CALL: PV_SHAPE_CALL, Shape.READ: PV_SHAPE_READ, Shape.WRITE: PV_SHAPE_WRITE,
          Shape.NATIVE: PV_SHAPE_NATIVE}
cdef object next_reply = NEXT, again_reply = AGAIN, wait_reply = WAIT
cdef int KIND_NEXT = ReplyKind.NEXT, KIND_AGAIN = ReplyKind.AGAIN, KIND_FAULT = ReplyKind.FAULT
cdef int KIND_WAIT = ReplyKind.WAIT, KIND_STOP = ReplyKind.STOP
cdef int errno_eperm = EPERM, errno_einval = EINVAL, errno_enosys = ENOSYS, errno_eagain = EAGAIN


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


cdef class Core:
    """The C structure of a vcpu, alive as long as the vcpu or a view of it."""

    cdef pv_vcpu *c

    def __cinit__(self):
        self.c = <pv_vcpu *>calloc(1, sizeof(pv_vcpu))
        if self.c == NULL:
            raise MemoryError("no memory for a vcpu")

    def __dealloc__(self):
        cdef pv_vcpu *c = self.c
        cdef uint32_t i
        if c == NULL:
            return
        if c.uc != NULL:
            pv_uc.close(c.uc)
            c.uc = NULL
            c.env = NULL
        if c.pool.base != NULL and <int64_t>c.pool.base != -1:
            munmap(c.pool.base, (c.pool.pages + (PV_GUEST_MODE_PAGES if c.vmcb_page else 0)) * <uint64_t>4096)
        if c.entries != NULL:
            for i in range(c.entry_count):
                free(c.entries[i].histogram)
        if c.decoded != NULL:
            for i in range(PV_DECODED):
                Py_XDECREF(<PyObject *>c.decoded[i].insn)
        free(c.pool.next)
        free(c.shadow.pages)
        free(c.shadow.hash)
        free(c.shadow.unsync_list)
        free(c.shadow.tracked)
        free(c.shadow.mapped_by)
        free(c.tables.roots)
        free(c.index)
        free(c.entries)
        free(c.decoded)
        free(c.records)
        if c.uc == NULL:
            free(c.env)
        free(c)


cdef pv_vcpu *alive(pv_vcpu *c) except NULL:
    """`c`, where its engine is. Raises EngineError where the machine is closed."""
    if c.uc == NULL:
        raise EngineError("the machine is closed")
    return c


include "state.pxi"


cdef class NativeHandler:
    """A row's handler that is a function of the core: no Python runs for it."""

    cdef readonly str name
    cdef int code

    def __init__(self, str name, int code):
        self.name = name
        self.code = code

    def __call__(self, *arguments):
        raise TypeError(f"{self.name} runs in the native core only")

    def __repr__(self):
        return f"<native handler {self.name}>"


class NativeHandlers:
    """The core's own handlers, for rows of Shape.NATIVE."""

    shadow_fault = NativeHandler("shadow_fault", PV_NATIVE_SHADOW_FAULT)
    reflect = NativeHandler("reflect", PV_NATIVE_REFLECT)
    syscall = NativeHandler("syscall", PV_NATIVE_SYSCALL)
    trap_table = NativeHandler("trap_table", PV_NATIVE_REFLECT)
    syscall_entry = NativeHandler("syscall_entry", PV_NATIVE_SYSCALL)


NATIVE_REASONS = {PV_NATIVE_REFLECT: (R_EXCEPTION, R_SOFTWARE), PV_NATIVE_SHADOW_FAULT: (R_EXCEPTION,), PV_NATIVE_SYSCALL: (R_SYSCALL,)}


cdef class Compiled:
    """A table's rows as the core reads them, and the handlers that they point to."""

    cdef pv_row *rows
    cdef uint32_t count
    cdef list handlers

    def __cinit__(self, table):
        cdef pv_row *r
        cdef list rows = list(table)
        self.handlers = []
        self.rows = <pv_row *>calloc(len(rows) + 1, sizeof(pv_row))
        if self.rows == NULL:
            raise MemoryError("no memory for the dispatch table")
        for row in rows:
            r = &self.rows[self.count]
            handler = row.handler
            self.handlers.append(handler)
            r.reason = row.reason
            r.first = row.first
            r.last = row.last
            r.handler = <void *>handler
            r.shape = SHAPES[row.shape]
            r.native = (<NativeHandler>handler).code if isinstance(handler, NativeHandler) else PV_NATIVE_NONE
            if r.shape == PV_SHAPE_NATIVE and r.reason not in NATIVE_REASONS.get(r.native, ()):
                raise ValueError(f"{row.owner}: {handler!r} is no native handler for reason {row.reason!r}")
            if len(row.argument_bits) > MOST_ARGUMENTS:
                raise ValueError(f"{row.owner}: {row.name} has {len(row.argument_bits)} arguments; there are registers for {MOST_ARGUMENTS}")
            r.argc = len(row.argument_bits)
            r.user_allowed = row.user_allowed
            for j, bits in enumerate(row.argument_bits):
                r.bits[j] = bits
            unpack_partial(r, handler)
            self.count += 1

    def __dealloc__(self):
        free(self.rows)


# ---- from the core into Python: called with the GIL held ----

cdef void apply(UnicornVcpu vcpu, object reply) except *:
    cdef pv_vcpu *c = vcpu.c
    cdef int kind
    if reply is next_reply:
        if not c.in_block:
            (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length
        return
    if reply is again_reply:
        if c.in_block:
            c.leave = PV_LEAVE_STAY
        return
    if not isinstance(reply, Reply):
        raise TypeError(f"a handler answered {reply!r}, which is not a Reply")
    kind = reply.kind
    if kind == KIND_FAULT:
        inject(vcpu, reply.vector, reply.error_code)
        return
    if not c.in_block:
        (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length
    if kind == KIND_WAIT:
        c.waiting = True
    elif kind == KIND_STOP:
        pv_stop(c, PV_EXITED, reply.status, b"")


cdef void inject(UnicornVcpu vcpu, int vector, object error_code) except *:
    cdef pv_vcpu *c = vcpu.c
    if not 0 <= vector < 256:
        raise ValueError(f"vector {vector} is not 0-255")
    if c.in_block:
        c.leave_fault.vector = vector
        c.leave_fault.has_error = error_code is not None
        c.leave_fault.error = error_code or 0
        c.leave = PV_LEAVE_FAULT
    else:
        pv_deliver(c, vector, error_code is not None, error_code or 0, PV_EXCEPTION)


cdef int64_t integer_result(object result, const pv_row *row) except? -1:
    cdef int overflow = 0
    cdef int64_t value = PyLong_AsLongLongAndOverflow(result, &overflow)
    if overflow or value < -4095:
        raise ValueError(f"{<object>row.handler!r} answered {result}: not in -4095..2**63-1")
    return value


cdef int raised() except -1:
    """Hand on the exception that the C API has set."""
    return -1


cdef object invoke(const pv_row *row, const uint64_t *arguments):
    """Call a Shape.CALL handler with its bound and register arguments. A GuestError is answered by its errno."""
    cdef PyObject *boxed[MOST_BOUND + MOST_ARGUMENTS]
    cdef int i, bound = row.bound_count, count = bound + row.argc
    cdef PyObject *result
    for i in range(bound):
        boxed[i] = <PyObject *>row.bound[i]
    for i in range(row.argc):
        boxed[bound + i] = box(arguments[i])
        if boxed[bound + i] == NULL:
            raised()
    result = PyObject_Vectorcall(<PyObject *>row.callable, boxed, count, NULL)
    for i in range(row.argc):
        Py_DECREF_raw(boxed[bound + i])
    if result == NULL:
        if PyErr_ExceptionMatches(GuestError):
            try:
                raised()
            except GuestError as error:
                return -error.errno
        raised()
    answered = <object>result
    Py_DECREF_raw(result)
    return answered


cdef void unpack_partial(pv_row *row, object handler) except *:
    """A handler bound by functools.partial is called without it: 40 ns less for each call."""
    cdef int i
    row.callable = <void *>handler
    row.bound_count = 0
    if type(handler) is partial and not handler.keywords and len(handler.args) <= MOST_BOUND:
        row.callable = <void *>handler.func  # both live as long as the partial, which the vcpu holds
        for i, argument in enumerate(handler.args):
            row.bound[i] = <void *>argument
        row.bound_count = len(handler.args)


cdef bint too_wide(const pv_row *row, const uint64_t *arguments) noexcept:
    cdef int i
    for i in range(row.argc):
        if row.bits[i] < 64 and arguments[i] >> row.bits[i]:
            return True
    return False


cdef bint contains(const uint64_t *numbers, uint64_t count, uint64_t wanted) noexcept:
    cdef uint64_t i
    for i in range(count):
        if numbers[i] == wanted:
            return True
    return False


cdef int64_t call_one(UnicornVcpu vcpu, uint64_t number, const uint64_t *arguments) except? -1:
    """One hypercall from inside another: the same table, checks and counts. What would be in RAX after it."""
    cdef pv_vcpu *c = vcpu.c
    cdef pv_entry *entry
    if number >> 31:
        return -errno_enosys
    if vcpu.host_deadline_ns and pv_clock_ns() >= vcpu.host_deadline_ns:
        return -errno_eagain
    entry = pv_entry_for(alive(c), R_VMCALL, 0, number)
    entry.calls += 1
    if entry.row == NULL or entry.row.shape != PV_SHAPE_CALL:  # an exit's handler, too, has no place in a batch
        return -errno_enosys
    if pv_user(c) and not entry.row.user_allowed:
        return -errno_eperm
    if too_wide(entry.row, arguments):
        return -errno_einval
    result = invoke(entry.row, arguments)
    if PyLong_CheckExact(result):
        return integer_result(result, entry.row)
    return -errno_einval  # a call that would change control flow has no place in a batch


cdef void hypercall(UnicornVcpu vcpu, pv_entry *entry) except *:
    cdef pv_vcpu *c = vcpu.c
    cdef const pv_row *row = entry.row
    cdef uint64_t arguments[6]
    cdef uint64_t *registers = pv_register(c, 0)
    cdef int64_t value
    entry.calls += 1
    # RDI RSI RDX R10 R8 R9: Linux's and Xen's order
    arguments[0] = registers[7]
    arguments[1] = registers[6]
    arguments[2] = registers[2]
    arguments[3] = registers[10]
    arguments[4] = registers[8]
    arguments[5] = registers[9]
    if pv_user(c) and not row.user_allowed:
        value = -errno_eperm
    elif too_wide(row, arguments):
        value = -errno_einval
    else:
        result = invoke(row, arguments)
        if PyLong_CheckExact(result):
            value = integer_result(result, row)
        elif isinstance(result, Reply):
            apply(vcpu, result)
            return
        else:
            raise TypeError(f"{<object>row.handler!r} answered {result!r}, which is neither int nor Reply")
    registers[0] = <uint64_t>value
    (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length


cdef void answer(pv_vcpu *c, pv_entry *entry) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    cdef const pv_row *row = entry.row
    try:
        if row.shape == PV_SHAPE_EXIT:
            apply(vcpu, (<object>row.handler)(vcpu.exit))
        elif row.shape == PV_SHAPE_CALL:
            hypercall(vcpu, entry)
        elif row.shape == PV_SHAPE_READ:
            result = (<object>row.handler)(c.exit.key - (row.first if row.first >= 0 else 0), c.exit.size)
            if isinstance(result, int):
                c.exit.value = <uint64_t>result
            else:
                apply(vcpu, result)
        else:
            result = (<object>row.handler)(c.exit.key - (row.first if row.first >= 0 else 0), c.exit.size, c.exit.value)
            if result is not None:
                apply(vcpu, result)
    except GuestFault as fault:
        deliver_fault(vcpu, fault)
    except BaseException as error:
        vcpu.fail(error)


cdef void deliver_fault(UnicornVcpu vcpu, object fault) noexcept:
    try:
        inject(vcpu, fault.vector, fault.error_code)
    except BaseException as error:
        vcpu.fail(error)


cdef cbool decode(pv_vcpu *c, pv_decoded *slot, const uint8_t *code, int size) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    try:
        data = (<const char *>code)[:size]
        rip = ENV64(c.env, ENV_RIP)
        insn = vcpu.decoder(data, rip)
        Py_XDECREF(<PyObject *>slot.insn)
        slot.insn = NULL
        slot.length = size
        memcpy(slot.code, code, size)
        slot.rip = rip
        if insn is not None:
            slot.reason = insn.reason
            slot.key = insn.key
            slot.length = insn.length
            Py_INCREF(insn)
            slot.insn = <void *>insn
        return True
    except BaseException as error:
        vcpu.fail(error)
        return False


cdef int acknowledge(pv_vcpu *c) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    try:
        return vcpu.interrupt_source()
    except BaseException as error:
        vcpu.fail(error)
        return -1


cdef void deadline(pv_vcpu *c) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    c.deadline_ns = <uint64_t>-1
    try:
        vcpu.timer_source()
    except BaseException as error:
        vcpu.fail(error)


pv_python.answer = answer
pv_python.decode = decode
pv_python.acknowledge = acknowledge
pv_python.deadline = deadline


def no_interrupt():
    """The interrupt source of a machine without one."""
    return -1


def no_timer():
    """The timer source of a machine without one."""


cdef class UnicornVcpu(Registers):
    """One vcpu on an engine of its own (pv.engines.base.Vcpu).

    memory: the machine's GuestMemory, which must be closed after this. decode: bytes and RIP to a Decoded or None.
    mode: "trap" (shadow tables, IDT) or "paravirt" (monitor's tables, trap table).
    Raises EngineError where the engine refuses, MemoryError where the host has no memory.
    """

    cdef Core core
    cdef readonly Exit exit
    cdef readonly VirtualCpu virtual
    cdef readonly Tables tables
    cdef readonly Shadow shadow
    cdef readonly object native
    cdef object memory, view, decoder, interrupt_source, timer_source, table, error
    cdef Compiled rows
    cdef list replaced  # rows that a handler may still be answering for
    cdef bint running
    cdef uint64_t host_deadline_ns
    cdef object __weakref__

    def __cinit__(self):
        self.core = Core()
        self.c = self.core.c

    def __init__(self, memory, *, decode, unsigned int monitor_pages, unsigned int translation_buffer_bytes, str mode):
        cdef pv_vcpu *c = self.c
        cdef unsigned char[::1] view = memory.view
        c.python = <void *>self
        c.mode = {"trap": PV_TRAP, "paravirt": PV_PARAVIRT}[mode]
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
        if not (c.index and c.entries and c.decoded and c.records and pv_pool_init(&c.pool, monitor_pages)):
            raise MemoryError("no memory for a vcpu's tables")
        self.open_engine(translation_buffer_bytes)
        if not (pv_tables_init(c) if c.mode == PV_PARAVIRT else pv_shadow_init(c)):
            raise MemoryError("no memory for page tables")

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
        if not alive(self.c).nested:
            with_shadow(self.c)
        self.c.v.gdt_base = gdt_base
        self.c.v.gdt_limit = gdt_limit
        self.start(rip, rsp, 0x08, 0x10)
        if self.c.guest_mode:  # at CPL 0 the guest loads segments by itself
            (<uint64_t *>(self.c.env + ENV_GDT + 8))[0] = gdt_base
            (<uint32_t *>(self.c.env + ENV_GDT + 16))[0] = gdt_limit
        if self.c.nested:
            self.c.v.cr3 = cr3
            pv_set_cr3(self.c, cr3)
        else:
            pv_shadow_load(self.c, cr3)

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

    # ---- verbs of the protocol ----

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
        pv_segment(self.c, PV_GS).base = self.c.v.kernel_gs_base
        self.c.v.kernel_gs_base = base

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

    def cpuid(self, uint32_t leaf, uint32_t subleaf):
        cdef uint32_t a = 0, b = 0, c = 0, d = 0
        pv_uc.cpu_x86_cpuid(alive(self.c).env, leaf, subleaf, &a, &b, &c, &d)
        return a, b, c, d

    def set_task_switched(self, bint on):
        cdef uint64_t *cr0 = <uint64_t *>(self.c.env + ENV_CR)
        cdef uint32_t *hflags = <uint32_t *>(self.c.env + ENV_HFLAGS)
        cr0[0] = (cr0[0] & ~<uint64_t>8) | (8 if on else 0)
        hflags[0] = (hflags[0] & ~<uint32_t>HF_TS) | (HF_TS if on else 0)

    def write_code(self, gpa, data):
        self.memory.write(gpa, data)
        self.c.flush_translations = True

    def inject(self, int vector, error_code=None):
        alive(self.c)
        inject(self, vector, error_code)

    def set_interrupt_source(self, acknowledge):
        self.interrupt_source = acknowledge

    def request_interrupt(self):
        self.c.interrupt_pending = True

    def set_trap(self, unsigned int vector, uint64_t rip, uint32_t flags):
        if vector > 255:
            raise ValueError(f"vector {vector} is not 0-255")
        self.c.traps[vector].rip = rip
        self.c.traps[vector].flags = flags

    def set_kernel_stack(self, uint64_t rsp):
        self.c.kernel_stack = rsp

    def set_syscall_entry(self, uint64_t rip):
        self.c.syscall_entry = rip

    def call(self, uint64_t number, tuple arguments):
        cdef uint64_t registers[6]
        cdef int i
        memset(registers, 0, sizeof(registers))
        for i in range(min(6, len(arguments))):
            registers[i] = arguments[i]
        return call_one(self, number, registers)

    def call_batch(self, uint64_t entries_gpa, uint64_t count, refused):
        cdef pv_vcpu *c = alive(self.c)
        cdef uint64_t size = count * ENTRY_WORDS * 8
        cdef uint8_t *entries = pv_gpa(c, entries_gpa, size) if count <= PAGES_MOST else NULL
        cdef uint64_t *copy
        cdef uint64_t *stops
        cdef uint64_t i, stop_count = len(refused)
        cdef int64_t result
        if entries == NULL:
            raise GuestError(EFAULT, f"{count} entries at gpa {entries_gpa:#x} are outside guest memory")
        copy = <uint64_t *>malloc(size + stop_count * 8 + 8)
        if copy == NULL:
            raise MemoryError("no memory for a batch")
        try:
            memcpy(copy, entries, size)  # once: what a call does to the array is not seen
            stops = copy + count * ENTRY_WORDS
            for i, number in enumerate(refused):
                stops[i] = number
            for i in range(count):
                if contains(stops, stop_count, copy[i * ENTRY_WORDS]):
                    result = -errno_einval
                else:
                    result = call_one(self, copy[i * ENTRY_WORDS], copy + i * ENTRY_WORDS + 1)
                memcpy(entries + (i * ENTRY_WORDS + ENTRY_WORDS - 1) * 8, &result, 8)
        finally:
            free(copy)
        return count

    # ---- time ----

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

    # ---- the table ----

    def bind(self, table):
        """Compile the table: rows by reason and key, handlers held, counts kept. A handler may do so: it is the last of its rows.

        Raises ValueError for a row that the core cannot run.
        """
        cdef pv_vcpu *c = self.c
        cdef Compiled compiled = Compiled(table)
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
        self.table = table
        for i in range(c.entry_count):
            entry = &c.entries[i]
            entry.row = pv_row_for(c, entry.tag >> 33, entry.tag >> 32 & 1, key_of(entry.tag))

    # ---- what is counted ----

    def counters(self):
        return {counted_key(&self.c.entries[i]): self.c.entries[i].count for i in range(self.c.entry_count) if self.c.entries[i].count}

    @property
    def exits(self):
        """All exits so far."""
        return self.c.exits

    @property
    def slices(self):
        """Slices of the engine so far: how often the guest was stopped is the host's affair, so it is no event."""
        return self.c.slices

    def calls(self):
        return {key_of(self.c.entries[i].tag): self.c.entries[i].calls for i in range(self.c.entry_count) if self.c.entries[i].calls}

    def events(self):
        counted = {
            "events delivered": self.c.events_delivered,
            "interrupts delivered": self.c.interrupts_delivered,
            "double faults": self.c.double_faults,
            "ring held": self.c.escapes,
        }
        if self.c.mode == PV_TRAP:
            counted.update(self.shadow.statistics())
        return counted

    def time_exits(self, bint on):
        self.c.timing = on

    def latencies(self):
        cdef pv_histogram *h
        cdef uint32_t i
        timed = {}
        for i in range(self.c.entry_count):
            h = self.c.entries[i].histogram
            if h != NULL:
                timed[counted_key(&self.c.entries[i])] = Latency(
                    h.count, h.total_ns, h.min_ns, h.max_ns, tuple([h.buckets[j] for j in range(PV_BUCKETS)])
                )
        return timed

    def code_at(self, uint64_t rip):
        """Up to 15 bytes of the guest's instructions at rip, as mapped now."""
        cdef uint8_t code[15]
        cdef int have = pv_fetch(self.c, rip, code)  # none once the machine is closed
        return (<char *>code)[:have]

    def flight_record(self):
        cdef pv_vcpu *c = self.c
        cdef pv_recorded *r
        cdef uint64_t number, cr3 = ENV64(c.env, ENV_CR + 24)
        record = []
        for number in range(c.exits - min(c.exits, PV_RECORDS), c.exits):
            r = &c.records[number % PV_RECORDS]
            (<uint64_t *>(c.env + ENV_CR + 24))[0] = r.cr3  # read the code in the address space that ran it
            reason, key = tag_key(r.tag)
            record.append(RecordedExit(r.number, reason, key, r.rip, r.eflags, r.cpl,
                                       tuple([r.registers[i] for i in range(16)]), self.code_at(r.rip)))
        (<uint64_t *>(c.env + ENV_CR + 24))[0] = cr3
        return record

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
        self.error = None
        c.why = PV_RUNNING
        c.detail[0] = 0
        c.max_exits = c.exits + max_exits if max_exits and max_exits < ~c.exits else <uint64_t>-1
        c.unsettled = True  # what was asked for between two runs
        end = pv_clock_ns() + timeout_ns if timeout_ns else <uint64_t>-1
        self.host_deadline_ns = end if timeout_ns else 0
        try:
            while True:
                now = pv_clock_ns()
                c.slice_ns = min(slice_ns, max(end - now, 1000)) if now < end else 1000
                if release:
                    pv_run_released(c)
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
        return WHY[c.why], c.status, c.detail.decode("utf-8", "replace")

    def stop(self, int status):
        self.c.stop_status = status
        self.c.stop_asked = 1

    def guest_mode(self, uint64_t intercepts, unsigned int cr_reads, unsigned int cr_writes, uint32_t exceptions, uint64_t nested_root):
        """Run the guest at its own CPL 0 under SVM intercepts (APM vol. 2, appendix B: the control area's words).

        To be called before start_guest_tables. Every MSR exits where intercepts has the MSR bit. nested_root:
        tables.root_gpa() of a space whose pages are all mapped with MAP_USER; 0 for shadow paging (mode "trap").
        """
        if not pv_guest_mode(alive(self.c), intercepts, cr_reads, cr_writes, exceptions, nested_root):
            raise MemoryError("no monitor pages for the control block")

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
        self.table = None
        self.rows = None
        c.rows = NULL
        c.row_count = 0
        c.exit.insn = NULL
        self.decoder = self.interrupt_source = self.timer_source = None
        if c.decoded != NULL:
            for i in range(PV_DECODED):
                Py_XDECREF(<PyObject *>c.decoded[i].insn)
                c.decoded[i].insn = NULL


cdef int64_t key_of(uint64_t tag) noexcept:
    return -1 if <uint32_t>tag == 0xFFFFFFFF and (tag >> 33) != R_VMCALL else <int64_t><uint32_t>tag


cdef object tag_key(uint64_t tag):
    """(reason, key) as pv.exits has them: a port's key carries its direction in bit 0."""
    reason = tag >> 33
    if reason == R_IO:
        return reason, key_of(tag) * 2 + (tag >> 32 & 1)
    return reason, key_of(tag)


cdef object counted_key(pv_entry *entry):
    return tag_key(entry.tag)
