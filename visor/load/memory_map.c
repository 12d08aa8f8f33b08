/* SPDX-License-Identifier: BSD-2-Clause */
/* A PC's memory map: conventional memory, the video hole, firmware, RAM, devices, RAM. */
#include "visor/load/memory_map.h"

static unsigned memmap_add(struct guest_memory_range *out, unsigned n, uint64_t base, uint64_t end,
                           enum guest_memory_type type)
{
	if (end > base)
		out[n++] = (struct guest_memory_range){.base = base, .bytes = end - base, .type = type};
	return n;
}

uint64_t guest_memory_low_end(uint64_t memory_bytes)
{
	return memory_bytes < GUEST_DEVICE_HOLE_BASE ? memory_bytes : GUEST_DEVICE_HOLE_BASE;
}

unsigned guest_memory_map(uint64_t memory_bytes, struct guest_memory_range out[GUEST_MEMORY_RANGES])
{
	uint64_t low = guest_memory_low_end(memory_bytes);
	unsigned n = 0;

	n = memmap_add(out, n, 0, GUEST_EBDA, GUEST_MEMORY_RAM);
	n = memmap_add(out, n, GUEST_EBDA, GUEST_VIDEO_BASE, GUEST_MEMORY_RESERVED);
	n = memmap_add(out, n, GUEST_FIRMWARE_BASE, GUEST_FIRMWARE_END, GUEST_MEMORY_RESERVED);
	n = memmap_add(out, n, GUEST_FIRMWARE_END, low, GUEST_MEMORY_RAM);
	return memmap_add(out, n, GUEST_HIGH_BASE, GUEST_HIGH_BASE + (memory_bytes - low), GUEST_MEMORY_RAM);
}

/* What lies between video memory and firmware is where option ROMs would be: plain memory here. */
unsigned guest_memory_slots(uint64_t memory_bytes, struct guest_memory_range out[GUEST_MEMORY_RANGES])
{
	uint64_t low = guest_memory_low_end(memory_bytes);
	unsigned n = 0;

	n = memmap_add(out, n, 0, GUEST_VIDEO_BASE, GUEST_MEMORY_RAM);
	n = memmap_add(out, n, GUEST_VIDEO_END, low, GUEST_MEMORY_RAM);
	return memmap_add(out, n, GUEST_HIGH_BASE, GUEST_HIGH_BASE + (memory_bytes - low), GUEST_MEMORY_RAM);
}
