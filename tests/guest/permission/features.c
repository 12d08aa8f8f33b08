/* SPDX-License-Identifier: BSD-2-Clause */
/* What CPUID says is here (SDM vol. 2, CPUID). */
#include "permission.h"

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
