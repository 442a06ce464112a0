# From the core into Python: an exit is answered, a hypercall made, an instruction decoded. All of it is called with the
# GIL held. Included by core.pyx.


cdef void apply(UnicornVcpu vcpu, object reply) except *:
    cdef pv_vcpu *c = vcpu.c
    cdef int kind
    if reply is next_reply:
        if not c.in_block:
            (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length
        return
    if reply is again_reply:
        kind = KIND_AGAIN
    elif isinstance(reply, Reply):
        kind = reply.kind
    else:
        raise TypeError(f"a handler answered {reply!r}, which is not a Reply")
    if kind == KIND_AGAIN:
        if c.in_block:
            c.leave = PV_LEAVE_STAY
        return
    if kind == KIND_FAULT:
        inject(vcpu, reply.vector, reply.error_code)
        return
    if not c.in_block:
        (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length
    if kind == KIND_WAIT:
        c.waiting = True
    elif kind == KIND_STOP:
        pv_stop(c, PV_EXITED, reply.status, b"")
    elif kind == KIND_PANIC:
        if c.why == PV_RUNNING:
            vcpu.panic_message = reply.message
        pv_stop(c, PV_PANICKED, 0, b"")


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


cdef str who_answered(const pv_row *row):
    """The hypercall and its function, for a message that its author reads."""
    handler = <object>row.handler
    function = getattr(handler, "func", handler)  # functools.partial binds the machine
    name = getattr(function, "__qualname__", repr(function))
    return f"hypercall {row.first:#x} ({getattr(function, '__module__', '')}.{name})"


cdef int64_t integer_result(object result, const pv_row *row) except? -1:
    cdef int overflow = 0
    cdef int64_t value = PyLong_AsLongLongAndOverflow(result, &overflow)
    if overflow or value < -4095:
        raise ValueError(f"{who_answered(row)} answered {result}: not in -4095..2**63-1")
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


cdef bint too_wide(const pv_row *row, const uint64_t *arguments) noexcept:
    cdef int i
    for i in range(row.argc):
        if row.bits[i] < 64 and arguments[i] >> row.bits[i]:
            return True
    return False


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
            raise TypeError(f"{who_answered(row)} answered {result!r}, which is neither int nor Reply")
    registers[0] = <uint64_t>value
    (<uint64_t *>(c.env + ENV_RIP))[0] += c.exit.length


cdef void answer(pv_vcpu *c, pv_entry *entry) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    cdef const pv_row *row = entry.row
    try:
        if row.handler == NULL:
            vcpu.rows.make_handlers(row - c.rows)
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
        if c.why != PV_UNHANDLED:  # else the guest stands where it was stopped
            deliver_fault(vcpu, fault)
    except BaseException as error:
        vcpu.fail(error)


cdef void deliver_fault(UnicornVcpu vcpu, object fault) noexcept:
    try:
        inject(vcpu, fault.vector, fault.error_code)
    except BaseException as error:
        vcpu.fail(error)


cdef void note_operands(pv_decoded *slot, insn) except *:
    """Where the instruction's operands in memory lie, for the core to find without Python."""
    cdef pv_operand *to
    slot.operands = 0
    if slot.reason != R_MMIO:
        return
    for operand in insn.operands():
        if slot.operands == PV_OPERANDS:
            raise ValueError(f"{insn.mnemonic} has more than {PV_OPERANDS} operands in memory")
        to = &slot.operand[slot.operands]
        to.base, to.index, to.segment, to.scale = operand.base, operand.index, operand.segment, operand.scale
        to.displacement, to.mask, to.size, to.write = operand.displacement, operand.mask, operand.size, operand.write
        to.bits = operand.bits
        slot.operands += 1


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
            note_operands(slot, insn)
            Py_INCREF(insn)
            slot.insn = <void *>insn
        return True
    except BaseException as error:
        vcpu.fail(error)
        return False


cdef cbool translate(pv_vcpu *c, uint64_t rip, const uint8_t *code, uint32_t size, uint32_t room, cbool checked, uint32_t most) noexcept:
    cdef UnicornVcpu vcpu = <UnicornVcpu>c.python
    try:
        take_draft(&c.cache.draft, vcpu.translator.translate(rip, code[:size], room, pv_seen_selector(c, 1), checked, most, trapping(c.cache, rip, size)), room, size)
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
pv_python.translate = translate
pv_python.acknowledge = acknowledge
pv_python.deadline = deadline
