/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a guest's RAM lies in its physical address space. The visor makes its
 * memory slots from this list and the loaders describe it to the guest, so
 * that both always agree.
 */
#ifndef VISOR_LOAD_MEMORY_MAP_H
#define VISOR_LOAD_MEMORY_MAP_H

#include <stdint.h>

/* Fixed places. Everything from here to 4 GiB belongs to devices. */
#define GUEST_DEVICE_HOLE_BASE 0xc0000000ull
#define GUEST_HIGH_BASE 0x100000000ull
#define GUEST_EBDA 0x9fc00ull       /* end of conventional memory */
#define GUEST_VIDEO_BASE 0xa0000ull /* not backed: reads as ones */
#define GUEST_VIDEO_END 0xc0000ull
#define GUEST_FIRMWARE_BASE 0xe0000ull /* ACPI tables, at 0xE0000 - 0xFFFFF */
#define GUEST_FIRMWARE_END 0x100000ull

#define GUEST_MEMORY_MIN (2ull << 20)

/* As in the answer of INT 15h, E820h. */
enum guest_memory_type { GUEST_MEMORY_RAM = 1,
	                 GUEST_MEMORY_RESERVED = 2 };

struct guest_memory_range {
	uint64_t base;
	uint64_t bytes;
	enum guest_memory_type type;
};

#define GUEST_MEMORY_RANGES 6

/* End of the RAM below the device hole. */
uint64_t guest_memory_low_end(uint64_t memory_bytes);

/*
 * What the guest is told, in rising order: `memory_bytes` of RAM (page
 * aligned) less the hole for video memory; what does not fit below the device
 * hole goes to 4 GiB and up. Returns the number of ranges.
 */
unsigned guest_memory_map(uint64_t memory_bytes, struct guest_memory_range out[GUEST_MEMORY_RANGES]);

/*
 * What must be backed by memory: page-aligned ranges, reserved firmware area
 * included. One slot each. Returns the number of ranges (2 or 3).
 */
unsigned guest_memory_slots(uint64_t memory_bytes, struct guest_memory_range out[GUEST_MEMORY_RANGES]);

#endif
