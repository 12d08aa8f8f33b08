/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * perf.data: attributes, records, and the kernel's event formats in the section
 * "tracing data"; also as perf writes it into a pipe. Its records come in rounds:
 * what lies before the end of a round is older than what follows the next one
 * (Linux, tools/perf/Documentation/perf.data-file-format.txt).
 */
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "file.h"
#include "reader.h"
#include "tracing_data.h"

enum record_type {
	RECORD_MMAP = 1,
	RECORD_LOST = 2,
	RECORD_COMM = 3,
	RECORD_SAMPLE = 9,
	RECORD_LOST_SAMPLES = 13,
	RECORD_ATTR = 64,
	RECORD_TRACING_DATA = 66,
	RECORD_FINISHED_ROUND = 68,
	RECORD_FEATURE = 80,
	RECORD_COMPRESSED = 81,
};

enum feature { FEATURE_TRACING_DATA = 1,
	       FEATURE_HOSTNAME = 3,
	       FEATURE_RELEASE = 4,
	       FEATURE_VERSION = 5,
	       FEATURE_ARCH = 6,
	       FEATURE_CPUS = 7,
	       FEATURE_COUNT = 256 };

enum sample_bits {
	SAMPLE_IP = 1 << 0,
	SAMPLE_TID = 1 << 1,
	SAMPLE_TIME = 1 << 2,
	SAMPLE_ADDR = 1 << 3,
	SAMPLE_READ = 1 << 4,
	SAMPLE_CALLCHAIN = 1 << 5,
	SAMPLE_ID = 1 << 6,
	SAMPLE_CPU = 1 << 7,
	SAMPLE_PERIOD = 1 << 8,
	SAMPLE_STREAM = 1 << 9,
	SAMPLE_RAW = 1 << 10,
	SAMPLE_IDENTIFIER = 1 << 16,
};
enum read_bits { READ_ENABLED = 1,
	         READ_RUNNING = 2,
	         READ_ID = 4,
	         READ_GROUP = 8,
	         READ_LOST = 16 };

enum { HEAD_BYTES = 104,
       PIPE_HEAD_BYTES = 16,
       RECORD_MAX = 65536,
       ATTR_MIN = 64,
       ATTRS_MAX = 65536,
       TYPE_TRACEPOINT = 2,
       TRACING_MAX = 1 << 28,
       CLOCKID_OFFSET = 92,
       UNPACKED_MAX = 1 << 26 };

#define ATTR_SAMPLE_ID_ALL (1ull << 18)
#define ATTR_USE_CLOCKID (1ull << 25)

/* One record that waits for its turn; its bytes follow. */
struct waiting {
	uint64_t time, order;
	uint32_t size;
	uint8_t data[];
};

struct perf_data {
	struct file file;
	struct source_info *info;
	struct formats *formats;
	struct thread_names names;
	uint64_t sample_type, read_format, attr_flags;
	bool have_attr, mixed;
	uint64_t at, end; /* records still to be read */
	uint8_t record[RECORD_MAX];
	struct waiting **heap;
	size_t heap_count, heap_room;
	uint64_t order;
	uint64_t round_max, safe; /* newest time of this round; all up to `safe` can go out */
	bool all_read;
	struct waiting *out; /* handed out last */
	ZSTD_DStream *zstd;
	uint8_t *unpacked; /* what compressed records hold, as far as it is not used yet */
	size_t unpacked_at, unpacked_end, unpacked_room;
};

/* ---- head ------------------------------------------------------------------------- */

static void take_attr(struct perf_data *perf, const uint8_t *attr, size_t size)
{
	static const struct {
		int id;
		const char *name;
	} clocks[] = {
		{0, "realtime"}, {1, "mono"}, {4, "mono_raw"}, {7, "boot"}, {11, "tai"}};
	uint64_t sample_type, flags;
	uint32_t type;
	int32_t clock;

	if (size < ATTR_MIN)
		return;
	/* perf adds events of its own, which leave no samples of events. */
	memcpy(&type, attr, 4);
	if (type != TYPE_TRACEPOINT)
		return;
	memcpy(&sample_type, attr + 24, 8);
	memcpy(&flags, attr + 40, 8);
	if (perf->have_attr && sample_type != perf->sample_type)
		perf->mixed = true;
	if (perf->have_attr)
		return;
	perf->have_attr = true;
	perf->sample_type = sample_type;
	memcpy(&perf->read_format, attr + 32, 8);
	perf->attr_flags = flags;
	if (flags & ATTR_USE_CLOCKID && size >= CLOCKID_OFFSET + 4) {
		memcpy(&clock, attr + CLOCKID_OFFSET, 4);
		for (size_t i = 0; i < ARRAY_SIZE(clocks); i++)
			if (clocks[i].id == clock && !perf->info->clock)
				perf->info->clock = duplicate(clocks[i].name);
	}
}

static bool take_tracing_data(struct perf_data *perf, const uint8_t *data, size_t size)
{
	struct cursor cursor = cursor_over(data, size);
	const uint8_t *magic = cursor_bytes(&cursor, 10), *bytes;

	if (!magic || memcmp(magic, "\x17\x08\x44tracing", 10) != 0)
		return false;
	cursor_string(&cursor);
	bytes = cursor_bytes(&cursor, 2);
	cursor_u32(&cursor);
	if (!bytes || bytes[0] != 0 || bytes[1] != 8)
		return false;
	return tracing_headers(&cursor) && tracing_ftrace(&cursor, perf->formats) &&
	       tracing_systems(&cursor, perf->formats);
}

/* perf's strings: a length that includes padding, then text. */
static char *feature_string(const uint8_t *data, size_t size)
{
	return size > 4 ? formatted("%.*s", (int)(size - 4 < 200 ? size - 4 : 200), (const char *)data + 4) : NULL;
}

static void take_feature(struct perf_data *perf, unsigned feature, const uint8_t *data, size_t size)
{
	char *text = NULL;
	uint32_t cpus;

	switch (feature) {
	case FEATURE_TRACING_DATA:
		if (!take_tracing_data(perf, data, size))
			source_damaged(perf->info, "its event formats are cut short or damaged");
		break;
	case FEATURE_HOSTNAME:
	case FEATURE_RELEASE:
	case FEATURE_ARCH:
		text = feature_string(data, size);
		if (text && perf->info->machine) {
			char *both = formatted("%s %s", perf->info->machine, text);

			free(perf->info->machine);
			perf->info->machine = both;
		} else if (text) {
			perf->info->machine = duplicate(text);
		}
		break;
	case FEATURE_VERSION:
		text = feature_string(data, size);
		if (text && !perf->info->tool)
			perf->info->tool = formatted("perf %s", text);
		break;
	case FEATURE_CPUS:
		if (size >= 4) {
			memcpy(&cpus, data, 4);
			perf->info->cpus = cpus <= UINT16_MAX ? cpus : 0;
		}
		break;
	default:
		break;
	}
	free(text);
}

static void read_features(struct perf_data *perf, const uint8_t *bits, uint64_t place)
{
	for (unsigned feature = 0; feature < FEATURE_COUNT; feature++) {
		uint64_t where[2];
		uint8_t *data;

		if (!(bits[feature / 8] & 1u << feature % 8))
			continue;
		if (!file_read(&perf->file, place, where, sizeof(where)))
			return;
		place += sizeof(where);
		if (feature > FEATURE_CPUS || where[1] > TRACING_MAX)
			continue;
		data = file_piece(&perf->file, where[0], where[1]);
		if (data)
			take_feature(perf, feature, data, where[1]);
		free(data);
	}
}

static bool read_head(struct perf_data *perf, char **error)
{
	uint64_t head[HEAD_BYTES / 8] = {0}, attr_size, count;
	uint8_t attr[256];

	if (!file_read(&perf->file, 0, head, PIPE_HEAD_BYTES)) {
		*error = duplicate("perf.data: its head is cut short");
		return false;
	}
	if (head[1] == PIPE_HEAD_BYTES) {
		perf->at = PIPE_HEAD_BYTES;
		perf->end = perf->file.size;
		return true;
	}
	if (head[1] < HEAD_BYTES || !file_read(&perf->file, 0, head, HEAD_BYTES)) {
		*error = duplicate("perf.data: its head is cut short or damaged");
		return false;
	}
	attr_size = head[2];
	count = attr_size >= ATTR_MIN + 16 ? head[4] / attr_size : 0;
	for (uint64_t i = 0; i < count && i < ATTRS_MAX; i++) {
		size_t size = attr_size - 16 < sizeof(attr) ? attr_size - 16 : sizeof(attr);

		if (!file_read(&perf->file, head[3] + i * attr_size, attr, size))
			break;
		take_attr(perf, attr, size);
	}
	perf->at = head[5];
	perf->end = head[5] + head[6];
	if (head[6] == 0) {
		/* perf was stopped before it could write the size, and the features. */
		source_damaged(perf->info, "it was not closed: perf was stopped hard");
		perf->end = perf->file.size;
	}
	if (perf->end < perf->at || perf->end > perf->file.size) {
		source_damaged(perf->info, "the file ends at byte %llu, its records should reach to byte %llu",
		               (unsigned long long)perf->file.size, (unsigned long long)perf->end);
		perf->end = perf->file.size;
	}
	read_features(perf, (const uint8_t *)&head[9], head[5] + head[6]);
	return true;
}

/* ---- samples ------------------------------------------------------------------------ */

static bool skip_read(const struct perf_data *perf, struct cursor *cursor)
{
	uint64_t format = perf->read_format, values = 1, each = 1;

	each += (format & READ_ID ? 1 : 0) + (format & READ_LOST ? 1 : 0);
	if (format & READ_GROUP)
		values = cursor_u64(cursor);
	if (values > RECORD_MAX / 8)
		return false;
	cursor_bytes(cursor, 8 * (values * each + (format & READ_ENABLED ? 1 : 0) + (format & READ_RUNNING ? 1 : 0)));
	return !cursor->bad;
}

struct sample {
	uint32_t pid, tid, cpu;
	uint64_t time;
	const uint8_t *raw, *callers;
	uint32_t raw_size;
	size_t caller_count;
};

static bool read_sample(const struct perf_data *perf, const uint8_t *data, size_t size, struct sample *sample)
{
	struct cursor cursor = cursor_over(data, size);
	uint64_t type = perf->sample_type;

	*sample = (struct sample){0};
	cursor_bytes(&cursor, (type & SAMPLE_IDENTIFIER ? 8u : 0) + (type & SAMPLE_IP ? 8u : 0));
	if (type & SAMPLE_TID) {
		sample->pid = cursor_u32(&cursor);
		sample->tid = cursor_u32(&cursor);
	}
	if (type & SAMPLE_TIME)
		sample->time = cursor_u64(&cursor);
	cursor_bytes(&cursor, (type & SAMPLE_ADDR ? 8u : 0) + (type & SAMPLE_ID ? 8u : 0) +
	                              (type & SAMPLE_STREAM ? 8u : 0));
	if (type & SAMPLE_CPU) {
		sample->cpu = cursor_u32(&cursor);
		cursor_u32(&cursor);
	}
	cursor_bytes(&cursor, type & SAMPLE_PERIOD ? 8 : 0);
	if (type & SAMPLE_READ && !skip_read(perf, &cursor))
		return false;
	if (type & SAMPLE_CALLCHAIN) {
		uint64_t count = cursor_u64(&cursor);

		if (count > RECORD_MAX / 8)
			return false;
		sample->callers = cursor_bytes(&cursor, 8 * count);
		sample->caller_count = sample->callers ? count : 0;
	}
	if (!(type & SAMPLE_RAW))
		return false;
	sample->raw_size = cursor_u32(&cursor);
	sample->raw = cursor_bytes(&cursor, sample->raw_size);
	return sample->raw != NULL;
}

/* Other records bear the time near their end, where the attribute asked for it. */
static uint64_t time_of_other(const struct perf_data *perf, const uint8_t *data, size_t size)
{
	uint64_t type = perf->sample_type, time = 0;
	size_t behind = 0;

	if (!(perf->attr_flags & ATTR_SAMPLE_ID_ALL) || !(type & SAMPLE_TIME))
		return 0;
	behind = 8 * ((type & SAMPLE_ID ? 1u : 0) + (type & SAMPLE_STREAM ? 1u : 0) + (type & SAMPLE_CPU ? 1u : 0) +
	              (type & SAMPLE_IDENTIFIER ? 1u : 0) + 1);
	if (size >= behind)
		memcpy(&time, data + size - behind, 8);
	return time;
}

/* ---- order --------------------------------------------------------------------------- */

static bool before(const struct waiting *a, const struct waiting *b)
{
	return a->time < b->time || (a->time == b->time && a->order < b->order);
}

static void heap_add(struct perf_data *perf, struct waiting *waiting)
{
	size_t at = perf->heap_count++;

	if (perf->heap_count > perf->heap_room) {
		perf->heap_room = perf->heap_room ? perf->heap_room * 2 : 1024;
		perf->heap = reallocate(perf->heap, perf->heap_room * sizeof(*perf->heap));
	}
	while (at && before(waiting, perf->heap[(at - 1) / 2])) {
		perf->heap[at] = perf->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	perf->heap[at] = waiting;
}

static struct waiting *heap_take(struct perf_data *perf)
{
	struct waiting *first = perf->heap[0], *last = perf->heap[--perf->heap_count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= perf->heap_count)
			break;
		if (child + 1 < perf->heap_count && before(perf->heap[child + 1], perf->heap[child]))
			child++;
		if (!before(perf->heap[child], last))
			break;
		perf->heap[at] = perf->heap[child];
		at = child;
	}
	if (perf->heap_count)
		perf->heap[at] = last;
	return first;
}

static void wait_turn(struct perf_data *perf, uint64_t time, const uint8_t *record, size_t size)
{
	struct waiting *waiting = malloc(sizeof(*waiting) + size);

	if (!waiting) {
		complain("out of memory");
		exit(EXIT_FAILURE);
	}
	*waiting = (struct waiting){.time = time, .order = perf->order++, .size = (uint32_t)size};
	memcpy(waiting->data, record, size);
	if (time > perf->round_max)
		perf->round_max = time;
	heap_add(perf, waiting);
}

/* ---- records -------------------------------------------------------------------------- */

static void take_comm(struct perf_data *perf, const uint8_t *data, size_t size)
{
	struct cursor cursor = cursor_over(data, size);
	uint32_t tid;
	const char *name;

	cursor_u32(&cursor);
	tid = cursor_u32(&cursor);
	name = cursor_string(&cursor);
	if (!cursor.bad)
		thread_name_set(&perf->names, tid, name);
}

/*
 * A perf.data has addresses of the kernel and no names. The kernel that runs here is the
 * one that was recorded if it has the function by which perf tells where it lay.
 */
static void take_kernel(struct perf_data *perf, const uint8_t *data, size_t size)
{
	static const char map[] = "[kernel.kallsyms]";
	struct cursor cursor = cursor_over(data, size);
	const char *name;
	uint64_t address;
	FILE *from, *memory;
	char *text = NULL, *line = NULL, *sought;
	size_t length = 0, room = 0;
	bool same = false;

	cursor_bytes(&cursor, 24);
	address = cursor_u64(&cursor);
	name = cursor_string(&cursor);
	if (cursor.bad || !(perf->sample_type & SAMPLE_CALLCHAIN) || strncmp(name, map, sizeof(map) - 1) != 0 ||
	    !name[sizeof(map) - 1] || !address)
		return;
	sought = formatted("%016llx T %s\n", (unsigned long long)address, name + sizeof(map) - 1);
	from = fopen("/proc/kallsyms", "re");
	memory = open_memstream(&text, &length);
	while (from && memory && getline(&line, &room, from) > 0) {
		same |= strcmp(line, sought) == 0;
		fputs(line, memory);
	}
	if (from)
		fclose(from);
	if (memory)
		fclose(memory);
	if (same)
		formats_symbols(perf->formats, (const uint8_t *)text, length);
	free(sought);
	free(text);
	free(line);
}

static bool unpack_records(struct perf_data *perf, const uint8_t *data, size_t size)
{
	ZSTD_inBuffer in = {data, size, 0};

	if (!perf->zstd && !(perf->zstd = ZSTD_createDStream()))
		return false;
	if (perf->unpacked_end > perf->unpacked_at)
		memmove(perf->unpacked, perf->unpacked + perf->unpacked_at, perf->unpacked_end - perf->unpacked_at);
	perf->unpacked_end -= perf->unpacked_at;
	perf->unpacked_at = 0;
	while (in.pos < in.size) {
		ZSTD_outBuffer out;
		size_t left;

		if (perf->unpacked_room - perf->unpacked_end < RECORD_MAX) {
			if (perf->unpacked_room >= UNPACKED_MAX)
				return false;
			perf->unpacked_room = perf->unpacked_room ? 2 * perf->unpacked_room : 4 * RECORD_MAX;
			perf->unpacked = reallocate(perf->unpacked, perf->unpacked_room);
		}
		out = (ZSTD_outBuffer){perf->unpacked + perf->unpacked_end,
		                       perf->unpacked_room - perf->unpacked_end, 0};
		left = ZSTD_decompressStream(perf->zstd, &out, &in);
		if (ZSTD_isError(left))
			return false;
		perf->unpacked_end += out.pos;
	}
	return true;
}

static void take_record(struct perf_data *perf, const uint8_t *record, size_t size)
{
	uint32_t type, length;
	struct sample sample;

	memcpy(&type, record, 4);
	switch (type) {
	case RECORD_SAMPLE:
		if (read_sample(perf, record + 8, size - 8, &sample))
			wait_turn(perf, sample.time, record, size);
		else
			perf->info->foreign++;
		break;
	case RECORD_LOST:
	case RECORD_LOST_SAMPLES:
		wait_turn(perf, time_of_other(perf, record, size), record, size);
		break;
	case RECORD_MMAP:
		take_kernel(perf, record + 8, size - 8);
		break;
	case RECORD_COMM:
		take_comm(perf, record + 8, size - 8);
		break;
	case RECORD_ATTR:
		take_attr(perf, record + 8, size - 8);
		break;
	case RECORD_FEATURE:
		if (size >= 16) {
			uint64_t feature;

			memcpy(&feature, record + 8, 8);
			if (feature != FEATURE_TRACING_DATA && feature <= FEATURE_CPUS)
				take_feature(perf, (unsigned)feature, record + 16, size - 16);
		}
		break;
	case RECORD_FINISHED_ROUND:
		perf->safe = perf->round_max;
		break;
	case RECORD_TRACING_DATA:
		if (size >= 12) {
			uint8_t *data;

			memcpy(&length, record + 8, 4);
			data = length <= TRACING_MAX ? file_piece(&perf->file, perf->at, length) : NULL;
			if (!data || !take_tracing_data(perf, data, length))
				source_damaged(perf->info, "its event formats are cut short or damaged");
			free(data);
			perf->at += data ? (length + 7) & ~7u : 0;
		}
		break;
	case RECORD_COMPRESSED:
		if (!unpack_records(perf, record + 8, size - 8))
			source_damaged(perf->info, "the compressed record before byte %llu cannot be unpacked",
			               (unsigned long long)perf->at);
		break;
	default:
		break;
	}
}

static bool next_unpacked(struct perf_data *perf)
{
	size_t there = perf->unpacked_end - perf->unpacked_at;
	uint16_t size;

	if (there < 8)
		return false;
	memcpy(&size, perf->unpacked + perf->unpacked_at + 6, 2);
	if (size < 8) {
		perf->unpacked_at = perf->unpacked_end;
		source_damaged(perf->info, "a record of %u bytes in the compressed data before byte %llu", size,
		               (unsigned long long)perf->at);
		return false;
	}
	if (size > there)
		return false;
	memcpy(perf->record, perf->unpacked + perf->unpacked_at, size);
	perf->unpacked_at += size;
	take_record(perf, perf->record, size);
	return true;
}

/* One record more. False: there is none. */
static bool read_record(struct perf_data *perf)
{
	uint16_t size;

	if (next_unpacked(perf))
		return true;
	if (perf->at + 8 > perf->end)
		return false;
	if (!file_read(&perf->file, perf->at, perf->record, 8))
		return false;
	memcpy(&size, perf->record + 6, 2);
	if (size < 8 || perf->at + size > perf->end ||
	    !file_read(&perf->file, perf->at, perf->record, size)) {
		source_damaged(perf->info, "the record at byte %llu is cut short or damaged",
		               (unsigned long long)perf->at);
		perf->at = perf->end;
		return false;
	}
	perf->at += size;
	take_record(perf, perf->record, size);
	return true;
}

static bool sample_event(struct perf_data *perf, const struct waiting *waiting, struct source_event *event)
{
	struct sample sample;

	if (!read_sample(perf, waiting->data + 8, waiting->size - 8, &sample) ||
	    !formats_decode(perf->formats, sample.raw, sample.raw_size, event, perf->info)) {
		perf->info->foreign++;
		return false;
	}
	event->time = sample.time;
	event->cpu = sample.cpu;
	if (sample.caller_count)
		formats_take_callers(perf->formats, sample.callers, sample.caller_count, event);
	if (perf->sample_type & SAMPLE_TID) {
		event->pid = sample.tid;
		event->tgid = (int32_t)sample.pid;
	} else {
		event->tgid = -1;
	}
	memcpy(event->comm, thread_name(&perf->names, event->pid), sizeof(event->comm));
	return true;
}

static void lost_event(const struct waiting *waiting, struct source_event *event)
{
	uint32_t type;
	uint64_t count = 0;

	memcpy(&type, waiting->data, 4);
	if (type == RECORD_LOST && waiting->size >= 24)
		memcpy(&count, waiting->data + 16, 8);
	else if (type == RECORD_LOST_SAMPLES && waiting->size >= 16)
		memcpy(&count, waiting->data + 8, 8);
	*event = (struct source_event){.time = waiting->time, .tgid = -1, .id = EVENT_LOST, .name = "lost"};
	event_set(event, FIELD_COUNT_LOST, count);
}

static bool perf_data_next(void *reader, struct source_event *event)
{
	struct perf_data *perf = reader;

	for (;;) {
		uint32_t type;

		while (!perf->all_read && (!perf->heap_count || perf->heap[0]->time > perf->safe))
			perf->all_read = !read_record(perf);
		if (!perf->heap_count)
			return false;
		free(perf->out);
		perf->out = heap_take(perf);
		memcpy(&type, perf->out->data, 4);
		if (type != RECORD_SAMPLE) {
			lost_event(perf->out, event);
			return true;
		}
		if (sample_event(perf, perf->out, event))
			return true;
	}
}

static double perf_data_progress(const void *reader)
{
	const struct perf_data *perf = reader;

	return perf->file.size ? (double)perf->at / (double)perf->file.size : -1;
}

static void perf_data_close(void *reader)
{
	struct perf_data *perf = reader;

	while (perf->heap_count)
		free(perf->heap[--perf->heap_count]);
	free(perf->heap);
	free(perf->out);
	free(perf->names.names);
	free(perf->unpacked);
	ZSTD_freeDStream(perf->zstd);
	formats_free(perf->formats);
	file_close(&perf->file);
	free(perf);
}

const struct reader perf_data_reader = {perf_data_next, perf_data_progress, perf_data_close, NULL, NULL};

bool perf_data_open(void **reader, struct stream *stream, struct source_info *info, char **error)
{
	struct perf_data *perf = allocate(sizeof(*perf));
	bool ok = false;

	perf->file.fd = -1;
	perf->info = info;
	perf->formats = formats_new();
	if (!perf->formats)
		*error = duplicate("libtraceevent cannot be used");
	else if (file_of(&perf->file, stream_to_file(stream, error)))
		ok = read_head(perf, error);
	stream_close(stream);
	if (!ok) {
		if (!*error)
			*error = duplicate("perf.data cannot be read");
		perf_data_close(perf);
		return false;
	}
	info->kind = perf->at == PIPE_HEAD_BYTES ? "perf.data (from a pipe)" : "perf.data";
	info->nanoseconds = true;
	if (perf->mixed)
		source_damaged(info, "its events were recorded with different sample types; read as the first one");
	*reader = perf;
	return true;
}
