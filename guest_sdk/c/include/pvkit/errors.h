/* What is -22 called? */
#ifndef PVKIT_ERRORS_H
#define PVKIT_ERRORS_H
#include <pvkit_abi.h>
#include <stdbool.h>

static inline bool pvkit_failed(int64_t result)
{
    return result < 0 && result >= -4095;
}

/* "EINVAL" for -PVKIT_EINVAL, "no error" for what is none, "an unknown error" otherwise. */
const char *pvkit_error_name(int64_t result);
#endif
