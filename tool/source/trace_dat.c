/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * trace.dat, versions 6 and 7 (man trace-cmd.dat.v6, trace-cmd.dat.v7): formats,
 * names of threads, then for each CPU the pages of its ring buffer. The CPUs'
 * events are merged by time.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#include "file.h"
#include "reader.h"
#include "ring_page.h"
#include "tracing_data.h"

enum {
	CPUS_MAX = 8192,
	LISTS_MAX = 64,
	PAGE_MAX = 1 << 20,
	CHUNK_MAX = 1 << 28,
	HEAD_MAX = 1 << 26,
	SECTION_MAX = 1 << 29,
	SECTION_HEAD = 16,
	SECTION_COMPRESSED = 1,
};

enum option_id {
	OPTION_DONE = 0,
	OPTION_CPUSTAT = 2,
	OPTION_BUFFER = 3,
	OPTION_CLOCK = 4,
	OPTION_UNAME = 5,
	OPTION_CPUCOUNT = 8,
	OPTION_VERSION = 9,
	OPTION_HEADERS = 16,
	OPTION_FTRACE = 17,
	OPTION_EVENTS = 18,
	OPTION_KALLSYMS = 19,
	OPTION_CMDLINES = 21,
};

/* What one CPU recorded. */
struct cpu {
	uint32_t number;
	uint64_t offset, end; /* what is still to be read of it in the file */
	bool chunked;         /* version 7, compressed */
	uint32_t chunks;      /* that are still to come */
	uint8_t *pages;       /* one page, or the pages of one chunk */
	size_t pages_at, pages_size;
	struct ring_page page;
	bool begun;
	const uint8_t *record; /* the next event */
	size_t record_size;
	uint64_t time;
	uint64_t missed; /* before it */
};

struct trace_dat {
	struct file file;
	struct source_info *info;
	struct formats *formats;
	struct thread_names names;
	unsigned version;
	uint32_t page_size;
	char packing[16];
	struct cpu *cpus;
	uint32_t cpu_count;
	uint32_t *heap, heap_count; /* CPUs that have an event, the earliest first */
	uint64_t data_done, data_total;
};

/* ---- sections ------------------------------------------------------------------- */

static bool unpack(const struct trace_dat *dat, const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
	if (strcmp(dat->packing, "zstd") == 0)
		return ZSTD_decompress(to, room, from, size) == room;
	if (strcmp(dat->packing, "zlib") == 0) {
		uLongf got = room;

		return uncompress(to, &got, from, size) == Z_OK && got == room;
	}
	return false;
}

/* Sizes of packed and unpacked data, then the data. *next is behind them. NULL: they cannot be had. */
static uint8_t *packed_piece(const struct trace_dat *dat, uint64_t offset, size_t max, size_t *size,
                             uint64_t *next)
{
	uint32_t sizes[2];
	uint8_t *packed, *data = NULL;

	/* What unpacks to more than a thousand times its size is no trace. */
	if (!file_read(&dat->file, offset, sizes, sizeof(sizes)) || sizes[1] > max || sizes[1] == 0 ||
	    sizes[1] / 1024 > (1 << 10) + (uint64_t)sizes[0])
		return NULL;
	packed = file_piece(&dat->file, offset + sizeof(sizes), sizes[0]);
	if (packed) {
		data = allocate(sizes[1]);
		if (unpack(dat, packed, sizes[0], data, sizes[1])) {
			*size = sizes[1];
			*next = offset + sizeof(sizes) + sizes[0];
		} else {
			free(data);
			data = NULL;
		}
	}
	free(packed);
	return data;
}

/* The data of the section at `offset` (the caller frees), and its flags. */
static uint8_t *section_at(const struct trace_dat *dat, uint64_t offset, size_t *size)
{
	uint8_t head[SECTION_HEAD];
	uint16_t flags;
	uint64_t length, next;
	uint8_t *data;

	if (!file_read(&dat->file, offset, head, sizeof(head)))
		return NULL;
	memcpy(&flags, head + 2, 2);
	memcpy(&length, head + 8, 8);
	if (flags & SECTION_COMPRESSED)
		return packed_piece(dat, offset + SECTION_HEAD, SECTION_MAX, size, &next);
	if (length > SECTION_MAX)
		return NULL;
	data = file_piece(&dat->file, offset + SECTION_HEAD, length);
	*size = length;
	return data;
}

static bool section_is_packed(const struct trace_dat *dat, uint64_t offset)
{
	uint8_t head[SECTION_HEAD];

	return file_read(&dat->file, offset, head, sizeof(head)) && head[2] & SECTION_COMPRESSED;
}

/* ---- what the head says ----------------------------------------------------------- */

static void take_cmdlines(struct trace_dat *dat, struct cursor *cursor)
{
	uint64_t size = cursor_u64(cursor);
	const uint8_t *text = cursor_bytes(cursor, size);

	if (text)
		tracing_cmdlines(text, size, &dat->names);
}

/* Functions of the kernel, for its stacks. */
static void take_symbols(struct trace_dat *dat, struct cursor *cursor)
{
	uint32_t size = cursor_u32(cursor);
	const uint8_t *text = cursor_bytes(cursor, size);

	if (text)
		formats_symbols(dat->formats, text, size);
}

static void replace(char **text, const uint8_t *data, size_t size)
{
	free(*text);
	*text = formatted("%.*s", (int)(size < 200 ? size : 200), (const char *)data);
}

/* "clocks: local [mono] boot" names the one in use in brackets. */
static void take_clock(struct source_info *info, const uint8_t *data, size_t size)
{
	const uint8_t *open = memchr(data, '[', size);
	const uint8_t *close = open ? memchr(open, ']', size - (size_t)(open - data)) : NULL;

	if (close)
		replace(&info->clock, open + 1, (size_t)(close - open - 1));
	else
		replace(&info->clock, data, strnlen((const char *)data, size));
}

/* "... overrun: 0 ... dropped events: 0": of a CPU whose buffer was full. */
static void take_cpustat(struct source_info *info, const uint8_t *data, size_t size)
{
	static const char *const words[] = {"\noverrun: ", "dropped events: "};
	char *text = strndup((const char *)data, size);

	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++) {
		const char *at = strstr(text, words[i]);
		unsigned long long count = at ? strtoull(at + strlen(words[i]), NULL, 10) : 0;

		if (count)
			source_damaged(info, "%llu events were lost while recording (%s)", count,
			               words[i][0] == '\n' ? "overrun" : "dropped");
	}
	free(text);
}

static void take_buffer(struct trace_dat *dat, struct cursor *cursor)
{
	uint64_t offset = cursor_u64(cursor);
	const char *name = cursor_string(cursor), *clock = cursor_string(cursor);
	uint32_t page = cursor_u32(cursor), count = cursor_u32(cursor);
	bool packed = section_is_packed(dat, offset);

	(void)name;
	if (cursor->bad || count > CPUS_MAX)
		return;
	if (*clock)
		take_clock(dat->info, (const uint8_t *)clock, strlen(clock));
	if (page >= 4096 && page <= PAGE_MAX)
		dat->page_size = page;
	for (uint32_t i = 0; i < count && !cursor->bad; i++) {
		struct cpu cpu = {
			.number = cursor_u32(cursor),
			.offset = cursor_u64(cursor),
			.chunked = packed,
		};

		cpu.end = cpu.offset + cursor_u64(cursor);
		if (cursor->bad || cpu.end <= cpu.offset || dat->cpu_count >= CPUS_MAX)
			continue;
		dat->cpus = reallocate(dat->cpus, (dat->cpu_count + 1) * sizeof(*dat->cpus));
		dat->cpus[dat->cpu_count++] = cpu;
	}
}

static void take_section(struct trace_dat *dat, unsigned id, uint64_t offset)
{
	size_t size = 0;
	uint8_t *data = section_at(dat, offset, &size);
	struct cursor cursor = cursor_over(data, size);

	if (!data) {
		source_damaged(dat->info, "the section at byte %llu cannot be read", (unsigned long long)offset);
		return;
	}
	if (id == OPTION_FTRACE)
		tracing_ftrace(&cursor, dat->formats);
	else if (id == OPTION_EVENTS)
		tracing_systems(&cursor, dat->formats);
	else if (id == OPTION_KALLSYMS)
		take_symbols(dat, &cursor);
	else if (id == OPTION_CMDLINES)
		take_cmdlines(dat, &cursor);
	free(data);
}

static void take_option(struct trace_dat *dat, unsigned id, const uint8_t *data, uint32_t size)
{
	struct cursor cursor = cursor_over(data, size);
	uint32_t count;

	switch (id) {
	case OPTION_CPUSTAT:
		take_cpustat(dat->info, data, size);
		break;
	case OPTION_CLOCK:
		take_clock(dat->info, data, size);
		break;
	case OPTION_UNAME:
		replace(&dat->info->machine, data, size);
		break;
	case OPTION_VERSION:
		replace(&dat->info->tool, data, size);
		break;
	case OPTION_CPUCOUNT:
		count = cursor_u32(&cursor);
		if (!cursor.bad && count <= CPUS_MAX)
			dat->info->cpus = count;
		break;
	case OPTION_BUFFER:
		if (dat->version >= 7)
			take_buffer(dat, &cursor);
		break;
	case OPTION_FTRACE:
	case OPTION_EVENTS:
	case OPTION_KALLSYMS:
	case OPTION_CMDLINES:
		if (dat->version >= 7)
			take_section(dat, id, cursor_u64(&cursor));
		break;
	default:
		break;
	}
}

/* False at the end of the list; then *next is where it goes on. */
static bool next_option(struct trace_dat *dat, struct cursor *cursor, uint64_t *next)
{
	unsigned id = cursor_u16(cursor);
	uint32_t size;
	const uint8_t *data;

	if (id == OPTION_DONE && dat->version < 7)
		return false;
	size = cursor_u32(cursor);
	data = cursor_bytes(cursor, size);
	if (!data)
		return false;
	if (id == OPTION_DONE) {
		struct cursor end = cursor_over(data, size);

		*next = cursor_u64(&end);
		return false;
	}
	take_option(dat, id, data, size);
	return true;
}

static bool open_version_7(struct trace_dat *dat, struct cursor *head, char **error)
{
	uint64_t offset;

	snprintf(dat->packing, sizeof(dat->packing), "%s", cursor_string(head));
	cursor_string(head);
	offset = cursor_u64(head);
	if (head->bad) {
		*error = duplicate("trace.dat: its head is cut short");
		return false;
	}
	/* Few lists of options are usual; a ring of them would have no end. */
	for (unsigned lists = 0; offset && lists < LISTS_MAX; lists++) {
		size_t size = 0;
		uint8_t *data = section_at(dat, offset, &size);
		struct cursor cursor = cursor_over(data, size);
		uint64_t next = 0;

		if (!data) {
			source_damaged(dat->info, "the options at byte %llu cannot be read", (unsigned long long)offset);
			break;
		}
		while (next_option(dat, &cursor, &next))
			;
		free(data);
		offset = next;
	}
	return true;
}

static bool open_version_6(struct trace_dat *dat, struct cursor *cursor, char **error)
{
	const char *word;
	uint32_t count;
	uint64_t next;

	tracing_headers(cursor);
	tracing_ftrace(cursor, dat->formats);
	tracing_systems(cursor, dat->formats);
	take_symbols(dat, cursor);
	cursor_bytes(cursor, cursor_u32(cursor)); /* printk formats */
	take_cmdlines(dat, cursor);
	count = cursor_u32(cursor);
	word = (const char *)cursor_bytes(cursor, 10);
	if (word && memcmp(word, "options  ", 10) == 0) {
		while (next_option(dat, cursor, &next))
			;
		word = (const char *)cursor_bytes(cursor, 10);
	}
	if (!word || count > CPUS_MAX) {
		*error = duplicate("trace.dat: its head is cut short or damaged");
		return false;
	}
	if (memcmp(word, "flyrecord", 10) != 0) {
		*error = duplicate("trace.dat holds a latency trace, as text without its events' fields");
		return false;
	}
	dat->cpus = allocate(count * sizeof(*dat->cpus));
	for (uint32_t i = 0; i < count; i++) {
		struct cpu cpu = {.number = i, .offset = cursor_u64(cursor)};

		cpu.end = cpu.offset + cursor_u64(cursor);
		if (!cursor->bad && cpu.end > cpu.offset)
			dat->cpus[dat->cpu_count++] = cpu;
	}
	if (!dat->info->cpus)
		dat->info->cpus = count;
	return true;
}

/* ---- events ------------------------------------------------------------------------- */

/* More pages of this CPU. */
static bool more_pages(struct trace_dat *dat, struct cpu *cpu)
{
	uint64_t next;

	if (cpu->chunked) {
		free(cpu->pages);
		cpu->pages = NULL;
		if (!cpu->begun && !file_read(&dat->file, cpu->offset, &cpu->chunks, sizeof(cpu->chunks)))
			cpu->chunks = 0;
		if (!cpu->begun)
			cpu->offset += sizeof(cpu->chunks);
		cpu->begun = true;
		if (cpu->chunks == 0)
			return false;
		cpu->chunks--;
		cpu->pages = packed_piece(dat, cpu->offset, CHUNK_MAX, &cpu->pages_size, &next);
		if (!cpu->pages) {
			source_damaged(dat->info, "the events of CPU %u at byte %llu cannot be unpacked", cpu->number,
			               (unsigned long long)cpu->offset);
			return false;
		}
		dat->data_done += next - cpu->offset;
		cpu->offset = next;
		cpu->pages_at = 0;
		return true;
	}
	if (cpu->offset >= cpu->end)
		return false;
	if (!cpu->pages)
		cpu->pages = allocate(dat->page_size);
	if (!file_read(&dat->file, cpu->offset, cpu->pages, dat->page_size)) {
		source_damaged(dat->info, "the file ends at byte %llu, within the events of CPU %u",
		               (unsigned long long)dat->file.size, cpu->number);
		return false;
	}
	cpu->pages_at = 0;
	cpu->pages_size = dat->page_size;
	cpu->offset += dat->page_size;
	dat->data_done += dat->page_size;
	return true;
}

static bool next_page(struct trace_dat *dat, struct cpu *cpu)
{
	if (cpu->page.damaged) {
		source_damaged(dat->info, "a page of CPU %u before byte %llu is damaged", cpu->number,
		               (unsigned long long)cpu->offset);
		cpu->missed += cpu->missed == UINT64_MAX ? 0 : 1;
	}
	if (!cpu->pages || cpu->pages_at + dat->page_size > cpu->pages_size) {
		if (!more_pages(dat, cpu))
			return false;
	}
	if (cpu->pages_at + dat->page_size > cpu->pages_size)
		return false;
	if (!ring_page_open(&cpu->page, cpu->pages + cpu->pages_at, dat->page_size))
		cpu->page.damaged = true;
	cpu->pages_at += dat->page_size;
	if (cpu->page.missed == UINT64_MAX || cpu->missed > UINT64_MAX - cpu->page.missed)
		cpu->missed = UINT64_MAX;
	else
		cpu->missed += cpu->page.missed;
	return true;
}

static bool advance(struct trace_dat *dat, struct cpu *cpu)
{
	while (!cpu->page.at || !ring_page_next(&cpu->page, &cpu->record, &cpu->record_size, &cpu->time)) {
		if (!next_page(dat, cpu))
			return false;
	}
	return true;
}

static bool earlier(const struct trace_dat *dat, uint32_t a, uint32_t b)
{
	return dat->cpus[a].time < dat->cpus[b].time || (dat->cpus[a].time == dat->cpus[b].time && a < b);
}

static void sift_down(struct trace_dat *dat, uint32_t at)
{
	for (;;) {
		uint32_t least = at, left = 2 * at + 1, moved;

		for (uint32_t child = left; child <= left + 1 && child < dat->heap_count; child++)
			if (earlier(dat, dat->heap[child], dat->heap[least]))
				least = child;
		if (least == at)
			return;
		moved = dat->heap[at];
		dat->heap[at] = dat->heap[least];
		dat->heap[least] = moved;
		at = least;
	}
}

static void lost_event(struct cpu *cpu, struct source_event *event)
{
	*event = (struct source_event){
		.time = cpu->time,
		.tgid = -1,
		.cpu = cpu->number,
		.id = EVENT_LOST,
		.name = "lost",
	};
	event_set(event, FIELD_COUNT_LOST, cpu->missed == UINT64_MAX ? 0 : cpu->missed);
	cpu->missed = 0;
}

static bool trace_dat_next(void *reader, struct source_event *event)
{
	struct trace_dat *dat = reader;

	while (dat->heap_count) {
		struct cpu *cpu = &dat->cpus[dat->heap[0]];
		bool good, more;

		if (cpu->missed) {
			lost_event(cpu, event);
			return true;
		}
		event->time = cpu->time;
		event->cpu = cpu->number;
		event->tgid = -1;
		good = formats_decode(dat->formats, cpu->record, cpu->record_size, event, dat->info);
		if (good)
			memcpy(event->comm, thread_name(&dat->names, event->pid), sizeof(event->comm));
		else
			dat->info->foreign++;
		more = advance(dat, cpu);
		/* Its stack comes right after an event, unless something is missing in between. */
		if (good && more && !cpu->missed &&
		    formats_take_stack(dat->formats, cpu->record, cpu->record_size, event)) {
			dat->info->events++;
			dat->info->counts[EVENT_STACK]++;
			more = advance(dat, cpu);
		}
		if (!more)
			dat->heap[0] = dat->heap[--dat->heap_count];
		sift_down(dat, 0);
		if (good)
			return true;
	}
	return false;
}

static double trace_dat_progress(const void *reader)
{
	const struct trace_dat *dat = reader;

	return dat->data_total ? (double)dat->data_done / (double)dat->data_total : -1;
}

static void trace_dat_close(void *reader)
{
	struct trace_dat *dat = reader;

	for (uint32_t i = 0; i < dat->cpu_count; i++)
		free(dat->cpus[i].pages);
	free(dat->cpus);
	free(dat->heap);
	free(dat->names.names);
	formats_free(dat->formats);
	file_close(&dat->file);
	free(dat);
}

static int trace_dat_file(const void *state)
{
	const struct trace_dat *dat = state;

	return dat->file.fd;
}

const struct reader trace_dat_reader = {trace_dat_next, trace_dat_progress, trace_dat_close, NULL, trace_dat_file};

static void begin(struct trace_dat *dat)
{
	dat->heap = allocate(dat->cpu_count * sizeof(*dat->heap));
	for (uint32_t i = 0; i < dat->cpu_count; i++) {
		uint64_t size = dat->cpus[i].end - dat->cpus[i].offset;

		/* No two CPUs share bytes, so together they are no more than the file. */
		if (size > dat->file.size - dat->data_total) {
			source_damaged(dat->info, "CPU %u: %llu bytes of events at byte %llu do not lie in the file",
			               dat->cpus[i].number, (unsigned long long)size,
			               (unsigned long long)dat->cpus[i].offset);
			size = dat->file.size - dat->data_total;
			dat->cpus[i].end = dat->cpus[i].offset + size;
		}
		dat->data_total += size;
		if (advance(dat, &dat->cpus[i]))
			dat->heap[dat->heap_count++] = i;
	}
	for (uint32_t i = dat->heap_count / 2 + 1; i-- > 0;)
		sift_down(dat, i);
	thread_names_sort(&dat->names);
}

static bool open_head(struct trace_dat *dat, struct cursor *cursor, char **error)
{
	const uint8_t *bytes;

	cursor_bytes(cursor, 10);
	dat->version = (unsigned)strtoul(cursor_string(cursor), NULL, 10);
	bytes = cursor_bytes(cursor, 2);
	dat->page_size = cursor_u32(cursor);
	if (cursor->bad) {
		*error = duplicate("trace.dat: its head is cut short");
		return false;
	}
	if (dat->version != 6 && dat->version != 7) {
		*error = formatted("trace.dat of version %u; versions 6 and 7 can be read", dat->version);
		return false;
	}
	if (bytes[0] != 0 || bytes[1] != 8) {
		*error = duplicate("trace.dat of a machine that is not x86-64");
		return false;
	}
	if (dat->page_size < 4096 || dat->page_size > PAGE_MAX) {
		*error = formatted("trace.dat with pages of %u bytes: its head is damaged", dat->page_size);
		return false;
	}
	return dat->version == 7 ? open_version_7(dat, cursor, error) : open_version_6(dat, cursor, error);
}

bool trace_dat_open(void **reader, struct stream *stream, struct source_info *info, char **error)
{
	struct trace_dat *dat = allocate(sizeof(*dat));
	struct cursor cursor;
	uint8_t *head = NULL;
	uint64_t size;
	bool ok = false;

	dat->file.fd = -1;
	dat->info = info;
	dat->formats = formats_new();
	if (!dat->formats) {
		*error = duplicate("libtraceevent cannot be used");
	} else if (file_of(&dat->file, stream_to_file(stream, error))) {
		size = dat->file.size < HEAD_MAX ? dat->file.size : HEAD_MAX;
		head = file_piece(&dat->file, 0, size);
		cursor = cursor_over(head, size);
		ok = head && open_head(dat, &cursor, error);
	}
	free(head);
	stream_close(stream);
	if (!ok) {
		if (!*error)
			*error = duplicate("trace.dat cannot be read");
		trace_dat_close(dat);
		return false;
	}
	info->kind = dat->version == 6 ? "trace.dat version 6" : "trace.dat version 7";
	info->nanoseconds = true;
	begin(dat);
	*reader = dat;
	return true;
}
