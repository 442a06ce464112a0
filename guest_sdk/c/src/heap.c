/* Which memory is whose? One region, cut into blocks that lie back to back, each with a header before it.
 *
 * A header has the sizes of its own block and of the one before, so that a block that is freed finds both neighbours and
 * joins with those that are free. The free ones are in a ring; malloc takes the first that is large enough. A block of no
 * bytes that is never free ends the region. A header that makes no sense, as after free() of something else or a write
 * past a block's end, is a panic. */
#include <pvkit/heap.h>
#include <pvkit/panic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = 16 }; /* every block's address and size are multiples of it */
enum { USED = 1 };

struct block {
    size_t before; /* bytes of the block in front of this one, its header included; 0: this is the first */
    size_t tagged; /* bytes of this block, its header included, | USED */
    struct block *next, *previous; /* in the ring of free blocks; the caller's bytes begin here where it is used */
};
enum { HEADER = 2 * sizeof(size_t), LEAST = sizeof(struct block) };

static struct block ring = {0, 0, &ring, &ring};
static struct block *first, *last;
static size_t free_bytes;

void pvkit_heap_region(void); /* heap_region.c: give malloc its memory */

static size_t size_of(const struct block *block) { return block->tagged & ~(size_t)USED; }
static bool is_used(const struct block *block) { return block->tagged & USED; }
static struct block *at_offset(struct block *block, size_t bytes) { return (struct block *)((char *)block + bytes); }
static struct block *after(struct block *block) { return at_offset(block, size_of(block)); }
static void *contents(struct block *block) { return (char *)block + HEADER; }
static struct block *of_contents(void *bytes) { return (struct block *)((char *)bytes - HEADER); }

static void set_size(struct block *block, size_t bytes, size_t used)
{
    block->tagged = bytes | used;
    after(block)->before = bytes;
}

static void link_free(struct block *block)
{
    block->next = ring.next;
    block->previous = &ring;
    ring.next->previous = block;
    ring.next = block;
    free_bytes += size_of(block);
}

static void unlink_free(struct block *block)
{
    block->next->previous = block->previous;
    block->previous->next = block->next;
    free_bytes -= size_of(block);
}

void pvkit_heap_take(void *at, size_t bytes)
{
    uintptr_t low = ((uintptr_t)at + UNIT - 1) & ~(uintptr_t)(UNIT - 1), high = ((uintptr_t)at + bytes) & ~(uintptr_t)(UNIT - 1);
    pvkit_assert(!first && high > low && high - low >= LEAST + HEADER);
    first = (struct block *)low;
    last = (struct block *)(high - HEADER);
    last->tagged = USED;
    first->before = 0;
    set_size(first, high - low - HEADER, 0);
    link_free(first);
}

size_t pvkit_heap_free_bytes(void)
{
    if (!first)
        pvkit_heap_region();
    return free_bytes;
}

/* Bytes of a block for `bytes` of the caller's; 0 where no block can be as large. */
static size_t block_bytes(size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return 0;
    size_t wanted = (bytes + HEADER + UNIT - 1) & ~(size_t)(UNIT - 1);
    return wanted < LEAST ? LEAST : wanted;
}

/* Make `block`, which is in no ring, used and of `wanted` bytes; what is over at its end is free again. */
static void trim(struct block *block, size_t wanted)
{
    size_t over = size_of(block) - wanted;
    if (over < LEAST) {
        set_size(block, size_of(block), USED);
        return;
    }
    struct block *rest = at_offset(block, wanted);
    set_size(rest, over, 0);
    set_size(block, wanted, USED);
    if (!is_used(after(rest))) {
        struct block *joined = after(rest);
        unlink_free(joined);
        set_size(rest, over + size_of(joined), 0);
    }
    link_free(rest);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    size_t wanted = block_bytes(bytes);
    if (!align || align & (align - 1) || !wanted)
        return NULL;
    if (!first)
        pvkit_heap_region();
    for (struct block *block = ring.next; block != &ring; block = block->next) {
        /* What is in front of an aligned place must be a block itself, or nothing. */
        uintptr_t start = (uintptr_t)contents(block), place = (start + align - 1) & ~(uintptr_t)(align - 1);
        while (place != start && place - start < LEAST)
            place += align < UNIT ? UNIT : align;
        size_t in_front = place - start;
        if (place < start || in_front > size_of(block) || size_of(block) - in_front < wanted)
            continue;
        unlink_free(block);
        if (in_front) {
            struct block *front = block;
            block = at_offset(front, in_front);
            set_size(block, size_of(front) - in_front, USED);
            set_size(front, in_front, 0);
            link_free(front);
        }
        trim(block, wanted);
        return contents(block);
    }
    return NULL;
}

void *malloc(size_t bytes)
{
    return aligned_alloc(UNIT, bytes);
}

void *calloc(size_t count, size_t bytes)
{
    size_t all;
    void *block = __builtin_mul_overflow(count, bytes, &all) ? NULL : malloc(all);
    return block ? memset(block, 0, all) : NULL;
}

/* The used block whose contents are at `bytes`. */
static struct block *used_block(void *bytes)
{
    struct block *block = of_contents(bytes);
    bool sound = block >= first && block < last && (uintptr_t)block % UNIT == 0 && is_used(block)
                 && size_of(block) <= (size_t)((char *)last - (char *)block) && after(block)->before == size_of(block);
    if (!sound)
        pvkit_panicf("heap: %p is no block that malloc gave, or something wrote around it", bytes);
    return block;
}

void free(void *bytes)
{
    if (!bytes)
        return;
    struct block *block = used_block(bytes), *next = after(block);
    size_t size = size_of(block);
    block->tagged = size; /* no longer used, even where it is swallowed by the block in front: free() may come twice */
    if (!is_used(next)) {
        unlink_free(next);
        size += size_of(next);
    }
    struct block *front = (struct block *)((char *)block - block->before);
    if (block->before && !is_used(front)) {
        unlink_free(front);
        size += size_of(front);
        block = front;
    }
    set_size(block, size, 0);
    link_free(block);
}

void *realloc(void *bytes, size_t wanted)
{
    if (!bytes)
        return malloc(wanted);
    struct block *block = used_block(bytes);
    size_t kept = size_of(block) - HEADER, room = block_bytes(wanted);
    if (room && room <= size_of(block)) {
        trim(block, room);
        return bytes;
    }
    void *moved = malloc(wanted);
    if (moved) {
        memcpy(moved, bytes, kept < wanted ? kept : wanted);
        free(bytes);
    }
    return moved;
}
