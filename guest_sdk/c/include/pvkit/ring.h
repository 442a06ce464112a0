/* A ring of calls: many are queued in memory, one exit makes them all, and a busy ring needs none.
 *
 *     struct pvkit_queue queue;
 *     pvkit_must(pvkit_queue_open(&queue, 64, PVKIT_NO_PORT));
 *     pvkit_queue_call(&queue, token, PVKIT_CALL_BLOCK_READ, disk, offset, (uint64_t)data, bytes);     up to 64
 *     struct pvkit_ring_completion done;
 *     while (pvkit_queue_wait(&queue, &done) > 0) ...              done.token, done.result
 *
 * Calls are seen by the monitor from the next flush or wait on, which kicks only where the monitor asks for it. */
#ifndef PVKIT_RING_H
#define PVKIT_RING_H
#include <pvkit_calls.h>
#include <stdbool.h>

struct pvkit_queue {
    volatile struct pvkit_ring *shared;
    struct pvkit_ring_submission *submissions;
    const struct pvkit_ring_completion *completions;
    uint32_t number, entries;
    uint32_t submit_tail, flushed_tail, complete_head; /* run freely, as the shared ones do */
    bool notifies;
};

/* entries: a power of two up to PVKIT_RING_MOST. port: raised by completions while the queue notifies (it does not at
 * first), or PVKIT_NO_PORT. Memory comes from the heap. 0 or a negated errno. */
int64_t pvkit_queue_open(struct pvkit_queue *queue, uint32_t entries, uint32_t port);
int64_t pvkit_queue_close(struct pvkit_queue *queue);

/* Queue a call with up to six arguments. False where `entries` calls are in flight. */
#define pvkit_queue_call(queue, token, number, ...)                                                                    \
    pvkit_queue_add((queue), (token), (number), (const uint64_t[6]){__VA_ARGS__})
bool pvkit_queue_add(struct pvkit_queue *queue, uint64_t token, uint64_t number, const uint64_t arguments[6]);

/* Show the monitor what is queued. 1 where that took a kick, 0 where none was wanted, or a negated errno. */
int64_t pvkit_queue_flush(struct pvkit_queue *queue);

/* A completion that is there already: true, and the completion. */
bool pvkit_queue_take(struct pvkit_queue *queue, struct pvkit_ring_completion *done);

/* Flush, and take a completion, kicking until there is one: 1; 0 where nothing is in flight; or a negated errno. */
int64_t pvkit_queue_wait(struct pvkit_queue *queue, struct pvkit_ring_completion *done);

/* Have the port raised for completions, or not. Whether there is one already, for which it may not be raised. */
bool pvkit_queue_notify(struct pvkit_queue *queue, bool on);

static inline uint32_t pvkit_queue_in_flight(const struct pvkit_queue *queue)
{
    return queue->submit_tail - queue->complete_head;
}
#endif
