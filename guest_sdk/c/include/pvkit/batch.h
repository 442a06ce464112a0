/* Many calls in one exit.
 *
 *     struct pvkit_multicall_entry entries[8];
 *     struct pvkit_batch batch = pvkit_batch_in(entries, 8);
 *     pvkit_batch_call(&batch, PVKIT_CALL_EVENT_SEND, port);      and so on, up to 8
 *     pvkit_batch_run(&batch);                                    results are in entries[i].result */
#ifndef PVKIT_BATCH_H
#define PVKIT_BATCH_H
#include <pvkit_calls.h>
#include <stdbool.h>

struct pvkit_batch {
    struct pvkit_multicall_entry *entries;
    uint32_t room, count;
};

static inline struct pvkit_batch pvkit_batch_in(struct pvkit_multicall_entry *entries, uint32_t room)
{
    return (struct pvkit_batch){entries, room, 0};
}

/* Add a call with up to six arguments. False where there is no room. */
#define pvkit_batch_call(batch, number, ...) pvkit_batch_add((batch), (number), (const uint64_t[6]){__VA_ARGS__})
bool pvkit_batch_add(struct pvkit_batch *batch, uint64_t number, const uint64_t arguments[6]);

/* Make the calls; the batch is empty then. How many were made, or a negated errno where none was. */
int64_t pvkit_batch_run(struct pvkit_batch *batch);
#endif
