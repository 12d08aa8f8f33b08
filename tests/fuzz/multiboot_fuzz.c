/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The multiboot and ELF loaders on anything. Byte 0: guest memory in MiB;
 * byte 1: bit 0 puts an ELF magic in front, bit 1 makes the class 64, bit 2
 * completes a multiboot header at the offset in byte 2 (in units of 4), bits
 * 7:4 the number of modules; byte 3: module size in KiB. The rest is the kernel.
 */
#include "tests/fuzz/guest_memory.h"

#define PREFIX 4
#define MULTIBOOT_MAGIC 0x1badb002u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keep the flags that are there, and make the checksum agree with them. */
static void complete_header(uint8_t *kernel, size_t size, size_t at)
{
	uint32_t magic = MULTIBOOT_MAGIC, flags, checksum;

	if (at + 12 > size)
		return;
	memcpy(&flags, kernel + at + 4, 4);
	checksum = -(magic + flags);
	memcpy(kernel + at, &magic, 4);
	memcpy(kernel + at + 8, &checksum, 4);
}

static void make_elf(uint8_t *kernel, size_t size, bool is64)
{
	if (size < 20)
		return;
	memcpy(kernel, "\177ELF", 4);
	kernel[4] = is64 ? 2 : 1;
	kernel[5] = 1;
	if (size > 64) /* program headers where the smallest inputs can have them */
		memcpy(kernel + (is64 ? 32 : 28), "\x40\0\0\0\0\0\0\0", is64 ? 8 : 4);
	memcpy(kernel + 16, is64 ? "\x02\x00\x3e\x00" : "\x02\x00\x03\x00", 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t module[255 << 10];
	struct load_request r = {.command_line = "fuzz"};
	uint8_t *kernel;

	if (size < PREFIX)
		return 0;
	kernel = malloc(size - PREFIX + 1);
	memcpy(kernel, data + PREFIX, size - PREFIX);
	if (data[1] & 1)
		make_elf(kernel, size - PREFIX, data[1] & 2);
	if (data[1] & 4)
		complete_header(kernel, size - PREFIX, data[2] * 4u);
	r.memory_bytes = (uint64_t)data[0] << 20;
	r.kernel = (struct load_blob){.bytes = kernel, .size = size - PREFIX};
	r.module_count = data[1] >> 4;
	for (unsigned i = 0; i < r.module_count; i++)
		r.modules[i] = (struct load_blob){
			.bytes = module,
			.size = data[3] * 1024u,
			.command_line = "module",
		};
	fuzz_load(&r);
	free(kernel);
	return 0;
}
