/* SPDX-License-Identifier: BSD-2-Clause */
/* Which RAM there is, by the loader's map, and who has taken it. */
#include "guest.h"
#include "multiboot.h"

extern const char image_end[];

#define ADDRESSABLE (64 * 1024 * GIB) /* what boot.S maps with linear = physical, with a gap */
#define RANGES_MAX 16u

static uint64_t taken[RANGES_MAX]; /* bytes of each free range, from its start, that tests have taken */

unsigned module_count(void)
{
	return boot_info->flags & MULTIBOOT_MODULES ? boot_info->module_count : 0;
}

struct range module(unsigned i)
{
	const struct multiboot_module *m = (const struct multiboot_module *)(uintptr_t)boot_info->modules + i;

	return (struct range){m->start, m->end - m->start};
}

/* What the image and the loader use, the I-th piece; false: no more. */
static bool used_piece(unsigned i, struct range *out)
{
	switch (i) {
	case 0:
		*out = (struct range){0, (uintptr_t)image_end};
		return true;
	case 1:
		*out = (struct range){(uintptr_t)boot_info, PAGE};
		return true;
	case 2:
		*out = (struct range){boot_info->command_line, PAGE};
		return true;
	case 3:
		*out = (struct range){boot_info->map, boot_info->map_bytes};
		return true;
	case 4:
		*out = (struct range){boot_info->modules, module_count() * sizeof(struct multiboot_module)};
		return true;
	}
	if (i - 5 >= module_count())
		return false;
	*out = module(i - 5);
	return true;
}

/* Shrink [base, end) to what lies above the highest used piece that it meets. */
static struct range above_used(uint64_t base, uint64_t end)
{
	struct range used;

	for (unsigned i = 0; used_piece(i, &used); i++)
		if (used.base < end && used.base + used.bytes > base && used.base < base + (end - base) / 2)
			base = used.base + used.bytes;
	for (unsigned i = 0; used_piece(i, &used); i++)
		if (used.base < end && used.base + used.bytes > base)
			end = used.base;
	base = (base + 2 * MIB - 1) & ~(2 * MIB - 1);
	end = (end - 1) & ~(2 * MIB - 1); /* the last ones stay behind for the mmio test, which goes over RAM's end */
	return (struct range){base, end > base ? end - base : 0};
}

/* RAM that neither the image nor the loader uses: one range, or none, for each piece of the map. */
static unsigned free_ranges(struct range *ranges, unsigned max)
{
	unsigned n = 0;
	uint64_t p = boot_info->map, end = p + boot_info->map_bytes;

	while (p < end && n < max) {
		const struct multiboot_map_entry *e = (const void *)(uintptr_t)p;
		struct range r = above_used(e->base, e->base + e->bytes);

		p += e->size + 4;
		if (e->type == MULTIBOOT_RAM && e->base >= MIB && e->base + e->bytes < ADDRESSABLE && r.bytes)
			ranges[n++] = r;
	}
	return n;
}

uint64_t take_ram(uint64_t bytes)
{
	struct range ranges[RANGES_MAX];
	unsigned n = free_ranges(ranges, RANGES_MAX);

	bytes = (bytes + 2 * MIB - 1) & ~(2 * MIB - 1);
	for (unsigned i = 0; i < n; i++) {
		uint64_t base = ranges[i].base + taken[i];

		if (bytes <= ranges[i].bytes - taken[i]) {
			taken[i] += bytes;
			return base;
		}
	}
	print("FAIL memory: the tests need %lu MiB more RAM than the machine has\n", bytes / MIB);
	guest_exit(GUEST_UNFIT);
}

unsigned take_all_ram(struct range *ranges, unsigned max)
{
	unsigned n = free_ranges(ranges, max < RANGES_MAX ? max : RANGES_MAX), left = 0;

	for (unsigned i = 0; i < n; i++) {
		struct range r = {ranges[i].base + taken[i], ranges[i].bytes - taken[i]};

		taken[i] = ranges[i].bytes;
		if (r.bytes)
			ranges[left++] = r;
	}
	return left;
}

uint64_t ram_end(void)
{
	uint64_t p = boot_info->map, end = p + boot_info->map_bytes, top = 0;

	while (p < end) {
		const struct multiboot_map_entry *e = (const void *)(uintptr_t)p;

		if (e->type == MULTIBOOT_RAM && e->base < 4 * GIB && e->base + e->bytes > top)
			top = e->base + e->bytes;
		p += e->size + 4;
	}
	return top;
}

uint64_t physical_end(void)
{
	return 1ull << (cpuid(0x80000008, 0).a & 0xff);
}

volatile void *at(uint64_t gpa)
{
	if (gpa >= (511 * 512 * GIB))
		gpa = gpa - 511 * 512 * GIB + 0xffff800000000000ull;
	return (volatile void *)(uintptr_t)gpa;
}

uint64_t nothing_there(unsigned bytes)
{
	if (!device_present())
		return 0;
	return bytes == 8 ? ALL_ONES : (1ull << (8 * bytes)) - 1;
}
