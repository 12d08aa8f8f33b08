/* SPDX-License-Identifier: BSD-2-Clause */
#include "columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ALIGNMENT = 8,
       CHUNK = 48 * 1024, /* a multiple of 3, so that only the last one is padded */
       GZIP_WINDOW = 15 + 16,
       COMPRESSION = 6 };

size_t columns_new(struct columns *columns, const char *name, unsigned width)
{
	columns->list = reallocate(columns->list, (columns->count + 1) * sizeof(*columns->list));
	columns->list[columns->count] = (struct column){.name = name, .width = width};
	return columns->count++;
}

void columns_add(struct columns *columns, size_t place, uint64_t value)
{
	struct column *column = &columns->list[place];

	if (column->count == column->room) {
		column->room = column->room ? 2 * column->room : 256;
		column->data = reallocate(column->data, column->room * column->width);
	}
	/* Little endian, as every machine that shows a page is. */
	for (unsigned i = 0; i < column->width; i++)
		column->data[column->count * column->width + i] = (uint8_t)(value >> 8 * i);
	column->count++;
}

void columns_free(struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		free(columns->list[i].data);
	free(columns->list);
	*columns = (struct columns){0};
}

static size_t padded(const struct column *column)
{
	return (column->count * column->width + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

json_t *columns_index(const struct columns *columns)
{
	json_t *index = json_object();
	size_t offset = 0;

	for (size_t i = 0; i < columns->count; i++) {
		const struct column *column = &columns->list[i];

		json_object_set_new(index, column->name,
		                    json_pack("[I, I, I]", (json_int_t)column->width, (json_int_t)offset,
		                              (json_int_t)column->count));
		offset += padded(column);
	}
	return index;
}

static bool put_base64(FILE *to, const uint8_t *data, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		unsigned word = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
		                (left > 2 ? data[i + 2] : 0u);
		char text[4] = {digits[word >> 18], digits[word >> 12 & 63], left > 1 ? digits[word >> 6 & 63] : '=',
		                left > 2 ? digits[word & 63] : '='};

		if (fwrite(text, sizeof(text), 1, to) != 1)
			return false;
	}
	return true;
}

struct packing {
	z_stream zlib;
	FILE *to;
	uint8_t out[CHUNK];
};

static bool pack(struct packing *p, const void *data, size_t size, int flush)
{
	p->zlib.next_in = (Bytef *)(uintptr_t)data;
	p->zlib.avail_in = (uInt)size;
	do {
		int status = deflate(&p->zlib, flush);

		if (status == Z_STREAM_ERROR) {
			errno = EINVAL;
			return false;
		}
		if (p->zlib.avail_out && flush != Z_FINISH)
			break;
		if (!put_base64(p->to, p->out, CHUNK - p->zlib.avail_out))
			return false;
		p->zlib.next_out = p->out;
		p->zlib.avail_out = CHUNK;
		if (status == Z_STREAM_END)
			break;
	} while (true);
	return true;
}

bool columns_write(const struct columns *columns, FILE *to)
{
	static const uint8_t zeros[ALIGNMENT];
	struct packing *p = allocate(sizeof(*p));
	bool ok = true;

	p->to = to;
	p->zlib.next_out = p->out;
	p->zlib.avail_out = CHUNK;
	if (deflateInit2(&p->zlib, COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(p);
		errno = ENOMEM;
		return false;
	}
	for (size_t i = 0; i < columns->count && ok; i++) {
		const struct column *column = &columns->list[i];
		size_t bytes = column->count * column->width;

		/* zlib counts in 32 bits. */
		for (size_t at = 0; at < bytes && ok; at += 1 << 30)
			ok = pack(p, column->data + at, bytes - at < 1 << 30 ? bytes - at : 1 << 30, Z_NO_FLUSH);
		ok = ok && pack(p, zeros, padded(column) - bytes, Z_NO_FLUSH);
	}
	ok = ok && pack(p, zeros, 0, Z_FINISH);
	deflateEnd(&p->zlib);
	free(p);
	return ok;
}
