/* msgpack in: a document is read an item at a time from a buffer, which must stay as it is: texts point into it.
 *
 *     struct pvkit_unpack from = pvkit_unpack_from(buffer, bytes);
 *     struct pvkit_item item;
 *     while (pvkit_unpack_next(&from, &item)) ...   item.kind says which member to read
 *     if (!pvkit_unpack_done(&from)) ...            malformed, cut off, too deep, or bytes are left over
 *
 * Items of an array and pairs of a map follow their head. Nothing outside the buffer is read whatever it holds, and
 * nothing recurses; extension types are refused, as the monitor does. */
#ifndef PVKIT_UNPACK_H
#define PVKIT_UNPACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PVKIT_DEPTH_MOST = 32 };

enum pvkit_kind { PVKIT_NIL, PVKIT_BOOL, PVKIT_UINT, PVKIT_INT, PVKIT_DOUBLE, PVKIT_STRING, PVKIT_BYTES, PVKIT_ARRAY, PVKIT_MAP };

struct pvkit_item {
    enum pvkit_kind kind; /* PVKIT_INT is negative; what is not is PVKIT_UINT */
    union {
        bool boolean;
        uint64_t uint;
        int64_t sint;
        double real;
        uint32_t count; /* items of an array, pairs of a map */
        struct {
            const char *at;
            uint32_t bytes; /* no NUL ends it; a string is meant to be UTF-8, which is not checked */
        } text;
    };
};

struct pvkit_unpack {
    const uint8_t *at, *end;
    bool failed;
    unsigned depth;                        /* arrays and maps that are open */
    uint64_t left[PVKIT_DEPTH_MOST + 1];   /* items that each still holds; [0] is the document */
};

struct pvkit_unpack pvkit_unpack_from(const void *buffer, size_t bytes);

/* The next item. False at the document's end and at the first byte that makes no sense: pvkit_unpack_done tells. */
bool pvkit_unpack_next(struct pvkit_unpack *from, struct pvkit_item *item);

/* Pass over the next item with all that is in it. */
bool pvkit_unpack_skip(struct pvkit_unpack *from);

/* Whether the whole buffer was one well-formed document, read to its end. */
bool pvkit_unpack_done(const struct pvkit_unpack *from);
bool pvkit_item_is(const struct pvkit_item *item, const char *text);
#endif
