/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested paging entries of a hypervisor that is not in long mode when it executes VMRUN
 * (APM vol. 2, 15.25.3): the 32-bit format (5.2.1 and 5.2.2) and PAE (5.2.3 and 5.2.4).
 * As everywhere in nested paging each access is a user access (15.25.5).
 */
#include "walker.h"

enum {
	P = 1 << 0,
	RW = 1 << 1,
	US = 1 << 2,
	PS = 1 << 7, /* in a PDE */
};
#define NX (1ull << 63)

static uint64_t bits(unsigned high, unsigned low)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

static uint8_t granted(uint64_t raw, bool executes)
{
	return raw & US ? VMMU_R | (raw & RW ? VMMU_W : 0) | (executes ? VMMU_X : 0) : 0;
}

/* A 4 MiB page: bits 39:32 of its address are in 20:13, as far as the CPU has them; bit 21 must be zero. */
static void large_4m(const struct sim_cpu *cpu, uint64_t raw, struct sim_entry *out)
{
	uint64_t high = (raw >> 13 & 0xff) << 32;
	uint64_t beyond = cpu->maxphyaddr < 40 ? bits(39, cpu->maxphyaddr) : 0;

	out->kind = (raw & 1u << 21) || (high & beyond) ? SIM_ENTRY_BAD : SIM_ENTRY_LEAF;
	out->address = high | (raw & bits(31, 22));
}

static void entry_32bit(const struct sim_cpu *cpu, unsigned level, uint64_t raw, struct sim_entry *out)
{
	*out = (struct sim_entry){.kind = SIM_ENTRY_ABSENT};
	if (!(raw & P))
		return;
	out->rights = granted(raw, true); /* no such entry has NX */
	if (level == 2 && cpu->pse && (raw & PS)) {
		large_4m(cpu, raw, out);
		return;
	}
	out->kind = level == 2 ? SIM_ENTRY_TABLE : SIM_ENTRY_LEAF;
	out->address = raw & bits(31, 12);
}

static void entry_pae(const struct sim_cpu *cpu, unsigned level, uint64_t raw, struct sim_entry *out)
{
	uint64_t reserved = bits(62, 52) | bits(51, cpu->maxphyaddr) | (cpu->nx ? 0 : NX);
	bool leaf = level == 1 || (level == 2 && (raw & PS));

	*out = (struct sim_entry){.kind = SIM_ENTRY_ABSENT};
	if (!(raw & P))
		return;
	if (level == 3)
		reserved |= NX | bits(2, 1) | bits(8, 5);
	else if (level == 2 && leaf)
		reserved |= bits(20, 13);
	out->rights = level == 3 ? VMMU_RWX : granted(raw, !(raw & NX));
	out->kind = raw & reserved ? SIM_ENTRY_BAD : leaf ? SIM_ENTRY_LEAF
	                                                  : SIM_ENTRY_TABLE;
	out->address = raw & (leaf && level == 2 ? bits(51, 21) : bits(51, 12));
}

static bool root_32bit(const struct sim_cpu *cpu, uint64_t pointer, uint64_t *table, unsigned *levels, bool *ad)
{
	(void)cpu;
	*table = pointer & bits(31, 12);
	*levels = 2;
	*ad = true;
	return true;
}

/* The four entries lie at a multiple of 32 bytes. */
static bool root_pae(const struct sim_cpu *cpu, uint64_t pointer, uint64_t *table, unsigned *levels, bool *ad)
{
	(void)cpu;
	*table = pointer & bits(31, 5);
	*levels = 3;
	*ad = true;
	return true;
}

const struct sim_format sim_format_npt_32bit = {
	.name = "32-bit npt",
	.entry = entry_32bit,
	.root = root_32bit,
	.accessed = 1 << 5,
	.dirty = 1 << 6,
	.index_bits = 10,
	.entry_bytes = 4,
};

const struct sim_format sim_format_npt_pae = {
	.name = "pae npt",
	.entry = entry_pae,
	.root = root_pae,
	.accessed = 1 << 5,
	.dirty = 1 << 6,
	.pdptes = true,
};
