/* SPDX-License-Identifier: BSD-2-Clause */
#include "decompress.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/*
 * No kernel is larger, and none shrinks to less than a tenth: what unpacks to much
 * more was made to take all memory.
 */
#define OUTPUT_MAX (1ull << 30)
#define OUTPUT_LEAST (64ull << 20)
#define OUTPUT_PER_BYTE 64

/* Unpacking takes a few times the dictionary, which Linux' build has at 128 MiB. */
#define DICTIONARY_MAX (512ull << 20)

/* Legacy LZ4 ("lz4 -l", what Linux uses): blocks of 8 MiB unpacked. */
enum { LZ4_BLOCK_MAX = 8 << 20 };

struct output {
	struct bytes bytes;
	size_t room, most;
};

static size_t most_for(size_t packed)
{
	uint64_t most = OUTPUT_LEAST + OUTPUT_PER_BYTE * (uint64_t)packed;

	return most < OUTPUT_MAX ? most : OUTPUT_MAX;
}

/* At least one byte of room behind what is there; false past what may come of so much. */
static bool make_room(struct output *out, size_t extra)
{
	if (out->bytes.size + extra > out->most)
		return false;
	if (out->bytes.size + extra > out->room) {
		out->room = 2 * out->room + extra;
		out->bytes.data = reallocate(out->bytes.data, out->room);
	}
	return true;
}

static uint8_t *free_part(struct output *out, size_t *size)
{
	*size = out->room - out->bytes.size;
	return out->bytes.data + out->bytes.size;
}

static const char *unpack_gzip(const uint8_t *data, size_t size, struct output *out)
{
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
	int result = inflateInit2(&stream, 16 + MAX_WBITS);

	while (result == Z_OK) {
		size_t room;

		if (!make_room(out, 1 << 20)) {
			result = Z_MEM_ERROR;
			break;
		}
		stream.next_out = free_part(out, &room);
		stream.avail_out = (uInt)room;
		result = inflate(&stream, Z_NO_FLUSH);
		out->bytes.size += room - stream.avail_out;
	}
	inflateEnd(&stream);
	return result == Z_STREAM_END ? NULL : "the gzip data is damaged or cut short";
}

static const char *unpack_lzma(const uint8_t *data, size_t size, struct output *out, bool xz)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret result = xz ? lzma_stream_decoder(&stream, DICTIONARY_MAX, 0)
	                     : lzma_alone_decoder(&stream, DICTIONARY_MAX);

	stream.next_in = data;
	stream.avail_in = size;
	while (result == LZMA_OK) {
		size_t room;

		if (!make_room(out, 1 << 20)) {
			result = LZMA_MEM_ERROR;
			break;
		}
		stream.next_out = free_part(out, &room);
		stream.avail_out = room;
		result = lzma_code(&stream, LZMA_FINISH);
		out->bytes.size += room - stream.avail_out;
	}
	lzma_end(&stream);
	return result == LZMA_STREAM_END ? NULL : "the xz data is damaged or cut short";
}

static const char *unpack_bzip2(const uint8_t *data, size_t size, struct output *out)
{
	bz_stream stream = {.next_in = (char *)(uintptr_t)data, .avail_in = (unsigned)size};
	int result = BZ2_bzDecompressInit(&stream, 0, 0);

	while (result == BZ_OK) {
		size_t room;

		if (!make_room(out, 1 << 20)) {
			result = BZ_MEM_ERROR;
			break;
		}
		stream.next_out = (char *)free_part(out, &room);
		stream.avail_out = (unsigned)room;
		result = BZ2_bzDecompress(&stream);
		out->bytes.size += room - stream.avail_out;
		if (result == BZ_OK && stream.avail_in == 0 && stream.avail_out != 0)
			result = BZ_UNEXPECTED_EOF;
	}
	BZ2_bzDecompressEnd(&stream);
	return result == BZ_STREAM_END ? NULL : "the bzip2 data is damaged or cut short";
}

static const char *unpack_zstd(const uint8_t *data, size_t size, struct output *out)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = {.src = data, .size = size};
	const char *wrong = NULL;
	size_t left = 1;

	/* The kernel's build uses windows up to 128 MiB (zstd -22 --ultra). */
	if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27)))
		wrong = "libzstd cannot start";
	while (!wrong && left != 0) {
		ZSTD_outBuffer to = {0};

		if (!make_room(out, 1 << 20)) {
			wrong = "it unpacks to far more than a kernel would";
			break;
		}
		to.dst = free_part(out, &to.size);
		left = ZSTD_decompressStream(context, &to, &in);
		out->bytes.size += to.pos;
		if (ZSTD_isError(left) || (left && in.pos == in.size && to.pos < to.size))
			wrong = "the zstd data is damaged or cut short";
	}
	ZSTD_freeDCtx(context);
	return wrong;
}

static uint32_t read_u32(const uint8_t *data)
{
	return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static const char *unpack_lz4(const uint8_t *data, size_t size, struct output *out)
{
	size_t at = 4;

	/* The last four bytes may be the kernel's unpacked size instead of a block. */
	while (at + 4 < size) {
		uint32_t packed = read_u32(data + at);
		size_t room;
		int got;

		at += 4;
		if (packed == 0 || packed > size - at)
			return "the lz4 data is damaged or cut short";
		if (!make_room(out, LZ4_BLOCK_MAX))
			return "it unpacks to far more than a kernel would";
		got = LZ4_decompress_safe((const char *)data + at, (char *)free_part(out, &room), (int)packed,
		                          LZ4_BLOCK_MAX);
		if (got < 0)
			return "the lz4 data is damaged or cut short";
		out->bytes.size += (size_t)got;
		at += packed;
	}
	return out->bytes.size ? NULL : "the lz4 data is damaged or cut short";
}

static const struct {
	const char *name;
	uint8_t magic[6];
	size_t length;
} compressions[] = {
	{"gzip", {0x1f, 0x8b}, 2},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6},
	{"bzip2", {'B', 'Z', 'h'}, 3},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4},
	{"lzma", {0x5d, 0, 0}, 3},
};

const char *compression_name(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (size >= compressions[i].length &&
		    memcmp(data, compressions[i].magic, compressions[i].length) == 0)
			return compressions[i].name;
	return NULL;
}

bool decompress(const uint8_t *data, size_t size, struct bytes *out, char **error)
{
	const char *name = compression_name(data, size), *wrong;
	struct output output = {.most = most_for(size)};

	if (!name)
		wrong = "its compression is none of gzip, xz, lzma, bzip2, zstd, lz4";
	else if (strcmp(name, "gzip") == 0)
		wrong = unpack_gzip(data, size, &output);
	else if (strcmp(name, "xz") == 0 || strcmp(name, "lzma") == 0)
		wrong = unpack_lzma(data, size, &output, name[0] == 'x');
	else if (strcmp(name, "bzip2") == 0)
		wrong = unpack_bzip2(data, size, &output);
	else if (strcmp(name, "zstd") == 0)
		wrong = unpack_zstd(data, size, &output);
	else
		wrong = unpack_lz4(data, size, &output);
	*out = output.bytes;
	if (!wrong)
		return true;
	bytes_free(out);
	*error = duplicate(wrong);
	return false;
}
