# Page tables as Python sees them: the monitor's own, and shadows. Included by core.pyx.


cdef pv_vcpu *with_tables(pv_vcpu *c) except NULL:
    """`c`, where its page tables are the monitor's. Raises EngineError where it is closed, or made for mode "trap"."""
    if alive(c).mode != PV_PARAVIRT:
        raise EngineError("this machine has shadow page tables, not the monitor's own: its technique is no paravirt")
    return c


cdef pv_vcpu *with_shadow(pv_vcpu *c) except NULL:
    """`c`, where it has shadow page tables. Raises EngineError where it is closed, or made for mode "paravirt"."""
    if alive(c).shadow.hash == NULL:
        raise EngineError("this machine has the monitor's page tables, not shadow ones: its technique is paravirt")
    return c


cdef class Tables:
    """Page tables that the monitor owns (pv.engines.base.Tables). All raise EngineError where there are none."""

    cdef Core core
    cdef pv_vcpu *c

    def create(self):
        return checked(pv_tables_create(with_tables(self.c)))

    def destroy(self, uint32_t root):
        checked(pv_tables_destroy(with_tables(self.c), root))

    def activate(self, uint32_t root):
        checked(pv_tables_activate(with_tables(self.c), root))

    @property
    def active(self):
        return self.c.tables.active

    def map(self, uint32_t root, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags):
        if pages > PAGES_MOST:
            raise GuestError(E2BIG)
        return checked(pv_tables_map(with_tables(self.c), root, gva, gpa, pages, flags))

    def unmap(self, uint32_t root, uint64_t gva, uint64_t pages):
        if pages > PAGES_MOST:
            raise GuestError(E2BIG)
        return checked(pv_tables_unmap(with_tables(self.c), root, gva, pages))

    def lookup(self, uint32_t root, uint64_t gva):
        """(gpa, abi map flags) of a mapped address, else None."""
        cdef pv_mapping to
        if not pv_tables_lookup(with_tables(self.c), root, gva, &to):
            return None
        return to.gpa, 1 | (to.flags & 2) | (to.flags & 4) | (0 if to.flags >> 63 else 8)


cdef class Shadow:
    """What the processor keeps of the guest's page tables (pv.engines.base.Shadow): under trap shadows of them, under
    hardware its own TLB alone. All that change it raise EngineError where the tables are the monitor's."""

    cdef Core core
    cdef pv_vcpu *c

    def load(self, uint64_t cr3):
        if pv_hardware(alive(self.c)):
            pv_virtual_set(self.c, PV_CR3, cr3)
            pv_set_cr3(self.c, cr3)
        else:
            pv_shadow_load(with_shadow(self.c), cr3)

    def invalidate(self, uint64_t gva):
        if pv_hardware(alive(self.c)):
            pv_uc.tlb_flush_page(self.c.cpu, gva)
        else:
            pv_shadow_invalidate(with_shadow(self.c), gva)

    def flush(self):
        if pv_hardware(alive(self.c)):
            pv_uc.tlb_flush(self.c.cpu)
        else:
            pv_shadow_flush(with_shadow(self.c))

    def statistics(self):
        cdef pv_shadow *s = &self.c.shadow
        return {
            "shadow fills": s.fills,
            "guest page faults": s.guest_faults,
            "page-table writes": s.table_writes,
            "shadow syncs": s.syncs,
            "shadow drops": s.zaps,
            "address-space loads": s.roots,
            "address-space hits": s.root_hits,
        }
