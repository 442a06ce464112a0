/* How are many calls made in one exit? */
#include <pvkit/batch.h>
#include <string.h>

bool pvkit_batch_add(struct pvkit_batch *batch, uint64_t number, const uint64_t arguments[6])
{
    if (batch->count == batch->room)
        return false;
    struct pvkit_multicall_entry *entry = &batch->entries[batch->count++];
    entry->number = number;
    memcpy(entry->arguments, arguments, sizeof entry->arguments);
    return true;
}

int64_t pvkit_batch_run(struct pvkit_batch *batch)
{
    uint32_t count = batch->count;
    batch->count = 0;
    return pvkit_multicall(batch->entries, count);
}
