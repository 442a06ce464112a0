# What a processor has counted, timed and recorded. Included by core.pyx.


cdef class Counted(Verbs):
    """Counters, histograms and the flight record (pv.engines.base.Vcpu)."""

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
        return {pv_tag_key(self.c.entries[i].tag): self.c.entries[i].calls for i in range(self.c.entry_count) if self.c.entries[i].calls}

    def events(self):
        counted = {
            "events delivered": self.c.events_delivered,
            "interrupts delivered": self.c.interrupts_delivered,
            "double faults": self.c.double_faults,
            "ring held": self.c.escapes,
        }
        if pv_hardware(self.c):
            del counted["ring held"]
            counted["time stamps read"] = self.c.clock_reads
            counted["system calls entered"] = self.c.system_calls
            counted["accesses to ports passed through"] = self.c.ports_passed
        if self.c.controls.apic_virtual:
            counted["APIC accesses virtualized"] = self.c.apic.accesses
            counted["virtual interrupts delivered"] = self.c.apic.delivered
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


cdef object tag_key(uint64_t tag):
    """(reason, key) as pv.exits has them: the key of a port and of a device's gpa carries the direction in bit 0."""
    reason = pv_tag_reason(tag)
    if reason == R_IO or reason == R_MMIO:
        return reason, pv_tag_key(tag) * 2 + pv_tag_write(tag)
    return reason, pv_tag_key(tag)


cdef object counted_key(pv_entry *entry):
    return tag_key(entry.tag)
