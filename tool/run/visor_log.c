/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor_log.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MARK "@vmmu "

/* No honest line is longer; keeps a machine gone wild from taking all memory. */
enum { LINE_MAX_BYTES = 1 << 20 };

static void replace(json_t **place, json_t *event)
{
	json_decref(*place);
	*place = json_incref(event);
}

static void add(json_t **list, json_t *event)
{
	if (!*list)
		*list = json_array();
	json_array_append(*list, event);
}

static bool take_event(struct visor_log *log, const char *text)
{
	json_t *event = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	const char *name = json_string_value(json_object_get(event, "event"));

	if (!name) {
		json_decref(event);
		return false;
	}
	if (strcmp(name, "boot") == 0)
		snprintf(log->stage, sizeof(log->stage), "%s",
		         json_string_value(json_object_get(event, "stage")) ?: "");
	else
		log->visor_spoke = true;
	if (strcmp(name, "start") == 0)
		replace(&log->start, event);
	else if (strcmp(name, "ended") == 0)
		replace(&log->ended, event);
	else if (strcmp(name, "summary") == 0)
		replace(&log->summary, event);
	else if (strcmp(name, "end") == 0)
		replace(&log->end, event);
	else if (strcmp(name, "phase") == 0)
		add(&log->phases, event);
	json_decref(event);
	return true;
}

static void keep(struct visor_log *log, const char *line)
{
	char **place = &log->kept[log->next++ % LOG_LINES_KEPT];

	free(*place);
	*place = duplicate(line);
}

static void take_line(struct visor_log *log, visor_line_fn on_line, void *arg)
{
	const char *mark;

	if (log->length == 0)
		return;
	log->line[log->length] = '\0';
	log->length = 0;
	mark = strstr(log->line, EVENT_MARK);
	if (mark && take_event(log, mark + strlen(EVENT_MARK)))
		return;
	/* After GRUB's last stage, or without GRUB, it is the visor that speaks. */
	if (!log->stage[0] || strcmp(log->stage, "visor") == 0)
		log->visor_spoke = true;
	keep(log, log->line);
	if (on_line)
		on_line(arg, log->line);
}

static void take_byte(struct visor_log *log, char byte)
{
	if (log->length + 2 > log->room) {
		log->room = log->room ? log->room * 2 : 256;
		log->line = reallocate(log->line, log->room);
	}
	if (log->length < LINE_MAX_BYTES)
		log->line[log->length++] = byte;
}

void visor_log_take(struct visor_log *log, const char *bytes, size_t size, visor_line_fn on_line, void *arg)
{
	for (size_t i = 0; i < size; i++) {
		char byte = bytes[i];

		if (byte == '\033')
			log->in_escape = true;
		else if (log->in_escape)
			log->in_escape = !isalpha((unsigned char)byte);
		else if (byte == '\n')
			take_line(log, on_line, arg);
		else if (((unsigned char)byte >= ' ' && (unsigned char)byte < 0x7f) || byte == '\t')
			take_byte(log, byte);
	}
}

void visor_log_print(const struct visor_log *log, FILE *to, const char *prefix)
{
	size_t first = log->next > LOG_LINES_KEPT ? log->next - LOG_LINES_KEPT : 0;

	for (size_t i = first; i < log->next; i++)
		fprintf(to, "%s%s\n", prefix, log->kept[i % LOG_LINES_KEPT]);
}

void visor_log_free(struct visor_log *log)
{
	for (size_t i = 0; i < LOG_LINES_KEPT; i++)
		free(log->kept[i]);
	free(log->line);
	json_decref(log->start);
	json_decref(log->ended);
	json_decref(log->summary);
	json_decref(log->end);
	json_decref(log->phases);
	*log = (struct visor_log){0};
}
