/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested paging entries: the host's long-mode format, APM vol. 2, 5.3.3 and
 * 5.4, read as 15.25.5 says: every nested access is a user access.
 */
#include "walker.h"

enum {
	NPT_P = 1 << 0,
	NPT_RW = 1 << 1,
	NPT_US = 1 << 2,
	NPT_PWT = 1 << 3,
	NPT_PCD = 1 << 4,
	NPT_PS = 1 << 7, /* in a PDPE or PDE */
	NPT_PAT_LARGE = 1 << 12,
};
#define NPT_NX (1ull << 63)

static uint64_t bits(unsigned high, unsigned low)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* 5.3.3, figures 5-20 to 5-28: must be zero. */
static uint64_t reserved(const struct sim_cpu *cpu, unsigned level, bool leaf)
{
	uint64_t mask = bits(51, cpu->maxphyaddr) | (cpu->nx ? 0 : NPT_NX);

	if (level >= 4)
		return mask | bits(8, 7);
	if (level == 1 || !leaf)
		return mask; /* older manuals reserve bit 8 of a PDPE; CPUs ignore it */
	if (level == 3)
		return mask | bits(29, 13) | (cpu->page_1g ? 0 : NPT_PS);
	return mask | bits(20, 13);
}

/* 7.8.2: the PAT register after reset. Its entries 4 to 7 repeat 0 to 3, so the PAT bit is moot. */
static uint8_t memtype(uint64_t raw)
{
	static const uint8_t reset_pat[4] = {
		VMMU_MEMTYPE_WB,
		VMMU_MEMTYPE_WT,
		VMMU_MEMTYPE_UC /* UC- */,
		VMMU_MEMTYPE_UC,
	};

	return reset_pat[((raw & NPT_PCD) ? 2 : 0) | ((raw & NPT_PWT) ? 1 : 0)];
}

static void npt_entry(const struct sim_cpu *cpu, unsigned level, uint64_t raw, struct sim_entry *out)
{
	bool leaf = level == 1 || (level <= 3 && (raw & NPT_PS));

	*out = (struct sim_entry){.kind = SIM_ENTRY_ABSENT};
	if (!(raw & NPT_P))
		return;
	/* A supervisor page lets no nested access through at all (15.25.5). */
	if (raw & NPT_US)
		out->rights = VMMU_R | (raw & NPT_RW ? VMMU_W : 0) | (raw & NPT_NX ? 0 : VMMU_X);
	if (raw & reserved(cpu, level, leaf)) {
		out->kind = SIM_ENTRY_BAD;
		return;
	}
	out->kind = leaf ? SIM_ENTRY_LEAF : SIM_ENTRY_TABLE;
	out->address = raw & bits(51, 12);
	if (leaf && level > 1)
		out->address &= ~(uint64_t)NPT_PAT_LARGE;
	if (leaf)
		out->memtype = memtype(raw);
}

/* nCR3 has CR3's format (5.3.3, 15.25.3); PCID is not used for it. */
static bool npt_root(const struct sim_cpu *cpu, uint64_t pointer, uint64_t *table, unsigned *levels,
                     bool *ad)
{
	if (pointer & (bits(63, cpu->maxphyaddr) | bits(2, 0) | bits(11, 5)))
		return false;
	*table = pointer & bits(51, 12);
	*levels = cpu->la57 ? 5 : 4;
	*ad = true;
	return true;
}

const struct sim_format sim_format_npt = {
	.name = "npt",
	.entry = npt_entry,
	.root = npt_root,
	.accessed = 1 << 5,
	.dirty = 1 << 6,
};
