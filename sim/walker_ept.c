/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT entries: SDM vol. 3, 29.3.2, tables 29-1 to 29-7, and 29.3.3.1. */
#include "walker.h"

enum {
	EPT_PRESENT_BITS = 7, /* bits 2:0: an entry is present when any of them is set */
	EPT_BIT_LEAF = 1 << 7,
	EPT_IGNORE_PAT = 1 << 6,
};

static uint64_t bits(unsigned high, unsigned low)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* 29.3.3.1: bits 2:0 that can never be: 010b, 110b, and 100b without execute-only support. */
static bool rights_misconfigured(const struct sim_cpu *cpu, unsigned rwx)
{
	return !(rwx & VMMU_R) && ((rwx & VMMU_W) || ((rwx & VMMU_X) && !cpu->exec_only));
}

/* Bits that must be 0 in a present entry, by level and kind. */
static uint64_t reserved(const struct sim_cpu *cpu, unsigned level, bool leaf)
{
	uint64_t mask = bits(51, cpu->maxphyaddr);

	if (level >= 4)
		return mask | bits(7, 3);
	if (level == 1)
		return mask;
	if (!leaf)
		return mask | bits(6, 3);
	if (level == 3)
		return mask | bits(29, 12) | (cpu->page_1g ? 0 : EPT_BIT_LEAF);
	return mask | bits(20, 12) | (cpu->page_2m ? 0 : EPT_BIT_LEAF);
}

static bool memtype_misconfigured(unsigned type)
{
	return type == 2 || type == 3 || type == 7;
}

static void ept_entry(const struct sim_cpu *cpu, unsigned level, uint64_t raw, struct sim_entry *out)
{
	bool leaf = level == 1 || (level <= 3 && (raw & EPT_BIT_LEAF));

	*out = (struct sim_entry){.kind = SIM_ENTRY_ABSENT, .rights = raw & EPT_PRESENT_BITS};
	if (!(raw & EPT_PRESENT_BITS))
		return;
	out->kind = SIM_ENTRY_BAD;
	if (rights_misconfigured(cpu, raw & EPT_PRESENT_BITS) || (raw & reserved(cpu, level, leaf)))
		return;
	if (leaf && memtype_misconfigured((raw >> 3) & 7))
		return;
	out->kind = leaf ? SIM_ENTRY_LEAF : SIM_ENTRY_TABLE;
	out->address = raw & bits(51, 12);
	if (leaf) {
		out->memtype = (raw >> 3) & 7;
		out->ignore_pat = raw & EPT_IGNORE_PAT;
	}
}

/* EPTP, 25.6.11, table 25-9; checks at VM entry, 27.2.1.1. */
static bool ept_root(const struct sim_cpu *cpu, uint64_t pointer, uint64_t *table, unsigned *levels,
                     bool *ad)
{
	unsigned type = pointer & 7;
	unsigned length = ((pointer >> 3) & 7) + 1;

	if ((type != 0 && type != 6) || (length != 4 && length != 5))
		return false;
	if ((pointer & bits(11, 7)) || (pointer & bits(63, cpu->maxphyaddr)))
		return false;
	*table = pointer & bits(51, 12);
	*levels = length;
	*ad = pointer & (1 << 6);
	return true;
}

const struct sim_format sim_format_ept = {
	.name = "ept",
	.entry = ept_entry,
	.root = ept_root,
	.accessed = 1 << 8,
	.dirty = 1 << 9,
};
