/* Bytes and strings. The compiler itself calls the first four, for structures and arrays; it must not make calls of these
 * functions out of the loops that are in them. */
#include <stdint.h>
#include <string.h>
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

/* The engine takes as long for a byte as for eight, and REP a byte at a time: so words, eight in a row. */
typedef uint64_t word __attribute__((aligned(1), may_alias));
enum { WORD = sizeof(word), ROW = 8 * WORD };

/* Ascending, each word read before it is written over: `to` may lie anywhere below `from`, or apart from it. */
static void copy_up(char *to, const char *from, size_t bytes)
{
    for (; bytes >= ROW; bytes -= ROW, to += ROW, from += ROW)
        for (int i = 0; i < ROW; i += WORD)
            *(word *)(to + i) = *(const word *)(from + i);
    for (; bytes >= WORD; bytes -= WORD, to += WORD, from += WORD)
        *(word *)to = *(const word *)from;
    while (bytes--)
        *to++ = *from++;
}

/* Descending: `to` may lie anywhere above `from`. */
static void copy_down(char *to, const char *from, size_t bytes)
{
    for (; bytes >= WORD; bytes -= WORD)
        *(word *)(to + bytes - WORD) = *(const word *)(from + bytes - WORD);
    while (bytes--)
        to[bytes] = from[bytes];
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copy_up(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    if ((uintptr_t)to - (uintptr_t)from >= bytes) /* below `from`, or beyond its end */
        copy_up(to, from, bytes);
    else
        copy_down(to, from, bytes);
    return to;
}

void *memset(void *at, int value, size_t bytes)
{
    char *next = at;
    uint64_t row = (unsigned char)value * 0x0101010101010101u;
    for (; bytes >= ROW; bytes -= ROW, next += ROW)
        for (int i = 0; i < ROW; i += WORD)
            *(word *)(next + i) = row;
    for (; bytes >= WORD; bytes -= WORD, next += WORD)
        *(word *)next = row;
    while (bytes--)
        *next++ = (char)value;
    return at;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *at, int value, size_t bytes)
{
    for (const unsigned char *x = at; bytes; bytes--, x++)
        if (*x == (unsigned char)value)
            return (void *)(uintptr_t)x;
    return NULL;
}

size_t strlen(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return (size_t)(end - text);
}

size_t strnlen(const char *text, size_t most)
{
    size_t length = 0;
    while (length < most && text[length])
        length++;
    return length;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t most)
{
    for (; most; most--, a++, b++)
        if (*a != *b || !*a)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

char *strchr(const char *text, int letter)
{
    for (;; text++) {
        if (*text == (char)letter)
            return (char *)(uintptr_t)text;
        if (!*text)
            return NULL;
    }
}
