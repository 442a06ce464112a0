/* How does a value become msgpack? The format's table of first bytes (msgpack specification, "Formats"). */
#include <pvkit/pack.h>
#include <string.h>

enum { NIL = 0xC0, FALSE = 0xC2, BIN8 = 0xC4, FLOAT64 = 0xCB, UINT8 = 0xCC, INT8 = 0xD0, STR8 = 0xD9, ARRAY16 = 0xDC, MAP16 = 0xDE,
       FIXMAP = 0x80, FIXARRAY = 0x90, FIXSTR = 0xA0 };

struct pvkit_pack pvkit_pack_into(void *buffer, size_t bytes)
{
    return (struct pvkit_pack){buffer, buffer, (uint8_t *)buffer + bytes, 1, false};
}

/* An item begins: it fills a place that was promised. */
static void begin(struct pvkit_pack *pack)
{
    if (pack->open)
        pack->open--;
    else
        pack->failed = true;
}

static void put(struct pvkit_pack *pack, const void *data, size_t bytes)
{
    if (pack->failed || (size_t)(pack->end - pack->at) < bytes) {
        pack->failed = true;
        return;
    }
    memcpy(pack->at, data, bytes);
    pack->at += bytes;
}

/* A first byte, and `value` big-endian in 1 << `log2` bytes behind it. */
static void put_value(struct pvkit_pack *pack, unsigned first, uint64_t value, unsigned log2)
{
    uint8_t bytes[9] = {(uint8_t)first};
    unsigned count = 1u << log2;
    for (unsigned i = 0; i < count; i++)
        bytes[count - i] = (uint8_t)(value >> 8 * i);
    put(pack, bytes, count + 1);
}

static void put_byte(struct pvkit_pack *pack, unsigned byte)
{
    uint8_t one = (uint8_t)byte;
    put(pack, &one, 1);
}

/* log2 of the bytes that hold `value`: 0 to 3. */
static unsigned width(uint64_t value)
{
    return value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
}

void pvkit_pack_nil(struct pvkit_pack *pack)
{
    begin(pack);
    put_byte(pack, NIL);
}

void pvkit_pack_bool(struct pvkit_pack *pack, bool value)
{
    begin(pack);
    put_byte(pack, FALSE + value);
}

void pvkit_pack_uint(struct pvkit_pack *pack, uint64_t value)
{
    begin(pack);
    if (value < 128)
        put_byte(pack, (unsigned)value);
    else
        put_value(pack, UINT8 + width(value), value, width(value));
}

void pvkit_pack_int(struct pvkit_pack *pack, int64_t value)
{
    if (value >= 0) {
        pvkit_pack_uint(pack, (uint64_t)value);
        return;
    }
    begin(pack);
    unsigned log2 = value >= INT8_MIN ? 0 : value >= INT16_MIN ? 1 : value >= INT32_MIN ? 2 : 3;
    if (value >= -32)
        put_byte(pack, (unsigned)value & 0xFF);
    else
        put_value(pack, INT8 + log2, (uint64_t)value, log2);
}

void pvkit_pack_double(struct pvkit_pack *pack, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    begin(pack);
    put_value(pack, FLOAT64, bits, 3);
}

void pvkit_pack_text(struct pvkit_pack *pack, const char *text)
{
    pvkit_pack_string(pack, text, strlen(text));
}

void pvkit_pack_string(struct pvkit_pack *pack, const char *utf8, size_t bytes)
{
    begin(pack);
    if (bytes < 32)
        put_byte(pack, FIXSTR + (unsigned)bytes);
    else if (bytes <= UINT32_MAX)
        put_value(pack, STR8 + width(bytes), bytes, width(bytes));
    else
        pack->failed = true;
    put(pack, utf8, bytes);
}

void pvkit_pack_bytes(struct pvkit_pack *pack, const void *data, size_t bytes)
{
    begin(pack);
    if (bytes <= UINT32_MAX)
        put_value(pack, BIN8 + width(bytes), bytes, width(bytes));
    else
        pack->failed = true;
    put(pack, data, bytes);
}

/* An array's or a map's head: in the first byte below 16, else in two or four bytes. */
static void put_head(struct pvkit_pack *pack, unsigned fixed, unsigned wide, uint32_t count)
{
    if (count < 16)
        put_byte(pack, fixed + count);
    else
        put_value(pack, count <= UINT16_MAX ? wide : wide + 1, count, count <= UINT16_MAX ? 1 : 2);
}

void pvkit_pack_array(struct pvkit_pack *pack, uint32_t items)
{
    begin(pack);
    pack->open += items;
    put_head(pack, FIXARRAY, ARRAY16, items);
}

void pvkit_pack_map(struct pvkit_pack *pack, uint32_t pairs)
{
    begin(pack);
    pack->open += 2 * (uint64_t)pairs;
    put_head(pack, FIXMAP, MAP16, pairs);
}

bool pvkit_pack_done(const struct pvkit_pack *pack)
{
    return !pack->failed && !pack->open;
}
