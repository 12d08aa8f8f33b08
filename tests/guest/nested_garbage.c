/* SPDX-License-Identifier: BSD-2-Clause */
#include "nested_garbage.h"

uint64_t *garbage;
uint64_t victims;
static struct garbage_format format;

uint64_t garbage_value(void)
{
	switch (random_pick(7)) {
	case 0: return 0;
	case 1: return ALL_ONES;
	case 2: return 1ull << random_pick(64);
	case 3: return random_pick(256);
	case 4: return victims + random_pick(2 * MIB);
	case 5: return random_pick(2) ? APIC_BASE : physical_end() - PAGE;
	default: return random_next();
	}
}

/* An entry with any bits, but with an address among the victims, or the table itself, so that walks go on. */
static uint64_t random_entry(void)
{
	uint64_t bits = random_next() & 0xfff0000000000fff, at = random_pick(3) ? victims + random_pick(2 * MIB) : (uintptr_t)garbage;

	if (random_pick(4))
		bits = (bits & format.kept) | format.rights | (random_pick(2) ? format.maybe : 0);
	if (bits & format.leaf)
		at = victims;
	return bits | (at & ~0xfffull);
}

void garbage_fill(void)
{
	for (unsigned i = 0; i < 512; i++)
		garbage[i] = random_entry();
	for (unsigned i = 0; i < 64; i++)
		store(victims + 8 * random_pick(2 * MIB / 8), random_pick(2) ? random_next() : random_entry());
}

void garbage_set_up(const struct garbage_format *f)
{
	format = *f;
	victims = take_ram(2 * MIB);
	garbage = (uint64_t *)(uintptr_t)take_ram(2 * MIB);
	garbage_fill();
}
