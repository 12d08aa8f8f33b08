/* SPDX-License-Identifier: BSD-2-Clause */
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include <vmmu/trace.h>

#include "reader.h"

enum { OTHERS_MAX = 1000 };

struct source {
	const struct reader *reader;
	void *state;
	struct source_info info;
};

void source_count_other(struct source_info *info, const char *name, size_t length)
{
	static const char rest[] = "(more)";

	for (size_t i = 0; i < info->other_count; i++) {
		struct source_count *other = &info->others[i];

		if (strlen(other->name) == length && memcmp(other->name, name, length) == 0) {
			other->count++;
			/* The frequent ones come first. */
			if (i && other->count > info->others[i - 1].count) {
				struct source_count moved = *other;

				*other = info->others[i - 1];
				info->others[i - 1] = moved;
			}
			return;
		}
	}
	if (info->other_count >= OTHERS_MAX) {
		name = rest;
		length = sizeof(rest) - 1;
		if (strcmp(info->others[info->other_count - 1].name, rest) == 0) {
			info->others[info->other_count - 1].count++;
			return;
		}
	}
	info->others = reallocate(info->others, (info->other_count + 1) * sizeof(*info->others));
	info->others[info->other_count++] = (struct source_count){formatted("%.*s", (int)length, name), 1};
}

void source_damaged(struct source_info *info, const char *format, ...)
{
	va_list arguments;

	if (info->damage)
		return;
	va_start(arguments, format);
	info->damage = formatted_v(format, arguments);
	va_end(arguments);
}

static bool is_text(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] < ' ' && data[i] != '\n' && data[i] != '\t' && data[i] != '\r' && data[i] != '\033')
			return false;
	return true;
}

/* Text of a recording: a heading that only they have, or a line that tells of an event. */
static bool is_trace_text(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = text + size;

	if (!is_text(data, size))
		return false;
	for (const char *line = text; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line)), *name;
		size_t length = (size_t)((stop ? stop : end) - line), name_length;

		if (length >= 9 && memcmp(line, "# tracer:", 9) == 0)
			return true;
		if (text_line_is_event(line, length, &name, &name_length))
			return true;
		line += length + 1;
	}
	return false;
}

enum source_kind source_kind_of(const uint8_t *data, size_t size)
{
	if (size >= 8 && memcmp(data, VMMU_TRACE_MAGIC, 8) == 0)
		return SOURCE_VMMU;
	if (size >= 10 && memcmp(data, "\x17\x08\x44tracing", 10) == 0)
		return SOURCE_TRACE_DAT;
	if (size >= 8 && memcmp(data, "PERFILE2", 8) == 0)
		return SOURCE_PERF_DATA;
	return is_trace_text(data, size) ? SOURCE_TEXT : SOURCE_NONE;
}

bool source_open_stream(struct source **out, struct stream *stream, const char *name, char **error)
{
	struct source *source = allocate(sizeof(*source));
	const uint8_t *data;
	size_t size = stream_there(stream, &data), before = 0;
	bool ok = false;

	/* What comes slowly through a pipe shall not be waited for where the first line tells. */
	while (source_kind_of(data, size) == SOURCE_NONE && size > before && size < STREAM_PEEK_MAX) {
		before = size;
		size = stream_peek(stream, &data, size + 1);
		size = stream_there(stream, &data);
	}

	*error = NULL;
	*out = NULL;
	switch (source_kind_of(data, size)) {
	case SOURCE_TEXT:
		source->reader = &text_reader;
		ok = text_reader_open(&source->state, stream, &source->info, error);
		break;
	case SOURCE_TRACE_DAT:
		source->reader = &trace_dat_reader;
		ok = trace_dat_open(&source->state, stream, &source->info, error);
		break;
	case SOURCE_PERF_DATA:
		source->reader = &perf_data_reader;
		ok = perf_data_open(&source->state, stream, &source->info, error);
		break;
	case SOURCE_VMMU:
		*error = formatted("%s is a vmmu trace", name);
		stream_close(stream);
		break;
	case SOURCE_NONE:
		if (stream_damage(stream))
			*error = duplicate(stream_damage(stream));
		else if (size == 0)
			*error = formatted("%s is empty", name);
		else
			*error = formatted("%s is not a vmmu trace and no recording of KVM's events: neither trace.dat nor "
			                   "perf.data, nor text of tracefs, trace-cmd report or perf script",
			                   name);
		stream_close(stream);
		break;
	}
	if (!ok) {
		source->reader = NULL;
		source_close(source);
		return false;
	}
	*out = source;
	return true;
}

bool source_open(struct source **source, const char *path, char **error)
{
	struct stream *stream;

	*source = NULL;
	if (!stream_open(&stream, path, error))
		return false;
	return source_open_stream(source, stream, strcmp(path, "-") ? path : "standard input", error);
}

void source_close(struct source *source)
{
	if (!source)
		return;
	if (source->reader)
		source->reader->close(source->state);
	for (size_t i = 0; i < source->info.other_count; i++)
		free(source->info.others[i].name);
	free(source->info.others);
	free(source->info.machine);
	free(source->info.clock);
	free(source->info.tool);
	free(source->info.damage);
	free(source);
}

void source_follow(struct source *source)
{
	if (source->reader->follow)
		source->reader->follow(source->state);
}

bool source_next(struct source *source, struct source_event *event)
{
	struct source_info *info = &source->info;

	while (source->reader->next(source->state, event)) {
		if (event->id == EVENT_LOST) {
			info->lost += event->field[FIELD_COUNT_LOST];
			info->lost_times++;
			if (event->time < info->last_time)
				event->time = info->last_time;
			return true;
		}
		info->events++;
		info->counts[event->id]++;
		if (event->time < info->last_time)
			info->out_of_order++;
		else
			info->last_time = event->time;
		if (event->id == EVENT_OTHER)
			continue;
		if (event_is_whole(event))
			return true;
		info->incomplete++;
	}
	return false;
}

const struct source_info *source_info(const struct source *source)
{
	return &source->info;
}

double source_progress(const struct source *source)
{
	return source->reader->progress(source->state);
}

int source_file(const struct source *source)
{
	return source->reader->file ? source->reader->file(source->state) : -1;
}
