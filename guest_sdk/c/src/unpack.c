/* What does a msgpack document say? One loop over its items, with a bounded stack of what is open. */
#include <pvkit/unpack.h>
#include <string.h>

struct pvkit_unpack pvkit_unpack_from(const void *buffer, size_t bytes)
{
    return (struct pvkit_unpack){.at = buffer, .end = (const uint8_t *)buffer + bytes, .left = {1}};
}

/* `count` bytes, big-endian. Fails where the buffer ends before. */
static uint64_t take(struct pvkit_unpack *from, unsigned count)
{
    uint64_t value = 0;
    if (from->failed || (size_t)(from->end - from->at) < count) {
        from->failed = true;
        return 0;
    }
    while (count--)
        value = value << 8 | *from->at++;
    return value;
}

static void take_text(struct pvkit_unpack *from, struct pvkit_item *item, enum pvkit_kind kind, uint64_t bytes)
{
    item->kind = kind;
    item->text.at = (const char *)from->at;
    item->text.bytes = (uint32_t)bytes;
    if (from->failed || (size_t)(from->end - from->at) < bytes)
        from->failed = true;
    else
        from->at += bytes;
}

static void open(struct pvkit_unpack *from, struct pvkit_item *item, enum pvkit_kind kind, uint64_t count)
{
    item->kind = kind;
    item->count = (uint32_t)count;
    if (from->depth == PVKIT_DEPTH_MOST)
        from->failed = true;
    else
        from->left[++from->depth] = kind == PVKIT_MAP ? 2 * count : count;
}

static void take_double(struct pvkit_unpack *from, struct pvkit_item *item, unsigned bytes)
{
    uint64_t bits = take(from, bytes);
    uint32_t half = (uint32_t)bits;
    float narrow;
    item->kind = PVKIT_DOUBLE;
    if (bytes == 8) {
        memcpy(&item->real, &bits, sizeof item->real);
    } else {
        memcpy(&narrow, &half, sizeof narrow);
        item->real = narrow;
    }
}

static void take_signed(struct pvkit_unpack *from, struct pvkit_item *item, unsigned bytes)
{
    unsigned unused = 64 - 8 * bytes;
    int64_t value = (int64_t)(take(from, bytes) << unused) >> unused;
    item->kind = value < 0 ? PVKIT_INT : PVKIT_UINT;
    item->sint = value;
}

static void take_unsigned(struct pvkit_unpack *from, struct pvkit_item *item, unsigned bytes)
{
    item->uint = take(from, bytes);
    item->kind = PVKIT_UINT;
}

/* An item by its first byte (msgpack specification, "Formats"). The groups' bytes are in order of their width. */
static void take_item(struct pvkit_unpack *from, struct pvkit_item *item)
{
    unsigned first = (unsigned)take(from, 1);
    switch (first) {
    case 0x00 ... 0x7F: *item = (struct pvkit_item){PVKIT_UINT, {.uint = first}}; return;
    case 0x80 ... 0x8F: open(from, item, PVKIT_MAP, first - 0x80); return;
    case 0x90 ... 0x9F: open(from, item, PVKIT_ARRAY, first - 0x90); return;
    case 0xA0 ... 0xBF: take_text(from, item, PVKIT_STRING, first - 0xA0); return;
    case 0xC0: item->kind = PVKIT_NIL; return;
    case 0xC2 ... 0xC3: *item = (struct pvkit_item){PVKIT_BOOL, {.boolean = first == 0xC3}}; return;
    case 0xC4 ... 0xC6: take_text(from, item, PVKIT_BYTES, take(from, 1u << (first - 0xC4))); return;
    case 0xCA ... 0xCB: take_double(from, item, 4u << (first - 0xCA)); return;
    case 0xCC ... 0xCF: take_unsigned(from, item, 1u << (first - 0xCC)); return;
    case 0xD0 ... 0xD3: take_signed(from, item, 1u << (first - 0xD0)); return;
    case 0xD9 ... 0xDB: take_text(from, item, PVKIT_STRING, take(from, 1u << (first - 0xD9))); return;
    case 0xDC ... 0xDD: open(from, item, PVKIT_ARRAY, take(from, 2u << (first - 0xDC))); return;
    case 0xDE ... 0xDF: open(from, item, PVKIT_MAP, take(from, 2u << (first - 0xDE))); return;
    case 0xE0 ... 0xFF: *item = (struct pvkit_item){PVKIT_INT, {.sint = (int8_t)first}}; return;
    default: from->failed = true; /* extension types, and 0xC1, which means nothing */
    }
}

bool pvkit_unpack_next(struct pvkit_unpack *from, struct pvkit_item *item)
{
    if (from->failed || !from->left[from->depth])
        return false;
    from->left[from->depth]--;
    take_item(from, item);
    while (from->depth && !from->left[from->depth])
        from->depth--;
    return !from->failed;
}

bool pvkit_unpack_skip(struct pvkit_unpack *from)
{
    struct pvkit_item item;
    uint64_t wanted = 1;
    while (wanted--) {
        if (!pvkit_unpack_next(from, &item))
            return false;
        if (item.kind == PVKIT_ARRAY || item.kind == PVKIT_MAP)
            wanted += item.kind == PVKIT_MAP ? 2 * (uint64_t)item.count : item.count;
    }
    return true;
}

bool pvkit_unpack_done(const struct pvkit_unpack *from)
{
    return !from->failed && !from->depth && !from->left[0] && from->at == from->end;
}

bool pvkit_item_is(const struct pvkit_item *item, const char *text)
{
    return item->kind == PVKIT_STRING && item->text.bytes == strlen(text) && !memcmp(item->text.at, text, item->text.bytes);
}
