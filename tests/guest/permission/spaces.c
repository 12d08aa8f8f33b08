/* SPDX-License-Identifier: BSD-2-Clause */
#include "permission.h"

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

/* ---- features (SDM vol. 2, CPUID) ------------------------------------------------ */

static bool has_leaf_7(void)
{
	return cpuid(0, 0).a >= 7;
}

static uint32_t leaf_7b(void)
{
	return has_leaf_7() ? cpuid(7, 0).b : 0;
}

static uint32_t leaf_7c(void)
{
	return has_leaf_7() ? cpuid(7, 0).c : 0;
}

static uint32_t leaf_81d(void)
{
	return cpuid(0x80000000, 0).a > 0x80000000 ? cpuid(0x80000001, 0).d : 0;
}

unsigned space_controls(const struct space *space)
{
	return CONTROL_WP | CONTROL_SMEP | CONTROL_SMAP | (space->mode == MODE_32BIT ? CONTROL_PSE : CONTROL_NXE);
}

unsigned offered_controls(const struct space *space)
{
	unsigned offered = CONTROL_WP;

	if (leaf_7b() & 1u << 7)
		offered |= CONTROL_SMEP;
	if (leaf_7b() & 1u << 20)
		offered |= CONTROL_SMAP;
	if (leaf_81d() & 1u << 20)
		offered |= CONTROL_NXE;
	if (cpuid(1, 0).d & 1u << 3)
		offered |= CONTROL_PSE;
	return offered & space_controls(space);
}

const char *space_lacks(const struct space *space)
{
	if (space->mode >= MODE_4LEVEL && !(leaf_81d() & 1u << 29))
		return "no long mode";
	if (space->mode >= MODE_4LEVEL && !(leaf_81d() & 1u << 26))
		return "no 1 GiB pages";
	if (space->mode == MODE_5LEVEL && !(leaf_7c() & 1u << 16))
		return "no 5-level paging (LA57)";
	if (space->keys && !(leaf_7c() & 1u << 3))
		return "no protection keys (PKU)";
	return NULL;
}

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
