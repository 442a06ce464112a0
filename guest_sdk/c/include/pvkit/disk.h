/* A disk: sectors of 512 bytes, read and written through a ring, many requests at a time.
 *
 *     struct pvkit_disk disk;
 *     pvkit_must(pvkit_disk_open(&disk, 0, 64));
 *     pvkit_disk_read(&disk, token, sector, data, sectors);       queued; up to 64 in flight
 *     uint64_t token; int64_t bytes;
 *     while (pvkit_disk_wait(&disk, &token, &bytes) > 0) ...      one finished: its bytes, or a negated errno
 *
 * For one request at a time, pvkit_block_read and pvkit_block_write are an exit each and need no pvkit_disk. */
#ifndef PVKIT_DISK_H
#define PVKIT_DISK_H
#include <pvkit/ring.h>

struct pvkit_disk {
    struct pvkit_queue queue;
    uint32_t number;
    uint64_t sectors;
    bool read_only;
};

/* in_flight: a power of two. 0 or a negated errno: -PVKIT_ENODEV where the machine has no such disk. */
int64_t pvkit_disk_open(struct pvkit_disk *disk, uint32_t number, uint32_t in_flight);
int64_t pvkit_disk_close(struct pvkit_disk *disk);

/* Queue a request of at most PVKIT_BLOCK_MOST bytes; `data` stays the disk's until it is finished. False: no room. */
bool pvkit_disk_read(struct pvkit_disk *disk, uint64_t token, uint64_t sector, void *data, uint32_t sectors);
bool pvkit_disk_write(struct pvkit_disk *disk, uint64_t token, uint64_t sector, const void *data, uint32_t sectors);
bool pvkit_disk_flush(struct pvkit_disk *disk, uint64_t token);

/* 1 and a finished request; 0 where none is in flight; or a negated errno of the ring. */
int64_t pvkit_disk_wait(struct pvkit_disk *disk, uint64_t *token, int64_t *bytes);
#endif
