/* msgpack out: a document is written into a buffer of the caller's, an item at a time.
 *
 *     struct pvkit_pack pack = pvkit_pack_into(buffer, sizeof buffer);
 *     pvkit_pack_map(&pack, 1);                 a map of one pair follows
 *     pvkit_pack_text(&pack, "answer");
 *     pvkit_pack_int(&pack, 42);
 *     if (!pvkit_pack_done(&pack)) ...          too long, or items are missing or too many
 *
 * Every item takes its shortest form. */
#ifndef PVKIT_PACK_H
#define PVKIT_PACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pvkit_pack {
    uint8_t *start, *at, *end;
    uint64_t open; /* items that are promised by arrays and maps, and the document itself, and not there yet */
    bool failed;
};

struct pvkit_pack pvkit_pack_into(void *buffer, size_t bytes);
void pvkit_pack_nil(struct pvkit_pack *pack);
void pvkit_pack_bool(struct pvkit_pack *pack, bool value);
void pvkit_pack_int(struct pvkit_pack *pack, int64_t value);
void pvkit_pack_uint(struct pvkit_pack *pack, uint64_t value);
void pvkit_pack_double(struct pvkit_pack *pack, double value);
void pvkit_pack_text(struct pvkit_pack *pack, const char *text);
void pvkit_pack_string(struct pvkit_pack *pack, const char *utf8, size_t bytes);
void pvkit_pack_bytes(struct pvkit_pack *pack, const void *data, size_t bytes);
void pvkit_pack_array(struct pvkit_pack *pack, uint32_t items);
void pvkit_pack_map(struct pvkit_pack *pack, uint32_t pairs);

/* Whether one whole document is in the buffer, and its size. */
bool pvkit_pack_done(const struct pvkit_pack *pack);
static inline size_t pvkit_pack_size(const struct pvkit_pack *pack)
{
    return (size_t)(pack->at - pack->start);
}
#endif
