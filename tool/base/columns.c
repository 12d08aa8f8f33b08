/* SPDX-License-Identifier: BSD-2-Clause */
#include "columns.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
	FILE *to;
	unsigned width, column;
	bool escape; /* within a sequence, which takes no column */
} cut;

unsigned terminal_columns(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (columns && atoi(columns) > 0)
		return (unsigned)atoi(columns);
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void put(char c)
{
	bool shown = !cut.escape && c != '\033' && c != '\n';
	bool goes_on = ((unsigned char)c & 0xc0) == 0x80; /* of a character of several bytes */

	if (c == '\033')
		cut.escape = true;
	if (shown && !goes_on)
		cut.column++;
	if (!shown || cut.column <= cut.width)
		putc(c, cut.to);
	if (cut.escape && c == 'm')
		cut.escape = false;
	if (c == '\n')
		cut.column = 0;
}

static ssize_t write_cut(void *cookie, const char *data, size_t size)
{
	(void)cookie;
	for (size_t i = 0; i < size; i++)
		put(data[i]);
	return fflush(cut.to) == 0 ? (ssize_t)size : 0;
}

void cut_lines(void)
{
	const cookie_io_functions_t functions = {.write = write_cut};
	FILE *stream;

	cut.width = terminal_columns();
	if (cut.to || !cut.width)
		return;
	stream = fopencookie(NULL, "w", functions);
	if (!stream)
		return;
	setvbuf(stream, NULL, _IOLBF, BUFSIZ);
	fflush(stdout);
	cut.to = stdout;
	stdout = stream;
}
