/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/trace_disk.h"

#include "visor/host/clock.h"
#include "visor/host/disk.h"
#include "visor/lib/crc32c.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"

#define RECORDS_PER_SECTOR ((uint32_t)(DISK_SECTOR_BYTES / sizeof(struct vmmu_trace_record)))

static struct {
	struct disk disk;
	struct vmmu_trace_ring *const *rings;
	struct vmmu_trace_file_header header;
	uint64_t sector; /* next to be written */
	uint64_t records, dropped;
	uint32_t staged;           /* records that wait for their sector to fill */
	uint32_t unsure;           /* records of the last write, whose end has not been seen */
	uint32_t since;            /* records since the last checksum ... */
	uint32_t crc;              /* ... and theirs */
	uint32_t checksums;        /* records of that kind, their stream's next number */
	uint32_t unsure_checksums; /* among `unsure` */
	uint64_t time;             /* of the record that was taken last */
	bool open, failed;
} sink;

/* A block whose checksum is wrong is lost as a whole: 64 KiB. */
#define RECORDS_PER_CHECKSUM 1024u

static struct vmmu_trace_record stage[RECORDS_PER_SECTOR];

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
	return disk_write(&sink.disk, 0, &sink.header, 1) && disk_flush(&sink.disk);
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

/* The drive has reported an error: of this write, or of the one before, which only now shows. */
static void fail(void)
{
	sink.failed = true;
	sink.records -= sink.unsure;
	sink.dropped += sink.unsure - sink.unsure_checksums;
	sink.unsure = 0;
}

/* They are staged only, so at most one sector holds any. */
static uint32_t checksums_in(const struct vmmu_trace_record *records)
{
	uint32_t n = 0;

	for (uint32_t i = 0; records == stage && i < RECORDS_PER_SECTOR; i++)
		n += records[i].event == VMMU_TRACE_CHECKSUM;
	return n;
}

/* Whole sectors to the disk. What finds no place there is counted. */
static void write_sectors(const struct vmmu_trace_record *records, uint32_t sectors)
{
	uint64_t room = sink.disk.sectors - sink.sector;
	uint32_t written = sectors < room ? sectors : (uint32_t)room;

	if (written && !sink.failed && !disk_write(&sink.disk, sink.sector, records, written))
		fail();
	if (sink.failed)
		written = 0;
	sink.sector += written;
	sink.records += (uint64_t)written * RECORDS_PER_SECTOR;
	sink.dropped += (uint64_t)(sectors - written) * RECORDS_PER_SECTOR;
	if (written) {
		sink.unsure = written * RECORDS_PER_SECTOR;
		sink.unsure_checksums = checksums_in(records);
	} else {
		sink.dropped -= checksums_in(records);
	}
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

/* How many records can be taken in one piece before another ring's turn comes: at most one block. */
static uint32_t run_length(const struct vmmu_trace_ring *r, uint64_t until)
{
	uint32_t most = sink.disk.block * RECORDS_PER_SECTOR;
	uint32_t n = vmmu_trace_ring_waiting(r), to_end = r->size - (uint32_t)(first(r) - r->records), run;

	n = n < to_end ? n : to_end;
	n = n < most ? n : most;
	if (until == UINT64_MAX)
		return n;
	for (run = 1; run < n && first(r)[run].time <= until; run++)
		;
	return run;
}

/* Take up to `n` records of the ring's front; returns how many. Whole sectors go out as they stand. */
static uint32_t trace_disk_take(const struct vmmu_trace_record *records, uint32_t n)
{
	uint32_t room = RECORDS_PER_SECTOR - sink.staged;

	if (!sink.staged && n >= RECORDS_PER_SECTOR) {
		write_sectors(records, n / RECORDS_PER_SECTOR);
		return n - n % RECORDS_PER_SECTOR;
	}
	n = n < room ? n : room;
	memcpy(stage + sink.staged, records, n * sizeof(stage[0]));
	sink.staged += n;
	if (sink.staged == RECORDS_PER_SECTOR) {
		write_sectors(stage, 1);
		sink.staged = 0;
	}
	return n;
}

/* A checksum of what was taken since the last one. Where records are lost there is none: it would not agree. */
static void add_checksum(void)
{
	struct vmmu_trace_record r = {
		.time = sink.time,
		.seq = sink.checksums,
		.event = VMMU_TRACE_CHECKSUM,
		.vcpu = VMMU_TRACE_NO_VCPU,
		.checksum = {.records = sink.since, .crc = sink.crc},
	};

	if (sink.failed || sink.sector >= sink.disk.sectors)
		return;
	sink.checksums++;
	sink.since = sink.crc = 0;
	trace_disk_take(&r, 1);
}

/* Take one piece out of the rings; its records. 0: they are empty. */
static uint32_t drain_piece(void)
{
	uint64_t until;
	struct vmmu_trace_ring *r = oldest(&until);
	uint32_t taken = 0;

	if (r) {
		const struct vmmu_trace_record *records = first(r);

		taken = trace_disk_take(records, run_length(r, until));
		sink.crc = crc32c(sink.crc, (const uint64_t *)records, taken * (sizeof(*records) / sizeof(uint64_t)));
		sink.since += taken;
		sink.time = records[taken - 1].time;
		vmmu_trace_ring_take(r, taken);
		if (sink.since >= RECORDS_PER_CHECKSUM)
			add_checksum();
	}
	return taken;
}

void trace_disk_make_room(const struct vmmu_trace_ring *ring)
{
	uint32_t enough = sink.disk.block * RECORDS_PER_SECTOR / 2, taken, sum = 0;

	/* The other ring's records may be older and go first. */
	while (sink.open && (sum < enough || vmmu_trace_ring_waiting(ring) == ring->size) && (taken = drain_piece()))
		sum += taken;
}

void trace_disk_tick(void)
{
	if (sink.open && !disk_busy(&sink.disk))
		trace_disk_make_room(sink.rings[0]);
}

/* The last sector: a record of zeros ends the file, the pad is not counted. */
static void write_rest(void)
{
	uint32_t pad = RECORDS_PER_SECTOR - sink.staged;
	uint64_t before = sink.records;

	memset(stage + sink.staged, 0, pad * sizeof(stage[0]));
	write_sectors(stage, 1);
	if (sink.records > before) {
		sink.records -= pad;
		sink.unsure -= pad;
	} else {
		sink.dropped -= pad;
	}
	sink.staged = 0;
}

bool trace_disk_close(void)
{
	while (sink.open && drain_piece())
		;
	sink.open = false;
	if (sink.since)
		add_checksum();
	if (sink.staged)
		write_rest();
	if (!sink.failed && !disk_flush(&sink.disk))
		fail();
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
