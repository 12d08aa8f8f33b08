/* SPDX-License-Identifier: BSD-2-Clause */
#include "formats.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <event-parse.h>

#include "../fact/origin.h"
#include "format_text.h"
#include "reader.h"

enum { TYPES = 65536,
       NOTE_MAX = 65536 };

struct place {
	uint8_t field;
	uint8_t size;
	bool is_signed;
	uint16_t offset;
};

struct format {
	enum event_id id;
	char *name;
	unsigned count;
	struct place place[EVENT_FIELDS_MAX];
	uint16_t size; /* a record has at least that many bytes */
	uint16_t note; /* EVENT_NOTE: where its text begins; EVENT_STACK: where its addresses do */
	int fixed_code;
};

/* A function of the kernel, of those that stacks are told by. */
struct symbol {
	uint64_t address;
	uint8_t origin; /* enum fact_origin; FACT_ORIGIN_OTHER: none of them */
};

struct formats {
	struct tep_handle *tep;
	struct format *by_type[TYPES];
	uint16_t pid_offset; /* the same for all events */
	size_t known;
	struct symbol *symbols; /* by address */
	size_t symbol_count;
	char text[NOTE_MAX + 1];
};

struct formats *formats_new(void)
{
	struct formats *formats = allocate(sizeof(*formats));

	formats->tep = tep_alloc();
	if (!formats->tep) {
		free(formats);
		return NULL;
	}
	/* What it cannot read is counted and named by the caller. */
	tep_set_loglevel(TEP_LOG_NONE);
	tep_set_long_size(formats->tep, 8);
	return formats;
}

static void format_free(struct format *format)
{
	if (format)
		free(format->name);
	free(format);
}

void formats_free(struct formats *formats)
{
	if (!formats)
		return;
	for (unsigned i = 0; i < TYPES; i++)
		format_free(formats->by_type[i]);
	tep_free(formats->tep);
	free(formats->symbols);
	free(formats);
}

/* "... spurious %d fixed %d", ..., REC->ret == 6, REC->ret == 5": the last number there. */
static int fixed_code_of(const char *print)
{
	const char *at = strstr(print, "fixed %d"), *last = NULL;

	while (at && (at = strstr(at, "REC->ret == "))) {
		at += strlen("REC->ret == ");
		last = at;
	}
	return last ? atoi(last) : -1;
}

static bool place_field(struct format *format, const struct event_field *want, struct tep_event *event)
{
	struct tep_format_field *field = tep_find_field(event, want->name);

	if (!field || field->offset < 0 || field->offset > UINT16_MAX - 8 ||
	    (field->size != 1 && field->size != 2 && field->size != 4 && field->size != 8))
		return false;
	format->place[format->count++] = (struct place){
		.field = want->id, .size = (uint8_t)field->size, .offset = (uint16_t)field->offset, .is_signed = field->flags & TEP_FIELD_IS_SIGNED};
	if (field->offset + field->size > format->size)
		format->size = (uint16_t)(field->offset + field->size);
	return true;
}

static struct format *format_of(struct tep_event *event, const char *print)
{
	struct format *format = allocate(sizeof(*format));

	format->id = event_named(event->name, strlen(event->name));
	format->name = duplicate(event->name);
	format->size = 8;
	format->fixed_code = -1;
	for (const struct event_field *field = event_kinds[format->id].fields; field->name; field++)
		place_field(format, field, event);
	if (format->id == EVENT_NOTE) {
		struct tep_format_field *buf = tep_find_field(event, "buf");

		if (buf && buf->offset > 0 && buf->offset < UINT16_MAX)
			format->note = (uint16_t)buf->offset;
		else
			format->id = EVENT_OTHER;
	}
	if (format->id == EVENT_STACK) {
		struct tep_format_field *caller = tep_find_field(event, "caller");

		if (caller && caller->offset > 0 && caller->offset < UINT16_MAX)
			format->note = (uint16_t)caller->offset;
		else
			format->id = EVENT_OTHER;
	}
	if (format->id == EVENT_FAST_FAULT)
		format->fixed_code = fixed_code_of(print);
	return format;
}

bool formats_add(struct formats *formats, const char *text, size_t size, const char *system)
{
	static const char no_print[] = "\nprint fmt: \"\"\n";
	const char *print = memmem(text, size, "\nprint fmt:", 11);
	char *fields, *prints, *id, *whole;
	struct tep_event *event = NULL;
	struct tep_format_field *pid;

	/* The print format is C: it is not needed, and most of what can go wrong. */
	fields = formatted("%.*s", (int)(print ? print - text : (long)size), text);
	whole = formatted("%s%s", fields, no_print);
	prints = print ? strndup(print, size - (size_t)(print - text)) : duplicate("");
	id = strstr(fields, "\nID:");
	if (id && format_text_is_sound(fields) && tep_parse_event(formats->tep, whole, strlen(whole), system) == 0)
		event = tep_find_event(formats->tep, atoi(id + 4));
	if (event && event->id > 0 && event->id < TYPES && event->name) {
		struct format *format = format_of(event, prints ? prints : "");

		pid = tep_find_common_field(event, "common_pid");
		if (pid && pid->size == 4 && pid->offset >= 0 && pid->offset <= 4)
			formats->pid_offset = (uint16_t)pid->offset;
		format_free(formats->by_type[event->id]);
		formats->by_type[event->id] = format;
		formats->known += format->id != EVENT_OTHER;
	}
	free(fields);
	free(whole);
	free(prints);
	return event != NULL;
}

size_t formats_known(const struct formats *formats)
{
	return formats->known;
}

static uint64_t read_place(const uint8_t *record, const struct place *place)
{
	uint64_t value = 0;

	memcpy(&value, record + place->offset, place->size);
	if (place->is_signed && place->size < 8 && value >> (8 * place->size - 1))
		value |= ~0ull << (8 * place->size);
	return value;
}

static bool read_note(struct formats *formats, const struct format *format, const uint8_t *record,
                      size_t size, struct source_event *event)
{
	size_t length = size - format->note;
	char *at;

	if (length > NOTE_MAX)
		length = NOTE_MAX;
	memcpy(formats->text, record + format->note, length);
	formats->text[length] = '\0';
	formats->text[strcspn(formats->text, "\n")] = '\0';
	at = strstr(formats->text, "vmmu: ");
	if (!at)
		return false;
	event->note = at + 6;
	return true;
}

/* ---- stacks --------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* "ffffffff81000000 T name", perhaps with "\t[module]" behind it. */
void formats_symbols(struct formats *formats, const uint8_t *text, size_t size)
{
	const char *at = (const char *)text, *end = at + size;
	size_t room = formats->symbol_count;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)), *name;
		struct symbol symbol = {0};
		unsigned digit_count = 0;

		stop = stop ? stop : end;
		for (; at < stop && isxdigit((unsigned char)*at) && digit_count < 16; at++, digit_count++)
			symbol.address = symbol.address << 4 |
			                 (uint64_t)(isdigit((unsigned char)*at) ? *at - '0' : (*at | 0x20) - 'a' + 10);
		name = at + 3;
		if (digit_count && stop - at > 3 && at[0] == ' ' && at[2] == ' ' && symbol.address) {
			size_t length = (size_t)(stop - name), word = 0;

			while (word < length && name[word] != '\t' && name[word] != ' ')
				word++;
			symbol.origin = (uint8_t)fact_origin_better(FACT_ORIGIN_NONE, name, word);
			if (formats->symbol_count == room) {
				room = room ? 2 * room : 4096;
				formats->symbols = reallocate(formats->symbols, room * sizeof(*formats->symbols));
			}
			formats->symbols[formats->symbol_count++] = symbol;
		}
		at = stop + 1;
	}
	if (formats->symbol_count)
		qsort(formats->symbols, formats->symbol_count, sizeof(*formats->symbols), by_address);
}

/* What the function that holds an address tells. */
static unsigned origin_at(const struct formats *formats, uint64_t address)
{
	size_t low = 0, high = formats->symbol_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (formats->symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? formats->symbols[low - 1].origin : FACT_ORIGIN_OTHER;
}

void formats_take_callers(struct formats *formats, const uint8_t *callers, size_t count, struct source_event *event)
{
	unsigned best = FACT_ORIGIN_OTHER;

	if (!formats->symbol_count)
		return;
	for (size_t i = 0; i < count; i++) {
		uint64_t address;
		unsigned origin;

		memcpy(&address, callers + i * sizeof(address), sizeof(address));
		/* Marks between kernel and user addresses, and what fills an array up. */
		if (address >= UINT64_MAX - 4095)
			continue;
		/* An address is where the call returns to: the function may end with the call. */
		origin = address ? origin_at(formats, address - 1) : FACT_ORIGIN_OTHER;
		if (origin < best)
			best = origin;
	}
	event_set(event, FIELD_ORIGIN, best);
}

bool formats_take_stack(struct formats *formats, const void *record, size_t size, struct source_event *event)
{
	const struct format *format;
	uint16_t type;
	uint32_t pid;

	if (size < 8)
		return false;
	memcpy(&type, record, sizeof(type));
	memcpy(&pid, (const uint8_t *)record + formats->pid_offset, sizeof(pid));
	format = formats->by_type[type];
	if (!format || format->id != EVENT_STACK || pid != event->pid || size < format->note)
		return false;
	formats_take_callers(formats, (const uint8_t *)record + format->note, (size - format->note) / 8, event);
	return true;
}

bool formats_decode(struct formats *formats, const void *record, size_t size, struct source_event *event,
                    struct source_info *info)
{
	const struct format *format;
	uint16_t type;
	int32_t pid;

	if (size < 8)
		return false;
	memcpy(&type, record, sizeof(type));
	memcpy(&pid, (const uint8_t *)record + formats->pid_offset, sizeof(pid));
	format = formats->by_type[type];
	if (!format || size < format->size || size < format->note)
		return false;
	event->id = format->id;
	event->name = format->name;
	event->pid = (uint32_t)pid;
	event->have = 0;
	for (unsigned i = 0; i < format->count; i++)
		event_set(event, (enum field_id)format->place[i].field, read_place(record, &format->place[i]));
	if (format->id == EVENT_FAST_FAULT)
		event_take_result(event, format->fixed_code);
	if (format->id == EVENT_NOTE && !read_note(formats, format, record, size, event))
		event->id = EVENT_OTHER;
	if (event->id == EVENT_OTHER)
		source_count_other(info, format->name, strlen(format->name));
	return true;
}
