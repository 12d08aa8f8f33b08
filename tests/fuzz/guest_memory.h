/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory for the loader's fuzzers: any write outside a slot ends the run. */
#ifndef TESTS_FUZZ_GUEST_MEMORY_H
#define TESTS_FUZZ_GUEST_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "visor/load/load.h"
#include "visor/load/memory_map.h"

#define FUZZ_MEMORY_MAX (64ull << 20)

/* Only the bounds count: contents would cost time and show nothing. */
static inline bool fuzz_guest_write(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	const struct load_request *r = ctx;
	struct guest_memory_range slot[GUEST_MEMORY_RANGES];
	unsigned slots = guest_memory_slots(r->memory_bytes, slot);
	volatile uint8_t last;

	for (unsigned i = 0; i < slots; i++)
		if (gpa >= slot[i].base && gpa - slot[i].base <= slot[i].bytes &&
		    n <= slot[i].bytes - (gpa - slot[i].base)) {
			last = n ? ((const uint8_t *)bytes)[n - 1] : 0;
			(void)last;
			return true;
		}
	abort();
}

/* A guest that may start does so in its own RAM; one that may not is told why. */
static inline void fuzz_load(struct load_request *r)
{
	struct load_result result;

	r->write = fuzz_guest_write;
	r->ctx = r;
	r->cpus = 1;
	if (!load_guest(r, &result)) {
		if (!result.reason[0])
			abort();
		return;
	}
	if (result.kind == LOAD_UNKNOWN || result.reason[0] || result.cpu.rip >= r->memory_bytes ||
	    result.cpu.gdtr.base >= r->memory_bytes)
		abort();
}

#endif
