/* How does a guest change its page tables? */
#include <pvkit/errors.h>
#include <pvkit/memory.h>

static void add(struct pvkit_updates *updates, struct pvkit_page_update update)
{
    if (updates->count == PVKIT_UPDATES)
        updates->failed = pvkit_updates_make(updates);
    updates->entries[updates->count++] = update;
}

void pvkit_updates_map(struct pvkit_updates *updates, uint32_t space, uint64_t gva, uint64_t gpa, uint64_t pages, uint32_t flags)
{
    add(updates, (struct pvkit_page_update){space, flags | PVKIT_MAP_PRESENT, gva, gpa, pages});
}

void pvkit_updates_unmap(struct pvkit_updates *updates, uint32_t space, uint64_t gva, uint64_t pages)
{
    add(updates, (struct pvkit_page_update){space, 0, gva, 0, pages});
}

int64_t pvkit_updates_make(struct pvkit_updates *updates)
{
    int64_t failed = updates->failed, count = updates->count;
    updates->failed = updates->count = 0;
    if (!count)
        return failed;
    int64_t done = pvkit_page_update(updates->entries, (uint64_t)count);
    if (!pvkit_failed(done) && done < count) /* stopped at the first that it refuses: why, it says where that comes first */
        done = pvkit_page_update(&updates->entries[done], 1);
    return !failed && pvkit_failed(done) ? done : failed;
}

int64_t pvkit_protect(void *at, size_t bytes, uint32_t flags)
{
    if (!bytes)
        return 0;
    uint64_t first = (uint64_t)(uintptr_t)at / PVKIT_PAGE_BYTES * PVKIT_PAGE_BYTES;
    uint64_t end = ((uint64_t)(uintptr_t)at + bytes + PVKIT_PAGE_BYTES - 1) / PVKIT_PAGE_BYTES * PVKIT_PAGE_BYTES;
    int64_t mapped = pvkit_map(first, first, (end - first) / PVKIT_PAGE_BYTES, flags);
    return pvkit_failed(mapped) ? mapped : 0;
}
