/* SPDX-License-Identifier: BSD-2-Clause */
#include "peek.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEEK = STREAM_PEEK_MAX,
       ENOUGH = 4096, /* bytes in which a kind shows, if it is one */
       PATIENCE = 100,
       PAUSE_US = 20000 };

/* Packed bytes, as far as they go, through the reader that unpacks. */
static enum source_kind kind_of_packed(const uint8_t *data, size_t size)
{
	enum source_kind kind = SOURCE_NONE;
	int fd = memfd_create("vmmu-peek", MFD_CLOEXEC);
	struct stream *stream;
	const uint8_t *unpacked;
	char *error = NULL, *path;

	if (fd < 0)
		return SOURCE_NONE;
	path = formatted("/proc/self/fd/%d", fd);
	if (write(fd, data, size) == (ssize_t)size && stream_open(&stream, path, &error)) {
		size = stream_peek(stream, &unpacked, ENOUGH);
		kind = source_kind_of(unpacked, size);
		stream_close(stream);
	}
	free(error);
	free(path);
	close(fd);
	return kind;
}

static enum source_kind kind_of(const uint8_t *data, size_t size)
{
	return stream_is_packed(data, size) ? kind_of_packed(data, size) : source_kind_of(data, size);
}

/* A copy of what is in the pipe now; at least one byte but at its end. */
static ssize_t copy_of_pipe(int fd, uint8_t *data)
{
	int copy[2];
	ssize_t got;

	if (pipe2(copy, O_CLOEXEC))
		return -1;
	do
		got = tee(fd, copy[1], PEEK, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		got = read(copy[0], data, (size_t)got);
	close(copy[0]);
	close(copy[1]);
	return got;
}

static enum source_kind kind_of_pipe(int fd)
{
	uint8_t *data = allocate(PEEK);
	enum source_kind kind = SOURCE_NONE;

	/* The writer may be slow. */
	for (unsigned i = 0; i < PATIENCE && kind == SOURCE_NONE; i++) {
		ssize_t got = copy_of_pipe(fd, data);

		if (got <= 0)
			break;
		kind = kind_of(data, (size_t)got);
		if (got >= ENOUGH)
			break;
		if (kind == SOURCE_NONE)
			usleep(PAUSE_US);
	}
	free(data);
	return kind;
}

static enum source_kind kind_of_file(int fd)
{
	uint8_t *data = allocate(PEEK);
	ssize_t got = pread(fd, data, PEEK, 0);
	enum source_kind kind = got > 0 ? kind_of(data, (size_t)got) : SOURCE_NONE;

	free(data);
	return kind;
}

enum source_kind source_peek(const char *path)
{
	enum source_kind kind = SOURCE_NONE;
	int fd = stream_descriptor(path);
	struct stat st;

	if (fd < 0)
		return SOURCE_NONE;
	if (fstat(fd, &st) == 0) {
		if (S_ISREG(st.st_mode))
			kind = kind_of_file(fd);
		else if (S_ISFIFO(st.st_mode))
			kind = kind_of_pipe(fd);
	}
	close(fd);
	return kind;
}
