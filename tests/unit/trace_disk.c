/* SPDX-License-Identifier: BSD-2-Clause */
/* Trace records on their way to a disk: order, the last sector, and a disk that is too small or fails. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "visor/host/clock.h"
#include "visor/host/disk.h"
#include "visor/lib/crc32c.h"
#include "visor/vm/trace_disk.h"

#define RING 256u
#define SECTORS_MAX 4096u

/* ---- a disk ---------------------------------------------------------------------- */

static uint8_t medium[SECTORS_MAX][DISK_SECTOR_BYTES];
static unsigned sectors, place, fail_after;
static bool busy;
/* Like a drive: a write's error shows with the next command, and stays until it is recovered from. */
static bool late, error;

uint64_t clock_tsc_hz(void)
{
	return 1234567;
}

bool disk_open(unsigned position, struct disk *out)
{
	*out = (struct disk){.block = 16, .sectors = position == place ? sectors : 10};
	return position <= place && position != 1;
}

bool disk_read(const struct disk *disk, uint64_t sector, void *to, unsigned count)
{
	assert_true(sector + count <= disk->sectors);
	memset(to, 0, DISK_SECTOR_BYTES);
	if (disk->sectors == sectors)
		memcpy(to, medium[sector], (size_t)count * DISK_SECTOR_BYTES);
	return true;
}

/* Like a bus master: what is written is what stands there at the write's end. */
static struct {
	struct ide_dma_piece pieces[2];
	unsigned count;
	uint64_t sector;
} moving;

bool disk_write(struct disk *disk, uint64_t sector, const struct ide_dma_piece *pieces, unsigned count)
{
	uint32_t bytes = 0;

	assert_int_equal(disk->sectors, sectors);
	assert_int_equal(moving.count, 0);
	assert_true(count >= 1 && count <= 2);
	for (unsigned i = 0; i < count; i++)
		bytes += pieces[i].bytes;
	assert_int_equal(bytes % DISK_SECTOR_BYTES, 0);
	assert_true(bytes && bytes / DISK_SECTOR_BYTES <= 256 && sector + bytes / DISK_SECTOR_BYTES <= sectors);
	if (error)
		return false;
	if (sector && fail_after && fail_after-- == 1) {
		error = true;
		return late;
	}
	memcpy(moving.pieces, pieces, count * sizeof(*pieces));
	moving.count = count;
	moving.sector = sector;
	return true;
}

bool disk_settle(struct disk *disk)
{
	uint8_t *to = medium[moving.sector];

	(void)disk;
	for (unsigned i = 0; i < moving.count; to += moving.pieces[i++].bytes)
		memcpy(to, moving.pieces[i].from, moving.pieces[i].bytes);
	moving.count = 0;
	return !error;
}

bool disk_busy(const struct disk *disk)
{
	(void)disk;
	return busy;
}

bool disk_flush(const struct disk *disk)
{
	(void)disk;
	assert_int_equal(moving.count, 0);
	return !error;
}

bool disk_recover(const struct disk *disk)
{
	(void)disk;
	error = false;
	return true;
}

/* ---- rings ------------------------------------------------------------------------ */

static struct vmmu_trace_record storage[TRACE_RINGS][RING];
static struct vmmu_trace_ring ring[TRACE_RINGS];
static struct vmmu_trace_ring *const rings[TRACE_RINGS] = {&ring[0], &ring[1]};
static uint64_t now;

/* How many numbers the records use, of which some are for a fault and its write. */
static bool briefly;
static uint64_t numbers;

static void start(unsigned disk_sectors)
{
	struct vmmu_trace_file_header *h = (void *)medium[0];
	const char *why = "";

	memset(medium, 0xee, sizeof(medium));
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, VMMU_TRACE_MAGIC, sizeof(h->magic));
	h->version = VMMU_TRACE_VERSION;
	h->record_size = sizeof(struct vmmu_trace_record);
	sectors = disk_sectors;
	place = 2;
	busy = false;
	fail_after = 0;
	late = error = false;
	now = numbers = 0;
	for (unsigned i = 0; i < TRACE_RINGS; i++) {
		memset(&ring[i], 0, sizeof(ring[i]));
		ring[i].records = storage[i];
		ring[i].size = RING;
	}
	assert_true(trace_disk_open(rings, "unit", &why));
	assert_int_equal(h->complete, 0);
	assert_int_equal(h->ticks_per_second, 1234567);
}

static void record(unsigned which)
{
	struct vmmu_trace_ring *r = &ring[which];
	uint32_t head = r->head;

	if (vmmu_trace_ring_waiting(r) == RING)
		trace_disk_make_room(r);
	if (vmmu_trace_ring_waiting(r) == RING) {
		r->dropped++;
		numbers++;
		return;
	}
	r->records[head % RING] = (struct vmmu_trace_record){
		.time = ++now,
		.event = briefly && now % 3 == 0 ? VMMU_TRACE_FAULT_FIXED : VMMU_TRACE_DUMP,
		.vcpu = (uint16_t)which,
	};
	numbers += vmmu_trace_numbers(&r->records[head % RING]);
	r->head = head + 1;
}

static const struct vmmu_trace_record *on_disk(uint64_t i)
{
	return (const struct vmmu_trace_record *)medium[1] + i;
}

static const struct vmmu_trace_file_header *header(void)
{
	return (const void *)medium[0];
}

static uint64_t numbers_there;

/*
 * The file as its reader sees it: records 1 to n in order, and checksums that fit,
 * one for each 1024 or so and the last of them behind the last record. How many
 * records there are besides.
 */
static uint64_t read_file(void)
{
	uint64_t n = 0, since = 0, sums = 0;
	uint32_t crc = 0;

	numbers_there = 0;
	struct vmmu_trace_file_header copy = *header();

	copy.crc = 0;
	assert_int_equal(header()->crc, vmmu_trace_crc(0, &copy, sizeof(copy)));
	for (uint64_t i = 0; i < header()->records; i++) {
		const struct vmmu_trace_record *r = on_disk(i);

		if (r->event == VMMU_TRACE_CHECKSUM) {
			assert_int_equal(r->seq, sums++);
			assert_int_equal(r->checksum.records, since);
			assert_int_equal(r->checksum.crc, crc);
			assert_int_equal(r->time, n);
			since = crc = 0;
			continue;
		}
		assert_int_equal(r->time, ++n);
		numbers_there += vmmu_trace_numbers(r);
		crc = vmmu_trace_crc(crc, r, sizeof(*r));
		since++;
		assert_true(since < 1024 + 16 * 8);
	}
	assert_true(since == 0 || header()->dropped);
	return n;
}

/* RFC 3720, B.4: 32 bytes of zeros, of ones, and counting up; in pieces; and as the instruction has it. */
static void checksums(void **state)
{
	uint64_t bytes[4] = {0};

	(void)state;
	assert_int_equal(vmmu_trace_crc(0, bytes, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, bytes, 4), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(vmmu_trace_crc(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		((uint8_t *)bytes)[i] = (uint8_t)i;
	assert_int_equal(vmmu_trace_crc(0, bytes, 32), 0x46dd794e);
	assert_int_equal(vmmu_trace_crc(vmmu_trace_crc(0, bytes, 8), bytes + 1, 24), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, bytes, 1), bytes + 1, 3), 0x46dd794e);
}

/* A record at a time and what is left over, from any place: as byte by byte. */
static void checksums_of_records(void **state)
{
	uint64_t words[40];

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		words[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	for (unsigned first = 0; first < 8; first++)
		for (unsigned count = 0; first + count <= 40; count++)
			assert_int_equal(crc32c(first, words + first, count), vmmu_trace_crc(first, words + first, 8 * count));
}

/* ---- what must hold ------------------------------------------------------------------ */

/* Any mix of streams: nothing lost, in the order of time, closed as specified. */
static void in_order(void **state)
{
	(void)state;
	srand(3);
	for (unsigned round = 0; round < 60; round++) {
		unsigned count = (unsigned)rand() % 5000, share = 1 + (unsigned)rand() % 200;

		start(SECTORS_MAX);
		briefly = round % 2;
		for (unsigned i = 0; i < count; i++) {
			record((unsigned)rand() % share == 0);
			busy = rand() % 2;
			if (rand() % 50 == 0)
				trace_disk_tick();
		}
		assert_true(trace_disk_close());
		assert_int_equal(header()->complete, 1);
		assert_int_equal(header()->dropped, 0);
		assert_int_equal(read_file(), count);
		assert_int_equal(trace_disk_records(), header()->records);
		if (header()->records % 8)
			assert_int_equal(on_disk(header()->records)->event, VMMU_TRACE_NONE);
	}
}

static void too_small(void **state)
{
	(void)state;
	for (unsigned size = 2; size < 40; size++) {
		start(size);
		briefly = size % 2;
		for (unsigned i = 0; i < 1000; i++)
			record(i % 7 == 0);
		assert_false(trace_disk_close());
		assert_int_equal(header()->complete, 1);
		assert_int_equal(header()->records, (size - 1) * 8);
		read_file();
		assert_int_equal(numbers_there + header()->dropped, numbers);
		assert_int_equal(medium[size][0], 0xee);
	}
}

/* Each write in turn fails, at once or so that the next command tells. Nothing is counted as there that is not. */
static void failing(void **state)
{
	(void)state;
	for (unsigned at = 1; at < 60; at++) {
		bool whole;

		start(SECTORS_MAX);
		fail_after = at;
		late = at % 2;
		briefly = at % 3 == 0;
		for (unsigned i = 0; i < 3000; i++)
			record(0);
		whole = trace_disk_close();
		assert_int_equal(whole, fail_after > 0); /* there were not so many writes */
		assert_int_equal(header()->complete, 1);
		read_file();
		assert_int_equal(numbers_there + header()->dropped, numbers);
		assert_true(fail_after || header()->dropped);
	}
}

static void only_a_prepared_disk(void **state)
{
	const char *why = "";

	(void)state;
	start(100);
	((struct vmmu_trace_file_header *)medium[0])->version++;
	assert_false(trace_disk_open(rings, "unit", &why));
	assert_non_null(strstr(why, "version"));
	medium[0][0] = 'X';
	assert_false(trace_disk_open(rings, "unit", &why));
	assert_non_null(strstr(why, "no ATA disk"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums),
		cmocka_unit_test(checksums_of_records),
		cmocka_unit_test(in_order),
		cmocka_unit_test(too_small),
		cmocka_unit_test(failing),
		cmocka_unit_test(only_a_prepared_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
