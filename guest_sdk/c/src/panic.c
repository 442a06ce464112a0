/* How does a guest give up? */
#include <pvkit/errors.h>
#include <pvkit/panic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pvkit_panicf(const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    pvkit_panic(message, strlen(message));
}

int64_t pvkit_must_result(int64_t result, const char *what)
{
    if (pvkit_failed(result))
        pvkit_panicf("%s: %s", what, pvkit_error_name(result));
    return result;
}

void exit(int status)
{
    pvkit_exit((uint64_t)(unsigned)status);
}

void abort(void)
{
    pvkit_panicf("abort()");
}
