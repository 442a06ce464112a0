/* The heap, and the guest's end. */
#ifndef PVKIT_STDLIB_H
#define PVKIT_STDLIB_H
#include <stddef.h>
#define EXIT_SUCCESS 0
#define EXIT_FAILURE 1
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *block, size_t bytes);
void *aligned_alloc(size_t align, size_t bytes);
void free(void *block);
__attribute__((noreturn)) void exit(int status);
__attribute__((noreturn)) void abort(void);
#endif
