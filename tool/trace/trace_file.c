/* SPDX-License-Identifier: BSD-2-Clause */
#include "../source/peek.h"
#include "trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmmu/types.h>

enum {
	HEADER_BYTES = sizeof(struct vmmu_trace_file_header),
	RECORD_BYTES = sizeof(struct vmmu_trace_record),
	RECORDS_PER_READ = 16384,
};

static bool has_checksums(const struct trace_file *trace)
{
	return trace->header.version != VMMU_TRACE_VERSION_PLAIN;
}

/* While it is being written the header may be read in the middle of that: then it says nothing yet. */
static uint32_t header_crc(const struct vmmu_trace_file_header *header)
{
	struct vmmu_trace_file_header copy = *header;

	copy.crc = 0;
	return vmmu_trace_crc(0, &copy, sizeof(copy));
}

static bool header_is_usable(const struct trace_file *trace, char **error)
{
	const struct vmmu_trace_file_header *header = &trace->header;

	if (memcmp(header->magic, VMMU_TRACE_MAGIC, sizeof(header->magic)) != 0)
		*error = formatted("%s is not a vmmu trace (`vmmu run --trace FILE` makes one) and no recording of KVM "
		                   "(`vmmu record` makes one, also trace-cmd, perf and tracefs)",
		                   trace->path);
	else if (header->version != VMMU_TRACE_VERSION && header->version != VMMU_TRACE_VERSION_PLAIN)
		*error = formatted("%s is a trace of version %u, this vmmu reads versions %u and %u; "
		                   "use the vmmu that made it, or make the trace again",
		                   trace->path, header->version, VMMU_TRACE_VERSION_PLAIN, VMMU_TRACE_VERSION);
	else if (header->record_size != RECORD_BYTES)
		*error = formatted("%s has records of %u bytes, version %u has %u; the file is damaged",
		                   trace->path, header->record_size, header->version, RECORD_BYTES);
	else if (header->version != VMMU_TRACE_VERSION_PLAIN && header->complete && header_crc(header) != header->crc)
		*error = formatted("%s has a header that its checksum does not fit; the file is damaged", trace->path);
	else
		return true;
	return false;
}

bool trace_knows(const struct vmmu_trace_record *record)
{
	return record->event < VMMU_TRACE_EVENT_COUNT;
}

/*
 * NULL when the record can be used or passed over; otherwise what is wrong with
 * it. A newer engine may have events and causes that this reader does not know.
 */
static char *record_fault(const struct vmmu_trace_record *record)
{
	bool names_entry = record->event == VMMU_TRACE_SPTE_CHANGED || record->event == VMMU_TRACE_DUMP ||
	                   record->event == VMMU_TRACE_FOUND;

	if (record->event > VMMU_TRACE_EVENT_MAX)
		return formatted("event %u is beyond what an event can be", record->event);
	if (!trace_knows(record))
		return NULL;
	if (record->level > VMMU_LEVEL_MAX)
		return formatted("level %u does not exist", record->level);
	if (names_entry && (record->level == 0 || record->index >= 512))
		return formatted("no table has an entry %u at level %u", record->index, record->level);
	return NULL;
}

/*
 * Does the checksum in `record` fit what stands before it? If not, no record since
 * the last one can be believed: they go.
 */
static bool check_sum(struct trace_file *trace, const struct vmmu_trace_record *record)
{
	if (record->checksum.records == trace->since && record->checksum.crc == trace->crc) {
		trace->since = trace->crc = 0;
		return true;
	}
	trace->damage = formatted("the checksum of the %llu records from there on does not fit",
	                          (unsigned long long)trace->since);
	trace->count -= trace->since;
	return false;
}

static void make_room(struct trace_file *trace, uint64_t extra)
{
	if (trace->count + extra <= trace->room)
		return;
	trace->room = trace->room * 2 > trace->count + extra ? trace->room * 2 : trace->count + extra;
	trace->records = reallocate(trace->records, trace->room * RECORD_BYTES);
}

/* How many of the `n` records behind the last good one belong to the trace. */
static uint64_t take_records(struct trace_file *trace, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const struct vmmu_trace_record *record = &trace->records[trace->count];

		if (record->event == VMMU_TRACE_NONE)
			return i;
		trace->damage = record_fault(record);
		if (trace->damage)
			return i;
		trace->unknown += !trace_knows(record);
		if (record->event == VMMU_TRACE_CHECKSUM && has_checksums(trace)) {
			if (!check_sum(trace, record))
				return i;
		} else if (has_checksums(trace)) {
			trace->since++;
			trace->crc = vmmu_trace_crc(trace->crc, record, RECORD_BYTES);
		}
		trace->count++;
	}
	return n;
}

static void find_ending(struct trace_file *trace)
{
	if (trace->damage)
		trace->ending = TRACE_DAMAGED;
	else if (!trace->header.complete)
		trace->ending = TRACE_OPEN;
	else if (trace->count < trace->header.records)
		trace->ending = TRACE_SHORT;
	else if (has_checksums(trace) && trace->since && !trace->header.dropped)
		trace->ending = TRACE_SHORT;
	else
		trace->ending = TRACE_COMPLETE;
}

/* Reads up to `size` bytes; fewer only at the end of the file. */
static size_t read_at(int fd, void *to, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, (char *)to + done, size - done, offset + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

static uint64_t records_wanted(const struct trace_file *trace)
{
	if (trace->header.complete && trace->header.records < trace->count + RECORDS_PER_READ)
		return trace->header.records - trace->count;
	return RECORDS_PER_READ;
}

uint64_t trace_read_more(struct trace_file *trace)
{
	uint64_t before = trace->count;

	if (trace->fd < 0 || trace->damage)
		return 0;
	/* The header first: when it says complete, every record is there already. */
	read_at(trace->fd, &trace->header, HEADER_BYTES, 0);
	for (;;) {
		uint64_t wanted = records_wanted(trace), whole;
		off_t offset = HEADER_BYTES + (off_t)(trace->count * RECORD_BYTES);

		make_room(trace, wanted);
		whole = read_at(trace->fd, &trace->records[trace->count], wanted * RECORD_BYTES, offset) /
		        RECORD_BYTES;
		if (whole == 0 || take_records(trace, whole) < whole || whole < wanted)
			break;
	}
	find_ending(trace);
	return trace->count > before ? trace->count - before : 0;
}

/* What comes through a pipe or is packed goes into a file of ours first; -1: *error says why. */
static int unpacked(const char *path, int fd, char **error)
{
	struct stream *stream;
	uint8_t magic[4] = {0};
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (read_at(fd, magic, sizeof(magic), 0) < sizeof(magic) || source_peek(path) != SOURCE_VMMU || memcmp(magic, VMMU_TRACE_MAGIC, sizeof(magic)) == 0))
		return fd;
	close(fd);
	if (source_peek(path) != SOURCE_VMMU) {
		*error = formatted("%s is not a vmmu trace; `vmmu run --trace FILE` makes one", path);
		return -1;
	}
	if (!stream_open(&stream, path, error))
		return -1;
	fd = stream_to_file(stream, error);
	if (fd >= 0 && stream_damage(stream))
		complain("%s", stream_damage(stream));
	stream_close(stream);
	return fd;
}

bool trace_open(struct trace_file *trace, const char *path, char **error)
{
	size_t got;

	*error = NULL;
	*trace = (struct trace_file){.path = duplicate(strcmp(path, "-") ? path : "standard input"), .fd = stream_descriptor(path)};
	if (trace->fd < 0)
		*error = formatted("%s: %s", path, strerror(errno));
	else
		trace->fd = unpacked(path, trace->fd, error);
	if (trace->fd < 0) {
		/* It has been said why. */
	} else if ((got = read_at(trace->fd, &trace->header, HEADER_BYTES, 0)) < HEADER_BYTES) {
		*error = formatted("%s has %zu bytes, a trace has at least %d; it is not a vmmu trace, "
		                   "or the run ended before it began",
		                   path, got, HEADER_BYTES);
	} else if (header_is_usable(trace, error)) {
		trace_read_more(trace);
		return true;
	}
	trace_close(trace);
	return false;
}

bool trace_parse(struct trace_file *trace, const void *data, size_t size, char **error)
{
	uint64_t n;

	*trace = (struct trace_file){.path = duplicate("trace"), .fd = -1};
	if (size < HEADER_BYTES) {
		*error = formatted("%zu bytes are no trace, the header alone has %d", size, HEADER_BYTES);
		trace_close(trace);
		return false;
	}
	memcpy(&trace->header, data, HEADER_BYTES);
	if (!header_is_usable(trace, error)) {
		trace_close(trace);
		return false;
	}
	n = (size - HEADER_BYTES) / RECORD_BYTES;
	if (trace->header.complete && trace->header.records < n)
		n = trace->header.records;
	make_room(trace, n);
	if (n)
		memcpy(trace->records, (const char *)data + HEADER_BYTES, n * RECORD_BYTES);
	take_records(trace, n);
	find_ending(trace);
	return true;
}

void trace_close(struct trace_file *trace)
{
	if (trace->fd >= 0)
		close(trace->fd);
	free(trace->records);
	free(trace->path);
	free(trace->damage);
	*trace = (struct trace_file){.fd = -1};
}

struct position {
	uint64_t time;
	uint64_t number;
};

static int by_time(const void *a, const void *b)
{
	const struct position *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static bool in_order(const struct trace_file *trace)
{
	for (uint64_t i = 1; i < trace->count; i++)
		if (trace->records[i].time < trace->records[i - 1].time)
			return false;
	return true;
}

void trace_sort(struct trace_file *trace)
{
	struct vmmu_trace_record *sorted;
	struct position *positions;

	if (in_order(trace))
		return;
	positions = allocate(trace->count * sizeof(*positions));
	sorted = allocate(trace->count * RECORD_BYTES);
	for (uint64_t i = 0; i < trace->count; i++)
		positions[i] = (struct position){trace->records[i].time, i};
	qsort(positions, trace->count, sizeof(*positions), by_time);
	for (uint64_t i = 0; i < trace->count; i++)
		sorted[i] = trace->records[positions[i].number];
	free(positions);
	free(trace->records);
	trace->records = sorted;
	trace->room = trace->count;
}

double trace_seconds(const struct trace_file *trace, const struct vmmu_trace_record *record)
{
	double ticks = (double)record->time - (double)(trace->count ? trace->records[0].time : 0);

	return trace->header.ticks_per_second ? ticks / (double)trace->header.ticks_per_second : ticks;
}

void trace_warn_ending(const struct trace_file *trace)
{
	unsigned long long count = trace->count;

	switch (trace->ending) {
	case TRACE_COMPLETE:
		break;
	case TRACE_OPEN:
		complain("%s was not closed: the run goes on or was cut short; showing the %llu records that "
		         "are there",
		         trace->path, count);
		break;
	case TRACE_SHORT:
		complain("%s should hold %llu records but is cut short; showing the %llu that are there",
		         trace->path, (unsigned long long)trace->header.records, count);
		break;
	case TRACE_DAMAGED:
		complain("%s is damaged at record %llu (%s); showing what comes before it", trace->path, count,
		         trace->damage);
		break;
	}
	if (trace->unknown)
		complain("passing over %llu record%s of events that a newer vmmu has and this one does not know",
		         (unsigned long long)trace->unknown, trace->unknown == 1 ? "" : "s");
	if (trace->header.dropped)
		complain("%llu records were lost while the trace was written; the picture has holes",
		         (unsigned long long)trace->header.dropped);
}
