/* The translation cache as its files share it: kernel code of the guest, rewritten, in pages that the guest cannot see.
 *
 * blocks: what was translated from one guest RIP on. groups: the blocks of one guest page, by its linear page and its frame;
 * a group has pages of the cache to itself. contexts: for each shadow root, which of those pages it maps: a page is mapped
 * once its guest page has been walked to in that address space, and unmapped when the guest's tables change. So a jump
 * from one block into another needs no look at the guest's tables: where it is not valid the processor faults. */
#ifndef PV_CACHE_H
#define PV_CACHE_H
#include "vcpu.h"

#define PV_CACHE_BASE (PV_MONITOR_BASE + (1ull << 34)) /* its gpa */
enum { PV_CACHE_LINK = -1, PV_UNIT = 16 /* blocks begin at multiples of it */, PV_CONTEXTS = 16, PV_BUCKET_BITS = 12 };
enum { PV_HOT = 256, PV_HOT_AT = 8 }; /* instructions remembered that trap; how often, until they are callouts */
enum { PV_POINTS_MOST = 1024, PV_LINKS_MOST = 256, PV_INSTRUCTIONS_MOST = 64 };

/* An instruction of the cache, which stands for one of the guest: a fault at `at` is the guest's at RIP + guest, once `undo` has
 * been added to RSP. guest PV_CACHE_LINK: a direct branch to the target of the link whose stub stands here. */
struct pv_point { uint16_t at; int16_t guest; uint8_t undo; };
struct pv_link { uint64_t target; uint16_t stub; int16_t patch; bool chained; };
struct pv_block {
    uint64_t rip;
    uint32_t at, serial, group, next_in_hash, next_in_group;
    uint16_t size, source_bytes, instructions, points, links;
    uint8_t bakes;
    bool live, checked;
    struct pv_point *point;
    struct pv_link *link;
    uint8_t *source;
};
struct pv_incoming { uint32_t block, serial; uint16_t link; };
struct pv_group {
    uint64_t page, gfn, age;
    uint32_t blocks, pages; /* the first of each; blocks by index + 1, pages by number + 1 */
    bool live;
    struct pv_incoming *in;
    uint32_t in_count, in_room;
};
struct pv_context { uint32_t root; uint64_t epoch, used; };
struct pv_hot { uint64_t rip; uint32_t count; };
/* What Python's translator answers. */
struct pv_draft {
    uint8_t code[PV_PAGE];
    struct pv_point point[PV_POINTS_MOST];
    struct pv_link link[PV_LINKS_MOST];
    uint16_t size, source_bytes, instructions, points, links;
    uint8_t bakes;
};
/* What guards a guest frame: nothing; write protection; a comparison of bytes before each block. */
enum pv_guard { PV_UNGUARDED, PV_GUARDED, PV_CHECKED };
enum pv_where { PV_OUTSIDE, PV_IN_CACHE, PV_IN_PLACE, PV_IN_USER };
struct pv_cache_counts {
    uint64_t translations, instructions, source_bytes, cache_bytes, chained, lookups, hits, evicted, invalidated, flushed, writes, faults,
             moved, steps, windows, checks, retranslated, callouts[8];
};
struct pv_cache {
    uint8_t *base; /* code pages, behind them the tables of contexts */
    uint64_t bytes;
    uint32_t pages, tables; /* tables: of one context */
    struct pv_block *blocks;
    struct pv_group *groups;
    uint32_t *owner, *page_group, *page_next, *hash; /* owner: block + 1 of each unit */
    uint16_t *page_used;
    uint8_t *guard, *writes; /* of each guest frame */
    uint16_t *groups_of;     /* each guest frame */
    uint16_t *sound;         /* checks of a frame's blocks that found nothing changed */
    uint32_t block_room, free_block, free_page, free_group;
    uint64_t age, uses;
    struct pv_context contexts[PV_CONTEXTS], *context;
    uint32_t slot; /* of the root */
    uint64_t linear;
    uint32_t generation;
    uint8_t baked;
    uint16_t cs;
    struct pv_segment tr; /* the processor's, while a program runs */
    enum pv_where where;
    uint64_t stack_page, stack_loads; /* of the guest's stack, and where it lies */
    const uint8_t *stack;
    /* where the last leave was, for an enter that finds nothing changed */
    uint64_t resume_rip;
    uint32_t resume_at, resume_generation;
    bool resumable;
    /* one instruction in place */
    bool step, shadow, own_flag, stepped;
    uint64_t step_rip;
    struct pv_hot hot[PV_HOT];
    struct pv_draft draft;
    struct pv_cache_counts counts;
};

static inline struct pv_block *pv_block_at(struct pv_cache *k, uint32_t at)
{
    uint32_t owner = at < k->pages * PV_PAGE ? k->owner[at / PV_UNIT] : 0;
    return owner ? &k->blocks[owner - 1] : NULL;
}
static inline uint64_t pv_cache_gpa(uint32_t page) { return PV_CACHE_BASE + PV_PAGE * page; }
/* cache_tables.c */
uint64_t *pv_cache_root_entry(struct pv_vcpu *c);
uint64_t pv_cache_root_value(struct pv_cache *k);
void pv_cache_select(struct pv_vcpu *c);
bool pv_cache_mapped(struct pv_cache *k, uint32_t page);
bool pv_cache_map(struct pv_vcpu *c, struct pv_group *g);
void pv_cache_changed(struct pv_vcpu *c, uint32_t at, uint32_t size);
void pv_cache_unmap(struct pv_vcpu *c, uint32_t page);
/* cache_blocks.c */
struct pv_group *pv_cache_group(struct pv_vcpu *c, uint64_t page, uint64_t gfn);
uint32_t pv_cache_room(struct pv_vcpu *c, struct pv_group *g);
struct pv_block *pv_cache_add(struct pv_vcpu *c, struct pv_group *g, uint64_t rip, const uint8_t *source, bool checked);
void pv_cache_chain(struct pv_vcpu *c, struct pv_block *from, uint32_t link, struct pv_block *to, bool fresh);
void pv_cache_drop(struct pv_vcpu *c, struct pv_group *g);
/* cache.c */
struct pv_block *pv_cache_find(struct pv_vcpu *c, uint64_t rip);
struct pv_block *pv_cache_block(struct pv_vcpu *c, uint64_t rip);
struct pv_point *pv_cache_point(struct pv_block *b, uint32_t at);
struct pv_link *pv_cache_stub(struct pv_block *b, uint32_t at);
void pv_cache_leave_to(struct pv_vcpu *c, uint64_t rip);
/* step.c */
bool pv_step(struct pv_vcpu *c);
void pv_service(struct pv_vcpu *c, struct pv_decoded *slot, const uint8_t *code, int have);
/* ports.c */
void pv_port(struct pv_vcpu *c, const uint8_t *code, int have);
bool pv_string_port(struct pv_vcpu *c, const uint8_t *code, int have);
/* step.c */
bool pv_push_flags(struct pv_vcpu *c, int bytes, uint64_t next);
bool pv_pop_flags(struct pv_vcpu *c, int bytes, uint64_t next);
#endif
