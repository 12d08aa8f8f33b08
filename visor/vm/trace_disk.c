/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/trace_disk.h"

#include "visor/host/clock.h"
#include "visor/host/disk.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"

#define STAGE_SECTORS 64u
#define RECORDS_PER_SECTOR (DISK_SECTOR_BYTES / sizeof(struct vmmu_trace_record))
#define STAGE_RECORDS (STAGE_SECTORS * RECORDS_PER_SECTOR)

static struct {
	struct disk disk;
	struct vmmu_trace_ring *const *rings;
	struct vmmu_trace_file_header header;
	uint64_t sector;      /* next to be written */
	uint64_t records, dropped;
	unsigned staged;
	bool open, failed;
} sink;

static struct vmmu_trace_record stage[STAGE_RECORDS];

static bool find_disk(void)
{
	for (unsigned i = 0; i < DISK_POSITIONS; i++) {
		if (disk_open(i, &sink.disk) && disk_read(&sink.disk, 0, &sink.header, 1) &&
		    memcmp(sink.header.magic, VMMU_TRACE_MAGIC, sizeof(sink.header.magic)) == 0)
			return true;
	}
	return false;
}

static bool write_header(bool complete)
{
	sink.header.records = sink.records;
	sink.header.dropped = trace_disk_dropped();
	sink.header.complete = complete;
	return disk_write(&sink.disk, 0, &sink.header, 1) && disk_flush(&sink.disk);
}

bool trace_disk_open(struct vmmu_trace_ring *const rings[TRACE_RINGS], const char *machine,
                     const char **reason)
{
	if (!find_disk()) {
		*reason = "trace=disk, but no ATA disk begins with a trace header";
		return false;
	}
	if (sink.header.version != VMMU_TRACE_VERSION || sink.header.record_size != sizeof(struct vmmu_trace_record)) {
		*reason = "the trace disk was prepared for another version of the trace format";
		return false;
	}
	sink.rings = rings;
	sink.sector = 1;
	sink.header.capacity = (sink.disk.sectors - 1) * DISK_SECTOR_BYTES;
	sink.header.ticks_per_second = clock_tsc_hz();
	snprintf(sink.header.machine, sizeof(sink.header.machine), "%s", machine);
	if (!write_header(false)) {
		*reason = "the trace disk cannot be written";
		return false;
	}
	sink.open = true;
	return true;
}

/* Whole sectors of the stage to disk; the rest moves to its front. */
static void write_stage(void)
{
	unsigned sectors = sink.staged / RECORDS_PER_SECTOR, written = sectors * RECORDS_PER_SECTOR;
	uint64_t room = sink.disk.sectors - sink.sector;

	if (sectors > room)
		sectors = (unsigned)room;
	if (sink.failed)
		sectors = 0;
	else if (sectors && !disk_write(&sink.disk, sink.sector, stage, sectors)) {
		sink.failed = true;
		sectors = 0;
	}
	sink.sector += sectors;
	sink.records += sectors * RECORDS_PER_SECTOR;
	sink.dropped += written - sectors * RECORDS_PER_SECTOR;
	sink.staged -= written;
	memmove(stage, stage + written, sink.staged * sizeof(stage[0]));
}

/* The ring whose next record is the oldest; NULL when all are empty. */
static struct vmmu_trace_ring *oldest(void)
{
	struct vmmu_trace_ring *found = NULL;
	uint64_t time = 0;

	for (unsigned i = 0; i < TRACE_RINGS; i++) {
		struct vmmu_trace_ring *r = sink.rings[i];
		uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
		const struct vmmu_trace_record *record = &r->records[tail & (r->size - 1)];

		if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
			continue;
		if (!found || record->time < time) {
			found = r;
			time = record->time;
		}
	}
	return found;
}

void trace_disk_drain(void)
{
	struct vmmu_trace_ring *r;

	if (!sink.open)
		return;
	while ((r = oldest())) {
		uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

		stage[sink.staged++] = r->records[tail & (r->size - 1)];
		atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
		if (sink.staged == STAGE_RECORDS)
			write_stage();
	}
	write_stage();
}

bool trace_disk_close(void)
{
	unsigned valid;

	trace_disk_drain();
	sink.open = false;
	valid = sink.staged;
	if (valid) {
		/* A record of zeros ends the file; the pad is not counted. */
		memset(stage + valid, 0, (RECORDS_PER_SECTOR - valid) * sizeof(stage[0]));
		sink.staged = RECORDS_PER_SECTOR;
		write_stage();
		if (sink.dropped || sink.failed)
			sink.dropped -= RECORDS_PER_SECTOR - valid;
		else
			sink.records -= RECORDS_PER_SECTOR - valid;
	}
	return write_header(true) && !sink.failed && !sink.dropped;
}

uint64_t trace_disk_records(void)
{
	return sink.records;
}

uint64_t trace_disk_dropped(void)
{
	uint64_t dropped = sink.dropped;

	for (unsigned i = 0; sink.rings && i < TRACE_RINGS; i++)
		dropped += atomic_load_explicit(&sink.rings[i]->dropped, memory_order_relaxed);
	return dropped;
}
