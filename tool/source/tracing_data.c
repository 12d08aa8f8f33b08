/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracing_data.h"

#include <stdlib.h>
#include <string.h>

struct cursor cursor_over(const uint8_t *data, size_t size)
{
	return (struct cursor){data, data ? data + size : data, data == NULL};
}

const uint8_t *cursor_bytes(struct cursor *cursor, uint64_t size)
{
	const uint8_t *at = cursor->at;

	if (cursor->bad || size > (uint64_t)(cursor->end - at)) {
		cursor->bad = true;
		return NULL;
	}
	cursor->at += size;
	return at;
}

static uint64_t little(struct cursor *cursor, unsigned size)
{
	const uint8_t *at = cursor_bytes(cursor, size);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, size);
	return value;
}

uint16_t cursor_u16(struct cursor *cursor)
{
	return (uint16_t)little(cursor, 2);
}

uint32_t cursor_u32(struct cursor *cursor)
{
	return (uint32_t)little(cursor, 4);
}

uint64_t cursor_u64(struct cursor *cursor)
{
	return little(cursor, 8);
}

const char *cursor_string(struct cursor *cursor)
{
	const uint8_t *start = cursor->at;
	const uint8_t *zero = cursor->bad ? NULL : memchr(start, 0, (size_t)(cursor->end - start));

	if (!zero) {
		cursor->bad = true;
		return "";
	}
	cursor->at = zero + 1;
	return (const char *)start;
}

bool tracing_headers(struct cursor *cursor)
{
	if (strcmp(cursor_string(cursor), "header_page") != 0)
		return false;
	cursor_bytes(cursor, cursor_u64(cursor));
	if (strcmp(cursor_string(cursor), "header_event") != 0)
		return false;
	cursor_bytes(cursor, cursor_u64(cursor));
	return !cursor->bad;
}

static bool one_format(struct cursor *cursor, struct formats *formats, const char *system)
{
	uint64_t size = cursor_u64(cursor);
	const uint8_t *text = cursor_bytes(cursor, size);

	if (!text)
		return false;
	formats_add(formats, (const char *)text, size, system);
	return true;
}

bool tracing_ftrace(struct cursor *cursor, struct formats *formats)
{
	uint32_t count = cursor_u32(cursor);

	while (count-- && one_format(cursor, formats, "ftrace"))
		;
	return !cursor->bad;
}

bool tracing_systems(struct cursor *cursor, struct formats *formats)
{
	uint32_t systems = cursor_u32(cursor);

	while (systems-- && !cursor->bad) {
		const char *system = cursor_string(cursor);
		uint32_t count = cursor_u32(cursor);

		while (count-- && one_format(cursor, formats, system))
			;
	}
	return !cursor->bad;
}

void tracing_cmdlines(const uint8_t *text, size_t size, struct thread_names *names)
{
	const char *at = (const char *)text, *end = at + size;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		uint64_t pid = 0;
		size_t length;

		stop = stop ? stop : end;
		while (at < stop && *at >= '0' && *at <= '9' && pid <= UINT32_MAX)
			pid = pid * 10 + (uint64_t)(*at++ - '0');
		if (at < stop && *at == ' ' && pid <= UINT32_MAX) {
			at++;
			length = (size_t)(stop - at) < 15 ? (size_t)(stop - at) : 15;
			names->names = reallocate(names->names, (names->count + 1) * sizeof(*names->names));
			names->names[names->count].pid = (uint32_t)pid;
			memset(names->names[names->count].comm, 0, 16);
			memcpy(names->names[names->count].comm, at, length);
			names->count++;
		}
		at = stop + 1;
	}
}

static int by_pid(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

void thread_names_sort(struct thread_names *names)
{
	if (names->count)
		qsort(names->names, names->count, sizeof(*names->names), by_pid);
}

/* Place of the first name whose pid is not below this one. */
static size_t place_of(const struct thread_names *names, uint32_t pid)
{
	size_t low = 0, high = names->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (names->names[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *thread_name(const struct thread_names *names, uint32_t pid)
{
	static const char none[16];
	size_t at = place_of(names, pid);

	return at < names->count && names->names[at].pid == pid ? names->names[at].comm : none;
}

void thread_name_set(struct thread_names *names, uint32_t pid, const char *comm)
{
	size_t at = place_of(names, pid);

	if (at == names->count || names->names[at].pid != pid) {
		names->names = reallocate(names->names, (names->count + 1) * sizeof(*names->names));
		memmove(&names->names[at + 1], &names->names[at], (names->count - at) * sizeof(*names->names));
		names->names[at].pid = pid;
		names->count++;
	}
	memset(names->names[at].comm, 0, sizeof(names->names[at].comm));
	strncpy(names->names[at].comm, comm, sizeof(names->names[at].comm) - 1);
}
