/* The guest library's parts that need no guest, compiled for the host under its sanitizers and driven through a pipe.
 * A request is a letter, a length of 4 bytes and so many bytes; an answer a length and so many bytes. The library's
 * standard names have the prefix ours_ here, so that the C library's stand beside them. */
#include "pvkit/pack.h"
#include "pvkit/unpack.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ours_snprintf(char *, size_t, const char *, ...);
void *ours_malloc(size_t), *ours_calloc(size_t, size_t), *ours_realloc(void *, size_t), *ours_aligned_alloc(size_t, size_t);
void ours_free(void *), pvkit_heap_take(void *, size_t);
size_t pvkit_heap_free_bytes(void);
void *ours_memcpy(void *, const void *, size_t), *ours_memmove(void *, const void *, size_t), *ours_memset(void *, int, size_t);
int ours_memcmp(const void *, const void *, size_t);

static jmp_buf gave_up;
static char why[1024];
enum { MOST = 1 << 20, HEAP = 1 << 16, SLOTS = 32 };
static uint8_t request[MOST], answer[MOST];

__attribute__((noreturn)) void pvkit_panicf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    longjmp(gave_up, 1);
}
__attribute__((noreturn, used)) void host_panic(void) /* an assertion of the library failed: the hypercall it makes */
{
    pvkit_panicf("assertion");
}
__asm__(".globl pvkit_hypercall_page\npvkit_hypercall_page: andq $-16, %rsp\ncall host_panic");

static uint8_t memory[HEAP] __attribute__((aligned(4096)));
void pvkit_heap_region(void)
{
    pvkit_heap_take(memory, HEAP);
}

/* size:4 stars:1 string:1 value:8 width:4 precision:4 format text\0 -> results:4+4, ours\0 theirs\0 */
static size_t format(void)
{
    uint32_t size;
    uint64_t value;
    int32_t width, precision, length[2];
    char ours[512], theirs[512];
    memcpy(&size, request, 4);
    memcpy(&value, request + 6, 8);
    memcpy(&width, request + 14, 4);
    memcpy(&precision, request + 18, 4);
    const char *text = (const char *)request + 22, *string = text + strlen(text) + 1;
    uint64_t last = request[5] ? (uint64_t)(uintptr_t)string : value;
    memset(ours, '~', sizeof ours);
    memset(theirs, '~', sizeof theirs);
#define PRINT(function, to) \
    (request[4] == 0 ? function(to, size, text, last) : request[4] == 1 ? function(to, size, text, width, last) \
     : request[4] == 2 ? function(to, size, text, precision, last) : function(to, size, text, width, precision, last))
    length[0] = PRINT(ours_snprintf, ours);
    length[1] = PRINT(snprintf, theirs);
    memcpy(answer, length, 8);
    memcpy(answer + 8, ours, sizeof ours);
    memcpy(answer + 8 + sizeof ours, theirs, sizeof theirs);
    return 8 + sizeof ours + sizeof theirs;
}

/* document -> done:1, the same document packed again */
static size_t repack(size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    memcpy(exact, request, bytes);
    struct pvkit_unpack from = pvkit_unpack_from(exact, bytes);
    struct pvkit_pack to = pvkit_pack_into(answer + 1, MOST - 1);
    struct pvkit_item item;
    while (pvkit_unpack_next(&from, &item))
        switch (item.kind) {
        case PVKIT_NIL: pvkit_pack_nil(&to); break;
        case PVKIT_BOOL: pvkit_pack_bool(&to, item.boolean); break;
        case PVKIT_UINT: pvkit_pack_uint(&to, item.uint); break;
        case PVKIT_INT: pvkit_pack_int(&to, item.sint); break;
        case PVKIT_DOUBLE: pvkit_pack_double(&to, item.real); break;
        case PVKIT_STRING: pvkit_pack_string(&to, item.text.at, item.text.bytes); break;
        case PVKIT_BYTES: pvkit_pack_bytes(&to, item.text.at, item.text.bytes); break;
        case PVKIT_ARRAY: pvkit_pack_array(&to, item.count); break;
        case PVKIT_MAP: pvkit_pack_map(&to, item.count); break;
        }
    answer[0] = pvkit_unpack_done(&from);
    struct pvkit_unpack again = pvkit_unpack_from(exact, bytes);
    if ((pvkit_unpack_skip(&again) && pvkit_unpack_done(&again)) != answer[0] || pvkit_pack_done(&to) < answer[0])
        answer[0] = 2;
    free(exact);
    return 1 + pvkit_pack_size(&to);
}

/* steps of what:1 slot:1 log2 of align:1 unused:1 size:4 -> "" or what is wrong */
static size_t heap_steps(size_t bytes)
{
    static struct { uint8_t *at; uint32_t size; } slots[SLOTS];
    size_t before = pvkit_heap_free_bytes();
    const char *wrong = "";
    for (size_t at = 0; at + 8 <= bytes && !*wrong; at += 8) {
        unsigned what = request[at], slot = request[at + 1] % SLOTS, align = 1u << request[at + 2] % 13;
        uint32_t size, kept = slots[slot].size;
        memcpy(&size, request + at + 4, 4);
        uint8_t *old = slots[slot].at, *got = NULL;
        for (uint32_t i = 0; i < kept && old; i++)
            if (old[i] != (uint8_t)(slot + i))
                wrong = "a block changed";
        if (what == 3 && old) {
            got = ours_realloc(old, size);
            for (uint32_t i = 0; got && i < kept && i < size; i++)
                if (got[i] != (uint8_t)(slot + i))
                    wrong = "realloc lost contents";
            if (!got)
                continue;
        } else {
            ours_free(old);
            got = what == 0 ? NULL : what == 1 ? ours_malloc(size) : what == 2 ? ours_calloc(size, 1) : ours_aligned_alloc(align, size);
            for (uint32_t i = 0; what == 2 && got && i < size; i++)
                if (got[i])
                    wrong = "calloc gave bytes that are not zero";
        }
        slots[slot].at = got;
        slots[slot].size = got ? size : 0;
        if (!got)
            continue;
        if (got < memory || got + size > memory + HEAP)
            wrong = "a block is outside the heap";
        if ((uintptr_t)got % 16 || (what > 3 && (uintptr_t)got % align))
            wrong = "a block is not aligned";
        for (int other = 0; other < SLOTS; other++)
            if (other != (int)slot && slots[other].at && got < slots[other].at + slots[other].size && slots[other].at < got + size)
                wrong = "blocks overlap";
        for (uint32_t i = 0; i < size && !*wrong; i++)
            got[i] = (uint8_t)(slot + i);
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        ours_free(slots[slot].at);
        slots[slot].at = NULL;
        slots[slot].size = 0;
    }
    if (!*wrong && pvkit_heap_free_bytes() != before)
        wrong = "memory was lost";
    strcpy((char *)answer, wrong);
    return strlen(wrong);
}

/* which:1: a free of what is no block, a double free, a write past a block -> why the heap gave up */
static size_t heap_misuse(void)
{
    uint8_t *block = ours_malloc(40), *next = ours_malloc(40);
    if (!setjmp(gave_up)) {
        strcpy(why, "");
        if (request[0] == 0)
            ours_free(block + 8);
        if (request[0] == 1) {
            ours_free(block);
            ours_free(block);
        }
        if (request[0] == 2) {
            uint8_t kept[16];
            memcpy(kept, block + 48, 16);
            memset(block + 40, 0xFF, 16);
            if (!setjmp(gave_up))
                ours_free(block);
            memcpy(block + 48, kept, 16);
        }
    }
    if (request[0] != 1)
        ours_free(block);
    ours_free(next);
    return (size_t)snprintf((char *)answer, sizeof why, "%s", why);
}

/* what:1 to:1 from:1 bytes:1 -> 1 where memory is what the C library makes of it */
static size_t move(void)
{
    static uint8_t ours[512], theirs[512];
    for (int i = 0; i < 512; i++)
        ours[i] = theirs[i] = (uint8_t)(i * 7);
    unsigned what = request[0], to = request[1], from = what ? request[2] : 256u, bytes = request[3];
    void *result = what == 0 ? ours_memcpy(ours + to, ours + from, bytes)
                 : what == 1 ? ours_memmove(ours + to, ours + from, bytes) : ours_memset(ours + to, (int)from, bytes);
    what < 2 ? memmove(theirs + to, theirs + from, bytes) : memset(theirs + to, (int)from, bytes);
    int mine = ours_memcmp(ours + to, ours + from, bytes), real = memcmp(ours + to, ours + from, bytes);
    answer[0] = result == ours + to && !memcmp(ours, theirs, sizeof ours) && (mine > 0) - (mine < 0) == (real > 0) - (real < 0);
    return 1;
}

int main(void)
{
    uint8_t head[5];
    while (fread(head, 5, 1, stdin) == 1) {
        uint32_t bytes, size;
        memcpy(&bytes, head + 1, 4);
        if (bytes > MOST || (bytes && fread(request, bytes, 1, stdin) != 1))
            return 1;
        size = (uint32_t)(head[0] == 'F' ? format() : head[0] == 'U' ? repack(bytes) : head[0] == 'H' ? heap_steps(bytes)
                          : head[0] == 'X' ? heap_misuse() : move());
        fwrite(&size, 4, 1, stdout);
        fwrite(answer, size, 1, stdout);
        fflush(stdout);
    }
    return 0;
}
