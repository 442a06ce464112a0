#include <kvstore.h>
#include <pvkit_abi.h>

int main(void)
{
    uint64_t number = 0;
    if (!kvstore_is_there())
        return 1;
    for (uint64_t count = 0; count < 300; count++)
        if (kvstore_put_number("count", count) < 0)
            return 2;
    if (kvstore_get_number("count", &number) < 0 || number != 299)
        return 3;
    if (kvstore_delete("count") != 0 || kvstore_count() != 0)
        return 4;
    return kvstore_get_number("count", &number) == -PVKIT_ENOENT ? 42 : 5;
}
