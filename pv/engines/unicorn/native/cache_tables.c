/* How does the processor see the cache, and who else does? By tables of the monitor's in one entry of the shadow's root, which
 * stands there only while translated code runs, and by pages that may be executed and not read: user pages of a protection key
 * whose accesses PKRU denies (SDM vol. 3, 4.6.2; fetches have no key). The guest's own tables know nothing of that entry: where
 * it comes to use those addresses itself the cache moves away, which costs nothing, since nothing in it knows its address. */
#include "cache.h"

enum { KEY = 1, FIRST_SLOT = 264 /* in what Linux leaves to hypervisors: 0xffff840000000000 */, SLOTS = 512 };
#define LEADS (PTE_P | PTE_U | PTE_A | PTE_W)
#define CODE (PTE_P | PTE_U | PTE_A | (uint64_t)KEY << 59)

static uint64_t *table(struct pv_cache *k, const struct pv_context *x, uint32_t number)
{
    return (uint64_t *)(k->base + PV_PAGE * (k->pages + (uint64_t)(x - k->contexts) * k->tables + number));
}
static uint64_t table_gpa(struct pv_cache *k, const struct pv_context *x, uint32_t number)
{
    return pv_cache_gpa(k->pages + (uint32_t)(x - k->contexts) * k->tables + number);
}
static uint64_t *leaf(struct pv_cache *k, const struct pv_context *x, uint32_t page) { return &table(k, x, 2 + page / 512)[page % 512]; }

uint64_t *pv_cache_root_entry(struct pv_vcpu *c) { return &pv_page(&c->pool, c->shadow.root)[c->cache->slot]; }
uint64_t pv_cache_root_value(struct pv_cache *k) { return table_gpa(k, k->context, 0) | LEADS; }

static void put_at(struct pv_cache *k, uint32_t slot)
{
    k->slot = slot;
    k->linear = (uint64_t)((int64_t)((uint64_t)slot << 55) >> 16);
    k->resumable = false;
}

static void empty(struct pv_cache *k, struct pv_context *x)
{
    for (uint32_t number = 2; number < k->tables; number++)
        memset(table(k, x, number), 0, PV_PAGE);
}

/* The context of the root in use, with nothing in it that the shadow has forgotten. */
void pv_cache_select(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    struct pv_context *x = k->context, *oldest = k->contexts;
    if (x && x->root == c->shadow.root && x->epoch == c->shadow.epoch)
        return;
    for (x = k->contexts; x < k->contexts + PV_CONTEXTS && x->root != c->shadow.root; x++)
        if (x->used < oldest->used)
            oldest = x;
    bool fresh = x == k->contexts + PV_CONTEXTS;
    if (fresh) {
        x = oldest;
        x->root = c->shadow.root;
        table(k, x, 0)[0] = table_gpa(k, x, 1) | LEADS;
        for (uint32_t number = 2; number < k->tables; number++)
            table(k, x, 1)[number - 2] = table_gpa(k, x, number) | LEADS;
    }
    if (fresh || x->epoch != c->shadow.epoch) {
        empty(k, x);
        x->epoch = c->shadow.epoch;
        pv_uc.tlb_flush(c->cpu);
    }
    x->used = ++k->uses;
    k->context = x;
}

bool pv_cache_mapped(struct pv_cache *k, uint32_t page) { return *leaf(k, k->context, page) & PTE_P; }

/* Map the pages of a group in this address space, if its guest page is there: where the guest's tables lead to it still, and
 * let its kernel execute it. The shadow maps the page as well, so that it hears when that changes. */
bool pv_cache_map(struct pv_vcpu *c, struct pv_group *g)
{
    struct pv_cache *k = c->cache;
    struct pv_mapping to;
    if (pv_guest_walk(c, g->page * PV_PAGE, PF_I, &to).vector >= 0 || to.gpa / PV_PAGE != g->gfn)
        return false;
    uint64_t fills = c->shadow.fills;
    if (pv_shadow_fault(c, g->page * PV_PAGE, PF_I).vector != -1)
        return false;
    c->shadow.fills = fills; /* no fault of the guest's: how often depends on what the cache held before */
    pv_cache_select(c); /* the shadow may have been emptied for it */
    for (uint32_t page = g->pages; page; page = k->page_next[page - 1])
        *leaf(k, k->context, page - 1) = pv_cache_gpa(page - 1) | CODE;
    return true;
}

/* The engine is to forget what it made of these bytes of the cache. It knows memory by a number of its own, which goes on from the
 * last block of its list; a block that is larger than those before it is put before them, and so is never the last. */
void pv_cache_changed(struct pv_vcpu *c, uint32_t at, uint32_t size)
{
    uint64_t pool = c->pool.pages * PV_PAGE, start = c->ram_size + (pool > c->ram_size ? 0 : pool) + at;
    pv_uc.tb_invalidate_phys_range(c->uc, start, start + size);
}

/* Away from every address space, with what the processor has of it. */
void pv_cache_unmap(struct pv_vcpu *c, uint32_t page)
{
    struct pv_cache *k = c->cache;
    for (struct pv_context *x = k->contexts; x < k->contexts + PV_CONTEXTS; x++)
        if (x->root)
            *leaf(k, x, page) = 0;
    pv_uc.tlb_flush_page(c->cpu, k->linear + PV_PAGE * page);
    pv_cache_changed(c, page * (uint32_t)PV_PAGE, PV_PAGE);
}

/* Does the guest's root have something of its own at `slot`? */
static bool guest_has(struct pv_vcpu *c, uint32_t slot)
{
    const uint64_t *entry = (const uint64_t *)pv_gpa(c, (c->v.cr3 & PV_FRAME) + 8 * slot, 8);
    return entry && *entry & PTE_P;
}

/* To another entry of the root: the first that the guest leaves empty, else simply the next, which the guest gets back when it
 * comes to use that. Between leave and enter. */
void pv_cache_place(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    uint32_t before = k->slot, slot = before ? before : FIRST_SLOT;
    for (uint32_t tries = before ? 1 : 0; tries < SLOTS; tries++) {
        slot = ((before ? before : FIRST_SLOT) + SLOTS - tries) % SLOTS;
        if (slot && !guest_has(c, slot))
            break;
    }
    if (before && (slot == before || guest_has(c, slot) || !slot))
        slot = before > 1 ? before - 1 : SLOTS - 1;
    k->counts.moved += before != 0;
    if (before && k->where == PV_IN_CACHE)
        *pv_cache_root_entry(c) = 0;
    put_at(k, slot);
    pv_cache_select(c);
    pv_uc.tlb_flush(c->cpu);
}

/* Is `gva` where the cache stands? Then the guest's own mapping of it needs the cache elsewhere. */
bool pv_cache_claims(struct pv_vcpu *c, uint64_t gva) { return c->cache && c->cache->slot && (gva >> 39 & (SLOTS - 1)) == c->cache->slot; }
