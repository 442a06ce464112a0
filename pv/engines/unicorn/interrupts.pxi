# The interrupt queue of the processor's local APIC, as the chip sees it: native/apic.c. Included by core.pyx.


cdef object wide(uint64_t *bits):
    return int.from_bytes((<char *>bits)[:32], "little")


cdef int set_wide(uint64_t *bits, value) except -1:
    cdef bytes packed = value.to_bytes(32, "little")
    memcpy(bits, <char *>packed, 32)
    return 0


cdef class InterruptQueue:
    """IRR, ISR, TMR, TPR and ICR (pv.devices.interrupt_queue.InterruptQueue): those that APIC virtualization changes.

    Raises OverflowError for a value that its register cannot hold.
    """

    cdef Core core
    cdef pv_apic *apic

    @property
    def requested(self):
        return wide(self.apic.irr)

    @requested.setter
    def requested(self, value):
        set_wide(self.apic.irr, value)

    @property
    def in_service(self):
        return wide(self.apic.isr)

    @in_service.setter
    def in_service(self, value):
        set_wide(self.apic.isr, value)

    @property
    def level_triggered(self):
        return wide(self.apic.tmr)

    @level_triggered.setter
    def level_triggered(self, value):
        set_wide(self.apic.tmr, value)

    @property
    def task_priority(self):
        return self.apic.tpr

    @task_priority.setter
    def task_priority(self, uint8_t value):
        self.apic.tpr = value

    @property
    def command(self):
        return self.apic.command

    @command.setter
    def command(self, uint64_t value):
        self.apic.command = value

    @property
    def external(self):
        return self.apic.external

    @external.setter
    def external(self, bint value):
        self.apic.external = value

    @property
    def processor_priority(self):
        return pv_apic_priority(self.apic)

    def next_vector(self):
        return pv_apic_next(self.apic)

    def accept(self, uint8_t vector, bint level=False):
        pv_apic_accept(self.apic, vector, level)

    def serve(self, uint8_t vector):
        pv_apic_serve(self.core.c, vector)

    def end(self):
        return pv_apic_end(self.apic)

    def waits(self, uint8_t vector):
        return (self.apic.irr[vector >> 6] >> (vector & 63) & 1) != 0

    def is_level(self, uint8_t vector):
        return (self.apic.tmr[vector >> 6] >> (vector & 63) & 1) != 0
