/* Page tables, which only the monitor may write. pvkit_map, pvkit_unmap and pvkit_space_* are an exit each; a list of
 * updates is one exit for up to 64 of them, in any space.
 *
 *     struct pvkit_updates updates = {0};
 *     pvkit_updates_map(&updates, space, gva, gpa, pages, PVKIT_MAP_PRESENT | PVKIT_MAP_WRITE);
 *     pvkit_updates_unmap(&updates, 0, other, 1);
 *     pvkit_must(pvkit_updates_make(&updates)); */
#ifndef PVKIT_MEMORY_H
#define PVKIT_MEMORY_H
#include <pvkit_calls.h>
#include <stdbool.h>
#include <stddef.h>

enum { PVKIT_PAGE_BYTES = 4096, PVKIT_UPDATES = 64 };

struct pvkit_updates {
    uint32_t count;
    int64_t failed; /* the first error of an exit that was made to have room, or 0 */
    struct pvkit_page_update entries[PVKIT_UPDATES];
};

void pvkit_updates_map(struct pvkit_updates *updates, uint32_t space, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags);
void pvkit_updates_unmap(struct pvkit_updates *updates, uint32_t space, uint64_t gva, uint64_t pages);

/* Make what is listed; the list is empty then. 0, or the negated errno of the first update that was refused. */
int64_t pvkit_updates_make(struct pvkit_updates *updates);

/* Give the pages of the guest's own that `bytes` at `at` touch other rights: PVKIT_MAP_* flags. 0 or a negated errno. */
int64_t pvkit_protect(void *at, size_t bytes, uint32_t flags);
#endif
