/* Text out. printf writes up to 1024 bytes in one exit. Conversions: d i u o x X p c s %, with flags - 0 + space #, width,
 * precision, * and the lengths hh h l ll j z t. There is no floating point; another conversion is printed as it stands. */
#ifndef PVKIT_STDIO_H
#define PVKIT_STDIO_H
#include <stdarg.h>
#include <stddef.h>
#define PVKIT_FORMAT(text, first) __attribute__((format(printf, text, first)))
int printf(const char *format, ...) PVKIT_FORMAT(1, 2);
int vprintf(const char *format, va_list arguments) PVKIT_FORMAT(1, 0);
int snprintf(char *to, size_t size, const char *format, ...) PVKIT_FORMAT(3, 4);
int vsnprintf(char *to, size_t size, const char *format, va_list arguments) PVKIT_FORMAT(3, 0);
int puts(const char *text);
int putchar(int letter);
#endif
