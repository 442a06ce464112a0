/* How are calls queued and their results taken? Each side writes its own line of indices and judges the other's. */
#include <pvkit/errors.h>
#include <pvkit/panic.h>
#include <pvkit/ring.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

/* x86 keeps stores in order and loads in order; the compiler has to be told. */
static void barrier(void)
{
    __asm__ volatile("" : : : "memory");
}

/* Whether the step of an index from `old` to `new` goes past `at`. */
static bool passes(uint32_t at, uint32_t old, uint32_t new)
{
    return new - at - 1 < new - old;
}

int64_t pvkit_queue_open(struct pvkit_queue *queue, uint32_t entries, uint32_t port)
{
    if (!entries || entries > PVKIT_RING_MOST || entries & (entries - 1))
        return -PVKIT_EINVAL;
    size_t submissions = entries * sizeof(struct pvkit_ring_submission);
    size_t bytes = sizeof(struct pvkit_ring) + submissions + entries * sizeof(struct pvkit_ring_completion);
    char *memory = aligned_alloc(PAGE_BYTES, bytes);
    if (!memory)
        return -PVKIT_ENOMEM;
    memset(memory, 0, bytes);
    char *first = memory + sizeof(struct pvkit_ring);
    *queue = (struct pvkit_queue){.shared = (volatile struct pvkit_ring *)memory,
                                  .submissions = (struct pvkit_ring_submission *)first,
                                  .completions = (const struct pvkit_ring_completion *)(first + submissions),
                                  .entries = entries};
    pvkit_queue_notify(queue, false);
    int64_t number = pvkit_ring_open(memory, entries, port);
    if (pvkit_failed(number)) {
        free(memory);
        return number;
    }
    queue->number = (uint32_t)number;
    return 0;
}

int64_t pvkit_queue_close(struct pvkit_queue *queue)
{
    int64_t result = pvkit_ring_close(queue->number);
    if (pvkit_failed(result) && !queue->shared->broken)
        return result; /* the monitor may still use the memory */
    free((void *)queue->shared);
    queue->shared = NULL;
    return 0;
}

bool pvkit_queue_add(struct pvkit_queue *queue, uint64_t token, uint64_t number, const uint64_t arguments[6])
{
    if (pvkit_queue_in_flight(queue) == queue->entries)
        return false;
    struct pvkit_ring_submission *call = &queue->submissions[queue->submit_tail % queue->entries];
    call->number = number;
    call->token = token;
    memcpy(call->arguments, arguments, sizeof call->arguments);
    queue->submit_tail++;
    return true;
}

static int64_t kick(struct pvkit_queue *queue)
{
    int64_t result = pvkit_ring_kick(queue->number);
    return pvkit_failed(result) ? result : 1;
}

int64_t pvkit_queue_flush(struct pvkit_queue *queue)
{
    uint32_t old = queue->flushed_tail;
    barrier();
    queue->shared->submit_tail = queue->flushed_tail = queue->submit_tail;
    if (old == queue->submit_tail || !passes(queue->shared->kick_at, old, queue->submit_tail))
        return 0;
    return kick(queue);
}

bool pvkit_queue_take(struct pvkit_queue *queue, struct pvkit_ring_completion *done)
{
    uint32_t ready = queue->shared->complete_tail - queue->complete_head;
    pvkit_assert(ready <= pvkit_queue_in_flight(queue)); /* else the monitor completed what nobody asked for */
    if (!ready)
        return false;
    barrier();
    *done = queue->completions[queue->complete_head % queue->entries];
    barrier();
    queue->shared->complete_head = ++queue->complete_head;
    pvkit_queue_notify(queue, queue->notifies);
    return true;
}

int64_t pvkit_queue_wait(struct pvkit_queue *queue, struct pvkit_ring_completion *done)
{
    int64_t result = pvkit_queue_flush(queue);
    while (!pvkit_failed(result)) {
        if (pvkit_queue_take(queue, done))
            return 1;
        if (!pvkit_queue_in_flight(queue))
            return 0;
        result = kick(queue);
    }
    return result;
}

bool pvkit_queue_notify(struct pvkit_queue *queue, bool on)
{
    queue->notifies = on;
    /* Past the next completion; or past the one before, which no step passes until the indices have gone all around. */
    queue->shared->notify_at = queue->complete_head - !on;
    barrier();
    return queue->shared->complete_tail != queue->complete_head;
}
