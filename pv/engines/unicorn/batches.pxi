# Hypercalls that are not an exit each: one from inside another, the entries of a multicall, those of a ring.
# Included by core.pyx.


cdef bint out_of_time(UnicornVcpu vcpu) noexcept:
    """Whether run() is to end: by its time budget, or because someone asked."""
    return vcpu.c.stop_asked or (vcpu.host_deadline_ns and pv_clock_ns() >= vcpu.host_deadline_ns)


cdef int64_t call_one(UnicornVcpu vcpu, uint64_t number, const uint64_t *arguments, bint user) except? -1:
    """One hypercall from inside another: the same table, checks and counts. What would be in RAX after it.

    user: whether it is made at CPL 3.
    """
    cdef pv_vcpu *c = vcpu.c
    cdef pv_entry *entry
    if number >> 31:
        return -errno_enosys
    if out_of_time(vcpu):
        return -errno_eagain
    entry = pv_entry_for(alive(c), R_VMCALL, 0, number)
    if entry.row != NULL and not entry.row.batchable:
        return -errno_einval
    entry.calls += 1
    if entry.row == NULL or entry.row.shape != PV_SHAPE_CALL:  # an exit's handler, too, has no place in a batch
        return -errno_enosys
    if user and not entry.row.user_allowed:
        return -errno_eperm
    if too_wide(entry.row, arguments):
        return -errno_einval
    if entry.row.handler == NULL:
        vcpu.rows.make_handlers(entry.row - c.rows)
    try:
        result = invoke(entry.row, arguments)
    except GuestFault:  # there is no instruction of the guest's that it could be injected at
        return -errno_efault
    if PyLong_CheckExact(result):
        return integer_result(result, entry.row)
    return -errno_einval  # a call that would change control flow has no place in a batch


cdef object call_entries(UnicornVcpu vcpu, uint64_t entries_gpa, uint64_t count):
    cdef pv_vcpu *c = alive(vcpu.c)
    cdef uint64_t size = count * ENTRY_WORDS * 8
    cdef uint8_t *entries = pv_gpa(c, entries_gpa, size) if count <= PAGES_MOST else NULL
    cdef uint64_t *copy
    cdef uint64_t i
    cdef int64_t result
    cdef bint user = pv_user(c)
    if entries == NULL:
        raise GuestError(EFAULT, f"{count} entries at gpa {entries_gpa:#x} are outside guest memory")
    copy = <uint64_t *>malloc(size + 8)
    if copy == NULL:
        raise MemoryError("no memory for a batch")
    try:
        memcpy(copy, entries, size)  # once: what a call does to the array is not seen
        for i in range(count):
            result = call_one(vcpu, copy[i * ENTRY_WORDS], copy + i * ENTRY_WORDS + 1, user)
            memcpy(entries + (i * ENTRY_WORDS + ENTRY_WORDS - 1) * 8, &result, 8)
    finally:
        free(copy)
    return count


cdef object call_ring(UnicornVcpu vcpu, object state):
    cdef pv_vcpu *c = alive(vcpu.c)
    cdef uint32_t entries = state.entries, head = state.submit_head, tail = state.complete_tail, count = 0, taken = 0
    cdef uint64_t gpa = state.gpa
    cdef pv_ring *ring = <pv_ring *>pv_gpa(c, gpa, pv_ring_size(entries))
    cdef pv_ring_call call
    cdef int64_t result
    if ring == NULL or gpa % 8 or not entries or entries & (entries - 1):
        raise GuestError(EFAULT, f"no ring of {entries} entries at gpa {gpa:#x}")
    if not pv_ring_count(ring, entries, head, tail, &count):
        raise GuestError(EINVAL, f"an index of the ring at gpa {gpa:#x} is impossible")
    if not count:
        state.left = 0
        return 0
    try:
        while taken < count and not out_of_time(vcpu):
            pv_ring_read(ring, entries, head, &call)
            head += 1
            taken += 1
            result = -errno_eio  # of a handler that raises: it is not asked again
            try:
                # The ring is the kernel's, whoever runs when its calls are taken.
                result = call_one(vcpu, call.number, call.arguments, False)
            finally:
                pv_ring_write(ring, entries, tail, call.token, result)
                tail += 1
    finally:
        pv_ring_publish(ring, head, tail)
        state.submit_head = head
        state.complete_tail = tail
        state.left = count - taken
    return taken
