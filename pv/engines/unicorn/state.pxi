# What a processor is, as plain values, and back: for snapshots. Included by core.pyx.
#
# The fields stand in native/state.c. Pages are not among them: guest memory and the arena are frozen by their owner.


class StateError(ValueError):
    """A saved state that this processor cannot take: which part of it, and why."""


cdef class Saved(Counted):
    """Save and restore (pv.engines.base.SavedVcpu)."""

    engine = "unicorn 2.1.4"  # what the probe has proved at import

    @property
    def pages(self):
        """The pages of the monitor's tables and of what is known of them: pv.pages.Pages."""
        return self.core.arena

    def save(self):
        """The state between two runs, as names and integers, bytes and lists of them. Raises StateError where there is none to save."""
        cdef pv_vcpu *c = alive(self.c)
        cdef const pv_field *f
        cdef uint8_t packed[4096]
        cdef int i
        cdef uint32_t j
        cdef uint64_t number, first
        cdef dict state = {}
        if c.dead:
            raise StateError("the engine of this machine has ended")
        for i in range(pv_field_count):
            f = &pv_fields[i]
            if f.count == 1:
                state[f.name] = pv_field_get(c, f)
            else:
                pv_field_bytes(c, f, packed, False)
                state[f.name] = (<char *>packed)[:f.count * f.size]
        state[b"event_page"] = -1 if c.event_page == NULL else c.event_page - c.ram
        state[b"clock_page"] = -1 if c.clock_page == NULL else <uint8_t *>c.clock_page - c.ram
        counts = []
        for j in range(c.entry_count):
            counts += (c.entries[j].tag, c.entries[j].count, c.entries[j].calls)
        first = c.exits - min(c.exits, <uint64_t>PV_RECORDS)
        state[b"counts"] = counts
        state[b"records"] = b"".join([
            (<char *>&c.records[number % PV_RECORDS])[:sizeof(pv_recorded)] for number in range(first, c.exits)
        ])
        return {name.decode(): value for name, value in state.items()}

    def check(self, dict state, frozen, bint begun):
        """Raises StateError for a state, or for pages of it, that this processor could not follow safely.

        For what comes from a file. `frozen`: the arena's pages (pv.pages.FrozenPages); begun: whether there is a guest.
        """
        cdef pv_vcpu *c = alive(self.c)
        cdef pv_vcpu *copy = <pv_vcpu *>calloc(1, sizeof(pv_vcpu))
        cdef uint8_t *env = <uint8_t *>calloc(1, PV_ENV_SIZE)
        cdef uint8_t *levels = <uint8_t *>calloc(c.pool.pages, 1)
        cdef uint64_t base
        try:
            if copy == NULL or env == NULL or levels == NULL:
                raise MemoryError("no memory to look at a snapshot")
            if frozen.size_bytes != self.core.arena.size_bytes:
                raise StateError(f"its monitor has tables of {frozen.size_bytes} bytes, not {self.core.arena.size_bytes}")
            memcpy(copy, c, sizeof(pv_vcpu))
            memcpy(env, c.env, PV_ENV_SIZE)
            copy.env = env
            set_fields(copy, state)
            base = frozen.address()
            pv_arena(copy, <uint8_t *>base, c.pool.pages + (PV_CONTROL_PAGES if c.vmcb_page else 0))
            copy.pool.pages = c.pool.pages  # the control block's lie behind those
            if not pv_state_check(copy, begun):
                raise StateError("its processor is in no state that there is")
            if not pv_arena_check(copy, levels, begun):
                raise StateError("its page tables lead outside of its memory")
            self.lists_of(state)
        finally:
            free(copy)
            free(env)
            free(levels)

    def restore(self, dict state):
        """Take a saved state; guest memory and the arena hold its pages already. Raises StateError.

        Latencies start anew: they are the host's.
        """
        cdef pv_vcpu *c = alive(self.c)
        cdef uint64_t i, total
        cdef uint64_t *counts
        cdef const unsigned char[:] records
        if self.running:
            raise RuntimeError("a running machine cannot be restored")
        numbers, recorded = self.lists_of(state)
        set_fields(c, state)
        counts = <uint64_t *>malloc(8 * len(numbers) + 8)
        if counts == NULL:
            raise MemoryError("no memory for counts")
        try:
            for i, number in enumerate(numbers):
                counts[i] = number
            for i in range(c.entry_count):
                free(c.entries[i].histogram)
                c.entries[i].histogram = NULL
            pv_counts_set(c, counts, len(numbers) // 3)
        finally:
            free(counts)
        if recorded:
            records = recorded
            total = len(recorded) // sizeof(pv_recorded)
            for i in range(total):
                memcpy(&c.records[(c.exits - total + i) % PV_RECORDS], &records[i * sizeof(pv_recorded)], sizeof(pv_recorded))
        c.event_page = NULL if state["event_page"] == -1 else self.shared(state["event_page"], 272)
        c.clock_page = NULL if state["clock_page"] == -1 else <uint64_t *>self.shared(state["clock_page"], 16)
        pv_state_settle(c)

    def lists_of(self, dict state):
        """(counts, records), and that the pages shared with the guest are its own. Raises StateError."""
        numbers, recorded = state.get("counts"), state.get("records")
        if (not isinstance(numbers, list) or len(numbers) % 3 or len(numbers) > 3 * PV_ENTRIES
                or not all([type(number) is int and number >= 0 and number.bit_length() <= 64 for number in numbers])):
            raise StateError("its counts are no counts")
        if (not isinstance(recorded, bytes) or not isinstance(state.get("exits"), int)
                or len(recorded) != min(state["exits"], PV_RECORDS) * sizeof(pv_recorded)):
            raise StateError("its flight record has not one entry an exit")
        for name, size_bytes in (("event_page", 272), ("clock_page", 16)):
            gpa = state.get(name)
            if gpa != -1 and (type(gpa) is not int or gpa < 0 or gpa % 8 or gpa + size_bytes > self.c.ram_size):
                raise StateError(f"its {name} is outside of its memory")
        return numbers, recorded

    def forget_code(self, spans):
        """Guest memory changed under the engine: forget what was translated there. spans: (start, end) gpas; None for all."""
        cdef uint64_t start, end
        if spans is None:
            pv_forget_code(alive(self.c), 0, self.c.ram_size)
            return
        for start, end in spans:
            pv_forget_code(alive(self.c), start, end)


cdef set_fields(pv_vcpu *c, dict state):
    """Put every field of native/state.c. Raises StateError for one that is missing or not to be had."""
    cdef const pv_field *f
    cdef const unsigned char[:] packed
    cdef int i
    cdef bint good
    for i in range(pv_field_count):
        f = &pv_fields[i]
        name = f.name.decode()
        value = state.get(name)
        if f.count == 1:
            good = type(value) is int and value >= 0 and value.bit_length() <= 64 and pv_field_set(c, f, value)
        else:
            good = type(value) is bytes and len(value) == f.count * f.size
            if good:
                packed = value
                pv_field_bytes(c, f, <uint8_t *>&packed[0], True)
        if not good:
            raise StateError(f"its processor has {name} = {str(value)[:60]}, which this one cannot have")
