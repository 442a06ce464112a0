/* What is in the cache: blocks added, chained to one another, and dropped: when the guest writes their page, when what they
 * have as a constant changes, and when there is no room, the oldest page's first. */
#include "cache.h"
#include <stdlib.h>
#include <sys/mman.h>

enum { JUMP_BYTES = 6, ROOM_LEAST = 320, BLOCKS_A_PAGE = 64, MANY_LINKS = 64 };
static const uint8_t JUMP[2] = { 0xf2, 0xe9 }; /* BND JMP rel32: a plain one would cost a helper that looks after bounds */

static uint32_t bucket(uint64_t rip) { return (uint32_t)(rip * 0x9e3779b97f4a7c15ull >> (64 - PV_BUCKET_BITS)); }
static uint32_t number_of(struct pv_cache *k, const struct pv_block *b) { return (uint32_t)(b - k->blocks); }

void pv_cache_close(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    if (!k)
        return;
    for (uint32_t i = 0; k->blocks && i < k->block_room; i++)
        if (k->blocks[i].live) {
            free(k->blocks[i].point);
            free(k->blocks[i].link);
            free(k->blocks[i].source);
        }
    for (uint32_t i = 0; k->groups && i < k->pages; i++)
        free(k->groups[i].in);
    void *arrays[] = { k->blocks, k->groups, k->owner, k->page_group, k->page_next, k->page_used, k->hash, k->guard, k->writes, k->sound, k->groups_of };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    if (k->base)
        munmap(k->base, k->bytes);
    free(k);
    c->cache = NULL;
}

/* An empty cache of `pages` pages. False: no memory. */
bool pv_cache_open(struct pv_vcpu *c, uint32_t pages)
{
    struct pv_cache *k = c->cache = calloc(1, sizeof *k);
    uint64_t frames = c->ram_size / PV_PAGE;
    if (!k)
        return false;
    k->pages = pages;
    k->tables = 2 + (pages + 511) / 512;
    k->bytes = PV_PAGE * (pages + (uint64_t)PV_CONTEXTS * k->tables);
    k->block_room = pages * BLOCKS_A_PAGE;
    k->base = mmap(NULL, k->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    k->base = k->base == MAP_FAILED ? NULL : k->base;
    k->blocks = calloc(k->block_room, sizeof *k->blocks);
    k->groups = calloc(pages, sizeof *k->groups);
    k->owner = calloc(pages * (PV_PAGE / PV_UNIT), sizeof *k->owner);
    k->page_group = calloc(pages, sizeof *k->page_group);
    k->page_next = calloc(pages, sizeof *k->page_next);
    k->page_used = calloc(pages, sizeof *k->page_used);
    k->hash = calloc(1u << PV_BUCKET_BITS, sizeof *k->hash);
    k->guard = calloc(frames, sizeof *k->guard);
    k->writes = calloc(frames, sizeof *k->writes);
    k->sound = calloc(frames, sizeof *k->sound);
    k->groups_of = calloc(frames, sizeof *k->groups_of);
    if (!(k->base && k->blocks && k->groups && k->owner && k->page_group && k->page_next && k->page_used && k->hash && k->guard && k->writes && k->sound && k->groups_of)) {
        pv_cache_close(c);
        return false;
    }
    for (uint32_t i = 0; i < pages; i++)
        k->page_next[i] = i + 1 < pages ? i + 2 : 0;
    for (uint32_t i = 0; i < k->block_room; i++)
        k->blocks[i].next_in_hash = i + 1 < k->block_room ? i + 2 : 0;
    k->free_page = k->free_block = k->stack_page = 1; /* the last: no page */
    return true;
}

uint64_t pv_cache_memory(struct pv_vcpu *c, uint8_t **base)
{
    *base = c->cache->base;
    return c->cache->bytes;
}

/* ---- chains ---- */

static void patch(struct pv_vcpu *c, const struct pv_block *b, uint32_t at, const void *bytes, uint32_t size, bool fresh)
{
    memcpy(c->cache->base + b->at + at, bytes, size);
    if (!fresh)
        pv_cache_changed(c, b->at + at, size);
}

static void point_at(struct pv_vcpu *c, const struct pv_block *b, uint32_t field, uint32_t target, bool fresh)
{
    int32_t distance = (int32_t)(target - (b->at + field + 4));
    patch(c, b, field, &distance, 4, fresh);
}

/* Make a direct branch lead to `to` by itself. fresh: it has never run. */
void pv_cache_chain(struct pv_vcpu *c, struct pv_block *from, uint32_t link, struct pv_block *to, bool fresh)
{
    struct pv_cache *k = c->cache;
    struct pv_group *g = &k->groups[to->group];
    struct pv_link *l = &from->link[link];
    if (g->in_count == g->in_room) {
        uint32_t live = 0;
        for (uint32_t i = 0; i < g->in_count; i++) /* those of blocks that are no more */
            if (k->blocks[g->in[i].block].serial == g->in[i].serial)
                g->in[live++] = g->in[i];
        g->in_count = live;
        uint32_t room = live * 2 + MANY_LINKS;
        struct pv_incoming *in = room > g->in_room ? realloc(g->in, room * sizeof *in) : g->in;
        if (!in)
            return;
        g->in = in;
        g->in_room = room > g->in_room ? room : g->in_room;
    }
    g->in[g->in_count++] = (struct pv_incoming){ number_of(k, from), from->serial, (uint16_t)link };
    if (l->patch < 0) {
        patch(c, from, l->stub, JUMP, sizeof JUMP, fresh);
        point_at(c, from, l->stub + sizeof JUMP, to->at, fresh);
    } else {
        point_at(c, from, (uint32_t)l->patch, to->at, fresh);
    }
    l->chained = true;
    k->counts.chained++;
}

static void unchain(struct pv_vcpu *c, struct pv_block *b, struct pv_link *l)
{
    uint8_t stub[JUMP_BYTES] = { 0x0f, 0x05, 0, 0, 0, (uint8_t)l->target };
    if (l->patch < 0)
        patch(c, b, l->stub, stub, sizeof stub, false);
    else
        point_at(c, b, (uint32_t)l->patch, b->at + l->stub, false);
    l->chained = false;
}

/* ---- dropping ---- */

static void drop_block(struct pv_cache *k, struct pv_block *b)
{
    uint32_t *at = &k->hash[bucket(b->rip)];
    while (*at != number_of(k, b) + 1)
        at = &k->blocks[*at - 1].next_in_hash;
    *at = b->next_in_hash;
    free(b->point);
    free(b->link);
    free(b->source);
    *b = (struct pv_block){ .serial = b->serial + 1, .next_in_hash = k->free_block };
    k->free_block = number_of(k, b) + 1;
}

/* All blocks of a page, and its pages of the cache; the group stays. */
void pv_cache_drop(struct pv_vcpu *c, struct pv_group *g)
{
    struct pv_cache *k = c->cache;
    k->generation++;
    for (uint32_t i = 0; i < g->in_count; i++) {
        struct pv_block *from = &k->blocks[g->in[i].block];
        if (from->serial == g->in[i].serial && from->live && &k->groups[from->group] != g && from->link[g->in[i].link].chained)
            unchain(c, from, &from->link[g->in[i].link]);
    }
    g->in_count = 0;
    for (uint32_t block = g->blocks, next; block; block = next) {
        next = k->blocks[block - 1].next_in_group;
        drop_block(k, &k->blocks[block - 1]);
        k->counts.invalidated++;
    }
    for (uint32_t page = g->pages, next; page; page = next) {
        next = k->page_next[page - 1];
        pv_cache_unmap(c, page - 1);
        memset(&k->owner[(page - 1) * (PV_PAGE / PV_UNIT)], 0, PV_PAGE / PV_UNIT * sizeof *k->owner);
        k->page_used[page - 1] = 0;
        k->page_next[page - 1] = k->free_page;
        k->free_page = page;
    }
    g->blocks = g->pages = 0;
}

static void end_group(struct pv_vcpu *c, struct pv_group *g)
{
    struct pv_cache *k = c->cache;
    uint64_t gfn = g->gfn;
    pv_cache_drop(c, g);
    free(g->in);
    *g = (struct pv_group){ 0 };
    if (!--k->groups_of[gfn] && k->guard[gfn] == PV_GUARDED) /* nothing of it is left to guard */
        k->guard[gfn] = PV_UNGUARDED;
}

/* Blocks that have a register of `which` (pv.translate.block) as a constant: it changes. */
void pv_cache_rebake(struct pv_vcpu *c, uint8_t which)
{
    struct pv_cache *k = c->cache;
    if (!k || !(k->baked & which))
        return;
    for (uint32_t i = 0; i < k->pages; i++) {
        bool has = false;
        for (uint32_t block = k->groups[i].blocks; block && !has; block = k->blocks[block - 1].next_in_group)
            has = k->blocks[block - 1].bakes & which;
        if (has)
            end_group(c, &k->groups[i]);
    }
    k->baked &= (uint8_t)~which;
}

/* Everything: the guest's memory has become another. */
void pv_cache_forget(struct pv_vcpu *c)
{
    for (uint32_t i = 0; c->cache && i < c->cache->pages; i++)
        if (c->cache->groups[i].live)
            end_group(c, &c->cache->groups[i]);
}

/* The processor's state and the shadow are those of a snapshot; memory has been told of (pv_forget_code). What is left of the
 * cache holds, but no address space is known to map it, and no shadow entry to guard it. */
void pv_cache_restored(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    if (!k)
        return;
    k->resumable = k->step = k->shadow = false;
    k->where = PV_OUTSIDE;
    k->stack_page = 1;
    k->context = NULL;
    for (struct pv_context *x = k->contexts; x < k->contexts + PV_CONTEXTS; x++)
        x->root = 0;
    pv_cache_rebake(c, 0xff);
    for (uint32_t i = 0; i < k->pages; i++)
        if (k->groups[i].live && k->guard[k->groups[i].gfn] == PV_GUARDED)
            pv_shadow_protect(c, k->groups[i].gfn);
}

/* The guest, or the monitor for it, writes a frame that code was translated from. */
bool pv_cache_written(struct pv_vcpu *c, uint64_t gfn)
{
    enum { OFTEN = 4 };
    struct pv_cache *k = c->cache;
    if (!k || k->guard[gfn] != PV_GUARDED)
        return false;
    for (uint32_t i = 0; i < k->pages; i++)
        if (k->groups[i].live && k->groups[i].gfn == gfn)
            pv_cache_drop(c, &k->groups[i]);
    k->counts.writes++;
    k->guard[gfn] = ++k->writes[gfn] < OFTEN ? PV_UNGUARDED : PV_CHECKED;
    return true;
}

/* The instruction at `rip` has trapped for a device. Where it does so again and again it becomes a callout, which is no fault. */
void pv_cache_trapped(struct pv_vcpu *c, uint64_t rip)
{
    struct pv_cache *k = c->cache;
    if (!k || pv_user(c))
        return;
    uint32_t at = (uint32_t)(rip ^ rip >> 8) % PV_HOT;
    if (k->hot[at].rip != rip) {
        k->hot[at].rip = rip;
        k->hot[at].count = 0;
    }
    if (k->hot[at].count >= PV_HOT_AT || ++k->hot[at].count < PV_HOT_AT)
        return;
    k->counts.retranslated++;
    for (uint32_t i = 0; i < k->pages; i++)
        if (k->groups[i].live && k->groups[i].page == rip / PV_PAGE)
            pv_cache_drop(c, &k->groups[i]);
}

/* ---- adding ---- */

static bool evict(struct pv_vcpu *c, const struct pv_group *but)
{
    struct pv_cache *k = c->cache;
    struct pv_group *oldest = NULL;
    for (struct pv_group *g = k->groups; g < k->groups + k->pages; g++)
        if (g->live && g != but && (!oldest || g->age < oldest->age))
            oldest = g;
    if (!oldest)
        return false;
    k->counts.evicted++;
    end_group(c, oldest);
    return true;
}

/* The group of a guest page, made on demand; the frame is guarded from now on. */
struct pv_group *pv_cache_group(struct pv_vcpu *c, uint64_t page, uint64_t gfn)
{
    struct pv_cache *k = c->cache;
    struct pv_group *g = k->groups, *empty = NULL;
    for (; g < k->groups + k->pages && !(g->live && g->page == page && g->gfn == gfn); g++)
        if (!g->live && !empty)
            empty = g;
    if (g == k->groups + k->pages) {
        if (!empty && !evict(c, NULL))
            return NULL;
        for (g = k->groups; g->live; g++)
            ;
        *g = (struct pv_group){ .page = page, .gfn = gfn, .age = ++k->age, .live = true };
        k->groups_of[gfn]++;
    }
    if (k->guard[gfn] == PV_UNGUARDED) {
        k->guard[gfn] = PV_GUARDED;
        pv_shadow_protect(c, gfn);
    }
    return g;
}

/* Room for a block in the group's page, or in a new one: the bytes there. */
uint32_t pv_cache_room(struct pv_vcpu *c, struct pv_group *g)
{
    struct pv_cache *k = c->cache;
    if (g->pages && k->free_block && PV_PAGE - k->page_used[g->pages - 1] > ROOM_LEAST)
        return PV_PAGE - k->page_used[g->pages - 1] - 1u;
    while (!k->free_page || !k->free_block) /* a group may have none */
        if (!evict(c, g))
            pv_cache_drop(c, g);
    uint32_t page = k->free_page;
    k->free_page = k->page_next[page - 1];
    k->page_next[page - 1] = g->pages;
    k->page_group[page - 1] = (uint32_t)(g - k->groups);
    g->pages = page;
    return PV_PAGE - 1;
}

/* The draft becomes a block. NULL: no memory. */
struct pv_block *pv_cache_add(struct pv_vcpu *c, struct pv_group *g, uint64_t rip, const uint8_t *source, bool checked)
{
    struct pv_cache *k = c->cache;
    const struct pv_draft *d = &k->draft;
    while (!k->free_block)
        if (!evict(c, g))
            return NULL;
    struct pv_block *b = &k->blocks[k->free_block - 1];
    uint32_t page = g->pages - 1, used = k->page_used[page], group = (uint32_t)(g - k->groups);
    struct pv_point *point = malloc(d->points * sizeof *point);
    struct pv_link *link = malloc((d->links + 1u) * sizeof *link);
    uint8_t *copy = malloc(d->source_bytes + 1u);
    if (!point || !link || !copy) {
        free(point);
        free(link);
        free(copy);
        return NULL;
    }
    k->free_block = b->next_in_hash;
    memcpy(point, d->point, d->points * sizeof *point);
    memcpy(link, d->link, d->links * sizeof *link);
    memcpy(copy, source, d->source_bytes);
    uint32_t *head = &k->hash[bucket(rip)];
    *b = (struct pv_block){ .rip = rip, .at = page * (uint32_t)PV_PAGE + used, .serial = b->serial + 1, .group = group, .next_in_hash = *head,
                            .next_in_group = g->blocks, .size = d->size, .source_bytes = d->source_bytes, .instructions = d->instructions,
                            .points = d->points, .links = d->links, .bakes = d->bakes, .live = true, .checked = checked,
                            .point = point, .link = link, .source = copy };
    *head = g->blocks = number_of(k, b) + 1;
    memcpy(k->base + b->at, d->code, d->size);
    uint32_t end = d->size + 1u; /* where RIP stands behind an INT n that a block ends with is its own as well */
    for (uint32_t unit = b->at / PV_UNIT; unit * PV_UNIT < b->at + end; unit++)
        k->owner[unit] = number_of(k, b) + 1;
    k->page_used[page] = (uint16_t)((used + end + PV_UNIT - 1) & ~(PV_UNIT - 1u));
    k->baked |= d->bakes;
    k->counts.translations++;
    k->counts.instructions += d->instructions;
    k->counts.source_bytes += d->source_bytes;
    k->counts.cache_bytes += d->size;
    return b;
}

/* The block that begins at `rip`, of a page that is valid in this address space. */
struct pv_block *pv_cache_find(struct pv_vcpu *c, uint64_t rip)
{
    struct pv_cache *k = c->cache;
    for (uint32_t block = k->hash[bucket(rip)]; block; block = k->blocks[block - 1].next_in_hash) {
        struct pv_block *b = &k->blocks[block - 1];
        if (b->rip == rip && (pv_cache_mapped(k, b->at / (uint32_t)PV_PAGE) || pv_cache_map(c, &k->groups[b->group])))
            return b;
    }
    return NULL;
}
