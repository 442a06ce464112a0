/* Shadow page tables: what the processor walks while the guest believes in its own.
 *
 * A shadow page stands for one guest table (or, direct, for the small pages of one large guest page) and is found by
 * its tag, so that a table shared by many address spaces is shadowed once and a root stays filled while another runs.
 * A guest frame that holds a shadowed table is tracked: mapped read-only. The first write to it faults, the page is
 * marked unsync and becomes writable; what the guest then changes takes effect where the architecture says it must,
 * at INVLPG or a load of CR3 (SDM vol. 3, 4.10.4), when changed entries are dropped. Dropped entries refill by fault.
 * A page fault of the guest's own announces such a write: the table that denied the access is unsync before its kernel
 * hears of it, so that a page touched for the first time takes two faults, the guest's and the fill, and no third.
 * The pool bounds all of it: used up, everything is dropped and refilled. */
#include "vcpu.h"

enum { EMPTY_ROOT = 1, FIRST_PAGE = PV_SHADOW_FIRST, MANY = 0xffffffff, IDLE_MOST = 3, DYING = 2 /* of `live` */ };

static uint64_t tag_of(uint64_t gfn, int level, bool direct) { return gfn << 4 | (uint64_t)direct << 3 | (uint64_t)level; }
static uint64_t tag_gfn(uint64_t tag) { return tag >> 4; }
static bool tag_direct(uint64_t tag) { return tag >> 3 & 1; }
static uint32_t page_of(uint64_t entry) { return (uint32_t)(((entry & PV_FRAME) - PV_MONITOR_BASE) / PV_PAGE); }
static uint64_t frames(struct pv_vcpu *c) { return c->ram_size / PV_PAGE; }
static bool write_protect(struct pv_vcpu *c) { return c->v.cr0 >> 16 & 1; }

static uint32_t find(struct pv_shadow *s, uint64_t tag)
{
    uint32_t page = s->hash[pv_shadow_bucket(s, tag)];
    while (page && s->pages[page].tag != tag)
        page = s->pages[page].hash_next;
    return page;
}

static uint64_t *entry_at(struct pv_vcpu *c, uint32_t index) { return (uint64_t *)c->pool.base + index; }

/* Remember that shadow entry `index` maps `gfn` writable. */
static void set_mapped(struct pv_vcpu *c, uint64_t gfn, uint32_t index)
{
    uint32_t *by = &c->shadow.mapped_by[gfn];
    if (*by == MANY || *by == index + 1)
        return;
    bool stale = !*by || (*entry_at(c, *by - 1) & (PV_FRAME | PTE_P | PTE_W)) != (gfn << 12 | PTE_P | PTE_W);
    *by = stale ? index + 1 : MANY;
}

/* Take write permission for `gfn` from every shadow entry. The caller flushes the TLB where this says true. */
static bool protect(struct pv_vcpu *c, uint64_t gfn)
{
    struct pv_shadow *s = &c->shadow;
    uint64_t wanted = gfn << 12 | PTE_P | PTE_W;
    bool changed = false;
    uint32_t by = s->mapped_by[gfn];
    if (by && by != MANY && (*entry_at(c, by - 1) & (PV_FRAME | PTE_P | PTE_W)) == wanted) {
        *entry_at(c, by - 1) &= ~(uint64_t)PTE_W;
        return true; /* and the entry stays known: expect_write gives the permission back */
    }
    if (by == MANY) {
        for (uint32_t page = FIRST_PAGE; page < c->pool.used; page++)
            if (s->pages[page].live && !s->pages[page].level)
                for (int i = 0; i < 512; i++) {
                    uint64_t *entry = &pv_page(&c->pool, page)[i];
                    if ((*entry & (PV_FRAME | PTE_P | PTE_W)) == wanted) {
                        *entry &= ~(uint64_t)PTE_W;
                        changed = true;
                    }
                }
    }
    s->mapped_by[gfn] = 0;
    return changed;
}

/* No entry of the shadow lets `gfn` be written from now on. */
void pv_shadow_protect(struct pv_vcpu *c, uint64_t gfn)
{
    if (protect(c, gfn))
        pv_uc.tlb_flush(c->cpu);
}

/* A frame that may not be written unseen: a table that is shadowed, or code that was translated. */
static bool guarded(struct pv_vcpu *c, uint64_t gfn) { return c->shadow.tracked[gfn] || pv_cache_guards(c, gfn); }

/* Drop an entry. What was concluded from it concerns code alone: which page of it an address leads to. */
static void forget(struct pv_vcpu *c, int level, uint64_t *entry)
{
    c->shadow.epoch += level || pv_cache_has_code(c, (*entry & PV_FRAME) >> 12);
    *entry = 0;
}

static void add_unsync(struct pv_shadow *s, uint32_t page)
{
    if (!s->pages[page].unsync) {
        s->pages[page].unsync = 1;
        s->unsync_list[s->unsync_count++] = page;
    }
}

/* The guest may write this tracked frame from now on. */
static void unsync_frame(struct pv_vcpu *c, uint64_t gfn)
{
    for (int level = 0; level < 4; level++) {
        uint32_t page = find(&c->shadow, tag_of(gfn, level, false));
        if (page)
            add_unsync(&c->shadow, page);
    }
    c->shadow.tracked[gfn] = 0;
    c->shadow.table_writes++;
}

static void fill_direct(struct pv_vcpu *c, uint32_t page, uint64_t gfn)
{
    for (uint32_t i = 0; i < 512 && gfn + i < frames(c); i++) {
        if (pv_is_device(c, (gfn + i) * PV_PAGE))
            continue;
        bool writable = !guarded(c, gfn + i);
        pv_page(&c->pool, page)[i] = (gfn + i) << 12 | PTE_P | PTE_U | PTE_A | PTE_D | (writable ? PTE_W : 0);
        if (writable)
            set_mapped(c, gfn + i, page * 512 + i);
    }
}

/* The shadow page of a tag, made on demand; the caller has made sure that the pool is not used up. */
static uint32_t page_for(struct pv_vcpu *c, uint64_t tag)
{
    struct pv_shadow *s = &c->shadow;
    uint32_t page = find(s, tag);
    if (page)
        return page;
    page = (uint32_t)pv_pool_take(&c->pool);
    uint32_t *head = &s->hash[pv_shadow_bucket(s, tag)];
    s->pages[page] = (struct pv_shadow_page){ .tag = tag, .hash_next = *head, .level = tag & 7, .live = 1 };
    *head = page;
    if (tag_direct(tag)) {
        if (!(tag & 7))
            fill_direct(c, page, tag_gfn(tag));
    } else if (!write_protect(c)) {
        add_unsync(s, page); /* CR0.WP clear: a read-only entry would not stop the guest's kernel */
    } else {
        s->tracked[tag_gfn(tag)] = 1;
        protect(c, tag_gfn(tag));
        pv_uc.tlb_flush(c->cpu); /* always: the TLB may hold what the guest has changed and not invalidated yet */
    }
    return page;
}

static void drop_everything(struct pv_vcpu *c)
{
    struct pv_shadow *s = &c->shadow;
    memset(s->hash, 0, (s->hash_mask + 1) * sizeof *s->hash);
    memset(s->pages, 0, c->pool.used * sizeof *s->pages);
    memset(s->tracked, 0, frames(c));
    memset(s->mapped_by, 0, frames(c) * sizeof *s->mapped_by);
    s->unsync_count = 0;
    pv_pool_reset(&c->pool, FIRST_PAGE);
    s->zaps++;
    s->epoch++;
}

static bool room(struct pv_vcpu *c, uint32_t pages)
{
    uint32_t have = c->pool.pages - c->pool.used;
    for (uint32_t page = c->pool.free_head; page && have < pages; page = c->pool.next[page])
        have++;
    return have >= pages;
}

/* What a shadow entry of `level` must hold for guest entry `g`; 0 where the guest's entry allows none. */
static uint64_t wanted_flags(struct pv_vcpu *c, uint64_t g, int level)
{
    if ((g & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || g & pv_reserved(c, g, level))
        return 0;
    bool leaf = !level || (g & PTE_PS && level < 3);
    bool writable = g & PTE_W && (!leaf || g & PTE_D);
    return PTE_P | PTE_A | (level ? 0 : PTE_D) | (writable ? PTE_W : 0) | (g & PTE_U)
        | (c->v.efer >> 11 & 1 ? g & PTE_NX : 0);
}

/* Whether a shadow entry allows what the guest's entry no longer does. */
static bool entry_stale(struct pv_vcpu *c, int level, uint64_t shadow, uint64_t g)
{
    uint64_t flags = wanted_flags(c, g, level), mask = PTE_P | PTE_U | PTE_NX;
    if (!flags || (shadow & mask) != (flags & mask) || (shadow & PTE_W && !(flags & PTE_W)))
        return true;
    if (!level)
        return (shadow & PV_FRAME) != (g & PV_FRAME);
    bool large = g & PTE_PS && level < 3;
    uint64_t frame = large ? g & PV_FRAME & ~((PV_PAGE << (9 * level)) - 1) : g & PV_FRAME;
    return c->shadow.pages[page_of(shadow)].tag != tag_of(frame >> 12, level - 1, large);
}

/* A page fault is about to reach the guest's kernel, which will as a rule write the entry that denied the access: let it,
 * where the one entry that maps this table writable is known and the guest's own still says so. */
static void expect_write(struct pv_vcpu *c, uint64_t gva)
{
    struct pv_shadow *s = &c->shadow;
    uint64_t table = (c->v.cr3 & PV_FRAME) >> 12, g;
    int level = 3;
    for (; table < frames(c); level--) {
        g = ((uint64_t *)(c->ram + (table << 12)))[gva >> (12 + 9 * level) & 511];
        if (!level || !(g & PTE_P) || g & PTE_PS || g & pv_reserved(c, g, level))
            break;
        table = (g & PV_FRAME) >> 12;
    }
    if (table >= frames(c) || !s->tracked[table] || pv_cache_guards(c, table))
        return;
    uint32_t by = s->mapped_by[table];
    if (!by || by == MANY)
        return;
    const struct pv_shadow_page *p = &s->pages[(by - 1) / 512];
    uint64_t *entry = entry_at(c, by - 1);
    if (p->live != 1 || p->level || (*entry & (PV_FRAME | PTE_P | PTE_W)) != (table << 12 | PTE_P))
        return;
    g = ((uint64_t *)(c->ram + (tag_gfn(p->tag) << 12)))[(by - 1) % 512];
    if (!tag_direct(p->tag) && ((g & PV_FRAME) >> 12 != table || !(wanted_flags(c, g, 0) & PTE_W)))
        return;
    *entry |= PTE_W;
    unsync_frame(c, table);
}

/* Drop the entries of a shadow page that the guest's table no longer says. Whether the processor has used any since the
 * last time stands in `idle`, by the accessed bits, which begin anew. */
static bool sync_page(struct pv_vcpu *c, uint32_t page)
{
    struct pv_shadow_page *p = &c->shadow.pages[page];
    uint64_t *shadow = pv_page(&c->pool, page), *guest = (uint64_t *)(c->ram + (tag_gfn(p->tag) << 12));
    bool changed = false;
    for (int i = 0; i < 512; i++) {
        if (!shadow[i])
            continue;
        if (shadow[i] & PTE_A)
            p->idle = 0;
        if (entry_stale(c, p->level, shadow[i], guest[i])) {
            forget(c, p->level, &shadow[i]);
            changed = true;
        } else {
            shadow[i] &= ~(uint64_t)PTE_A;
        }
    }
    c->shadow.syncs++;
    return changed;
}

/* Drop every entry that the guest's tables no longer say, at all levels. */
static bool sync_unsync(struct pv_vcpu *c)
{
    bool changed = false;
    for (uint32_t i = 0; i < c->shadow.unsync_count; i++)
        changed |= sync_page(c, c->shadow.unsync_list[i]);
    return changed;
}

/* One pass over all shadow pages for what sync_all put off, however much it is: a guest decides how many pages those are. */
static void sweep(struct pv_vcpu *c)
{
    struct pv_shadow *s = &c->shadow;
    for (uint32_t page = FIRST_PAGE; page < c->pool.used; page++)
        for (int i = 0; s->pages[page].live && i < 512; i++) {
            uint64_t *entry = &pv_page(&c->pool, page)[i];
            if (!(*entry & PTE_P))
                continue;
            if (s->pages[page].level)
                *entry = s->pages[page_of(*entry)].live == DYING ? 0 : *entry;
            else if (*entry & PTE_W && guarded(c, (*entry & PV_FRAME) >> 12))
                *entry &= ~(uint64_t)PTE_W;
        }
    for (uint32_t page = FIRST_PAGE; page < c->pool.used; page++)
        if (s->pages[page].live == DYING) {
            uint32_t *link = &s->hash[pv_shadow_bucket(s, s->pages[page].tag)];
            while (*link != page)
                link = &s->pages[*link].hash_next;
            *link = s->pages[page].hash_next;
            s->pages[page] = (struct pv_shadow_page){ 0 };
            s->epoch++;
            pv_pool_give(&c->pool, page);
        }
}

static void sync_all(struct pv_vcpu *c)
{
    struct pv_shadow *s = &c->shadow;
    uint32_t count = s->unsync_count;
    bool put_off = false;
    s->unsync_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t page = s->unsync_list[i];
        struct pv_shadow_page *p = &s->pages[page];
        uint64_t gfn = tag_gfn(p->tag);
        sync_page(c, page);
        p->unsync = 0;
        if (!write_protect(c)) {
            add_unsync(s, page);
        } else if (++p->idle > IDLE_MOST && page != s->root) {
            p->live = DYING; /* the guest uses its frame for something else by now */
            put_off = true;
        } else {
            s->tracked[gfn] = 1;
            if (s->mapped_by[gfn] == MANY) {
                s->mapped_by[gfn] = 0;
                put_off = true;
            } else {
                protect(c, gfn);
            }
        }
    }
    if (put_off)
        sweep(c);
}

void pv_shadow_load(struct pv_vcpu *c, uint64_t cr3)
{
    struct pv_shadow *s = &c->shadow;
    uint64_t gfn = (cr3 & PV_FRAME) >> 12;
    c->v.cr3 = cr3;
    sync_all(c);
    if (!room(c, 1))
        drop_everything(c);
    s->roots++;
    if (gfn >= frames(c)) {
        s->root = EMPTY_ROOT; /* tables in no memory: every walk of the guest's faults */
    } else {
        s->root_hits += find(s, tag_of(gfn, 3, false)) != 0;
        s->root = page_for(c, tag_of(gfn, 3, false));
    }
    pv_set_cr3(c, pv_page_gpa(s->root));
}

void pv_shadow_flush(struct pv_vcpu *c)
{
    drop_everything(c);
    if ((ENV64(c->env, ENV_CR) ^ c->v.cr0) & 1ull << 16) /* what guards code is another */
        pv_cache_forget(c);
    ENV64(c->env, ENV_CR) = (ENV64(c->env, ENV_CR) & ~(1ull << 16)) | (c->v.cr0 & 1ull << 16);
    pv_shadow_load(c, c->v.cr3);
}

void pv_shadow_invalidate(struct pv_vcpu *c, uint64_t gva)
{
    struct pv_shadow *s = &c->shadow;
    s->loads++;
    bool dropped = false;
    for (uint32_t i = 0; i < s->unsync_count; i++)
        if (s->pages[s->unsync_list[i]].level)
            dropped |= sync_page(c, s->unsync_list[i]);
    if (dropped) /* what hangs below a dropped entry is found by no later INVLPG, and may be linked elsewhere */
        sync_unsync(c);
    uint32_t page = s->root;
    for (int level = 3; page != EMPTY_ROOT; level--) {
        uint64_t *entry = &pv_page(&c->pool, page)[gva >> (12 + 9 * level) & 511];
        if (!(*entry & PTE_P))
            break;
        if (!level) {
            struct pv_shadow_page *p = &s->pages[page];
            uint64_t *guest = (uint64_t *)(c->ram + (tag_gfn(p->tag) << 12));
            if (!tag_direct(p->tag) && p->unsync && entry_stale(c, 0, *entry, guest[gva >> 12 & 511])) {
                forget(c, 0, entry);
            }
            break;
        }
        page = page_of(*entry);
    }
    if (dropped)
        pv_uc.tlb_flush(c->cpu);
    else
        pv_uc.tlb_flush_page(c->cpu, gva & ~(PV_PAGE - 1));
}

void pv_shadow_note_write(struct pv_vcpu *c, uint64_t gpa)
{
    if (gpa >= c->ram_size)
        return;
    if (c->shadow.tracked[gpa / PV_PAGE])
        unsync_frame(c, gpa / PV_PAGE);
    pv_cache_written(c, gpa / PV_PAGE);
}

/* A page fault of the processor: the guest's own, which it gets, or one that filling the shadow answers.
 * Vector -2 says that the guest mapped something where there is no memory. */
struct pv_fault pv_shadow_fault(struct pv_vcpu *c, uint64_t gva, uint32_t error)
{
    struct pv_shadow *s = &c->shadow;
    struct pv_mapping mapping;
    uint32_t access = error & (PF_W | PF_U | PF_I);
    struct pv_fault fault = pv_guest_walk(c, gva, access, &mapping);
    if (fault.vector >= 0) {
        s->guest_faults++;
        c->v.cr2 = gva;
        expect_write(c, gva);
        return fault;
    }
    if (mapping.gpa >= c->ram_size)
        return (struct pv_fault){ -2, false, 0 };
    if (!room(c, 6)) {
        drop_everything(c);
        pv_shadow_load(c, c->v.cr3);
    }
    if (pv_cache_claims(c, gva))
        pv_cache_place(c);
    if (access & PF_W) {
        if (pv_cache_guards(c, mapping.gpa / PV_PAGE))
            pv_cache_store(c);
        pv_shadow_note_write(c, mapping.gpa);
    }
    uint64_t table = c->v.cr3 & PV_FRAME, g = 0;
    uint32_t page = s->root;
    for (int level = 3;; level--) {
        uint64_t *entry = &pv_page(&c->pool, page)[gva >> (12 + 9 * level) & 511], flags;
        bool direct = tag_direct(s->pages[page].tag);
        if (direct) {
            /* inside a large guest page: its own entry above holds the permissions */
            g = mapping.gpa & ~((PV_PAGE << (9 * level)) - 1);
            flags = PTE_P | PTE_A | PTE_W | PTE_U | (level ? 0 : PTE_D);
        } else {
            uint64_t *at = (uint64_t *)(c->ram + table) + (gva >> (12 + 9 * level) & 511);
            if (!write_protect(c) && (!level || (*at & PTE_PS && level < 3)))
                *at |= PTE_D; /* CR0.WP clear: no later fault would tell of the first write */
            g = *at;
            flags = wanted_flags(c, g, level);
        }
        if (!level) {
            uint64_t gfn = (g & PV_FRAME) >> 12;
            if (guarded(c, gfn))
                flags &= ~(uint64_t)PTE_W;
            if (*entry & PTE_P && ((*entry & PV_FRAME) >> 12 != gfn || (*entry & PTE_W && !(flags & PTE_W))))
                pv_uc.tlb_flush_page(c->cpu, gva & ~(PV_PAGE - 1)); /* no longer known here, so nowhere else either */
            *entry = gfn << 12 | flags;
            if (flags & PTE_W)
                set_mapped(c, gfn, page * 512 + (uint32_t)(gva >> 12 & 511));
            s->fills++;
            return PV_NO_FAULT;
        }
        bool large = direct || (g & PTE_PS && level < 3);
        uint64_t frame = g & PV_FRAME;
        if (large && !direct)
            frame &= ~((PV_PAGE << (9 * level)) - 1);
        uint64_t tag = tag_of(frame >> 12, level - 1, large), old = *entry;
        bool known = find(s, tag);
        page = page_for(c, tag);
        *entry = pv_page_gpa(page) | flags;
        /* Another way to tables that may hold stale entries: nobody has to invalidate addresses that were not mapped. */
        s->epoch += old & PTE_P && page_of(old) != page;
        if (old & PTE_P ? page_of(old) != page : known)
            if (sync_unsync(c) || old & PTE_P)
                pv_uc.tlb_flush(c->cpu);
        table = frame;
    }
}
