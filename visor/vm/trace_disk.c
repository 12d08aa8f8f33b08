/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/trace_disk.h"

#include "visor/host/clock.h"
#include "visor/host/disk.h"
#include "visor/lib/crc32c.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"

#define RECORDS_PER_SECTOR ((uint32_t)(DISK_SECTOR_BYTES / sizeof(struct vmmu_trace_record)))

/* A block whose checksum is wrong is lost as a whole: 64 KiB. One write has no more. */
#define RECORDS_PER_CHECKSUM 1024u

/* A write under way. What it takes from a ring is the ring's until its end has been seen. */
struct flight {
	unsigned stage; /* which one it takes first, ... */
	uint32_t staged, taken;
	struct vmmu_trace_ring *ring; /* ... and where the records behind these are: the ring's oldest */
	bool open;
};

static struct {
	struct disk disk;
	struct vmmu_trace_ring *const *rings;
	struct vmmu_trace_file_header header;
	uint64_t sector; /* next to be written */
	uint64_t records, dropped;
	unsigned stage;     /* the one that is filled; the other one may be on its way */
	uint32_t staged;    /* records in it, which wait for their sector to fill */
	uint32_t since;     /* records since the last checksum ... */
	uint32_t crc;       /* ... and theirs */
	uint32_t checksums; /* records of that kind, their stream's next number */
	uint64_t time;      /* of the record that was taken last */
	struct flight flight;
	bool open, failed;
} sink;

static struct vmmu_trace_record stages[2][RECORDS_PER_SECTOR];

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
	sink.header.crc = 0;
	sink.header.crc = vmmu_trace_crc(0, &sink.header, sizeof(sink.header));
	return disk_write(&sink.disk, 0, &(struct ide_dma_piece){&sink.header, sizeof(sink.header)}, 1) &&
	       disk_settle(&sink.disk) && disk_flush(&sink.disk);
}

bool trace_disk_open(struct vmmu_trace_ring *const rings[TRACE_RINGS], const char *machine,
                     const char **reason)
{
	memset(&sink, 0, sizeof(sink));
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
	/* Whoever made the file may know better what the machine is. */
	if (!sink.header.machine[0])
		if (!sink.header.machine[0])
			snprintf(sink.header.machine, sizeof(sink.header.machine), "%s", machine);
	if (!write_header(false)) {
		*reason = "the trace disk cannot be written";
		return false;
	}
	sink.open = true;
	return true;
}

/* What the loss of records is: all of their numbers. Checksums are the file's, and not missed. */
static uint64_t lost_with(const struct vmmu_trace_record *records, uint32_t n)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < n; i++)
		if (records[i].event != VMMU_TRACE_NONE && records[i].event != VMMU_TRACE_CHECKSUM)
			lost += vmmu_trace_numbers(&records[i]);
	return lost;
}

/* Wait for the end of the write under way, and see what has become of it. */
static void land(void)
{
	struct flight *f = &sink.flight;

	if (!f->open)
		return;
	f->open = false;
	if (disk_settle(&sink.disk)) {
		sink.records += f->staged + f->taken;
	} else {
		sink.failed = true;
		sink.dropped += lost_with(stages[f->stage], f->staged);
		if (f->taken)
			sink.dropped += lost_with(vmmu_trace_ring_at(f->ring, 0), f->taken);
	}
	if (f->taken)
		vmmu_trace_ring_take(f->ring, f->taken);
}

/*
 * The stage and as many of the `n` records at the ring's front as make whole sectors with it
 * go to the disk; returns how many. What finds no place there is counted. No write is under way.
 */
static uint32_t write_sectors(struct vmmu_trace_ring *r, uint32_t n)
{
	const struct vmmu_trace_record *records = n ? vmmu_trace_ring_at(r, 0) : NULL;
	uint32_t sectors = (sink.staged + n) / RECORDS_PER_SECTOR, taken = sectors * RECORDS_PER_SECTOR - sink.staged;
	uint64_t room = sink.failed ? 0 : sink.disk.sectors - sink.sector;
	uint32_t written = sectors < room ? sectors : (uint32_t)room, fits = written ? written * RECORDS_PER_SECTOR - sink.staged : 0;
	struct flight f = {.stage = sink.stage, .staged = sink.staged, .taken = fits, .ring = r, .open = true};
	const struct ide_dma_piece pieces[] = {
		{stages[f.stage], f.staged * sizeof(*records)},
		{records, fits * sizeof(*records)},
	};

	if (written && !disk_write(&sink.disk, sink.sector, f.staged ? pieces : pieces + 1, !!f.staged + !!fits)) {
		sink.failed = true;
		written = fits = 0;
	}
	if (written) {
		sink.flight = f;
		sink.sector += written;
	} else {
		sink.dropped += lost_with(stages[f.stage], f.staged);
	}
	if (taken > fits) {
		sink.dropped += lost_with(records + fits, taken - fits);
		land(); /* the lost ones stand behind those that are written */
		vmmu_trace_ring_take(r, taken - fits);
	}
	sink.stage ^= 1;
	sink.staged = 0;
	return taken;
}

static const struct vmmu_trace_record *first(const struct vmmu_trace_ring *r)
{
	return vmmu_trace_ring_at(r, 0);
}

/* The ring whose next record is the oldest; NULL when all are empty. *until: the next one's time. */
static struct vmmu_trace_ring *oldest(uint64_t *until)
{
	struct vmmu_trace_ring *found = NULL;

	*until = UINT64_MAX;
	for (unsigned i = 0; i < TRACE_RINGS; i++) {
		struct vmmu_trace_ring *r = sink.rings[i];
		uint64_t time;

		if (!vmmu_trace_ring_waiting(r))
			continue;
		time = first(r)->time;
		if (!found || time < first(found)->time) {
			*until = found ? first(found)->time : *until;
			found = r;
		} else if (time < *until) {
			*until = time;
		}
	}
	return found;
}

/* How many records can be taken in one piece before another ring's turn comes. */
static uint32_t run_length(const struct vmmu_trace_ring *r, uint64_t until)
{
	uint32_t n = vmmu_trace_ring_waiting(r), to_end = r->size - (uint32_t)(first(r) - r->records), run;

	n = n < to_end ? n : to_end;
	n = n < RECORDS_PER_CHECKSUM ? n : RECORDS_PER_CHECKSUM;
	if (until == UINT64_MAX)
		return n;
	for (run = 1; run < n && first(r)[run].time <= until; run++)
		;
	return run;
}

/* Take records of the ring's front, up to `n`; returns how many. Whole sectors go out as they stand. */
static uint32_t take(struct vmmu_trace_ring *r, uint32_t n)
{
	if (sink.staged + n >= RECORDS_PER_SECTOR)
		return write_sectors(r, n);
	memcpy(stages[sink.stage] + sink.staged, first(r), n * sizeof(stages[0][0]));
	sink.staged += n;
	vmmu_trace_ring_take(r, n);
	return n;
}

/* A checksum of what was taken since the last one. Where records are lost there is none: it would not agree. */
static void add_checksum(void)
{
	if (sink.failed || sink.sector >= sink.disk.sectors)
		return;
	stages[sink.stage][sink.staged++] = (struct vmmu_trace_record){
		.time = sink.time,
		.seq = sink.checksums++,
		.event = VMMU_TRACE_CHECKSUM,
		.vcpu = VMMU_TRACE_NO_VCPU,
		.checksum = {.records = sink.since, .crc = sink.crc},
	};
	sink.since = sink.crc = 0;
	if (sink.staged == RECORDS_PER_SECTOR) {
		land();
		write_sectors(NULL, 0);
	}
}

/* Take one piece out of the rings, once the one before it is on the disk; its records. 0: they are empty. */
static uint32_t drain_piece(void)
{
	const struct vmmu_trace_record *records;
	struct vmmu_trace_ring *r;
	uint64_t until;
	uint32_t taken;

	land();
	r = oldest(&until);
	if (!r)
		return 0;
	records = first(r);
	taken = run_length(r, until);
	if (sink.staged + taken >= RECORDS_PER_SECTOR)
		taken -= (sink.staged + taken) % RECORDS_PER_SECTOR;
	sink.crc = crc32c(sink.crc, (const uint64_t *)records, taken * (sizeof(*records) / sizeof(uint64_t)));
	sink.since += taken;
	sink.time = records[taken - 1].time;
	take(r, taken);
	if (sink.since >= RECORDS_PER_CHECKSUM)
		add_checksum();
	return taken;
}

void trace_disk_make_room(const struct vmmu_trace_ring *ring)
{
	/* The other ring's records may be older and go first. */
	while (sink.open && drain_piece() && vmmu_trace_ring_waiting(ring) == ring->size)
		;
}

void trace_disk_tick(void)
{
	if (sink.open && !disk_busy(&sink.disk))
		drain_piece();
}

/* The last sector: a record of zeros ends the file, the pad is not counted. */
static void write_rest(void)
{
	uint32_t pad = RECORDS_PER_SECTOR - sink.staged;

	memset(stages[sink.stage] + sink.staged, 0, pad * sizeof(stages[0][0]));
	sink.staged = RECORDS_PER_SECTOR;
	write_sectors(NULL, 0);
	sink.flight.staged -= sink.flight.open ? pad : 0;
	land();
}

bool trace_disk_close(void)
{
	while (sink.open && drain_piece())
		;
	land();
	sink.open = false;
	if (sink.since)
		add_checksum();
	land();
	if (sink.staged)
		write_rest();
	sink.failed |= !sink.failed && !disk_flush(&sink.disk);
	/* The header has its place already: it can be written where no more records can. */
	if (sink.failed)
		disk_recover(&sink.disk);
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
		dropped += vmmu_trace_ring_dropped(sink.rings[i]);
	return dropped;
}
