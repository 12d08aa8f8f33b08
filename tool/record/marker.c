/* SPDX-License-Identifier: BSD-2-Clause */
#include "marker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool marker_open(struct marker *m, struct tracing *t)
{
	*m = (struct marker){.fd = tracefs_instance_file_open(t->instance, "trace_marker", O_WRONLY | O_CLOEXEC)};
	return m->fd >= 0;
}

void marker_write(struct marker *m, const char *format, ...)
{
	va_list arguments;
	size_t length;
	char *text;

	if (m->fd < 0)
		return;
	va_start(arguments, format);
	text = formatted_v(format, arguments);
	va_end(arguments);
	length = strlen(text);
	if (length > MARKER_MAX)
		length = MARKER_MAX;
	if (write(m->fd, text, length) < 0)
		m->refused++;
	free(text);
}

void marker_close(struct marker *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

char *marker_quoted(const char *text)
{
	char *quoted = allocate(4 * strlen(text) + 3), *to = quoted;

	*to++ = '"';
	for (const char *at = text; *at; at++) {
		unsigned char byte = (unsigned char)*at;

		if (byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\')
			to += sprintf(to, "\\x%02x", byte);
		else
			*to++ = *at;
	}
	*to++ = '"';
	return quoted;
}
