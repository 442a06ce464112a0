/* assert(x) of a guest: pvkit_assert, unless NDEBUG is defined. */
#include <pvkit/panic.h>
#undef assert
#ifdef NDEBUG
#define assert(expression) ((void)0)
#else
#define assert(expression) pvkit_assert(expression)
#endif
#ifndef __cplusplus
#undef static_assert
#define static_assert _Static_assert
#endif
