/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/log.h"

#include <stdbool.h>

#include "visor/host/serial.h"
#include "visor/lib/format.h"

static bool json_first;

static void put(void *ctx, char c)
{
	(void)ctx;
	serial_log_byte((uint8_t)c);
}

static __attribute__((format(printf, 1, 2))) void log_emit(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_to(put, NULL, format, args);
	va_end(args);
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_to(put, NULL, format, args);
	va_end(args);
	put(NULL, '\n');
}

static void quoted(const char *s)
{
	put(NULL, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			log_emit("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			log_emit("\\u%04x", c);
		else
			put(NULL, (char)c);
	}
	put(NULL, '"');
}

static void key_of(const char *key)
{
	if (!json_first)
		put(NULL, ',');
	json_first = false;
	quoted(key);
	put(NULL, ':');
}

void json_begin(const char *event)
{
	log_emit("@vmmu {");
	json_first = true;
	json_string("event", event);
}

void json_string(const char *key, const char *value)
{
	key_of(key);
	quoted(value);
}

void json_number(const char *key, uint64_t value)
{
	key_of(key);
	log_emit("%llu", (unsigned long long)value);
}

void json_open(const char *key)
{
	key_of(key);
	put(NULL, '{');
	json_first = true;
}

void json_close(void)
{
	put(NULL, '}');
	json_first = false;
}

void json_end(void)
{
	log_emit("}\n");
}
