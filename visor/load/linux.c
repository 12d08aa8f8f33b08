/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux bzImages, by "The Linux/x86 Boot Protocol" (kernel documentation,
 * arch/x86/boot). Entered at the 32-bit entry point.
 */
#include "visor/lib/string.h"
#include "visor/load/bytes.h"
#include "visor/load/loader.h"

/* Offsets in the image, which are those in the zero page too. */
#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4
#define BOOT_FLAG 0x1fe
#define JUMP_OFFSET 0x201
#define HEADER 0x202
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS 0x211
#define CODE32_START 0x214
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define RELOCATABLE_KERNEL 0x234
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define HEADER_END_MAX 0x290

/* Zero page ("Real-mode code and data" and zero-page.rst). */
#define ZERO_PAGE_BYTES 4096
#define ZERO_PAGE_RSDP 0x070
#define ZERO_PAGE_E820_ENTRIES 0x1e8
#define ZERO_PAGE_E820_TABLE 0x2d0
#define E820_ENTRY_BYTES 20

#define SECTOR 512u
#define SYSSIZE_UNIT 16u
#define BOOT_FLAG_VALUE 0xaa55
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define LOADED_HIGH 0x01
#define LOADER_UNDEFINED 0xff
#define VERSION_MIN 0x206          /* first with cmdline_size */
#define VERSION_PREF_ADDRESS 0x20a /* first with pref_address and init_size */

#define LOW_AREA 0x10000u /* zero page and command line go at or above */
#define INITRD_ALIGN 4096u

struct bzimage {
	const uint8_t *image;
	size_t size;
	uint16_t version;
	size_t setup_bytes; /* boot sector and setup: where the 32-bit code begins in the file */
	uint64_t code_bytes;
	uint64_t load_address, init_size;
	uint32_t command_line_max;
	uint64_t initrd_end_max;
};

bool is_linux(const struct load_blob *kernel)
{
	return kernel->size >= HEADER + 4 && get16(kernel->bytes + BOOT_FLAG) == BOOT_FLAG_VALUE &&
	       get32(kernel->bytes + HEADER) == HEADER_MAGIC;
}

static bool check_protocol(struct loader *l, struct bzimage *b)
{
	if (b->size < HEADER_END_MAX)
		return refuse(l, "Linux kernel is cut short inside its setup header, after %zu bytes", b->size);
	b->version = get16(b->image + VERSION);
	if (b->version < VERSION_MIN)
		return refuse(l, "Linux kernel speaks boot protocol %u.%02u; 2.06 is the oldest supported",
		              b->version >> 8, b->version & 0xff);
	if (!(b->image[LOADFLAGS] & LOADED_HIGH))
		return refuse(l, "Linux kernel is a zImage, which loads below 1 MiB; a bzImage is needed");
	return true;
}

/*
 * A promise that is not kept means that the file is cut short. The header counts in units of 16 bytes,
 * rounded up ("syssize"); the last unit need not be whole in the file.
 */
static bool check_sizes(struct loader *l, struct bzimage *b)
{
	unsigned sectors = b->image[SETUP_SECTS] ? b->image[SETUP_SECTS] : 4;
	uint64_t whole;

	b->setup_bytes = (sectors + 1) * SECTOR;
	b->code_bytes = (uint64_t)get32(b->image + SYSSIZE) * SYSSIZE_UNIT;
	whole = b->setup_bytes + b->code_bytes;
	if (!b->code_bytes)
		return refuse(l, "Linux kernel's header gives its code a size of 0");
	if (b->size + SYSSIZE_UNIT <= whole)
		return refuse(l, "Linux kernel is cut short: its header promises %llu bytes, %zu are there",
		              (unsigned long long)whole, b->size);
	if (b->size < whole)
		b->code_bytes -= whole - b->size;
	return true;
}

/*
 * Some images that carry the header are programs for real mode and the BIOS: they have no code for the
 * 32-bit entry point and leave its address at 0 (iPXE).
 */
static bool check_entry(struct loader *l, const struct bzimage *b)
{
	if (!get32(b->image + CODE32_START))
		return refuse(l, "Linux kernel image has no 32-bit entry point: it starts in real mode and calls "
		                 "the BIOS, and there is none");
	return true;
}

/*
 * A relocatable kernel runs at pref_address or moves itself up to it, so there
 * is nothing to gain from any lower place. It then uses init_size bytes.
 */
static bool choose_load_address(struct loader *l, struct bzimage *b)
{
	bool modern = b->version >= VERSION_PREF_ADDRESS && b->image[RELOCATABLE_KERNEL];

	b->load_address = modern ? get64(b->image + PREF_ADDRESS) : get32(b->image + CODE32_START);
	b->init_size = b->version >= VERSION_PREF_ADDRESS ? get32(b->image + INIT_SIZE) : 0;
	if (b->init_size < b->code_bytes)
		b->init_size = b->code_bytes;
	if (!in_guest_ram(l, b->load_address, b->init_size))
		return refuse(l, "Linux kernel of %lu MiB at 0x%llx does not fit in %lu MiB of guest memory",
		              mib(b->init_size), (unsigned long long)b->load_address,
		              mib(l->request->memory_bytes));
	return take_range(l, b->load_address, b->init_size);
}

static bool read_header(struct loader *l, struct bzimage *b)
{
	*b = (struct bzimage){.image = l->request->kernel.bytes, .size = l->request->kernel.size};
	if (!check_protocol(l, b) || !check_sizes(l, b) || !check_entry(l, b) ||
	    !choose_load_address(l, b))
		return false;
	b->command_line_max = get32(b->image + CMDLINE_SIZE);
	b->initrd_end_max = (uint64_t)get32(b->image + INITRD_ADDR_MAX) + 1;
	return true;
}

static bool linux_put_command_line(struct loader *l, const struct bzimage *b, uint8_t *zero_page)
{
	const char *text = l->request->command_line ? l->request->command_line : "";
	size_t length = strlen(text);
	uint64_t at;

	if (length > b->command_line_max)
		return refuse(l, "command line of %zu bytes is longer than the %u that this kernel takes", length,
		              b->command_line_max);
	if (!find_room(l, LOW_AREA, length + 1, 16, &at))
		return refuse(l, "command line of %zu bytes does not fit in %lu MiB of guest memory", length,
		              mib(l->request->memory_bytes));
	put32(zero_page + CMD_LINE_PTR, at);
	return put(l, at, text, length + 1);
}

/* As high as the kernel allows, so that it is out of the way of what the kernel unpacks. */
static bool put_initrd(struct loader *l, const struct bzimage *b, uint8_t *zero_page)
{
	const struct load_blob *initrd = &l->request->initrd;
	uint64_t end = guest_memory_low_end(l->request->memory_bytes);
	uint64_t kernel_end = b->load_address + b->init_size, at;

	if (!initrd->size)
		return true;
	if (end > b->initrd_end_max)
		end = b->initrd_end_max;
	at = initrd->size <= end ? (end - initrd->size) & ~(uint64_t)(INITRD_ALIGN - 1) : 0;
	if (at < kernel_end)
		return refuse(l, "initrd of %lu MiB does not fit in %lu MiB of guest memory "
		                 "(the kernel takes the first %lu MiB)",
		              mib(initrd->size), mib(l->request->memory_bytes), mib(kernel_end));
	put32(zero_page + RAMDISK_IMAGE, at);
	put32(zero_page + RAMDISK_SIZE, initrd->size);
	return take_range(l, at, initrd->size) && put(l, at, initrd->bytes, initrd->size);
}

static void linux_put_memory_map(const struct loader *l, uint8_t *zero_page)
{
	struct guest_memory_range range[GUEST_MEMORY_RANGES];
	unsigned n = guest_memory_map(l->request->memory_bytes, range);

	zero_page[ZERO_PAGE_E820_ENTRIES] = n;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *entry = zero_page + ZERO_PAGE_E820_TABLE + i * E820_ENTRY_BYTES;

		put64(entry, range[i].base);
		put64(entry + 8, range[i].bytes);
		put32(entry + 16, range[i].type);
	}
}

/* The setup header is copied as far as it reaches: the byte at 201h says where it ends. */
static void copy_header(const struct bzimage *b, uint8_t *zero_page)
{
	size_t end = HEADER + b->image[JUMP_OFFSET];

	if (end > HEADER_END_MAX)
		end = HEADER_END_MAX;
	memcpy(zero_page + SETUP_SECTS, b->image + SETUP_SECTS, end - SETUP_SECTS);
}

static bool put_zero_page(struct loader *l, const struct bzimage *b)
{
	uint8_t zero_page[ZERO_PAGE_BYTES] = {0};
	uint64_t at;

	if (!find_room(l, LOW_AREA, sizeof(zero_page), 4096, &at))
		return refuse(l, "boot parameters do not fit in %lu MiB of guest memory",
		              mib(l->request->memory_bytes));
	copy_header(b, zero_page);
	zero_page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put32(zero_page + CODE32_START, b->load_address);
	put64(zero_page + ZERO_PAGE_RSDP, l->rsdp);
	linux_put_memory_map(l, zero_page);
	if (!linux_put_command_line(l, b, zero_page) || !put_initrd(l, b, zero_page))
		return false;
	l->result->cpu.gpr[X86_RSI] = at;
	return put(l, at, zero_page, sizeof(zero_page));
}

static bool check_modules(struct loader *l)
{
	if (l->request->module_count)
		return refuse(l, "a Linux kernel takes an initrd, but no multiboot modules");
	return true;
}

bool load_linux(struct loader *l)
{
	struct bzimage b;

	l->result->kind = LOAD_LINUX;
	return check_modules(l) && read_header(l, &b) && put_zero_page(l, &b) &&
	       put(l, b.load_address, b.image + b.setup_bytes, b.code_bytes) &&
	       enter_protected_mode(l, b.load_address, LINUX_CODE_SELECTOR);
}
