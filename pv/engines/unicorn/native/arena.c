/* The arena: one block of memory for all that the monitor keeps about page tables, so that it is frozen and shared as
 * guest memory is. First the pool's pages, which the processor walks; behind them, at page boundaries, the arrays that
 * say what those pages are. What stands here may come from a file: pv_arena_check holds every index in it to its
 * array before anything follows one. */
#include "vcpu.h"

/* What one instruction may need at once: shadow tables for six pages (code, source and destination, each over a page's
 * end), their root, and those a walk keeps free. With less a guest would fault for ever. */
enum { POOL_LEAST = 64, LAST_LEVEL = 3 };
#define MANY 0xffffffffu

/* Lay the arrays out behind `base` (NULL: only count), for the mode and memory of `c`. The bytes that all of it takes. */
uint64_t pv_arena(struct pv_vcpu *c, uint8_t *base, uint32_t pages)
{
    uint64_t at = 0, frames = c->ram_size / PV_PAGE;
    uint32_t chains = 64;
    if (pages < POOL_LEAST)
        pages = POOL_LEAST;
    while (chains < pages)
        chains *= 2;
    const struct { void **array; uint64_t size; bool wanted; } arrays[] = {
        { (void **)&c->pool.base, pages * PV_PAGE, true },
        { (void **)&c->pool.next, pages * sizeof *c->pool.next, true },
        { (void **)&c->tables.roots, PV_SPACES * sizeof *c->tables.roots, c->mode != PV_TRAP },
        { (void **)&c->shadow.pages, pages * sizeof *c->shadow.pages, c->mode == PV_TRAP },
        { (void **)&c->shadow.hash, chains * sizeof *c->shadow.hash, c->mode == PV_TRAP },
        { (void **)&c->shadow.unsync_list, pages * sizeof *c->shadow.unsync_list, c->mode == PV_TRAP },
        { (void **)&c->shadow.tracked, frames, c->mode == PV_TRAP },
        { (void **)&c->shadow.mapped_by, frames * sizeof *c->shadow.mapped_by, c->mode == PV_TRAP },
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (!arrays[i].wanted)
            continue;
        if (base)
            *arrays[i].array = base + at;
        at += (arrays[i].size + PV_PAGE - 1) & ~(PV_PAGE - 1);
    }
    if (base) {
        c->pool.pages = pages;
        c->shadow.hash_mask = chains - 1;
    }
    return at;
}

/* Tables that lead to no page but the pool's, and map nothing but guest memory. */
static bool tables_lead_inside(const struct pv_vcpu *c)
{
    for (uint64_t i = 0; i < (uint64_t)c->pool.used * 512; i++) {
        uint64_t entry = ((const uint64_t *)c->pool.base)[i], to = entry & PV_FRAME;
        if (!(entry & PTE_P))
            continue;
        bool table = to >= PV_MONITOR_BASE && (to - PV_MONITOR_BASE) / PV_PAGE < c->pool.used && !(entry & PTE_PS);
        uint64_t size = entry & PTE_PS ? PV_PAGE << 9 : PV_PAGE;
        if (!table && (to & (size - 1) || size > c->ram_size || to > c->ram_size - size))
            return false;
    }
    return true;
}

/* A table one level up leads to tables one level down: what the code that follows entries by level relies on. A table has
 * one parent, but the one that paravirt's roots share at entry 0, and those of a shadow, which are found by their tags. */
static bool level_is(const struct pv_vcpu *c, uint32_t page, int level, uint8_t *levels)
{
    bool trap = c->mode == PV_TRAP;
    if (levels[page])
        return levels[page] == level + 1 && (trap || page == c->tables.common);
    if (trap && (page < PV_SHADOW_FIRST || c->shadow.pages[page].live != 1 || c->shadow.pages[page].level != level))
        return false;
    levels[page] = (uint8_t)(level + 1);
    const uint64_t *entries = (const uint64_t *)(c->pool.base + page * PV_PAGE);
    for (int i = 0; i < 512; i++) {
        uint64_t to = entries[i] & PV_FRAME;
        if (!(entries[i] & PTE_P))
            continue;
        if (!trap && level == LAST_LEVEL && (to == pv_page_gpa(c->tables.common)) != !i)
            return false;
        if (to < PV_MONITOR_BASE ? level && !(entries[i] & PTE_PS && level == 1)
                                 : !level || !level_is(c, (uint32_t)((to - PV_MONITOR_BASE) / PV_PAGE), level - 1, levels))
            return false;
    }
    return true;
}

static bool all_below(const uint32_t *array, uint64_t count, uint32_t limit, uint32_t also)
{
    for (uint64_t i = 0; i < count; i++)
        if (array[i] >= limit && array[i] != also)
            return false;
    return true;
}

static bool tables_hold(const struct pv_vcpu *c, uint8_t *levels)
{
    const struct pv_tables *t = &c->tables;
    if (t->active >= PV_SPACES || !t->roots[t->active] || !t->roots[0] || !t->common || t->common >= c->pool.used
        || !all_below(t->roots, PV_SPACES, c->pool.used, 0) || !level_is(c, t->common, LAST_LEVEL - 1, levels))
        return false;
    for (uint32_t space = 0; space < PV_SPACES; space++)
        if (t->roots[space] && !level_is(c, t->roots[space], LAST_LEVEL, levels))
            return false;
    return true;
}

/* Each shadow page in use stands once in the chain of its tag, and the list of those to be looked at has room for the rest. */
static bool shadow_holds(const struct pv_vcpu *c, uint8_t *levels)
{
    const struct pv_shadow *s = &c->shadow;
    uint32_t used = c->pool.used, linked = 0, live = 0, unsync = 0;
    uint64_t frames = c->ram_size / PV_PAGE;
    if (used < PV_SHADOW_FIRST || s->root >= used || s->unsync_count > c->pool.pages || !all_below(s->hash, s->hash_mask + 1ull, used, 0)
        || !all_below(s->unsync_list, s->unsync_count, used, 0) || !all_below(s->mapped_by, frames, used * 512 + 1, MANY))
        return false;
    for (int i = 0; i < 512; i++) /* the root of a guest whose tables lie in no memory leads nowhere */
        if (((const uint64_t *)(c->pool.base + PV_PAGE))[i] & PTE_P)
            return false;
    for (uint32_t page = 0; page < used; page++) {
        const struct pv_shadow_page *p = &s->pages[page];
        if (p->hash_next >= used || (p->live && (p->level > LAST_LEVEL || p->level != (p->tag & 7) || p->tag >> 4 >= frames)))
            return false;
        live += p->live != 0;
        unsync += p->unsync != 0;
    }
    if (unsync != s->unsync_count)
        return false;
    for (uint32_t i = 0; i < s->unsync_count; i++)
        if (!s->pages[s->unsync_list[i]].live || !s->pages[s->unsync_list[i]].unsync)
            return false;
    for (uint32_t i = 0; i <= s->hash_mask; i++)
        for (uint32_t page = s->hash[i]; page; page = s->pages[page].hash_next)
            if (++linked > live || pv_shadow_bucket(s, s->pages[page].tag) != i || !level_is(c, page, s->pages[page].level, levels))
                return false;
    return linked == live && (s->root < PV_SHADOW_FIRST || level_is(c, s->root, LAST_LEVEL, levels));
}

/* What the processor walks is the root in use: no other page of the pool is a root, and guest memory is none. */
static bool root_holds(const struct pv_vcpu *c)
{
    uint32_t root = c->mode != PV_TRAP ? c->tables.roots[c->tables.active] : c->shadow.root;
    return root && ENV64(c->env, ENV_CR + 24) == pv_page_gpa(root);
}

/* Whether what the arrays say can be followed: `levels` is a byte for each page of the pool, zero. begun: there is a guest;
 * until then its root is none. */
bool pv_arena_check(const struct pv_vcpu *c, uint8_t *levels, bool begun)
{
    uint32_t free_pages = 0;
    if (!c->pool.used || c->pool.used > c->pool.pages || c->pool.free_head >= c->pool.used || !tables_lead_inside(c)
        || !(c->mode != PV_TRAP ? tables_hold(c, levels) : shadow_holds(c, levels)))
        return false;
    for (uint32_t page = c->pool.free_head; page; page = c->pool.next[page]) /* what is free is not in use as well */
        if (++free_pages > c->pool.used || c->pool.next[page] >= c->pool.used || levels[page]
            || (c->mode == PV_TRAP && (page < PV_SHADOW_FIRST || c->shadow.pages[page].live)))
            return false;
    return !begun || pv_hardware(c) || root_holds(c);
}
