/* One lookup: (reason, direction, key) to the entry that is counted and the row that answers.
 *
 * Entries are made on a key's first exit, from the most exact row. Their number is bounded: once a guest has asked for
 * very many keys, new ones are counted in one entry a row, under the row's first key. */
#include "vcpu.h"

enum { RESERVED = 1024, LAST = 128 }; /* kept for those, and of them for the reasons' defaults */
static uint32_t slot_of(uint64_t tag) { return (uint32_t)(tag * 0x9e3779b97f4a7c15ull >> 51) & (PV_INDEX - 1); }

const struct pv_row *pv_row_for(struct pv_vcpu *c, uint32_t reason, int write, int64_t key)
{
    const struct pv_row *otherwise = NULL;
    for (uint32_t i = 0; i < c->row_count; i++) {
        const struct pv_row *row = &c->rows[i];
        if (row->reason != reason || (row->shape == PV_SHAPE_READ && write) || (row->shape == PV_SHAPE_WRITE && !write))
            continue;
        if (row->first == -1)
            otherwise = row;
        else if (key >= row->first && key <= row->last)
            return row;
    }
    return otherwise;
}

struct pv_entry *pv_entry_for(struct pv_vcpu *c, uint32_t reason, int write, int64_t key)
{
    uint64_t tag = pv_tag(reason, write, key);
    for (uint32_t slot = slot_of(tag);; slot = (slot + 1) & (PV_INDEX - 1)) {
        uint32_t at = c->index[slot];
        if (at && c->entries[at - 1].tag == tag)
            return &c->entries[at - 1];
        if (at)
            continue;
        const struct pv_row *row = pv_row_for(c, reason, write, key);
        int64_t shared = row && c->entry_count < PV_ENTRIES - LAST ? row->first : -1;
        if (c->entry_count >= PV_ENTRIES - RESERVED && key != shared && key != -1)
            return pv_entry_for(c, reason, write, shared);
        struct pv_entry *entry = &c->entries[c->entry_count++];
        *entry = (struct pv_entry){ .tag = tag, .row = row };
        c->index[slot] = (uint16_t)c->entry_count;
        return entry;
    }
}

/* Bucket of a latency: thresholds are 2**(i/4) ns. */
void pv_histogram_add(struct pv_histogram *h, uint64_t ns)
{
    static const double quarter[4] = { 1.0, 1.189207115002721, 1.414213562373095, 1.681792830507429 };
    uint64_t value = ns ? ns : 1;
    int power = 63 - __builtin_clzll(value), part = 3;
    double scaled = (double)value / (double)(1ull << power);
    while (part && scaled < quarter[part])
        part--;
    int bucket = power * 4 + part;
    h->buckets[bucket < PV_BUCKETS ? bucket : PV_BUCKETS - 1]++;
    h->min_ns = !h->count || ns < h->min_ns ? ns : h->min_ns;
    h->max_ns = ns > h->max_ns ? ns : h->max_ns;
    h->total_ns += ns;
    h->count++;
}

/* The entry of a tag that was counted before; its row is found anew. */
struct pv_entry *pv_entry_again(struct pv_vcpu *c, uint64_t tag)
{
    uint32_t slot = slot_of(tag);
    while (c->index[slot] && c->entries[c->index[slot] - 1].tag != tag)
        slot = (slot + 1) & (PV_INDEX - 1);
    if (!c->index[slot]) {
        c->entries[c->entry_count] = (struct pv_entry){ .tag = tag, .row = pv_row_for(c, pv_tag_reason(tag), pv_tag_write(tag), pv_tag_key(tag)) };
        c->index[slot] = (uint16_t)++c->entry_count;
    }
    return &c->entries[c->index[slot] - 1];
}
