# A dispatch table as the core reads it, and the core's own handlers. Included by core.pyx.


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
    cdef object later  # index -> (first, rows of one party): of a table whose handlers are made as they are asked for

    def __cinit__(self, table, later=None):
        if later is not None:
            self.copy(table, later)
            return
        self.compile(table)

    cdef copy(self, Compiled other, later):
        """The rows of another machine's table, without the handlers: those are that machine's."""
        cdef uint32_t i
        self.handlers = [None] * other.count
        self.later = later
        self.rows = <pv_row *>calloc(other.count + 1, sizeof(pv_row))
        if self.rows == NULL:
            raise MemoryError("no memory for the dispatch table")
        memcpy(self.rows, other.rows, other.count * sizeof(pv_row))
        self.count = other.count
        for i in range(self.count):
            if self.rows[i].native == PV_NATIVE_NONE:
                self.rows[i].handler = NULL

    cdef make_handlers(self, uint32_t index):
        """The handlers of the row's party, which no exit asked for before."""
        cdef uint32_t first, i
        first, rows = self.later(index)
        for i, row in enumerate(rows):
            if self.rows[first + i].native == PV_NATIVE_NONE:
                self.handlers[first + i] = row.handler
                self.rows[first + i].handler = <void *>row.handler
                unpack_partial(&self.rows[first + i], row.handler)

    cdef compile(self, table):
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
            if r.reason == R_MMIO and (r.shape != PV_SHAPE_EXIT or r.last >= <int64_t>PV_MONITOR_BASE):
                raise ValueError(f"{row.owner}: rows of MMIO take exits, of gpas below {PV_MONITOR_BASE:#x}")
            if len(row.argument_bits) > MOST_ARGUMENTS:
                raise ValueError(f"{row.owner}: {row.name} has {len(row.argument_bits)} arguments; there are registers for {MOST_ARGUMENTS}")
            r.argc = len(row.argument_bits)
            r.user_allowed = row.user_allowed
            r.batchable = row.batchable
            for j, bits in enumerate(row.argument_bits):
                r.bits[j] = bits
            unpack_partial(r, handler)
            self.count += 1

    def __dealloc__(self):
        free(self.rows)


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
