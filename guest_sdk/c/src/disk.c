/* How does a guest read and write a disk? Block calls, queued in a ring. */
#include <pvkit/disk.h>
#include <pvkit/errors.h>

int64_t pvkit_disk_open(struct pvkit_disk *disk, uint32_t number, uint32_t in_flight)
{
    struct pvkit_block_info info;
    int64_t result = pvkit_block_info(number, &info);
    if (pvkit_failed(result))
        return result;
    disk->number = number;
    disk->sectors = info.disk_bytes / PVKIT_SECTOR_BYTES;
    disk->read_only = info.flags & PVKIT_BLOCK_READ_ONLY;
    return pvkit_queue_open(&disk->queue, in_flight, PVKIT_NO_PORT);
}

int64_t pvkit_disk_close(struct pvkit_disk *disk)
{
    return pvkit_queue_close(&disk->queue);
}

static bool request(struct pvkit_disk *disk, uint64_t token, uint64_t call, uint64_t sector, const void *data, uint32_t sectors)
{
    /* A sector past the end of 64 bits must not come around to one that is there: the monitor refuses the last byte. */
    uint64_t offset = sector > UINT64_MAX / PVKIT_SECTOR_BYTES ? UINT64_MAX : sector * PVKIT_SECTOR_BYTES;
    uint64_t bytes = (uint64_t)sectors * PVKIT_SECTOR_BYTES;
    return pvkit_queue_call(&disk->queue, token, call, disk->number, offset, (uint64_t)(uintptr_t)data, bytes);
}

bool pvkit_disk_read(struct pvkit_disk *disk, uint64_t token, uint64_t sector, void *data, uint32_t sectors)
{
    return request(disk, token, PVKIT_CALL_BLOCK_READ, sector, data, sectors);
}

bool pvkit_disk_write(struct pvkit_disk *disk, uint64_t token, uint64_t sector, const void *data, uint32_t sectors)
{
    return request(disk, token, PVKIT_CALL_BLOCK_WRITE, sector, data, sectors);
}

bool pvkit_disk_flush(struct pvkit_disk *disk, uint64_t token)
{
    return pvkit_queue_call(&disk->queue, token, PVKIT_CALL_BLOCK_FLUSH, disk->number);
}

int64_t pvkit_disk_wait(struct pvkit_disk *disk, uint64_t *token, int64_t *bytes)
{
    struct pvkit_ring_completion done;
    int64_t result = pvkit_queue_wait(&disk->queue, &done);
    if (result > 0) {
        *token = done.token;
        *bytes = (int64_t)done.result;
    }
    return result;
}
