/* SPDX-License-Identifier: BSD-2-Clause */
#include "combinations.h"

const struct space spaces[] = {
	{"32-bit PDE PTE", MODE_32BIT, 2, false},
	{"PAE PDE PTE", MODE_PAE, 2, false},
	{"4-level PDE PTE", MODE_4LEVEL, 2, false},
	{"4-level PDPTE PDE", MODE_4LEVEL, 3, false},
	{"4-level PML4E PDPTE", MODE_4LEVEL, 4, false},
	{"4-level PDE PTE, protection keys", MODE_4LEVEL, 2, true},
	{"5-level PDE PTE", MODE_5LEVEL, 2, false},
	{"5-level PML5E PML4E", MODE_5LEVEL, 5, false},
};
const unsigned space_count = sizeof(spaces) / sizeof(spaces[0]);

unsigned top_level(enum mode mode)
{
	return mode == MODE_32BIT ? 2 : mode == MODE_PAE ? 3
	                        : mode == MODE_4LEVEL    ? 4
	                                                 : 5;
}

unsigned entry_bytes(enum mode mode)
{
	return mode == MODE_32BIT ? 4 : 8;
}

unsigned index_bits(enum mode mode)
{
	return mode == MODE_32BIT ? 10 : 9;
}

unsigned entry_index(enum mode mode, uint64_t linear, unsigned level)
{
	unsigned bits = mode == MODE_PAE && level == 3 ? 2 : index_bits(mode);

	return linear >> (12 + index_bits(mode) * (level - 1)) & ((1u << bits) - 1);
}

uint64_t test_linear(enum mode mode)
{
	switch (mode) {
	case MODE_32BIT:
	case MODE_PAE:
		return 0xc0000000 + LARGE_TARGET;
	case MODE_4LEVEL:
		return 0xffff8000c0000000 + LARGE_TARGET;
	case MODE_5LEVEL:
	default:
		return 0xff123400c0000000 + LARGE_TARGET;
	}
}

unsigned space_controls(const struct space *space)
{
	return CONTROL_WP | CONTROL_SMEP | CONTROL_SMAP | (space->mode == MODE_32BIT ? CONTROL_PSE : CONTROL_NXE);
}

const unsigned keys[4] = {4, 9, 13, 15};

/* ---- pairs --------------------------------------------------------------------------- */

static bool can_be_leaf(const struct space *space, unsigned level, bool pse)
{
	if (space->mode == MODE_32BIT)
		return level == 2 && pse;
	return level == 2 || level == 3;
}

/* Does the entry have bits whose value the manual reserves? */
static bool has_reserved(const struct space *space, unsigned level, unsigned bits, bool pse)
{
	return space->mode != MODE_32BIT || ((bits & BIT_PS) && can_be_leaf(space, level, pse));
}

static bool exists(const struct space *space, unsigned level, unsigned bits, bool pse)
{
	if (bits & BIT_NX && space->mode == MODE_32BIT)
		return false;
	return !(bits & BIT_RESERVED) || has_reserved(space, level, bits, pse);
}

/* The walk does not come to the lower entry. (With NXE clear, NX ends it too; that is tried with all.) */
static bool ends_walk(const struct space *space, unsigned level, unsigned bits, bool pse)
{
	if (!(bits & BIT_P) || bits & BIT_RESERVED)
		return true;
	return bits & BIT_PS && (space->mode != MODE_32BIT || can_be_leaf(space, level, pse));
}

static bool is_seen(const struct space *space, unsigned upper, unsigned lower, bool pse)
{
	const unsigned plain = BIT_W | BIT_U | BIT_A;

	if (ends_walk(space, space->upper, upper, pse))
		return lower == 0 || (lower == (BIT_P | BIT_W | BIT_U) && upper & BIT_P);
	if (!(lower & BIT_P))
		return lower == 0 || (upper | BIT_A) == (BIT_P | plain);
	return true;
}

unsigned space_pairs(const struct space *space, bool pse, uint16_t pairs[1 << 16])
{
	unsigned count = 0;

	for (unsigned upper = 0; upper < 256; upper++) {
		if (!exists(space, space->upper, upper, pse))
			continue;
		for (unsigned lower = 0; lower < 256; lower++)
			if (exists(space, space->upper - 1, lower, pse) && is_seen(space, upper, lower, pse))
				pairs[count++] = (uint16_t)(upper | lower << 8);
	}
	return count;
}

bool is_settled(const struct space *space, uint16_t pair, bool pse)
{
	const unsigned settled = BIT_P | BIT_A | BIT_D;
	unsigned upper = pair & 0xff, lower = pair >> 8;

	if ((upper & settled) != settled || upper & BIT_RESERVED)
		return false;
	if (upper & BIT_PS && can_be_leaf(space, space->upper, pse))
		return true;
	return !(upper & BIT_PS && space->mode != MODE_32BIT) && (lower & settled) == settled &&
	       !(lower & BIT_RESERVED);
}

/* ---- entries ----------------------------------------------------------------------------- */

/* The bits that are reserved in an entry whose other bits are these. */
static uint64_t reserved_bits(const struct space *space, unsigned level, bool leaf)
{
	uint64_t bits = UINT64_C(0xf) << 48; /* above what any of these machines has for a physical address */

	if (space->mode == MODE_32BIT)
		return 1 << 21;
	if (space->mode == MODE_PAE)
		bits |= UINT64_C(0x7ff) << 52;
	if (leaf && level > 1) /* between PAT and the page's address */
		bits |= (UINT64_C(1) << (12 + 9 * (level - 1))) - (1 << 13);
	return bits;
}

/* The n-th of the bits set in `mask`, counted round. */
static uint64_t nth_bit(uint64_t mask, uint32_t n)
{
	unsigned count = 0;

	for (uint64_t m = mask; m; m &= m - 1)
		count++;
	for (n %= count; n; n--)
		mask &= mask - 1;
	return mask & -mask;
}

uint64_t entry_for(const struct space *space, unsigned level, unsigned bits, bool pse, uint32_t number,
                   uint64_t table)
{
	bool leaf = level == 1 || (bits & BIT_PS && can_be_leaf(space, level, pse));
	uint64_t bytes = UINT64_C(4096) << index_bits(space->mode) * (level - 1);
	uint64_t entry = !leaf ? table : level == 1 ? SMALL_TARGET
	                                            : LARGE_TARGET & ~(bytes - 1);

	entry |= (bits & 7) | (bits >> 3 & 7) << 5; /* P W U; A D PS */
	if (bits & BIT_NX)
		entry |= UINT64_C(1) << 63;
	if (bits & BIT_RESERVED)
		entry |= nth_bit(reserved_bits(space, level, leaf), number);
	return entry;
}

bool maps_large(const struct space *space, uint64_t upper, uint64_t lower, bool pse)
{
	return (upper & ENTRY_PS && can_be_leaf(space, space->upper, pse)) ||
	       (lower & ENTRY_PS && can_be_leaf(space, space->upper - 1, pse));
}

/* ---- accesses ------------------------------------------------------------------------ */

const struct access_kind access_kinds[] = {
	{"supervisor read", AT_READ, {0}, {0}},
	{"supervisor read, AC", AT_READ, {.ac = true}, {0}},
	{"supervisor write", AT_WRITE, {.write = true}, {0}},
	{"supervisor write, AC", AT_WRITE, {.write = true, .ac = true}, {0}},
	{"supervisor fetch", AT_CODE, {.fetch = true}, {0}},
	{"supervisor fetch, AC", AT_CODE, {.fetch = true, .ac = true}, {0}},
	{"user read", AT_READ, {.user = true}, {0}},
	{"user read, AC", AT_READ, {.user = true, .ac = true}, {0}},
	{"user write", AT_WRITE, {.user = true, .write = true}, {0}},
	{"user write, AC", AT_WRITE, {.user = true, .write = true, .ac = true}, {0}},
	{"user fetch", AT_CODE, {.user = true, .fetch = true}, {0}},
	{"implicit read", AT_DESCRIPTOR, {.user = true, .implicit = true}, {0}},
	{"implicit read, AC", AT_DESCRIPTOR, {.user = true, .implicit = true, .ac = true}, {0}},
	{"implicit write, AC", AT_FRESH, {.user = true, .implicit = true, .ac = true}, {.user = true, .implicit = true, .ac = true, .write = true}},
};
const unsigned access_count = sizeof(access_kinds) / sizeof(access_kinds[0]);
