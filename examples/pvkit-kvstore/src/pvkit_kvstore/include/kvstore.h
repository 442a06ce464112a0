/* The key-value store, for guests in C. `pvkit build` finds this header and kvstore.c by itself.
 * Every function returns a negated errno where it fails: -PVKIT_ENOENT, -PVKIT_ENOSPC, -PVKIT_EROFS ... */
#ifndef KVSTORE_H
#define KVSTORE_H

#include <stddef.h>
#include <stdint.h>

/* Keys are NUL-terminated text; documents are msgpack. */
int64_t kvstore_put(const char *key, const void *document, size_t document_bytes);
int64_t kvstore_get(const char *key, void *document, size_t capacity); /* bytes of the document */
int64_t kvstore_delete(const char *key);
int64_t kvstore_count(void);

/* A document that is one whole number; -PVKIT_EINVAL where it is something else. */
int64_t kvstore_put_number(const char *key, uint64_t number);
int64_t kvstore_get_number(const char *key, uint64_t *number);

/* Whether this machine has the store: ask before the first call. */
int kvstore_is_there(void);

#endif
