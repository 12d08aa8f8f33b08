/* SPDX-License-Identifier: BSD-2-Clause */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool notes_on = true;

static void say(const char *format, va_list arguments)
{
	fflush(stdout);
	fputs("vmmu: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

void complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}

void note(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (notes_on)
		say(format, arguments);
	va_end(arguments);
}

void note_enable(bool on)
{
	notes_on = on;
}

static void *or_die(void *block)
{
	if (!block) {
		complain("out of memory");
		exit(EXIT_FAILURE);
	}
	return block;
}

void *allocate(size_t size)
{
	return or_die(calloc(1, size ? size : 1));
}

void *reallocate(void *block, size_t size)
{
	return or_die(realloc(block, size ? size : 1));
}

char *formatted_v(const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	return or_die(text);
}

char *formatted(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = formatted_v(format, arguments);
	va_end(arguments);
	return text;
}

char *duplicate(const char *text)
{
	return or_die(strdup(text));
}

static bool read_all(int fd, struct bytes *out)
{
	size_t room = 0;

	for (;;) {
		ssize_t got;

		if (out->size == room) {
			room = room ? room * 2 : 1 << 20;
			out->data = reallocate(out->data, room);
		}
		got = read(fd, out->data + out->size, room - out->size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0;
		out->size += (size_t)got;
	}
}

bool bytes_read(const char *path, struct bytes *out, char **error)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok;

	*out = (struct bytes){0};
	if (fd < 0) {
		*error = formatted("%s: %s", path, strerror(errno));
		return false;
	}
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		*error = formatted("%s is a directory, not a file", path);
		close(fd);
		return false;
	}
	ok = read_all(fd, out);
	if (!ok) {
		*error = formatted("%s cannot be read: %s", path, strerror(errno));
		bytes_free(out);
	}
	close(fd);
	return ok;
}

void bytes_free(struct bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct bytes){0};
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *find_program(const char *name, const char *override)
{
	const char *path = getenv("PATH");
	char *copy, *cursor, *folder, *found = NULL;

	if (override && *override)
		return is_program(override) ? duplicate(override) : NULL;
	/* /usr/sbin and /sbin are not in an ordinary user's PATH. */
	copy = formatted("%s:/usr/sbin:/sbin", path ? path : "/usr/local/bin:/usr/bin:/bin");
	cursor = copy;
	while (!found && (folder = strsep(&cursor, ":"))) {
		char *candidate = formatted("%s/%s", *folder ? folder : ".", name);

		if (is_program(candidate))
			found = candidate;
		else
			free(candidate);
	}
	free(copy);
	return found;
}

char *absolute_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : duplicate(path);
}

void arguments_add(struct arguments *list, const char *format, ...)
{
	va_list arguments;

	list->argv = reallocate(list->argv, (list->count + 2) * sizeof(*list->argv));
	va_start(arguments, format);
	list->argv[list->count++] = formatted_v(format, arguments);
	va_end(arguments);
	list->argv[list->count] = NULL;
}

void arguments_free(struct arguments *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->argv[i]);
	free(list->argv);
	*list = (struct arguments){0};
}
