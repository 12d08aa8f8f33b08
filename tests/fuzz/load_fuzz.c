/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Linux loader on anything. Byte 0: guest memory in MiB; 1 and 2: initrd
 * size in KiB; 3: length of the command line in units of 16. The rest is the
 * kernel, with the magic numbers of a bzImage put in so that the checks behind
 * them are reached; an odd byte 3 leaves them out.
 */
#include "tests/fuzz/guest_memory.h"

#define PREFIX 4
#define HEADER_BYTES 0x290

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_plausible(uint8_t *kernel, size_t size)
{
	if (size < HEADER_BYTES)
		return;
	memcpy(kernel + 0x1fe, "\x55\xaa", 2);
	memcpy(kernel + 0x202, "HdrS", 4);
	kernel[0x207] = 2;
	kernel[0x211] |= 1;
	kernel[0x1f5] &= 1; /* code of at most 8 KiB */
	memset(kernel + 0x1f6, 0, 2);
	kernel[0x25b] &= 0x0f; /* load address and size below 256 MiB */
	memset(kernel + 0x25c, 0, 4);
	kernel[0x263] &= 0x0f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t initrd[65536ull << 10];
	char command_line[255 / 2 * 32 + 1];
	struct load_request r = {.command_line = command_line};
	uint8_t *kernel;

	if (size < PREFIX)
		return 0;
	kernel = malloc(size - PREFIX + 1);
	memcpy(kernel, data + PREFIX, size - PREFIX);
	if (!(data[3] & 1))
		make_plausible(kernel, size - PREFIX);
	memset(command_line, 'c', data[3] / 2 * 32u);
	command_line[data[3] / 2 * 32u] = 0;
	r.memory_bytes = (uint64_t)data[0] << 20;
	r.kernel = (struct load_blob){.bytes = kernel, .size = size - PREFIX};
	r.initrd = (struct load_blob){.bytes = initrd, .size = (data[1] | data[2] << 8) * 1024u};
	fuzz_load(&r);
	free(kernel);
	return 0;
}
