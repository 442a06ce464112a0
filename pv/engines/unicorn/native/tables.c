/* The pool of monitor pages, and the page tables that a paravirtual guest asks for.
 *
 * Spaces share the first 512 GiB of linear addresses (one table below entry 0 of every root); the rest is private
 * to each. A table that maps nothing any more is given back. All answers are 0 or more, or a negated errno. */
#include "vcpu.h"
#include <errno.h>

enum { MAP_PRESENT = 1, MAP_WRITE = 2, MAP_USER = 4, MAP_EXECUTE = 8 };
#define LARGE (PV_PAGE << 9)
void pv_pool_init(struct pv_pool *p)
{
    p->used = 1; /* page 0 is never handed out: 0 means none */
    p->free_head = 0;
}

void pv_pool_reset(struct pv_pool *p, uint32_t keep)
{
    p->used = keep;
    p->free_head = 0;
}

int64_t pv_pool_take(struct pv_pool *p)
{
    uint32_t page = p->free_head;
    if (page)
        p->free_head = p->next[page];
    else if (p->used < p->pages)
        page = p->used++;
    else
        return -ENOMEM;
    memset(p->base + PV_PAGE * page, 0, PV_PAGE);
    p->next[page] = 0;
    return page;
}

void pv_pool_give(struct pv_pool *p, uint32_t page)
{
    p->next[page] = p->free_head;
    p->free_head = page;
}

/* How many entries of a table in use are present: it stands where free pages have their link. */
static uint32_t *live(struct pv_vcpu *c, uint32_t page) { return &c->pool.next[page]; }
static uint32_t page_of(uint64_t entry) { return (uint32_t)(((entry & PV_FRAME) - PV_MONITOR_BASE) / PV_PAGE); }

bool pv_tables_init(struct pv_vcpu *c)
{
    int64_t common = pv_pool_take(&c->pool);
    if (common < 0)
        return false;
    c->tables.common = (uint32_t)common;
    return pv_tables_create(c) == 0;
}

int pv_tables_create(struct pv_vcpu *c)
{
    for (uint32_t space = 0; space < PV_SPACES; space++)
        if (!c->tables.roots[space]) {
            int64_t root = pv_pool_take(&c->pool);
            if (root < 0)
                return -ENOMEM;
            pv_page(&c->pool, (uint32_t)root)[0] = pv_page_gpa(c->tables.common) | PTE_P | PTE_W | PTE_U | PTE_A;
            *live(c, (uint32_t)root) = 1;
            c->tables.roots[space] = (uint32_t)root;
            return (int)space;
        }
    return -ENOMEM;
}

static bool bad_space(struct pv_vcpu *c, uint32_t space) { return space >= PV_SPACES || !c->tables.roots[space]; }

static void release(struct pv_vcpu *c, uint32_t page, int level, int first)
{
    uint64_t *entries = pv_page(&c->pool, page);
    for (int i = first; level && i < 512; i++)
        if (entries[i] & PTE_P && !(entries[i] & PTE_PS))
            release(c, page_of(entries[i]), level - 1, 0);
    pv_pool_give(&c->pool, page);
}

int pv_tables_destroy(struct pv_vcpu *c, uint32_t space)
{
    if (bad_space(c, space) || !space || space == c->tables.active)
        return -EINVAL;
    release(c, c->tables.roots[space], 3, 1);
    c->tables.roots[space] = 0;
    return 0;
}

int pv_tables_activate(struct pv_vcpu *c, uint32_t space)
{
    if (bad_space(c, space))
        return -EINVAL;
    c->tables.active = space;
    pv_set_cr3(c, pv_page_gpa(c->tables.roots[space]));
    return 0;
}

/* The entry for gva at `level`, tables above it made on demand; NULL when the pool is used up. path[l]: the table of
 * level l on the way. */
static uint64_t *slot(struct pv_vcpu *c, uint32_t space, uint64_t gva, int level, bool make, int *found, uint32_t path[4])
{
    uint32_t table = c->tables.roots[space];
    for (int l = 3;; l--) {
        uint64_t *entry = &pv_page(&c->pool, table)[gva >> (12 + 9 * l) & 511];
        path[l] = table;
        *found = l;
        if (l == level)
            return entry;
        if (!(*entry & PTE_P) || *entry & PTE_PS) {
            if (!make)
                return entry;
            int64_t page = pv_pool_take(&c->pool);
            if (page < 0)
                return NULL;
            if (*entry & PTE_P) { /* split the large page: only level 1 is ever large */
                uint64_t *split = pv_page(&c->pool, (uint32_t)page);
                for (uint64_t i = 0; i < 512; i++)
                    split[i] = (*entry & ~(uint64_t)PTE_PS) + i * PV_PAGE;
                *live(c, (uint32_t)page) = 512;
            } else {
                ++*live(c, table);
            }
            *entry = pv_page_gpa((uint32_t)page) | PTE_P | PTE_W | PTE_U | PTE_A;
        }
        table = page_of(*entry);
    }
}

/* Give back the tables of `path` from level `from` up that hold nothing. The root and the common table stay. */
static void prune(struct pv_vcpu *c, uint64_t gva, const uint32_t path[4], int from)
{
    for (int level = from; level < 3 && !*live(c, path[level]) && path[level] != c->tables.common; level++) {
        pv_pool_give(&c->pool, path[level]);
        pv_page(&c->pool, path[level + 1])[gva >> (12 + 9 * (level + 1)) & 511] = 0;
        --*live(c, path[level + 1]);
    }
}

static bool bad_range(uint64_t gva, uint64_t pages)
{
    uint64_t last = gva + pages * PV_PAGE - 1;
    return gva & (PV_PAGE - 1) || pages > 1ull << 36 || !pages || !pv_canonical(gva) || !pv_canonical(last) || last < gva
        || (gva ^ last) >> 63;
}

static void flush(struct pv_vcpu *c, uint64_t gva, uint64_t pages)
{
    if (pages > 16)
        pv_uc.tlb_flush(c->cpu);
    else
        for (uint64_t i = 0; i < pages; i++)
            pv_uc.tlb_flush_page(c->cpu, gva + i * PV_PAGE);
}

int64_t pv_tables_map(struct pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    if (bad_space(c, space) || bad_range(gva, pages) || gpa & (PV_PAGE - 1) || !(flags & MAP_PRESENT)
        || flags & ~(uint32_t)(MAP_PRESENT | MAP_WRITE | MAP_USER | MAP_EXECUTE))
        return -EINVAL;
    if (pages > c->ram_size / PV_PAGE || !pv_gpa(c, gpa, pages * PV_PAGE))
        return -EFAULT;
    uint64_t bits = PTE_P | PTE_A | PTE_D | (flags & MAP_WRITE ? PTE_W : 0) | (flags & MAP_USER ? PTE_U : 0)
        | (flags & MAP_EXECUTE ? 0 : PTE_NX);
    uint64_t done = 0;
    bool replaced = false;
    while (done < pages) {
        uint64_t at = gva + done * PV_PAGE, from = gpa + done * PV_PAGE;
        bool large = !((at | from) & (LARGE - 1)) && pages - done >= 512;
        int found;
        uint32_t path[4];
        uint64_t *entry = slot(c, space, at, large, true, &found, path);
        if (!entry) {
            prune(c, at, path, found);
            break;
        }
        if (*entry & PTE_P)
            replaced = true;
        else
            ++*live(c, path[found]);
        if (large && *entry & PTE_P && !(*entry & PTE_PS)) /* small pages no more */
            pv_pool_give(&c->pool, page_of(*entry));
        *entry = from | bits | (large ? PTE_PS : 0);
        done += large ? 512 : 1;
    }
    if (replaced)
        flush(c, gva, pages);
    return done < pages ? -ENOMEM : (int64_t)pages;
}

int64_t pv_tables_unmap(struct pv_vcpu *c, uint32_t space, uint64_t gva, uint64_t pages)
{
    if (bad_space(c, space) || bad_range(gva, pages))
        return -EINVAL;
    uint64_t done = 0, removed = 0;
    while (done < pages) {
        int level;
        uint32_t path[4];
        uint64_t at = gva + done * PV_PAGE, *entry = slot(c, space, at, 0, false, &level, path);
        uint64_t span = 1ull << (9 * level), inside = at / PV_PAGE & (span - 1);
        if (*entry & PTE_P && level && (inside || pages - done < span)) { /* part of a large page: split it */
            entry = slot(c, space, at, 0, true, &level, path);
            if (!entry)
                break;
            span = 1;
            inside = 0;
        }
        if (*entry & PTE_P) {
            *entry = 0;
            removed += span;
            --*live(c, path[level]);
            prune(c, at, path, level);
        }
        done += span - inside;
    }
    if (removed)
        flush(c, gva, pages);
    return done < pages ? -ENOMEM : (int64_t)removed;
}

bool pv_tables_lookup(struct pv_vcpu *c, uint32_t space, uint64_t gva, struct pv_mapping *to)
{
    if (bad_space(c, space) || !pv_canonical(gva))
        return false;
    int level;
    uint32_t path[4];
    uint64_t *entry = slot(c, space, gva, 0, false, &level, path);
    uint64_t inside = (PV_PAGE << (9 * level)) - 1;
    if (!(*entry & PTE_P))
        return false;
    *to = (struct pv_mapping){ (*entry & PV_FRAME & ~inside) | (gva & inside), *entry & ~PV_FRAME, level };
    return true;
}
