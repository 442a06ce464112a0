# Who owns the C structure of a vcpu, and how long it lives. Included by core.pyx.


cdef class Core:
    """The C structure of a vcpu, alive as long as the vcpu or a view of it."""

    cdef pv_vcpu *c
    cdef object arena  # pv.pages.Pages: the pool and what is known of its pages; given back with this

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
        if c.entries != NULL:
            for i in range(c.entry_count):
                free(c.entries[i].histogram)
        if c.decoded != NULL:
            for i in range(PV_DECODED):
                Py_XDECREF(<PyObject *>c.decoded[i].insn)
        free(c.index)
        free(c.entries)
        free(c.decoded)
        free(c.records)
        free(c.windows)
        free(c.port_map)
        pv_cache_close(c)
        if c.uc == NULL:
            free(c.env)
        free(c)


cdef pv_vcpu *alive(pv_vcpu *c) except NULL:
    """`c`, where its engine is. Raises EngineError where the machine is closed."""
    if c.uc == NULL:
        raise EngineError("the machine is closed")
    return c
