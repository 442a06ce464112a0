/* From addresses to bytes: guest-physical bounds, the processor's tables, the guest's own tables.
 *
 * Two walks, never mixed. The processor's walk follows tables that the monitor wrote. The guest's walk follows
 * tables in guest memory, where every entry is hostile: each is read once and its frame checked. */
#include "vcpu.h"

uint8_t *pv_gpa(struct pv_vcpu *c, uint64_t gpa, uint64_t size)
{
    return gpa <= c->ram_size && size <= c->ram_size - gpa ? c->ram + gpa : NULL;
}

bool pv_processor_walk(struct pv_vcpu *c, uint64_t gva, struct pv_mapping *to)
{
    uint64_t table = ENV64(c->env, ENV_CR + 24) & PV_FRAME, flags = PTE_W | PTE_U, nx = 0;
    if (!pv_canonical(gva))
        return false;
    for (int level = 3; level >= 0; level--) {
        if (table < PV_MONITOR_BASE || (table - PV_MONITOR_BASE) / PV_PAGE >= c->pool.pages)
            return false;
        uint64_t entry = ((uint64_t *)(c->pool.base + (table - PV_MONITOR_BASE)))[gva >> (12 + 9 * level) & 511];
        if (!(entry & PTE_P))
            return false;
        flags &= entry;
        nx |= entry & PTE_NX;
        if (!level || entry & PTE_PS) {
            uint64_t inside = (1ull << (12 + 9 * level)) - 1;
            *to = (struct pv_mapping){ (entry & PV_FRAME & ~inside) | (gva & inside), flags | nx | PTE_P, level };
            return true;
        }
        table = entry & PV_FRAME;
    }
    return false;
}

/* Bits that must be 0 in a present entry of the guest's tables (SDM vol. 3, table 4-14; 40 bits, as CPUID says). */
uint64_t pv_reserved(struct pv_vcpu *c, uint64_t entry, int level)
{
    uint64_t reserved = 0x000fff0000000000ull | (c->v.efer >> 11 & 1 ? 0 : PTE_NX);
    if (level == 3)
        return reserved | PTE_PS;
    if (level && entry & PTE_PS)
        reserved |= ((1ull << (12 + 9 * level)) - 1) & ~0x1fffull;
    return reserved;
}

/* Walk the guest's tables as its processor would (SDM vol. 3, 4.5), setting accessed and dirty bits.
 * access: PF_W, PF_U, PF_I; with PV_PEEK no bit is set. Returns the page fault that the guest must get. */
struct pv_fault pv_guest_walk(struct pv_vcpu *c, uint64_t gva, uint32_t access, struct pv_mapping *to)
{
    bool nxe = c->v.efer >> 11 & 1, wp = c->v.cr0 >> 16 & 1;
    uint32_t code = access & (PF_W | PF_U | (nxe ? PF_I : 0));
    uint64_t table = c->v.cr3 & PV_FRAME, flags = PTE_W | PTE_U, nx = 0, *entries[4];
    if (!pv_canonical(gva))
        return PV_FAULT_CODE(VEC_GP, 0);
    int level = 3;
    for (;; level--) {
        uint64_t *at = (uint64_t *)pv_gpa(c, table + (gva >> (12 + 9 * level) & 511) * 8, 8);
        uint64_t entry = at ? *(volatile uint64_t *)at : ~0ull; /* no memory there: the bus reads ones */
        if (!(entry & PTE_P))
            return PV_FAULT_CODE(VEC_PF, code);
        bool leaf = !level || (entry & PTE_PS && level < 3);
        if (entry & pv_reserved(c, entry, level))
            return PV_FAULT_CODE(VEC_PF, code | PF_P | PF_RSVD);
        entries[level] = at;
        flags &= entry;
        nx |= entry & PTE_NX;
        if (leaf) {
            bool user = access & PF_U;
            if ((user && !(flags & PTE_U)) || (access & PF_I && nx) || (access & PF_W && !(flags & PTE_W) && (user || wp)))
                return PV_FAULT_CODE(VEC_PF, code | PF_P);
            uint64_t inside = (1ull << (12 + 9 * level)) - 1, dirty = access & PF_W ? PTE_D : 0;
            for (int l = 3; l >= level && !(access & PV_PEEK); l--)
                if ((*entries[l] & (PTE_A | (l == level ? dirty : 0))) != (PTE_A | (l == level ? dirty : 0)))
                    *entries[l] |= PTE_A | (l == level ? dirty : 0);
            *to = (struct pv_mapping){ (entry & PV_FRAME & ~inside) | (gva & inside),
                                       flags | nx | PTE_P | ((entry | dirty) & PTE_D), level };
            return PV_NO_FAULT;
        }
        table = entry & PV_FRAME;
    }
}

/* Copy between guest memory at a linear address and `data`, at the privilege of `user` or the kernel. */
struct pv_fault pv_linear(struct pv_vcpu *c, uint64_t gva, void *data, uint64_t size, bool write, bool user)
{
    uint8_t *bytes = data;
    /* Both ends are checked before a byte is written: a store that faults halfway has written nothing. */
    uint64_t at[2], piece[2], count = 0, done = 0;
    if (size > PV_PAGE)
        return PV_FAULT_CODE(VEC_GP, 0);
    while (done < size) {
        struct pv_mapping mapping;
        uint64_t address = gva + done, part = PV_PAGE - (address & (PV_PAGE - 1));
        if (part > size - done)
            part = size - done;
        if (c->mode != PV_PARAVIRT) {
            struct pv_fault fault = pv_guest_walk(c, address, (write ? PF_W : 0) | (user ? PF_U : 0), &mapping);
            if (fault.vector >= 0) {
                if (fault.vector == VEC_PF)
                    c->v.cr2 = address;
                return fault;
            }
        } else {
            bool there = pv_processor_walk(c, address, &mapping);
            if (!pv_canonical(address))
                return PV_FAULT_CODE(VEC_GP, 0);
            if (!there || (write && !(mapping.flags & PTE_W)) || (user && !(mapping.flags & PTE_U))) {
                c->v.cr2 = address;
                return PV_FAULT_CODE(VEC_PF, (there ? PF_P : 0) | (write ? PF_W : 0) | (user ? PF_U : 0));
            }
        }
        if (!pv_gpa(c, mapping.gpa, part) || pv_is_device(c, mapping.gpa))
            return PV_FAULT_CODE(VEC_GP, 0); /* no memory behind a stack or descriptor: as a bus error would end */
        at[count] = mapping.gpa;
        piece[count++] = part;
        done += part;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (write) {
            memcpy(c->ram + at[i], bytes, piece[i]);
            pv_uc.tb_invalidate_phys_range(c->uc, at[i], at[i] + piece[i]); /* code may lie there, by this mapping or another */
            if (c->mode == PV_TRAP)
                pv_shadow_note_write(c, at[i]);
        } else {
            memcpy(bytes, c->ram + at[i], piece[i]);
        }
        bytes += piece[i];
    }
    return PV_NO_FAULT;
}

/* Behind nested paging the processor walks the guest's own tables; a guest-physical address is the RAM's. */
static bool code_walk(struct pv_vcpu *c, uint64_t gva, struct pv_mapping *to)
{
    if (!pv_hardware(c)) /* a shadow may have been emptied while a block runs that was fetched through it */
        return pv_processor_walk(c, gva, to)
            || (c->mode == PV_TRAP && c->in_hook && pv_guest_walk(c, gva, PF_I | PV_PEEK, to).vector < 0);
    return pv_guest_walk(c, gva, PF_I | PV_PEEK, to).vector < 0; /* the processor has set the accessed bits */
}

/* The linear address of `rip`: in compatibility mode CS has a base, and addresses have 32 bits (SDM vol. 3, 3.2.4). */
uint64_t pv_code_linear(struct pv_vcpu *c, uint64_t rip)
{
    return pv_long_code(c) ? rip : (uint32_t)(pv_segment(c, PV_CS)->base + rip);
}

/* The instruction bytes at rip, as many as can be read. The processor has just fetched them, so its tables map them, unless
 * the guest has changed those since and the processor had the page in its TLB. */
int pv_fetch(struct pv_vcpu *c, uint64_t rip, uint8_t code[15])
{
    uint64_t gva = pv_code_linear(c, rip);
    int have = 0;
    while (have < 15) {
        struct pv_mapping mapping;
        int part = (int)(PV_PAGE - ((gva + (uint64_t)have) & (PV_PAGE - 1)));
        if (part > 15 - have)
            part = 15 - have;
        if (!code_walk(c, gva + (uint64_t)have, &mapping) || !pv_gpa(c, mapping.gpa, (uint64_t)part))
            break;
        memcpy(code + have, c->ram + mapping.gpa, (size_t)part);
        have += part;
    }
    return have;
}
