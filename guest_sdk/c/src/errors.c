/* Which name does a hypercall's error have? */
#include <pvkit/errors.h>

const char *pvkit_error_name(int64_t result)
{
    switch (-result) {
#define NAMED(name) case PVKIT_##name: return #name;
        PVKIT_ERRNO_LIST(NAMED)
    default: return pvkit_failed(result) ? "an unknown error" : "no error";
    }
}
