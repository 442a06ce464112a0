# Functions of the guest that the host calls: arguments to registers and stack, time for the function, and its result.
# Included by core.pyx.


DEF REGISTERS = 6  # RDI RSI RDX RCX R8 R9 (System V)
DEF WORD = 8
DEF IMAGE = 4096  # the most that pv_linear writes: the return address, padding, and CALL_BYTES_MOST of arguments
assert CALL_BYTES_MOST + 2 * WORD <= IMAGE
cdef uint64_t call_bytes_most = CALL_BYTES_MOST
cdef uint32_t call_depth_most = CALL_DEPTH_MOST


cdef struct Passed:
    uint64_t registers[REGISTERS]
    uint32_t count, pointers  # pointers: a bit for each register that is an offset into the image behind its first word
    uint64_t size
    uint8_t image[IMAGE]


cdef int pass_register(Passed *to, uint64_t value) except -1:
    if to.count == REGISTERS:
        raise ValueError(f"more than {REGISTERS} registers: an integer takes one, bytes, text and a document take two each")
    to.registers[to.count] = value
    to.count += 1
    return 0


cdef int pass_bytes(Passed *to, const char *data, uint64_t size) except -1:
    cdef uint64_t padded = (size + 15) & ~<uint64_t>15, at = to.size - WORD
    if size > call_bytes_most or at + padded > call_bytes_most:
        raise ValueError(f"{at + size} bytes of arguments are more than the {call_bytes_most} that the guest's stack is given")
    to.pointers |= 1 << to.count
    pass_register(to, at)
    pass_register(to, size)
    memcpy(to.image + to.size, data, size)
    memset(to.image + to.size + size, 0, padded - size)
    to.size += padded
    return 0


cdef int pass_argument(Passed *to, object argument) except -1:
    cdef int overflow = 0
    cdef long long value
    cdef bytes encoded
    if isinstance(argument, int):
        value = PyLong_AsLongLongAndOverflow(argument, &overflow)
        if overflow > 0 and argument < 1 << 64:
            return pass_register(to, argument)
        if overflow:
            raise ValueError(f"{argument} does not fit 64 bits")
        return pass_register(to, <uint64_t>value)
    if isinstance(argument, bytes):
        return pass_bytes(to, argument, len(argument))
    if isinstance(argument, str):
        encoded = (<str>argument).encode()
        return pass_bytes(to, encoded, len(encoded))
    raise TypeError(f"{type(argument).__name__} is not passed in registers")


cdef int pass_all(pv_vcpu *c, Passed *to, tuple arguments) except -1:
    cdef int i
    memset(to.registers, 0, sizeof(to.registers))
    to.count = to.pointers = 0
    (<uint64_t *>to.image)[0] = c.call_return
    to.size = WORD
    for i in range(len(arguments)):
        try:
            pass_argument(to, arguments[i])
        except TypeError as error:
            raise TypeError(f"argument {i + 1}: {error}") from None
        except ValueError as error:
            raise ValueError(f"argument {i + 1}: {error}") from None
    return 0


cdef int may_call(UnicornVcpu vcpu) except -1:
    """Raises GuestCallError, and RuntimeError where it is not for this thread or this moment to call."""
    cdef pv_vcpu *c = alive(vcpu.c)
    if c.dead:
        raise EngineError("this machine's engine has ended; make a new machine")
    if c.mode != PV_PARAVIRT:
        raise GuestCallError("the guest takes no calls: it runs under technique 'trap', which has no hypercall to return by")
    if vcpu.running:
        if vcpu.runner != PyThread_get_thread_ident():
            raise RuntimeError("the machine runs in another thread: call from a hypercall's handler, or between runs")
        if not c.hypercall:
            raise RuntimeError("a running guest is called from the handler of a hypercall only")
        if c.why != PV_RUNNING:
            raise GuestCallError(f"the run is at its end: {WHY[c.why].value}", errno_eagain)
    if c.call_depth >= call_depth_most:
        raise GuestCallError(f"calls are nested {call_depth_most} deep already", errno_eagain)
    if not c.call_return:
        raise GuestCallError("the guest has enabled no hypercall page to return to; run it until it has")
    return 0


cdef bytes read_result(pv_vcpu *c, uint64_t gva, uint64_t size, uint64_t most):
    """What a result of pointer and length names, copied; raises GuestCallError."""
    cdef uint64_t done = 0, part
    cdef pv_fault fault
    if size > most:
        raise GuestCallError(f"returned {size} bytes where {most} are allowed")
    cdef bytes found = PyBytes_FromStringAndSize(NULL, size)
    cdef char *data = found
    while done < size:
        part = min(size - done, 4096 - (gva + done & 4095))
        fault = pv_linear(c, gva + done, data + done, part, False, False)
        if fault.vector >= 0:
            raise GuestCallError(f"returned {size} bytes at {gva:#x}, where memory is not mapped from {gva + done:#x} on")
        done += part
    return found


cdef uint64_t sooner(uint64_t one_ns, uint64_t other_ns) noexcept:
    """Of two moments, each 0 for never."""
    return min(one_ns, other_ns) if one_ns and other_ns else one_ns + other_ns


cdef int run_call(UnicornVcpu vcpu, uint64_t end_ns, uint64_t slice_ns) except -1:
    """Run until the function has returned or something stops it: at `end_ns`, the time. 0: never.

    What a signal's handler raises leaves here.
    """
    cdef pv_vcpu *c = vcpu.c
    cdef pv_call *call = c.call
    cdef uint64_t now
    cdef bint further = False
    cdef PyThreadState *state
    while True:
        pv_run_call(c, further)
        if call.done or c.why != PV_RUNNING:
            return 0
        further = True
        now = pv_clock_ns()
        if c.stop_asked:
            pv_stop(c, PV_STOPPED, c.stop_status, b"")
        elif end_ns and now >= end_ns:
            pv_stop(c, PV_TIMEOUT, 0, b"")
        else:
            c.slice_ns = min(slice_ns, max(end_ns - now, 1000)) if end_ns else slice_ns
            state = PyEval_SaveThread()
            PyEval_RestoreThread(state)
            PyErr_CheckSignals()


cdef object ended_by(pv_vcpu *c, uint64_t rip):
    """The error of a function that did not return."""
    why = WHY[c.why]
    errno = errno_eagain if c.why in (PV_TIMEOUT, PV_MAX_EXITS, PV_STOPPED) else EIO
    detail = c.detail.decode("utf-8", "replace")
    status = f" with status {c.status}" if c.why in (PV_EXITED, PV_STOPPED) else ""
    text = f"did not return: {why.value}{status}, at rip {rip:#x}" + (f" ({detail})" if detail else "")
    return GuestCallError(text, errno, (why, c.status, detail))


cdef object call_guest(UnicornVcpu vcpu, uint64_t rip, tuple arguments, int64_t read_most, uint64_t timeout_ns):
    """See pv.engines.base.Vcpu."""
    cdef pv_vcpu *c = vcpu.c
    cdef Passed passed
    cdef pv_call call
    cdef pv_fault fault
    cdef uint64_t stopped_at = 0, max_exits, slice_ns, outer_end_ns = 0
    cdef bint inside = vcpu.running
    may_call(vcpu)
    pass_all(c, &passed, arguments)
    if not pv_canonical(rip):
        raise ValueError(f"address {rip:#x} is not canonical")
    if not pv_call_stack(c):
        raise GuestCallError("the guest runs a program and has named no kernel stack (set_kernel_stack)")
    fault = pv_call_enter(c, &call, rip, passed.registers, passed.pointers, passed.image, passed.size)
    if fault.vector >= 0:
        raise GuestCallError(f"the guest's stack at {pv_call_stack(c):#x} takes no {passed.size} bytes: vector {fault.vector}")
    max_exits, slice_ns = c.max_exits, c.slice_ns
    if not inside:
        vcpu.running = c.gil = True
        vcpu.runner = PyThread_get_thread_ident()
        vcpu.error = None
        vcpu.host_deadline_ns = vcpu.call_end_ns = 0
        c.max_exits = <uint64_t>-1
        c.why = PV_RUNNING
        c.detail[0] = 0
    outer_end_ns = sooner(vcpu.host_deadline_ns, vcpu.call_end_ns)  # of the run, and of the calls within which this one is made
    if timeout_ns:
        vcpu.call_end_ns = sooner(outer_end_ns, pv_clock_ns() + timeout_ns)
        c.slice_ns = min(slice_ns, max(timeout_ns, 1000))
    else:
        vcpu.call_end_ns = outer_end_ns
    found = None
    try:
        run_call(vcpu, vcpu.call_end_ns, slice_ns)
        if call.done and read_most >= 0:
            found = read_result(c, call.result, call.more, read_most)
    finally:
        stopped_at = ENV64(c.env, ENV_RIP)
        c.slice_ns = slice_ns
        vcpu.call_end_ns = outer_end_ns
        if not pv_call_leave(c) and c.why == PV_RUNNING:
            pv_stop(c, PV_UNHANDLED, 0, b"the address space that the call was made in is destroyed")
            call.done = False
        if not inside:
            vcpu.running = False
            c.stop_asked = c.stop_asked and c.why != PV_STOPPED
            c.max_exits = max_exits
    if call.done:
        return (call.result, call.more) if read_most < 0 else found
    if c.why == PV_RAISED:
        if inside:
            c.why = PV_RUNNING
        error, vcpu.error = vcpu.error, None
        raise error
    error = ended_by(c, stopped_at)
    if inside and c.why == PV_TIMEOUT and not (outer_end_ns and pv_clock_ns() >= outer_end_ns):  # its own time, and nobody else's
        c.why = PV_RUNNING
    elif inside:
        pv_call_note(c, stopped_at)
    raise error
