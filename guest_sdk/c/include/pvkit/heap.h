/* The memory behind malloc. The first malloc takes all that lies behind the guest's image; a guest that wants some of it
 * for itself calls pvkit_heap_take before. */
#ifndef PVKIT_HEAP_H
#define PVKIT_HEAP_H
#include <stddef.h>

/* Have malloc use `bytes` at `at`, once; it must be 64 bytes or more, and nobody else's. */
void pvkit_heap_take(void *at, size_t bytes);
size_t pvkit_heap_free_bytes(void);

/* Of the image: pvkit_image_end is the first page that the guest does not use. */
extern char pvkit_image_end[], pvkit_stack[], pvkit_stack_top[];
#endif
