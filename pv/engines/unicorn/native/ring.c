/* A ring of calls in guest memory (abi.py's `ring`): how many calls can be taken from it now, and where they lie.
 *
 * The guest may write any of it at any time. Each index is read once and what was read is judged; where the monitor
 * itself stands, the caller knows: what it wrote into the ring is never read back. */
#include "vcpu.h"

uint64_t pv_ring_size(uint32_t entries)
{
    return sizeof(struct pv_ring) + entries * (uint64_t)(sizeof(struct pv_ring_call) + sizeof(struct pv_ring_completion));
}

/* Calls that wait and whose completions have room. False where an index is impossible: more calls than entries, or more
 * completions taken than were made. */
bool pv_ring_count(const struct pv_ring *ring, uint32_t entries, uint32_t submit_head, uint32_t complete_tail, uint32_t *count)
{
    uint32_t waiting = __atomic_load_n(&ring->submit_tail, __ATOMIC_ACQUIRE) - submit_head;
    uint32_t held = complete_tail - __atomic_load_n(&ring->complete_head, __ATOMIC_ACQUIRE);
    if (waiting > entries || held > entries)
        return false;
    *count = waiting < entries - held ? waiting : entries - held;
    return true;
}

/* Copy the call at index `at` in. */
void pv_ring_read(const struct pv_ring *ring, uint32_t entries, uint32_t at, struct pv_ring_call *call)
{
    const struct pv_ring_call *calls = (const struct pv_ring_call *)(ring + 1);
    memcpy(call, &calls[at & (entries - 1)], sizeof *call);
}

void pv_ring_write(struct pv_ring *ring, uint32_t entries, uint32_t at, uint64_t token, int64_t result)
{
    struct pv_ring_call *calls = (struct pv_ring_call *)(ring + 1);
    struct pv_ring_completion *completions = (struct pv_ring_completion *)(calls + entries);
    completions[at & (entries - 1)] = (struct pv_ring_completion){ token, result };
}

void pv_ring_publish(struct pv_ring *ring, uint32_t submit_head, uint32_t complete_tail)
{
    __atomic_store_n(&ring->submit_head, submit_head, __ATOMIC_RELEASE);
    __atomic_store_n(&ring->complete_tail, complete_tail, __ATOMIC_RELEASE);
}
