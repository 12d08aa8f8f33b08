/* SPDX-License-Identifier: BSD-2-Clause */
#include "base.h"
#include "exit_status.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pipes and devices have no size: more than this is no file for us. */
#define STREAM_MAX (64u << 20)
#define FILE_MAX (4ull << 30)

static bool notes_on = true;
static int no_memory_status = 2;

void out_of_memory_status(int status)
{
	no_memory_status = status;
}

/* Bytes of the character at `text` that a terminal shows as one; 0: it is none, or an order to the terminal. */
static size_t shown_length(const unsigned char *text, size_t size)
{
	size_t length = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2
	                             : text[0] >> 4 == 14      ? 3
	                             : text[0] >> 3 == 30      ? 4
	                                                       : 0;
	uint32_t code = length == 1 ? text[0] : text[0] & (0xffu >> (length + 1));
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if (length == 1)
		return (code >= ' ' && code != 0x7f) || code == '\t';
	if (length == 0 || length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	/* 80h to 9fh are controls; right-to-left and other marks reorder what stands around them (Unicode, UAX 9). */
	if (code < least[length] || code < 0xa0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
	    code == 0x61c || (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069) || code == 0xfeff)
		return 0;
	return length;
}

char *printable_n(const char *text, size_t size)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + strnlen(text, size);
	char *out = allocate(4 * (size_t)(end - at) + 1), *to = out;

	while (at < end) {
		size_t length = shown_length(at, (size_t)(end - at));

		if (length) {
			memcpy(to, at, length);
			to += length;
			at += length;
		} else {
			to += sprintf(to, "\\x%02x", *at++);
		}
	}
	*to = '\0';
	return out;
}

char *printable(const char *text)
{
	return printable_n(text, SIZE_MAX);
}

static void say(const char *format, va_list arguments)
{
	char *text = formatted_v(format, arguments);

	fflush(stdout);
	fputs("vmmu: ", stderr);
	/* Lines of another program's output may be part of it. */
	for (char *line = text, *rest; line; line = rest) {
		char *shown;

		rest = strchr(line, '\n');
		if (rest)
			*rest++ = '\0';
		shown = printable(line);
		fprintf(stderr, "%s\n", shown);
		free(shown);
	}
	free(text);
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
		/* Not by complain(), which needs some. */
		fputs("vmmu: out of memory\n", stderr);
		exit(no_memory_status);
	}
	return block;
}

static void on_lost_page(int number)
{
	static const char text[] = "vmmu: a file was cut short while it was read\n";

	(void)number;
	output_remove_unfinished();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_TROUBLE);
	_exit(EXIT_TROUBLE);
}

void end_when_a_file_shrinks(void)
{
	struct sigaction action = {.sa_handler = on_lost_page};

	sigaction(SIGBUS, &action, NULL);
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

/* False: an error in errno, or EFBIG for more than `max` bytes. */
static bool read_all(int fd, uint64_t max, struct bytes *out)
{
	size_t room = 0;

	for (;;) {
		ssize_t got;

		if (out->size > max) {
			errno = EFBIG;
			return false;
		}
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

static bool read_open(int fd, const char *path, bool regular, uint64_t max, struct bytes *out, char **error)
{
	struct stat st = {0};
	bool ok = false;

	*out = (struct bytes){0};
	if (fd >= 0)
		ok = fstat(fd, &st) == 0;
	if (!ok)
		*error = formatted("%s: %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		*error = formatted("%s is a directory, not a file", path);
	else if (regular && !S_ISREG(st.st_mode))
		*error = formatted("%s is not a regular file, and only the command line may name others", path);
	else if (read_all(fd, S_ISREG(st.st_mode) || regular ? max : STREAM_MAX, out))
		return true;
	else if (errno == EFBIG)
		*error = formatted("%s is too large to be what it should be", path);
	else
		*error = formatted("%s cannot be read: %s", path, strerror(errno));
	bytes_free(out);
	return false;
}

bool bytes_read(const char *path, struct bytes *out, char **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = read_open(fd, path, false, FILE_MAX, out, error);

	if (fd >= 0)
		close(fd);
	return ok;
}

bool bytes_read_regular(const char *path, size_t max, struct bytes *out, char **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool ok = read_open(fd, path, true, max, out, error);

	if (fd >= 0)
		close(fd);
	return ok;
}

size_t read_at(int fd, void *to, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, (char *)to + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
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

/* The emulators run in folders of their own. A link keeps its name, by which some programs know what they are. */
static char *from_root(const char *path)
{
	char *folder = *path == '/' ? NULL : getcwd(NULL, 0);
	char *whole = folder ? formatted("%s/%s", folder, path) : duplicate(path);

	free(folder);
	return whole;
}

char *find_program(const char *name, const char *override)
{
	const char *path = getenv("PATH");
	char *copy, *cursor, *folder, *found = NULL;

	if (override && *override)
		return is_program(override) ? from_root(override) : NULL;
	/* /usr/sbin and /sbin are not in an ordinary user's PATH. */
	copy = formatted("%s:/usr/sbin:/sbin", path ? path : "/usr/local/bin:/usr/bin:/bin");
	cursor = copy;
	while (!found && (folder = strsep(&cursor, ":"))) {
		char *candidate = formatted("%s/%s", *folder ? folder : ".", name);

		if (is_program(candidate))
			found = from_root(candidate);
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

bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
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
