/* SPDX-License-Identifier: BSD-2-Clause */
/* System.map and /proc/kallsyms: "address type name [module]", one per line. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "builder.h"

struct line {
	uint64_t address;
	char type;
	const char *name;
	size_t name_length;
};

static bool parse_line(const char *text, const char *end, struct line *out)
{
	const char *at = text;

	out->address = 0;
	while (at < end && isxdigit((unsigned char)*at)) {
		char digit = *at++;

		out->address = out->address << 4 |
		               (uint64_t)(isdigit((unsigned char)digit) ? digit - '0' : (digit | 32) - 'a' + 10);
	}
	if (at == text || end - at < 4 || at[0] != ' ' || at[2] != ' ')
		return false;
	out->type = at[1];
	out->name = at + 3;
	at = out->name;
	while (at < end && !isspace((unsigned char)*at))
		at++;
	out->name_length = (size_t)(at - out->name);
	return out->name_length > 0;
}

bool symbols_from_text(struct symbols_builder *builder, const uint8_t *data, size_t size, char **error)
{
	const char *at = (const char *)data, *end = at + size;
	size_t lines = 0, zero = 0;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		struct line line;

		if (stop > at) {
			if (!parse_line(at, stop, &line)) {
				*error = formatted("it is none of System.map, /proc/kallsyms, ELF or bzImage (line %zu "
				                   "is not \"address type name\")",
				                   lines + 1);
				return false;
			}
			zero += line.address == 0;
			builder_add(builder, line.address, line.type, line.name, line.name_length);
		}
		lines++;
		at = stop + 1;
	}
	if (lines > 8 && zero == lines) {
		*error = duplicate("all its addresses are 0; /proc/kallsyms shows them to root only "
		                   "(and with kernel.kptr_restrict=0)");
		return false;
	}
	if (builder->count < 2) {
		*error = duplicate("it names no functions (Debian's System.map is an empty stub); give the kernel "
		                   "image itself, which has its own table");
		return false;
	}
	return true;
}
