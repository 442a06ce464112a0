/* How does a C guest reach the store? By the generated functions of pvkit_calls.h, with lengths and msgpack added. */
#include <pvkit_calls.h>
#include <string.h>

#include "kvstore.h"

#define NUMBER_BYTES 9 /* 0xcf and 8 bytes, big-endian */

int kvstore_is_there(void)
{
    int64_t features = pvkit_abi_features();
    return features >= 0 && (features & PVKIT_FEATURE_KVSTORE) != 0;
}

int64_t kvstore_put(const char *key, const void *document, size_t document_bytes)
{
    return pvkit_kv_put(key, strlen(key), document, document_bytes);
}

int64_t kvstore_get(const char *key, void *document, size_t capacity)
{
    return pvkit_kv_get(key, strlen(key), document, capacity);
}

int64_t kvstore_delete(const char *key)
{
    return pvkit_kv_delete(key, strlen(key));
}

int64_t kvstore_count(void)
{
    return pvkit_kv_count();
}

int64_t kvstore_put_number(const char *key, uint64_t number)
{
    uint8_t document[NUMBER_BYTES] = {0xcf};
    for (int index = 8; index > 0; index--, number >>= 8)
        document[index] = (uint8_t)number;
    return kvstore_put(key, document, sizeof document);
}

int64_t kvstore_get_number(const char *key, uint64_t *number)
{
    uint8_t document[NUMBER_BYTES];
    int64_t bytes = kvstore_get(key, document, sizeof document);
    if (bytes < 0)
        return bytes;
    if (document[0] < 0x80) { /* the number itself */
        *number = document[0];
        return 0;
    }
    if (document[0] < 0xcc || document[0] > 0xcf) /* 0xcc to 0xcf: 1, 2, 4 or 8 bytes follow */
        return -PVKIT_EINVAL;
    *number = 0;
    for (int index = 1; index < bytes; index++)
        *number = *number << 8 | document[index];
    return 0;
}
