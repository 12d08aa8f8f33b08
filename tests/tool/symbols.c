/* SPDX-License-Identifier: BSD-2-Clause */
/* Names for guest addresses: every source, and what is wrong with bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "../../tool/symbols/bzimage.h"
#include "../../tool/symbols/decompress.h"
#include "../../tool/symbols/symbols.h"

#define DEBIAN_KERNEL ".cache/kernels/cloud-amd64/vmlinuz"

/* ---- A kallsyms table made from its description --------------------------------- */

enum { NAMES = 1500,
       TABLE_ROOM = 1 << 17 };
#define BASE 0xffffffff81000000ull

struct image {
	uint8_t *bytes;
	size_t size;
};

static void put(struct image *image, const void *data, size_t size)
{
	memcpy(image->bytes + image->size, data, size);
	image->size += size;
}

static void put_u32(struct image *image, uint32_t value)
{
	put(image, &value, sizeof(value));
}

static void align(struct image *image)
{
	while (image->size % 8)
		image->bytes[image->size++] = 0;
}

/* Tokens: printable characters stand for themselves, 1 is "func_", the rest is one letter. */
static const char *token(unsigned code)
{
	static char text[2];

	text[0] = code >= ' ' && code < 127 ? (char)code : 'z';
	return code == 1 ? "func_" : text;
}

static void put_tokens(struct image *image)
{
	uint16_t index[256];
	size_t start = image->size;

	for (unsigned i = 0; i < 256; i++) {
		index[i] = (uint16_t)(image->size - start);
		put(image, token(i), strlen(token(i)) + 1);
	}
	align(image);
	put(image, index, sizeof(index));
}

static void put_offsets(struct image *image)
{
	const uint64_t base = BASE;

	align(image);
	/* Negative: relative_base - 1 - offset, as with absolute per-CPU symbols. */
	for (unsigned i = 0; i < NAMES; i++)
		put_u32(image, (uint32_t)(-1 - (int32_t)(i * 16)));
	align(image);
	put(image, &base, sizeof(base));
}

/* "t" "func_" NUMBER, and one name longer than 127 tokens, which takes two length bytes. */
static void put_names(struct image *image, uint32_t *markers)
{
	size_t start = image->size;

	for (unsigned i = 0; i < NAMES; i++) {
		char digits[200];
		size_t length;

		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(image->size - start);
		length = (size_t)snprintf(digits, sizeof(digits), i == 700 ? "%0150u" : "%u", i);
		if (length + 2 > 127) {
			uint8_t two[2] = {(uint8_t)(0x80 | ((length + 2) & 0x7f)), (uint8_t)((length + 2) >> 7)};

			put(image, two, 2);
		} else {
			image->bytes[image->size++] = (uint8_t)(length + 2);
		}
		image->bytes[image->size++] = i ? 't' : 'T';
		image->bytes[image->size++] = 1;
		put(image, digits, length);
	}
	align(image);
}

/* The order of Linux 6.1, or of 6.4 and later. The ELF header makes it a "vmlinux". */
static struct image kallsyms_image(bool late_offsets)
{
	struct image image = {.bytes = calloc(1, TABLE_ROOM)};
	uint32_t markers[(NAMES + 255) / 256];

	image.size = 4096;
	memset(image.bytes, 0xa5, image.size);
	if (!late_offsets)
		put_offsets(&image);
	put_u32(&image, NAMES);
	align(&image);
	put_names(&image, markers);
	put(&image, markers, sizeof(markers));
	align(&image);
	put_tokens(&image);
	if (late_offsets)
		put_offsets(&image);
	return image;
}

static void find_made_symbols(bool late_offsets)
{
	struct image image = kallsyms_image(late_offsets);
	struct symbols symbols;
	char *error = NULL, *text;
	uint8_t elf[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};

	/* An ELF header without sections: no symbols but what kallsyms has. */
	elf[16] = 2;
	elf[18] = 62;
	elf[20] = 1;
	elf[52] = 64;
	memcpy(image.bytes, elf, sizeof(elf));
	assert_true(symbols_parse(&symbols, image.bytes, image.size, &error));
	assert_int_equal(symbols.count, NAMES);
	assert_string_equal(symbols.source, "kallsyms table");
	text = symbols_describe(&symbols, BASE + 16 * 321 + 5);
	assert_string_equal(text, "func_321+0x5");
	free(text);
	text = symbols_describe(&symbols, BASE - 1);
	assert_string_equal(text, "");
	free(text);
	symbols_free(&symbols);
	free(image.bytes);
}

static void kallsyms_of_linux_6_1(void **state)
{
	(void)state;
	find_made_symbols(false);
}

static void kallsyms_of_linux_6_4(void **state)
{
	(void)state;
	find_made_symbols(true);
}

static void damaged_kallsyms_are_not_believed(void **state)
{
	struct image image = kallsyms_image(false);
	char *error = NULL;
	struct symbols symbols;

	(void)state;
	memcpy(image.bytes, "\177ELF\2\1\1", 8);
	image.bytes[16] = 2;
	image.bytes[18] = 62;
	image.bytes[20] = 1;
	image.bytes[52] = 64;
	/* One name's length: the markers no longer agree. */
	for (size_t i = 4096; i < image.size; i++) {
		if (memcmp(image.bytes + i, "t\0017", 3) == 0) {
			image.bytes[i - 1]++;
			break;
		}
	}
	assert_false(symbols_parse(&symbols, image.bytes, image.size, &error));
	assert_non_null(strstr(error, "kallsyms"));
	free(error);
	free(image.bytes);
}

/* ---- Debian's own kernel ----------------------------------------------------------- */

static void debians_kernel_names_its_functions(void **state)
{
	struct symbols symbols;
	uint64_t offset;
	char *error = NULL;
	const char *name;

	(void)state;
	if (access(DEBIAN_KERNEL, R_OK) != 0)
		skip();
	assert_true(symbols_load(&symbols, DEBIAN_KERNEL, &error));
	assert_true(symbols.count > 20000);
	/* Every kernel for x86-64 is linked to here and begins with this. */
	assert_int_equal(symbols.text, 0xffffffff81000000ull);
	name = symbols_find(&symbols, symbols.text + 1, &offset);
	assert_string_equal(name, "startup_64");
	assert_int_equal(offset, 1);
	/* Past the end of the text there is no function. */
	assert_null(symbols_find(&symbols, symbols.text_end + 1, &offset));
	symbols_free(&symbols);
}

/* ---- Text ------------------------------------------------------------------------------ */

static char *parse_text(const char *text, struct symbols *symbols)
{
	char *error = NULL;

	return symbols_parse(symbols, (const uint8_t *)text, strlen(text), &error) ? NULL : error;
}

static void system_map_and_proc_kallsyms(void **state)
{
	struct symbols symbols;
	char *text;

	(void)state;
	assert_null(parse_text("ffffffff81000000 T _text\nffffffff81000000 T startup_64\n"
	                       "ffffffff81000200 t helper\nffffffff81000180 D data\n"
	                       "ffffffffc0000000 t in_module\t[ext4]\nffffffff81000400 T _etext\n",
	                       &symbols));
	text = symbols_describe(&symbols, 0xffffffff810001ffull);
	assert_string_equal(text, "startup_64+0x1ff"); /* not _text, not the data */
	free(text);
	text = symbols_describe(&symbols, 0xffffffffc0000004ull);
	assert_string_equal(text, "in_module+0x4");
	free(text);
	symbols_free(&symbols);
}

static void assert_text_refused(const char *text, const char *part)
{
	struct symbols symbols;
	char *error = parse_text(text, &symbols);

	assert_non_null(error);
	assert_non_null(strstr(error, part));
	free(error);
}

static void texts_that_are_refused(void **state)
{
	(void)state;
	assert_text_refused("ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "stub");
	assert_text_refused("hello world\n", "line 1");
	assert_text_refused("", "names no functions");
	assert_text_refused("0 T a\n0 T b\n0 T c\n0 T d\n0 T e\n0 T f\n0 T g\n0 T h\n0 T i\n", "root");
}

/* ---- Compressions --------------------------------------------------------------------------- */

enum { PLAIN = 3 << 20,
       PACKED_ROOM = 8 << 20 };

static uint8_t *plain, *packed;

static int make_plain(void **state)
{
	uint32_t x = 1;

	(void)state;
	plain = malloc(PLAIN);
	packed = malloc(PACKED_ROOM);
	for (size_t i = 0; i < PLAIN; i++) {
		x = x * 1664525 + 1013904223;
		plain[i] = i & 64 ? (uint8_t)(x >> 24) : (uint8_t)(i >> 8);
	}
	return 0;
}

static int free_plain(void **state)
{
	(void)state;
	free(plain);
	free(packed);
	return 0;
}

/* Unpacks with the kernel's four size bytes behind it; not when cut short. */
static void assert_unpacks(const char *name, size_t size)
{
	uint32_t unpacked_size = PLAIN;
	struct bytes out;
	char *error = NULL;

	assert_string_equal(compression_name(packed, size), name);
	memcpy(packed + size, &unpacked_size, sizeof(unpacked_size));
	assert_true(decompress(packed, size + sizeof(unpacked_size), &out, &error));
	assert_int_equal(out.size, PLAIN);
	assert_memory_equal(out.data, plain, PLAIN);
	bytes_free(&out);
	assert_false(decompress(packed, size / 2, &out, &error));
	assert_non_null(error);
	free(error);
}

static void every_compression_unpacks(void **state)
{
	z_stream gzip = {.next_in = plain, .avail_in = PLAIN, .next_out = packed, .avail_out = PACKED_ROOM};
	unsigned bzip2_size = PACKED_ROOM;
	size_t size = 0;
	lzma_options_lzma options;
	lzma_stream lzma = LZMA_STREAM_INIT;
	int got;

	(void)state;
	assert_int_equal(deflateInit2(&gzip, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
	assert_unpacks("gzip", gzip.total_out);
	deflateEnd(&gzip);

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, plain, PLAIN, packed, &size,
	                                         PACKED_ROOM),
	                 LZMA_OK);
	assert_unpacks("xz", size);

	lzma_lzma_preset(&options, 1);
	assert_int_equal(lzma_alone_encoder(&lzma, &options), LZMA_OK);
	lzma.next_in = plain;
	lzma.avail_in = PLAIN;
	lzma.next_out = packed;
	lzma.avail_out = PACKED_ROOM;
	assert_int_equal(lzma_code(&lzma, LZMA_FINISH), LZMA_STREAM_END);
	assert_unpacks("lzma", lzma.total_out);
	lzma_end(&lzma);

	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)packed, &bzip2_size, (char *)plain, PLAIN, 5, 0, 0),
	                 BZ_OK);
	assert_unpacks("bzip2", bzip2_size);

	size = ZSTD_compress(packed, PACKED_ROOM, plain, PLAIN, 3);
	assert_false(ZSTD_isError(size));
	assert_unpacks("zstd", size);

	/* Legacy frame: magic, then blocks with their packed size before them. */
	memcpy(packed, "\x02\x21\x4c\x18", 4);
	got = LZ4_compress_default((char *)plain, (char *)packed + 8, PLAIN, PACKED_ROOM - 8);
	assert_true(got > 0);
	memcpy(packed + 4, &got, 4);
	assert_unpacks("lz4", 8 + (size_t)got);
}

static void nonsense_is_no_compression(void **state)
{
	struct bytes out;
	char *error = NULL;

	(void)state;
	assert_null(compression_name((const uint8_t *)"hello", 5));
	assert_false(decompress((const uint8_t *)"hello", 5, &out, &error));
	assert_non_null(strstr(error, "none of"));
	free(error);
}

static void bzimages_cut_short_are_refused(void **state)
{
	struct bytes file;
	struct bzimage image;
	char *error = NULL;

	(void)state;
	if (access(DEBIAN_KERNEL, R_OK) != 0)
		skip();
	assert_true(bytes_read(DEBIAN_KERNEL, &file, &error));
	assert_true(is_bzimage(file.data, file.size));
	assert_true(bzimage_parse(file.data, file.size, &image, &error));
	assert_true(image.init_size > file.size);
	assert_false(bzimage_parse(file.data, file.size / 2, &image, &error));
	assert_non_null(strstr(error, "cut short"));
	free(error);
	assert_false(is_bzimage(file.data, 0x200));
	bytes_free(&file);
}

/* syssize counts 16 bytes, rounded up: an image need not fill the last of them (memtest86+, iPXE). */
static void bzimages_may_lack_part_of_the_last_unit(void **state)
{
	uint8_t file[5 * 512 + 64] = {0};
	struct bzimage image;
	char *error = NULL;

	(void)state;
	memcpy(file + 0x1fe, "\x55\xaa", 2);
	memcpy(file + 0x202, "HdrS", 4);
	file[0x1f4] = 64 / 16;
	file[0x1f1] = 4;
	for (size_t missing = 0; missing < 16; missing++)
		assert_true(bzimage_parse(file, sizeof(file) - missing, &image, &error));
	assert_false(bzimage_parse(file, sizeof(file) - 16, &image, &error));
	assert_non_null(strstr(error, "cut short"));
	free(error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kallsyms_of_linux_6_1),
		cmocka_unit_test(kallsyms_of_linux_6_4),
		cmocka_unit_test(damaged_kallsyms_are_not_believed),
		cmocka_unit_test(debians_kernel_names_its_functions),
		cmocka_unit_test(system_map_and_proc_kallsyms),
		cmocka_unit_test(texts_that_are_refused),
		cmocka_unit_test_setup_teardown(every_compression_unpacks, make_plain, free_plain),
		cmocka_unit_test(nonsense_is_no_compression),
		cmocka_unit_test(bzimages_cut_short_are_refused),
		cmocka_unit_test(bzimages_may_lack_part_of_the_last_unit),
	};

	return cmocka_run_group_tests_name("tool: symbols", tests, NULL, NULL);
}
