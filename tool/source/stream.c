/* SPDX-License-Identifier: BSD-2-Clause */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 256 * 1024,
       BUFFER_BYTES = 1024 * 1024,
       FOLLOW_POLL_US = 100000 };

enum packing { PLAIN,
	       GZIP,
	       ZSTD };

struct stream {
	char *name;
	int fd;
	bool regular, follow;
	uint64_t total, taken; /* of the file */
	enum packing packing;
	z_stream gzip;
	ZSTD_DStream *zstd;
	uint8_t *input; /* packed bytes */
	size_t input_at, input_end;
	bool input_over;
	uint8_t *buffer; /* unpacked ones */
	size_t at, end;
	bool over;
	bool open_member; /* a packed member has begun and not ended */
	char *damage;
};

static void damaged(struct stream *stream, const char *why)
{
	if (!stream->damage)
		stream->damage = formatted("%s: %s at byte %llu", stream->name, why,
		                           (unsigned long long)(stream->taken - (stream->input_end - stream->input_at)));
	stream->over = true;
}

static ssize_t read_some(struct stream *stream, void *to, size_t size)
{
	ssize_t got;

	for (;;) {
		got = read(stream->fd, to, size);
		if (got == 0 && stream->follow && stream->regular)
			usleep(FOLLOW_POLL_US);
		else if (got >= 0 || errno != EINTR)
			break;
	}
	if (got < 0) {
		stream->damage = formatted("%s: %s at byte %llu", stream->name, strerror(errno),
		                           (unsigned long long)stream->taken);
		return 0;
	}
	stream->taken += (uint64_t)got;
	return got;
}

static void fill_input(struct stream *stream)
{
	if (stream->input_at < stream->input_end || stream->input_over)
		return;
	stream->input_at = 0;
	stream->input_end = (size_t)read_some(stream, stream->input, INPUT_BYTES);
	stream->input_over = stream->input_end == 0;
}

static size_t unpack_gzip(struct stream *stream, uint8_t *to, size_t size)
{
	stream->gzip.next_out = to;
	stream->gzip.avail_out = (unsigned)size;
	while (stream->gzip.avail_out == size && !stream->over) {
		int status;

		fill_input(stream);
		if (stream->input_over) {
			if (stream->open_member)
				damaged(stream, "the gzip data are cut short");
			stream->over = true;
			break;
		}
		stream->gzip.next_in = stream->input + stream->input_at;
		stream->gzip.avail_in = (unsigned)(stream->input_end - stream->input_at);
		stream->open_member = true;
		status = inflate(&stream->gzip, Z_NO_FLUSH);
		stream->input_at = stream->input_end - stream->gzip.avail_in;
		if (status == Z_STREAM_END) {
			stream->open_member = false;
			inflateReset(&stream->gzip);
		} else if (status != Z_OK && status != Z_BUF_ERROR) {
			damaged(stream, "the gzip data are damaged");
		}
	}
	return size - stream->gzip.avail_out;
}

static size_t unpack_zstd(struct stream *stream, uint8_t *to, size_t size)
{
	ZSTD_outBuffer out = {to, size, 0};

	while (out.pos == 0 && !stream->over) {
		ZSTD_inBuffer in;
		size_t left;

		fill_input(stream);
		in = (ZSTD_inBuffer){stream->input + stream->input_at, stream->input_end - stream->input_at, 0};
		if (stream->input_over && !stream->open_member) {
			stream->over = true;
			break;
		}
		left = ZSTD_decompressStream(stream->zstd, &out, &in);
		stream->input_at += in.pos;
		if (ZSTD_isError(left))
			damaged(stream, "the zstd data are damaged");
		else if (stream->input_over && out.pos == 0)
			damaged(stream, "the zstd data are cut short");
		stream->open_member = left != 0;
	}
	return out.pos;
}

/* Bring more behind what is in the buffer. */
static void fill(struct stream *stream)
{
	size_t room, got;

	if (stream->at) {
		memmove(stream->buffer, stream->buffer + stream->at, stream->end - stream->at);
		stream->end -= stream->at;
		stream->at = 0;
	}
	room = BUFFER_BYTES - stream->end;
	if (stream->over || !room)
		return;
	switch (stream->packing) {
	case GZIP:
		got = unpack_gzip(stream, stream->buffer + stream->end, room);
		break;
	case ZSTD:
		got = unpack_zstd(stream, stream->buffer + stream->end, room);
		break;
	default:
		got = (size_t)read_some(stream, stream->buffer + stream->end, room);
		stream->over = got == 0;
	}
	stream->end += got;
}

size_t stream_peek(struct stream *stream, const uint8_t **data, size_t size)
{
	while (stream->end - stream->at < size && !stream->over)
		fill(stream);
	*data = stream->buffer + stream->at;
	return stream->end - stream->at < size ? stream->end - stream->at : size;
}

size_t stream_there(struct stream *stream, const uint8_t **data)
{
	size_t there;

	stream_peek(stream, data, 1);
	there = stream->end - stream->at;
	return there < STREAM_PEEK_MAX ? there : STREAM_PEEK_MAX;
}

size_t stream_read(struct stream *stream, void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t part = stream->end - stream->at;

		if (part == 0) {
			if (stream->over)
				break;
			fill(stream);
			continue;
		}
		if (part > size - done)
			part = size - done;
		memcpy((char *)data + done, stream->buffer + stream->at, part);
		stream->at += part;
		done += part;
	}
	return done;
}

size_t stream_take(struct stream *stream, const uint8_t **data)
{
	size_t size;

	if (stream->at == stream->end && !stream->over)
		fill(stream);
	*data = stream->buffer + stream->at;
	size = stream->end - stream->at;
	stream->at = stream->end;
	return size;
}

bool stream_line(struct stream *stream, const char **line, size_t *length)
{
	size_t searched = 0;

	for (;;) {
		const uint8_t *start = stream->buffer + stream->at;
		size_t there = stream->end - stream->at;
		const uint8_t *end = memchr(start + searched, '\n', there - searched);

		if (end || there >= STREAM_PEEK_MAX || (stream->over && there)) {
			*line = (const char *)start;
			*length = end ? (size_t)(end - start) : there;
			stream->at += *length + (end != NULL);
			if (*length && (*line)[*length - 1] == '\r')
				--*length;
			return true;
		}
		if (stream->over)
			return false;
		searched = there;
		fill(stream);
	}
}

static enum packing packing_of(const uint8_t *data, size_t size)
{
	if (size >= 2 && data[0] == 0x1f && data[1] == 0x8b)
		return GZIP;
	return size >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0 ? ZSTD : PLAIN;
}

bool stream_is_packed(const uint8_t *data, size_t size)
{
	return packing_of(data, size) != PLAIN;
}

static bool recognise_packing(struct stream *stream, char **error)
{
	const uint8_t *data;
	size_t size = stream_peek(stream, &data, 4);

	stream->packing = packing_of(data, size);
	if (stream->packing == PLAIN)
		return true;
	stream->input = allocate(BUFFER_BYTES);
	memcpy(stream->input, data, stream->end - stream->at);
	stream->input_end = stream->end - stream->at;
	stream->at = stream->end = 0;
	stream->over = false;
	if (stream->packing == GZIP && inflateInit2(&stream->gzip, 15 + 32) == Z_OK)
		return true;
	if (stream->packing == ZSTD && (stream->zstd = ZSTD_createDStream()))
		return true;
	*error = formatted("%s: no memory to unpack it", stream->name);
	return false;
}

int stream_descriptor(const char *path)
{
	static char *pipe_path;
	static int pipe_fd;
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0)
		return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	if (pipe_path && strcmp(pipe_path, path) == 0)
		return fcntl(pipe_fd, F_DUPFD_CLOEXEC, 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode) || pipe_path)
		return fd;
	pipe_path = duplicate(path);
	pipe_fd = fd;
	return fcntl(pipe_fd, F_DUPFD_CLOEXEC, 0);
}

bool stream_open(struct stream **out, const char *path, char **error)
{
	bool standard = strcmp(path, "-") == 0;
	struct stream *stream = allocate(sizeof(*stream));
	struct stat st;

	*out = NULL;
	stream->name = duplicate(standard ? "standard input" : path);
	stream->fd = stream_descriptor(path);
	if (stream->fd < 0 || fstat(stream->fd, &st) != 0) {
		*error = formatted("%s: %s", stream->name, strerror(errno));
		stream_close(stream);
		return false;
	}
	if (S_ISDIR(st.st_mode)) {
		*error = formatted("%s is a directory, not a file", stream->name);
		stream_close(stream);
		return false;
	}
	if (S_ISREG(st.st_mode)) {
		stream->regular = lseek(stream->fd, 0, SEEK_CUR) == 0;
		stream->total = (uint64_t)st.st_size;
	}
	stream->buffer = allocate(BUFFER_BYTES);
	if (!recognise_packing(stream, error)) {
		stream_close(stream);
		return false;
	}
	*out = stream;
	return true;
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	if (stream->fd >= 0)
		close(stream->fd);
	if (stream->packing == GZIP)
		inflateEnd(&stream->gzip);
	ZSTD_freeDStream(stream->zstd);
	free(stream->input);
	free(stream->buffer);
	free(stream->name);
	free(stream->damage);
	free(stream);
}

bool stream_is_plain(const struct stream *stream)
{
	return stream->regular && stream->packing == PLAIN;
}

int stream_temporary_file(char **error)
{
	const char *folder = getenv("TMPDIR");
	char *path;
	int fd;

	if (!folder || !*folder)
		folder = "/tmp";
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	path = formatted("%s/vmmu-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	else
		*error = formatted("no temporary file can be made in %s: %s", folder, strerror(errno));
	free(path);
	return fd;
}

int stream_to_file(struct stream *stream, char **error)
{
	int fd;

	if (stream_is_plain(stream))
		return dup(stream->fd);
	fd = stream_temporary_file(error);
	while (fd >= 0) {
		size_t there = stream->end - stream->at;

		if (there == 0 && stream->over)
			break;
		if (there && write(fd, stream->buffer + stream->at, there) != (ssize_t)there) {
			*error = formatted("%s does not fit into the temporary folder: %s", stream->name, strerror(errno));
			close(fd);
			return -1;
		}
		stream->at = stream->end;
		fill(stream);
	}
	return fd;
}

void stream_follow(struct stream *stream)
{
	stream->follow = true;
	/* It was looked at to its end so far. */
	if (stream_is_plain(stream))
		stream->over = false;
}

const char *stream_damage(const struct stream *stream)
{
	return stream->damage;
}

uint64_t stream_done(const struct stream *stream)
{
	return stream->taken;
}

uint64_t stream_total(const struct stream *stream)
{
	return stream->total;
}
