/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmmu/types.h>

#include "../source/stream.h"

enum {
	HEADER_BYTES = sizeof(struct vmmu_trace_file_header),
	RECORD_BYTES = sizeof(struct vmmu_trace_record),
	MAP_BYTES_MIN = 1 << 20,
	EXPANDED_MIN = 1 << 12,     /* records */
	SORTED_IN_MEMORY = 1 << 18, /* positions */
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
	else if (header->version < VMMU_TRACE_VERSION_PLAIN || header->version > VMMU_TRACE_VERSION)
		*error = formatted("%s is a trace of version %u, this vmmu reads versions %u to %u; "
		                   "use the vmmu that made it, or make the trace again",
		                   trace->path, header->version, VMMU_TRACE_VERSION_PLAIN, VMMU_TRACE_VERSION);
	else if (header->record_size != RECORD_BYTES)
		*error = formatted("%s has records of %u bytes, version %u has %u; the file is damaged",
		                   trace->path, header->record_size, header->version, RECORD_BYTES);
	else if (header->complete && header->crc != (header->version == VMMU_TRACE_VERSION_PLAIN ? 0 : header_crc(header)))
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
	if (record->event == VMMU_TRACE_FAULT_FIXED && record->level == 0)
		return duplicate("a fault has written an entry of no level");
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
		trace->sure = trace->count + 1;
		return true;
	}
	trace->damage = formatted("the checksum of the %llu records from there on does not fit",
	                          (unsigned long long)trace->since);
	trace->taken -= trace->since;
	trace->count = trace->sure;
	return false;
}

/* ---- records that stand for several ------------------------------------------------ */

/* Memory for `room` records, with those that are there. NULL: *error says why not. */
static struct vmmu_trace_record *more_expanded(struct trace_file *trace, uint64_t room, char **error)
{
	size_t bytes = room * RECORD_BYTES;
	void *map;

	if (trace->expanded_fd < 0)
		return reallocate(trace->expanded, bytes);
	/* Room for all of it now: a full disk must not be found out by a write to the map. */
	errno = posix_fallocate(trace->expanded_fd, 0, (off_t)bytes);
	if (errno)
		map = MAP_FAILED;
	else if (trace->expanded)
		map = mremap(trace->expanded, trace->expanded_room * RECORD_BYTES, bytes, MREMAP_MAYMOVE);
	else
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, trace->expanded_fd, 0);
	if (map != MAP_FAILED)
		return map;
	*error = formatted("%s does not fit into the temporary folder: %s", trace->path, strerror(errno));
	return NULL;
}

static bool make_expanded_room(struct trace_file *trace, uint64_t count, char **error)
{
	uint64_t room = trace->expanded ? trace->expanded_room : EXPANDED_MIN;
	struct vmmu_trace_record *more;

	while (room < count)
		room *= 2;
	if (trace->expanded && room == trace->expanded_room)
		return true;
	if (!trace->expanded && trace->fd >= 0) {
		trace->expanded_fd = stream_temporary_file(error);
		if (trace->expanded_fd < 0)
			return false;
	}
	more = more_expanded(trace, room, error);
	if (!more)
		return false;
	/* So far they were as in the file. */
	if (!trace->expanded && trace->count)
		memcpy(more, trace->raw, trace->count * RECORD_BYTES);
	trace->expanded = more;
	trace->expanded_room = room;
	trace->records = more;
	return true;
}

static bool add_record(struct trace_file *trace, const struct vmmu_trace_record *record, char **error)
{
	struct vmmu_trace_record parts[VMMU_TRACE_EXPANDED];
	unsigned count;

	if (trace->counted || (!trace->expanded && record->event != VMMU_TRACE_FAULT_FIXED)) {
		trace->count += vmmu_trace_numbers(record);
		return true;
	}
	count = vmmu_trace_expand(record, parts);
	if (!make_expanded_room(trace, trace->count + count, error))
		return false;
	memcpy(trace->expanded + trace->count, parts, count * RECORD_BYTES);
	trace->count += count;
	return true;
}

static void release_expanded(struct trace_file *trace)
{
	if (trace->expanded_fd >= 0) {
		if (trace->expanded)
			munmap(trace->expanded, trace->expanded_room * RECORD_BYTES);
		close(trace->expanded_fd);
	} else {
		free(trace->expanded);
	}
	trace->expanded_fd = -1;
	trace->expanded = NULL;
	trace->expanded_room = 0;
}

/* ---- the file ------------------------------------------------------------------------ */

/*
 * Map so many bytes of the file; more than there are, so that it need not be done
 * again for each piece that comes. What is asked for must be there.
 */
static bool map_bytes(struct trace_file *trace, uint64_t bytes, char **error)
{
	size_t size = trace->mapped ? trace->mapped : MAP_BYTES_MIN;
	uint8_t *map;

	if (bytes <= trace->mapped)
		return true;
	while (size < bytes)
		size *= 2;
	map = trace->map ? mremap(trace->map, trace->mapped, size, MREMAP_MAYMOVE)
	                 : mmap(NULL, size, PROT_READ, MAP_SHARED, trace->fd, 0);
	if (map == MAP_FAILED) {
		*error = formatted("%s cannot be mapped: %s", trace->path, strerror(errno));
		return false;
	}
	trace->map = map;
	trace->mapped = size;
	trace->raw = (const struct vmmu_trace_record *)(map + HEADER_BYTES);
	if (!trace->expanded)
		trace->records = trace->raw;
	return true;
}

/* How many of the `n` records behind the last good one belong to the trace. */
static uint64_t take_records(struct trace_file *trace, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const struct vmmu_trace_record *record = &trace->raw[trace->taken];

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
		if (!add_record(trace, record, &trace->damage))
			return i;
		trace->taken++;
	}
	return n;
}

static void find_ending(struct trace_file *trace)
{
	if (trace->damage)
		trace->ending = TRACE_DAMAGED;
	else if (!trace->header.complete)
		trace->ending = TRACE_OPEN;
	else if (trace->taken < trace->header.records)
		trace->ending = TRACE_SHORT;
	else if (has_checksums(trace) && trace->since && !trace->header.dropped)
		trace->ending = TRACE_SHORT;
	else
		trace->ending = TRACE_COMPLETE;
}

static bool write_at(int fd, const uint8_t *from, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pwrite(fd, from + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

/* The next piece of the stream, into the copy. False: that is not possible, or it was the last one. */
static bool copy_more(struct trace_file *trace, char **error)
{
	const uint8_t *data;
	size_t size = stream_take(trace->stream, &data);

	if (size && write_at(trace->fd, data, size, trace->copied)) {
		trace->copied += size;
		return true;
	}
	if (size)
		*error = formatted("%s does not fit into the temporary folder: %s", trace->path, strerror(errno));
	else if (stream_damage(trace->stream) && !trace->damage)
		trace->damage = duplicate(stream_damage(trace->stream));
	stream_close(trace->stream);
	trace->stream = NULL;
	return false;
}

/* Records that the file holds behind those that were taken. */
static uint64_t records_there(const struct trace_file *trace)
{
	uint64_t bytes = trace->copied, whole;
	struct stat st;

	if (!trace->is_copy)
		bytes = fstat(trace->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	whole = bytes < HEADER_BYTES ? 0 : (bytes - HEADER_BYTES) / RECORD_BYTES;
	if (trace->header.complete && trace->header.records < whole)
		whole = trace->header.records;
	return whole > trace->taken ? whole - trace->taken : 0;
}

/* Take all that is there by now. True: nothing behind it can belong to the trace. */
static bool take_all(struct trace_file *trace, char **error)
{
	uint64_t there;

	/* Nothing behind the damage counts, however often it is read. */
	if (trace->damage)
		return true;
	/* The header first: when it says complete, every record is there already. */
	if (!trace->is_copy)
		read_at(trace->fd, &trace->header, HEADER_BYTES, 0);
	there = records_there(trace);
	if (there && !map_bytes(trace, HEADER_BYTES + (trace->taken + there) * RECORD_BYTES, error))
		return true;
	return take_records(trace, there) < there ||
	       (trace->header.complete && trace->taken >= trace->header.records);
}

uint64_t trace_read_more(struct trace_file *trace)
{
	uint64_t before = trace->count;
	char *error = NULL;

	if (trace->fd < 0 || trace->damage)
		return 0;
	if (!trace->is_copy) {
		take_all(trace, &error);
	} else {
		while (trace->count == before && trace->stream && copy_more(trace, &error))
			if (take_all(trace, &error))
				break;
	}
	if (error && !trace->damage)
		trace->damage = error;
	else
		free(error);
	find_ending(trace);
	return trace->count > before ? trace->count - before : 0;
}

bool trace_may_grow(const struct trace_file *trace)
{
	/* A whole trace may come slowly through a pipe. */
	if (trace->is_copy)
		return trace->stream && !trace->damage &&
		       !(trace->header.complete && trace->taken >= trace->header.records);
	return trace->ending == TRACE_OPEN;
}

/* The whole of what is packed or comes through a pipe; of what need not be read, nothing is. */
static bool read_all(struct trace_file *trace, char **error)
{
	do {
		if (take_all(trace, error))
			break;
	} while (trace->is_copy && trace->stream && copy_more(trace, error));
	if (*error)
		return false;
	stream_close(trace->stream);
	trace->stream = NULL;
	find_ending(trace);
	return true;
}

static bool open_header(struct trace_file *trace, const char *path, char **error)
{
	struct stream *stream;
	const uint8_t *data;
	size_t got;

	if (!stream_open(&stream, path, error))
		return false;
	trace->stream = stream;
	trace->is_copy = !stream_is_plain(stream);
	got = stream_peek(stream, &data, HEADER_BYTES);
	if (got < HEADER_BYTES) {
		*error = stream_damage(stream)
		                 ? duplicate(stream_damage(stream))
		                 : formatted("%s has %zu bytes, a trace has at least %d; it is not a vmmu trace, "
		                             "or the run ended before it began",
		                             trace->path, got, HEADER_BYTES);
		return false;
	}
	memcpy(&trace->header, data, HEADER_BYTES);
	if (!header_is_usable(trace, error))
		return false;
	if (trace->is_copy) {
		trace->fd = stream_temporary_file(error);
		return trace->fd >= 0 && (copy_more(trace, error) || !*error);
	}
	trace->fd = stream_descriptor(path);
	if (trace->fd < 0)
		*error = formatted("%s: %s", trace->path, strerror(errno));
	stream_close(stream);
	trace->stream = NULL;
	return trace->fd >= 0;
}

static bool open_growing(struct trace_file *trace, const char *path, bool counted, char **error)
{
	*trace = (struct trace_file){.path = duplicate(strcmp(path, "-") ? path : "standard input"),
	                             .fd = -1,
	                             .expanded_fd = -1,
	                             .counted = counted};
	*error = NULL;
	if (open_header(trace, path, error)) {
		take_all(trace, error);
		find_ending(trace);
		if (!*error)
			return true;
	}
	trace_close(trace);
	return false;
}

static bool open_whole(struct trace_file *trace, const char *path, bool counted, char **error)
{
	if (!open_growing(trace, path, counted, error))
		return false;
	if (read_all(trace, error))
		return true;
	trace_close(trace);
	return false;
}

bool trace_open_growing(struct trace_file *trace, const char *path, char **error)
{
	return open_growing(trace, path, false, error);
}

bool trace_open(struct trace_file *trace, const char *path, char **error)
{
	return open_whole(trace, path, false, error);
}

bool trace_open_counted(struct trace_file *trace, const char *path, char **error)
{
	return open_whole(trace, path, true, error);
}

bool trace_parse(struct trace_file *trace, const void *data, size_t size, char **error)
{
	uint64_t n;

	*trace = (struct trace_file){.path = duplicate("trace"), .fd = -1, .expanded_fd = -1};
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
	if (n) {
		struct vmmu_trace_record *records = allocate(n * RECORD_BYTES);

		memcpy(records, (const char *)data + HEADER_BYTES, n * RECORD_BYTES);
		trace->raw = trace->records = records;
	}
	take_records(trace, n);
	find_ending(trace);
	return true;
}

/* The records, wherever they lie. */
static void release_records(struct trace_file *trace)
{
	if (trace->map)
		munmap(trace->map, trace->mapped);
	else
		free((void *)(uintptr_t)trace->raw);
	release_expanded(trace);
	trace->map = NULL;
	trace->mapped = 0;
	trace->records = trace->raw = NULL;
}

void trace_close(struct trace_file *trace)
{
	stream_close(trace->stream);
	release_records(trace);
	if (trace->fd >= 0)
		close(trace->fd);
	free(trace->path);
	free(trace->damage);
	*trace = (struct trace_file){.fd = -1, .expanded_fd = -1};
}

/* ---- the order of time --------------------------------------------------------------- */

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

/* Memory that a file of no name stands behind: what is large need not fit. NULL: *error says why. */
static void *map_temporary(uint64_t bytes, char **error)
{
	int fd = stream_temporary_file(error);
	void *map;

	if (fd < 0)
		return NULL;
	/* Room for all of it now: a full disk must not be found out by a write to the map. */
	errno = posix_fallocate(fd, 0, (off_t)bytes);
	map = errno ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		*error = formatted("there is no room in the temporary folder to sort the trace: %s", strerror(errno));
		map = NULL;
	}
	close(fd);
	return map;
}

/* Two sorted neighbours, [from, middle) and [middle, to), into one. */
static void merge(const struct position *in, struct position *out, uint64_t from, uint64_t middle, uint64_t to)
{
	uint64_t left = from, right = middle;

	for (uint64_t i = from; i < to; i++)
		out[i] = right >= to || (left < middle && by_time(&in[left], &in[right]) < 0) ? in[left++] : in[right++];
}

/* Sorts positions[0, count) with the help of as many others; returns where they stand then. */
static struct position *sort_positions(struct position *positions, struct position *other, uint64_t count)
{
	for (uint64_t from = 0; from < count; from += SORTED_IN_MEMORY)
		qsort(positions + from, count - from < SORTED_IN_MEMORY ? count - from : SORTED_IN_MEMORY,
		      sizeof(*positions), by_time);
	for (uint64_t run = SORTED_IN_MEMORY; run < count; run *= 2) {
		struct position *moved = positions;

		for (uint64_t from = 0; from < count; from += 2 * run) {
			uint64_t middle = count - from < run ? count : from + run;

			merge(positions, other, from, middle, count - middle < run ? count : middle + run);
		}
		positions = other;
		other = moved;
	}
	return positions;
}

bool trace_sort(struct trace_file *trace, char **error)
{
	uint64_t count = trace->count;
	struct vmmu_trace_record *sorted;
	struct position *positions, *in_time;

	*error = NULL;
	if (in_order(trace))
		return true;
	positions = map_temporary(2 * count * sizeof(*positions), error);
	if (!positions)
		return false;
	sorted = map_temporary(count * RECORD_BYTES, error);
	if (!sorted) {
		munmap(positions, 2 * count * sizeof(*positions));
		return false;
	}
	for (uint64_t i = 0; i < count; i++)
		positions[i] = (struct position){trace->records[i].time, i};
	in_time = sort_positions(positions, positions + count, count);
	for (uint64_t i = 0; i < count; i++)
		sorted[i] = trace->records[in_time[i].number];
	munmap(positions, 2 * count * sizeof(*positions));
	release_records(trace);
	trace->map = (uint8_t *)sorted;
	trace->mapped = count * RECORD_BYTES;
	trace->records = trace->raw = sorted;
	trace->sorted = true;
	return true;
}

double trace_seconds(const struct trace_file *trace, const struct vmmu_trace_record *record)
{
	double ticks = (double)record->time - (double)(trace->count ? trace->records[0].time : 0);

	return trace->header.ticks_per_second ? ticks / (double)trace->header.ticks_per_second : ticks;
}

void trace_warn_ending(const struct trace_file *trace)
{
	unsigned long long count = trace->taken;

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
