/* Which memory may malloc use? All behind the guest's image that the machine has. */
#include <pvkit/heap.h>
#include <pvkit/panic.h>
#include <stdint.h>

void pvkit_heap_region(void)
{
    int64_t end = pvkit_must(pvkit_memory_size());
    pvkit_heap_take(pvkit_image_end, (uintptr_t)end - (uintptr_t)pvkit_image_end);
}
