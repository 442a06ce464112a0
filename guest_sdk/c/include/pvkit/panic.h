/* Giving up: the run ends as "guest panicked", with a message that the host shows. */
#ifndef PVKIT_PANIC_H
#define PVKIT_PANIC_H
#include <pvkit_calls.h>

#ifdef __FILE_NAME__
#define PVKIT_FILE __FILE_NAME__
#else
#define PVKIT_FILE __FILE__
#endif
#define PVKIT_TEXT_OF(x) #x
#define PVKIT_TEXT(x) PVKIT_TEXT_OF(x)
#define PVKIT_HERE PVKIT_FILE ":" PVKIT_TEXT(__LINE__) ": "

/* "main.c:12: x > 0" where `expression` is false. The message is put together by the compiler. */
#define pvkit_assert(expression)                                                                                       \
    ((expression) ? (void)0 : pvkit_panic(PVKIT_HERE #expression, sizeof PVKIT_HERE #expression - 1))

/* A hypercall's result, which must not be an error: "main.c:12: pvkit_event_open(): EINVAL" where it is. */
#define pvkit_must(call) pvkit_must_result((call), PVKIT_HERE #call)
int64_t pvkit_must_result(int64_t result, const char *what);

/* printf's conversions; what is longer than 1023 bytes is cut. */
__attribute__((noreturn, format(printf, 1, 2))) void pvkit_panicf(const char *format, ...);
#endif
