/* SPDX-License-Identifier: BSD-2-Clause */
/* ATA disks on the two legacy channels, by programmed I/O (ATA/ATAPI-6). */
#ifndef VISOR_HOST_DISK_H
#define VISOR_HOST_DISK_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_SECTOR_BYTES 512u
#define DISK_POSITIONS 4 /* primary master, primary slave, secondary master, secondary slave */

struct disk {
	uint16_t io, control;
	uint8_t drive; /* 0 master, 1 slave */
	bool lba48;
	uint8_t block; /* sectors for each data request of a write */
	uint64_t sectors;
};

/* False: there is no ATA disk at that position (a CD-ROM drive is none). */
bool disk_open(unsigned position, struct disk *out);

/*
 * `count` from 1 to 256 sectors inside the disk. False: the drive reports an
 * error, or hangs. A write's own end is seen by the command after it.
 */
bool disk_read(const struct disk *disk, uint64_t sector, void *to, unsigned count);
bool disk_write(const struct disk *disk, uint64_t sector, const void *from, unsigned count);
/* Is it still at work on a write? */
bool disk_busy(const struct disk *disk);
/* What was written is on the medium. */
bool disk_flush(const struct disk *disk);
/* Behind an error: any command that succeeds takes it out of the drive's status, and others can follow. */
bool disk_recover(const struct disk *disk);

#endif
