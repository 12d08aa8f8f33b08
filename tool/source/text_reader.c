/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text of tracefs, of trace-cmd report and of perf script:
 *
 *     tvmm-173     (    173) [000] ...2.     4.242510: kvm_mmu_get_page: sp gen 0 ...
 *     tvmm-232     [000]    15.708939: kvm_mmu_get_page:     new sp gfn 0 ...
 *     tvmm   239 [000]    21.127650:         kvmmmu:kvm_mmu_get_page: new sp ...
 *
 * The name of a thread may hold spaces, dashes and brackets ("CPU 0/KVM"), so the
 * line is read from "[cpu]" outwards.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../fact/origin.h"
#include "reader.h"

enum { NS_PER_SECOND = 1000000000,
       NOTE_MAX = STREAM_PEEK_MAX };

struct text {
	struct stream *stream;
	struct source_info *info;
	uint64_t line;
	uint64_t last_time;
	char name[64], note[NOTE_MAX + 1];
	/* An event that a stack may follow waits for the next one, unless that may be long in coming. */
	struct source_event held;
	bool holds, following;
	struct source_event next; /* came after it */
	bool after;
};

/* The parts of a line that tells of an event. */
struct parts {
	const char *comm, *comm_end;
	uint32_t pid, cpu;
	int32_t tgid;
	uint64_t time;
	bool nanoseconds;
	const char *name, *name_end;
	const char *text;
};

static const char *skip_spaces(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

static const char *read_decimal(const char *at, const char *end, uint64_t *value)
{
	const char *start = at;
	uint64_t n = 0;

	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		if (n > UINT64_MAX / 10 - 1)
			return NULL;
		n = n * 10 + (uint64_t)(*at - '0');
	}
	*value = n;
	return at > start ? at : NULL;
}

/* "4.242510:", "15.708939123:", "123456:" (a clock that only counts) */
static const char *read_time(const char *at, const char *end, struct parts *parts)
{
	uint64_t whole, fraction = 0;
	unsigned digits = 0;

	at = read_decimal(at, end, &whole);
	if (!at || at == end)
		return NULL;
	if (*at == ':') {
		parts->time = whole;
		parts->nanoseconds = true;
		return at + 1;
	}
	if (*at != '.' || whole > UINT64_MAX / NS_PER_SECOND - 1)
		return NULL;
	for (at++; at < end && *at >= '0' && *at <= '9'; at++) {
		if (digits < 9) {
			fraction = fraction * 10 + (uint64_t)(*at - '0');
			digits++;
		}
	}
	parts->nanoseconds = digits > 6;
	for (; digits < 9; digits++)
		fraction *= 10;
	parts->time = whole * NS_PER_SECOND + fraction;
	return at < end && *at == ':' ? at + 1 : NULL;
}

/* Backwards from `end`: the last number there; its first digit, or NULL. */
static const char *number_before(const char *start, const char *end, uint64_t *value)
{
	const char *at = end;

	while (at > start && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return read_decimal(at, end, value) ? at : NULL;
}

/* "comm-pid  (tgid) ", "comm-pid ", "comm  pid ", "comm  pid/tid " */
static bool read_thread(const char *start, const char *end, struct parts *parts)
{
	uint64_t value;
	const char *at;

	while (end > start && end[-1] == ' ')
		end--;
	parts->tgid = -1;
	if (end > start && end[-1] == ')') {
		const char *open = end - 1;

		while (open > start && *open != '(')
			open--;
		if (*open != '(')
			return false;
		at = number_before(open, end - 1, &value);
		if (at && value <= INT32_MAX)
			parts->tgid = (int32_t)value;
		for (end = open; end > start && end[-1] == ' ';)
			end--;
	}
	at = number_before(start, end, &value);
	if (!at || value > INT32_MAX || at == start)
		return false;
	parts->pid = (uint32_t)value;
	if (at[-1] == '/') {
		/* perf: process and thread. */
		at = number_before(start, at - 1, &value);
		if (!at || at == start || value > INT32_MAX)
			return false;
		parts->tgid = (int32_t)value;
	}
	end = at - 1;
	if (*end != '-' && *end != ' ')
		return false;
	while (end > start && end[-1] == ' ')
		end--;
	parts->comm = start;
	parts->comm_end = end;
	return true;
}

/* The name of an event, "kvm:" before it left out, and where its text begins. */
static bool read_name(const char *at, const char *end, struct parts *parts)
{
	static const char mark[] = "<stack trace", stack[] = " kernel_stack";
	const char *start = skip_spaces(at, end);

	/* tracefs does not name that event. */
	if ((size_t)(end - start) >= sizeof(mark) - 1 && memcmp(start, mark, sizeof(mark) - 1) == 0) {
		parts->name = stack + 1;
		parts->name_end = stack + sizeof(stack) - 1;
		parts->text = end;
		return true;
	}
	for (at = start; at < end && *at != ' '; at++) {
		if (*at == ':' && (at + 1 == end || at[1] == ' ')) {
			parts->name = start;
			parts->name_end = at;
			parts->text = skip_spaces(at + 1, end);
			return at > start;
		}
		if (*at == ':')
			start = at + 1;
	}
	return false;
}

/* From behind "[cpu]": perhaps flags, the time, the name. */
static bool read_rest(const char *at, const char *end, struct parts *parts)
{
	const char *time;

	at = skip_spaces(at, end);
	time = read_time(at, end, parts);
	if (!time) {
		while (at < end && *at != ' ')
			at++;
		time = read_time(skip_spaces(at, end), end, parts);
	}
	return time && read_name(time, end, parts);
}

static bool read_parts(const char *line, size_t length, struct parts *parts)
{
	const char *start = skip_spaces(line, line + length), *end = line + length, *at = start;

	while (at < end && (at = memchr(at, '[', (size_t)(end - at)))) {
		uint64_t cpu;
		const char *close = read_decimal(at + 1, end, &cpu);

		if (close && close < end && *close == ']' && cpu <= UINT16_MAX &&
		    read_rest(close + 1, end, parts) && read_thread(start, at, parts)) {
			parts->cpu = (uint32_t)cpu;
			return true;
		}
		at++;
	}
	return false;
}

bool text_line_is_event(const char *line, size_t length, const char **name, size_t *name_length)
{
	struct parts parts;

	if (!read_parts(line, length, &parts))
		return false;
	*name = parts.name;
	*name_length = (size_t)(parts.name_end - parts.name);
	return true;
}

/* "CPU:0 [LOST 123 EVENTS]", "CPU:0 [123 EVENTS DROPPED]", "CPU:0 [EVENTS DROPPED]" */
static bool read_loss(struct text *text, const char *line, size_t length, struct source_event *event)
{
	const char *end = line + length, *at = skip_spaces(line, end);
	uint64_t count = 0, cpu = 0;

	if ((size_t)(end - at) < 6 || memcmp(at, "CPU:", 4) != 0)
		return false;
	at = read_decimal(at + 4, end, &cpu);
	at = at ? skip_spaces(at, end) : NULL;
	if (!at || at == end || *at != '[' || !memmem(at, (size_t)(end - at), "EVENTS", 6))
		return false;
	while (at < end && !isdigit((unsigned char)*at))
		at++;
	read_decimal(at, end, &count);
	*event = (struct source_event){
		.time = text->last_time,
		.tgid = -1,
		.cpu = (uint32_t)cpu,
		.id = EVENT_LOST,
		.name = "lost",
	};
	event_set(event, FIELD_COUNT_LOST, count);
	return true;
}

/* "# entries-in-buffer/entries-written: 40/185210   #P:1": the first ones were overwritten. */
static bool read_heading(struct text *text, const char *line, size_t length, struct source_event *event)
{
	static const char entries[] = "entries-in-buffer/entries-written:";
	const char *end = line + length, *at = memmem(line, length, entries, sizeof(entries) - 1);
	uint64_t there, written, cpus;

	if (!at)
		return false;
	at = read_decimal(skip_spaces(at + sizeof(entries) - 1, end), end, &there);
	if (!at || at == end || *at != '/' || !(at = read_decimal(at + 1, end, &written)))
		return false;
	at = memmem(at, (size_t)(end - at), "#P:", 3);
	if (at && read_decimal(at + 3, end, &cpus) && cpus <= UINT16_MAX)
		text->info->cpus = (unsigned)cpus;
	if (written <= there)
		return false;
	*event = (struct source_event){.time = 0, .tgid = -1, .id = EVENT_LOST, .name = "lost"};
	event_set(event, FIELD_COUNT_LOST, written - there);
	return true;
}

static bool take_note(struct text *text, const struct parts *parts, const char *end,
                      struct source_event *event)
{
	const char *at = memmem(parts->text, (size_t)(end - parts->text), "vmmu: ", 6);
	size_t length;

	if (!at)
		return false;
	at += 6;
	length = (size_t)(end - at) < NOTE_MAX ? (size_t)(end - at) : NOTE_MAX;
	memcpy(text->note, at, length);
	text->note[length] = '\0';
	event->note = text->note;
	return true;
}

static void fill_event(struct text *text, const struct parts *parts, const char *end,
                       struct source_event *event)
{
	size_t comm = (size_t)(parts->comm_end - parts->comm);
	size_t name = (size_t)(parts->name_end - parts->name);

	event->time = text->last_time = parts->time;
	event->pid = parts->pid;
	event->tgid = parts->tgid;
	event->cpu = parts->cpu;
	event->have = 0;
	event->id = event_named(parts->name, name);
	if (comm >= sizeof(event->comm))
		comm = sizeof(event->comm) - 1;
	memcpy(event->comm, parts->comm, comm);
	event->comm[comm] = '\0';
	if (name >= sizeof(text->name))
		name = sizeof(text->name) - 1;
	memcpy(text->name, parts->name, name);
	text->name[name] = '\0';
	event->name = text->name;
	text->info->nanoseconds |= parts->nanoseconds;
	if (event->id == EVENT_NOTE && !take_note(text, parts, end, event))
		event->id = EVENT_OTHER;
	if (event->id == EVENT_OTHER)
		source_count_other(text->info, parts->name, (size_t)(parts->name_end - parts->name));
	else if (event->id != EVENT_NOTE)
		event_read_text(event, parts->text, end);
}

/* " => function", " => function (address)", or from perf script "  address function+0x12 ([module])". */
static bool take_caller(struct text *text, const char *line, size_t length)
{
	const char *at = skip_spaces(line, line + length), *end = line + length, *start = at;

	if (end - at > 3 && memcmp(at, "=>", 2) == 0) {
		at = skip_spaces(at + 2, end);
	} else {
		while (at < end && isxdigit((unsigned char)*at))
			at++;
		if (at - start < 4 || at == end || *at != ' ')
			return false;
		at = skip_spaces(at, end);
	}
	start = at;
	while (at < end && (isalnum((unsigned char)*at) || *at == '_' || *at == '.'))
		at++;
	if (text->holds && at > start)
		event_set(&text->held, FIELD_ORIGIN,
		          fact_origin_better(event_has(&text->held, FIELD_ORIGIN) ? text->held.field[FIELD_ORIGIN]
		                                                                  : FACT_ORIGIN_NONE,
		                             start, (size_t)(at - start)));
	return true;
}

/* A line that belongs to the event before it, or a heading. */
static bool is_silent(const char *line, size_t length)
{
	const char *at = skip_spaces(line, line + length), *end = line + length;

	if (at == end || *at == '#')
		return true;
	return (size_t)(end - at) > 5 && (memcmp(at, "cpus=", 5) == 0 || memcmp(at, "version", 5) == 0);
}

/* The stacks of others say why something was taken away; those of faults and exits say nothing new. */
static bool may_have_stack(enum event_id id)
{
	return id == EVENT_SPTE_CHANGED || id == EVENT_ZAP_ALL || id == EVENT_UNMAP;
}

/* The event that waited, with what came before the next one. */
static bool give_held(struct text *text, struct source_event *event)
{
	if (!text->holds)
		return false;
	text->holds = false;
	*event = text->held;
	return true;
}

/* The next event of a line that is one; or of a loss. False: it was a line of another kind. */
static bool take_line(struct text *text, const char *line, size_t length, struct source_event *event)
{
	struct parts parts;
	uint64_t cpus;

	if (length && line[0] == '#')
		return read_heading(text, line, length, event);
	if (read_parts(line, length, &parts)) {
		fill_event(text, &parts, line + length, event);
		return true;
	}
	if (read_loss(text, line, length, event))
		return true;
	if (take_caller(text, line, length))
		return false;
	if (!is_silent(line, length)) {
		text->info->foreign++;
		source_damaged(text->info, "line %llu is no event", (unsigned long long)text->line);
	} else if (length > 5 && memcmp(line, "cpus=", 5) == 0 && read_decimal(line + 5, line + length, &cpus) &&
	           cpus <= UINT16_MAX) {
		text->info->cpus = (unsigned)cpus;
	}
	return false;
}

static bool text_next(void *reader, struct source_event *event)
{
	struct text *text = reader;
	struct source_event next;
	const char *line;
	size_t length;

	if (text->after) {
		text->after = false;
		*event = text->next;
		return true;
	}
	while (stream_line(text->stream, &line, &length)) {
		text->line++;
		if (!take_line(text, line, length, &next))
			continue;
		/* "kernel_stack: <stack trace>": its functions follow, for the event that waits. */
		if (next.id == EVENT_STACK) {
			text->info->events++;
			text->info->counts[EVENT_STACK]++;
			if (text->holds && next.pid != text->held.pid)
				return give_held(text, event);
			continue;
		}
		if (may_have_stack(next.id) && !text->following) {
			bool given = give_held(text, event);

			text->held = next;
			text->held.name = event_kinds[next.id].name;
			text->holds = true;
			if (given)
				return true;
			continue;
		}
		if (give_held(text, event)) {
			text->next = next;
			text->after = true;
			return true;
		}
		*event = next;
		return true;
	}
	if (give_held(text, event))
		return true;
	if (stream_damage(text->stream))
		source_damaged(text->info, "%s", stream_damage(text->stream));
	return false;
}

static double text_progress(const void *reader)
{
	const struct text *text = reader;
	uint64_t total = stream_total(text->stream);

	return total ? (double)stream_done(text->stream) / (double)total : -1;
}

static void text_close(void *reader)
{
	struct text *text = reader;

	stream_close(text->stream);
	free(text);
}

static void text_follow(void *reader)
{
	struct text *text = reader;

	text->following = true;
	stream_follow(text->stream);
}

const struct reader text_reader = {text_next, text_progress, text_close, text_follow, NULL};

/* Which tool's text it is, by its first lines. */
static const char *kind_of(struct stream *stream)
{
	const uint8_t *data;
	size_t size = stream_there(stream, &data);
	const char *text = (const char *)data, *end = text + size;

	for (const char *line = text; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		struct parts parts;
		size_t length = (size_t)((stop ? stop : end) - line);

		if (length > 9 && memcmp(line, "# tracer:", 9) == 0)
			return "text of tracefs";
		if (length > 5 && memcmp(line, "cpus=", 5) == 0)
			return "text of trace-cmd report";
		if (read_parts(line, length, &parts)) {
			if (parts.name > line && parts.name[-1] == ':')
				return "text of perf script";
			return "text of tracefs or trace-cmd";
		}
		line += length + 1;
	}
	return "text of a trace";
}

bool text_reader_open(void **reader, struct stream *stream, struct source_info *info, char **error)
{
	struct text *text = allocate(sizeof(*text));

	(void)error;
	text->stream = stream;
	text->info = info;
	info->kind = kind_of(stream);
	*reader = text;
	return true;
}
