/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA disks on the two legacy channels (ATA/ATAPI-6). They are read by programmed I/O, and written
 * by DMA where there is a bus master (host/ide_dma.h).
 */
#ifndef VISOR_HOST_DISK_H
#define VISOR_HOST_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/host/ide_dma.h"

#define DISK_SECTOR_BYTES 512u
#define DISK_POSITIONS 4 /* primary master, primary slave, secondary master, secondary slave */

struct disk {
	uint16_t io, control;
	uint8_t drive; /* 0 master, 1 slave */
	bool lba48;
	uint8_t block;   /* sectors for each data request of a write */
	uint16_t master; /* of its channel; 0: no DMA */
	bool moving;     /* the bus master is at work, or has not been stopped since */
	uint64_t sectors;
};

/* False: there is no ATA disk at that position (a CD-ROM drive is none). */
bool disk_open(unsigned position, struct disk *out);

/* `count` from 1 to 256 sectors inside the disk. False: the drive reports an error, or hangs. */
bool disk_read(const struct disk *disk, uint64_t sector, void *to, unsigned count);
/*
 * Begin to write: what lies in `pieces`, each a multiple of four bytes and all together 1 to 256
 * sectors. It stays where it is, unchanged, until disk_settle, which comes before the next command.
 */
bool disk_write(struct disk *disk, uint64_t sector, const struct ide_dma_piece *pieces, unsigned count);
/* Wait for the end of the write. False: it failed. */
bool disk_settle(struct disk *disk);
/* Is it still at work on a write? */
bool disk_busy(const struct disk *disk);
/* What was written is on the medium. */
bool disk_flush(const struct disk *disk);
/* Behind an error: any command that succeeds takes it out of the drive's status, and others can follow. */
bool disk_recover(const struct disk *disk);

#endif
