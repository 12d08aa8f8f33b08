/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/disk.h"

#include "visor/cpu/x86.h"

/* Command block registers (ATA/ATAPI-6, 7.1). */
enum { DATA = 0,
       ERROR = 1,
       COUNT = 2,
       LBA_LOW = 3,
       LBA_MID = 4,
       LBA_HIGH = 5,
       DEVICE = 6,
       STATUS = 7,
       COMMAND = 7 };
enum { BUSY = 0x80,
       FAULT = 0x20,
       DATA_REQUEST = 0x08,
       FAILED = 0x01 };
#define DEVICE_LBA 0xe0
#define CONTROL_NO_INTERRUPT 0x02

enum {
	READ_SECTORS = 0x20,
	READ_SECTORS_EXT = 0x24,
	WRITE_SECTORS = 0x30,
	WRITE_SECTORS_EXT = 0x34,
	WRITE_MULTIPLE = 0xc5,
	WRITE_MULTIPLE_EXT = 0x39,
	WRITE_DMA = 0xca,
	WRITE_DMA_EXT = 0x35,
	SET_MULTIPLE_MODE = 0xc6,
	FLUSH_CACHE = 0xe7,
	IDENTIFY_DEVICE = 0xec,
};

#define SECTOR_DWORDS (DISK_SECTOR_BYTES / 4)
#define LBA28_SECTORS (1ull << 28)
#define STATUS_TRIES 100000000u

/* Wait until the drive is not busy; its status, or -1 when it never answers. */
static int wait_ready(const struct disk *disk)
{
	for (unsigned i = 0; i < STATUS_TRIES; i++) {
		uint8_t status = inb(disk->io + STATUS);

		if (!(status & BUSY))
			return status;
		cpu_pause();
	}
	return -1;
}

static bool wait_data(const struct disk *disk)
{
	int status = wait_ready(disk);

	return status >= 0 && status & DATA_REQUEST && !(status & (FAILED | FAULT));
}

static bool wait_done(const struct disk *disk)
{
	int status = wait_ready(disk);

	return status >= 0 && !(status & (FAILED | FAULT | DATA_REQUEST));
}

static void select_drive(const struct disk *disk, unsigned bits)
{
	outb(disk->io + DEVICE, (uint8_t)(DEVICE_LBA | disk->drive << 4 | bits));
	/* The status is valid 400 ns after the selection. */
	for (unsigned i = 0; i < 4; i++)
		inb(disk->control);
}

static bool command(const struct disk *disk, uint64_t sector, unsigned count, uint8_t lba28, uint8_t lba48)
{
	bool wide = sector + count > LBA28_SECTORS;

	if (!count || count > 256 || disk->moving || sector + count > disk->sectors || (wide && !disk->lba48))
		return false;
	select_drive(disk, wide ? 0 : sector >> 24 & 0xf);
	if (!wait_done(disk))
		return false;
	if (wide) {
		outb(disk->io + COUNT, (uint8_t)(count >> 8));
		outb(disk->io + LBA_LOW, (uint8_t)(sector >> 24));
		outb(disk->io + LBA_MID, (uint8_t)(sector >> 32));
		outb(disk->io + LBA_HIGH, (uint8_t)(sector >> 40));
	}
	outb(disk->io + COUNT, (uint8_t)count); /* LBA28: 0 stands for 256 */
	outb(disk->io + LBA_LOW, (uint8_t)sector);
	outb(disk->io + LBA_MID, (uint8_t)(sector >> 8));
	outb(disk->io + LBA_HIGH, (uint8_t)(sector >> 16));
	outb(disk->io + COMMAND, wide ? lba48 : lba28);
	return true;
}

bool disk_read(const struct disk *disk, uint64_t sector, void *to, unsigned count)
{
	uint8_t *at = to;

	if (!command(disk, sector, count, READ_SECTORS, READ_SECTORS_EXT))
		return false;
	for (unsigned i = 0; i < count; i++, at += DISK_SECTOR_BYTES) {
		if (!wait_data(disk))
			return false;
		insd(disk->io + DATA, at, SECTOR_DWORDS);
	}
	return wait_done(disk);
}

static bool write_by_dma(struct disk *disk, uint64_t sector, unsigned count)
{
	if (!command(disk, sector, count, WRITE_DMA, WRITE_DMA_EXT))
		return false;
	disk->moving = true;
	ide_dma_start(disk->master);
	return true;
}

static bool write_by_pio(const struct disk *disk, uint64_t sector, const struct ide_dma_piece *pieces, unsigned count)
{
	uint32_t done = 0; /* bytes of *pieces */

	if (!command(disk, sector, count, disk->block > 1 ? WRITE_MULTIPLE : WRITE_SECTORS,
	             disk->block > 1 ? WRITE_MULTIPLE_EXT : WRITE_SECTORS_EXT))
		return false;
	while (count) {
		unsigned block = disk->block < count ? disk->block : count;

		if (!wait_data(disk))
			return false;
		for (uint32_t left = block * DISK_SECTOR_BYTES, now; left; left -= now) {
			while (done == pieces->bytes)
				pieces++, done = 0;
			now = pieces->bytes - done < left ? pieces->bytes - done : left;
			outsd(disk->io + DATA, (const uint8_t *)pieces->from + done, now / 4);
			done += now;
		}
		count -= block;
	}
	return true;
}

bool disk_write(struct disk *disk, uint64_t sector, const struct ide_dma_piece *pieces, unsigned count)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += pieces[i].bytes;
	if (!bytes || bytes % DISK_SECTOR_BYTES)
		return false;
	if (disk->master && ide_dma_prepare(disk->master, pieces, count))
		return write_by_dma(disk, sector, bytes / DISK_SECTOR_BYTES);
	return write_by_pio(disk, sector, pieces, bytes / DISK_SECTOR_BYTES);
}

bool disk_settle(struct disk *disk)
{
	bool moved = true;

	if (disk->moving) {
		for (unsigned i = 0; i < STATUS_TRIES && ide_dma_busy(disk->master); i++)
			cpu_pause();
		moved = ide_dma_stop(disk->master);
		disk->moving = false;
	}
	return wait_done(disk) && moved;
}

bool disk_busy(const struct disk *disk)
{
	return (disk->moving && ide_dma_busy(disk->master)) || inb(disk->control) & BUSY; /* the alternate status register */
}

bool disk_flush(const struct disk *disk)
{
	select_drive(disk, 0);
	if (!wait_done(disk))
		return false;
	outb(disk->io + COMMAND, FLUSH_CACHE);
	return wait_done(disk);
}

bool disk_recover(const struct disk *disk)
{
	uint16_t id[DISK_SECTOR_BYTES / 2];

	select_drive(disk, 0);
	if (wait_ready(disk) < 0)
		return false;
	outb(disk->io + COMMAND, IDENTIFY_DEVICE);
	if (!wait_data(disk))
		return false;
	insd(disk->io + DATA, id, SECTOR_DWORDS);
	return wait_done(disk);
}

/* IDENTIFY DEVICE words (ATA/ATAPI-6, table 27): 60-61 and 100-103 capacity, 83 bit 10 LBA48. */
static void read_capacity(struct disk *disk, const uint16_t *id)
{
	disk->lba48 = id[83] & 1u << 10;
	disk->sectors = id[60] | (uint64_t)id[61] << 16;
	if (disk->lba48)
		disk->sectors = id[100] | (uint64_t)id[101] << 16 | (uint64_t)id[102] << 32 | (uint64_t)id[103] << 48;
}

/* Move as many sectors for each wait as the drive can: word 47 bits 7:0. */
static void set_block(struct disk *disk, uint8_t most)
{
	disk->block = 1;
	if (most < 2)
		return;
	outb(disk->io + COUNT, (uint8_t)most);
	outb(disk->io + COMMAND, SET_MULTIPLE_MODE);
	if (wait_done(disk))
		disk->block = most;
}

bool disk_open(unsigned position, struct disk *out)
{
	static const uint16_t io[2] = {0x1f0, 0x170}, control[2] = {0x3f6, 0x376};
	uint16_t id[DISK_SECTOR_BYTES / 2];

	*out = (struct disk){.io = io[position / 2], .control = control[position / 2], .drive = position % 2};
	if (inb(out->io + STATUS) == 0xff)
		return false; /* nothing drives the bus */
	outb(out->control, CONTROL_NO_INTERRUPT);
	select_drive(out, 0);
	if (inb(out->io + STATUS) == 0 || wait_ready(out) < 0)
		return false;
	outb(out->io + COMMAND, IDENTIFY_DEVICE);
	if (inb(out->io + STATUS) == 0 || !wait_data(out))
		return false; /* no drive, or a packet device, which aborts the command */
	insd(out->io + DATA, id, SECTOR_DWORDS);
	read_capacity(out, id);
	set_block(out, (uint8_t)id[47]);
	if (id[49] & 1u << 8) /* the drive can DMA */
		out->master = ide_dma_open(position / 2);
	return out->sectors > 1;
}
