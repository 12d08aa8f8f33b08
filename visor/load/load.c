/* SPDX-License-Identifier: BSD-2-Clause */
/* Tell the kinds of image apart, and what every kind needs: guest memory and reasons. */
#include "visor/load/load.h"

#include <stdarg.h>

#include "visor/lib/format.h"
#include "visor/load/loader.h"

#define FOUR_GIB 0x100000000ull

void note_reason(struct loader *l, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(l->result->reason, sizeof(l->result->reason), format, args);
	va_end(args);
}

unsigned long mib(uint64_t bytes)
{
	return bytes / (1u << 20) + (bytes % (1u << 20) != 0);
}

bool in_guest_ram(const struct loader *l, uint64_t base, uint64_t bytes)
{
	struct guest_memory_range range[GUEST_MEMORY_RANGES];
	unsigned n = guest_memory_map(l->request->memory_bytes, range);

	for (unsigned i = 0; i < n; i++) {
		uint64_t offset = base - range[i].base;

		if (range[i].type == GUEST_MEMORY_RAM && range[i].base < FOUR_GIB && base >= range[i].base &&
		    offset <= range[i].bytes && bytes <= range[i].bytes - offset)
			return true;
	}
	return false;
}

bool take_range(struct loader *l, uint64_t base, uint64_t bytes)
{
	if (l->taken_count == LOADER_MAX_RANGES)
		return refuse(l, "kernel has more than %u segments", LOADER_MAX_RANGES);
	l->taken[l->taken_count].base = base;
	l->taken[l->taken_count].end = base + bytes;
	l->taken_count++;
	return true;
}

/* End of a taken range that overlaps, or 0. */
static uint64_t end_of_overlap(const struct loader *l, uint64_t base, uint64_t bytes)
{
	for (unsigned i = 0; i < l->taken_count; i++)
		if (base < l->taken[i].end && l->taken[i].base < base + bytes)
			return l->taken[i].end;
	return 0;
}

bool find_room(struct loader *l, uint64_t from, uint64_t bytes, uint64_t align, uint64_t *base)
{
	uint64_t at = from, end;

	if (bytes > FOUR_GIB)
		return false;
	for (;;) {
		at = (at + align - 1) & ~(align - 1);
		if (at >= FOUR_GIB)
			return false;
		end = end_of_overlap(l, at, bytes);
		if (end) {
			at = end;
		} else if (in_guest_ram(l, at, bytes)) {
			*base = at;
			return l->taken_count < LOADER_MAX_RANGES && take_range(l, at, bytes);
		} else if (at < GUEST_FIRMWARE_END) {
			at = GUEST_FIRMWARE_END; /* what did not fit below 640 KiB */
		} else {
			return false;
		}
	}
}

bool put(struct loader *l, uint64_t gpa, const void *bytes, size_t n)
{
	if (!n || l->request->write(l->request->ctx, gpa, bytes, n))
		return true;
	return refuse(l, "no host memory for the guest's image at 0x%llx, %lu MiB", (unsigned long long)gpa,
	              mib(n));
}

static bool check_memory(struct loader *l)
{
	uint64_t bytes = l->request->memory_bytes;

	if (bytes % 4096)
		return refuse(l, "guest memory of %llu bytes is not a multiple of 4096",
		              (unsigned long long)bytes);
	if (bytes < GUEST_MEMORY_MIN)
		return refuse(l, "guest memory of %llu KiB is too little: %lu MiB is the least",
		              (unsigned long long)bytes >> 10, mib(GUEST_MEMORY_MIN));
	return true;
}

static bool load_kernel(struct loader *l)
{
	const struct load_blob *kernel = &l->request->kernel;
	struct multiboot_header header;

	if (!kernel->size)
		return refuse(l, "kernel is empty");
	if (is_linux(kernel))
		return load_linux(l);
	if (find_multiboot_header(kernel, &header))
		return load_multiboot(l, &header);
	if (is_elf(kernel))
		return load_elf(l);
	return refuse(l, "kernel is not a Linux bzImage, a multiboot image or an ELF file");
}

bool load_guest(const struct load_request *request, struct load_result *result)
{
	struct loader l = {.request = request, .result = result};

	*result = (struct load_result){.kind = LOAD_UNKNOWN};
	return check_memory(&l) && write_firmware_tables(&l) && load_kernel(&l);
}

const char *load_kind_name(enum load_kind kind)
{
	switch (kind) {
	case LOAD_LINUX:
		return "linux";
	case LOAD_MULTIBOOT:
		return "multiboot";
	case LOAD_ELF32:
		return "elf32";
	case LOAD_ELF64:
		return "elf64";
	default:
		return "unknown";
	}
}
