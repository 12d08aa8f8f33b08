/* SPDX-License-Identifier: BSD-2-Clause */
/* The formats of guests' own tables as data. */
#include "format/guest.h"

/*
 * Formats in which guests write their own tables. A new one is a descriptor here,
 * a number in guest.h, and a line in guest_mode.c: when do registers choose it?
 */

/* A 4 MiB page's address has its bits 39:32 at 20:13 (PSE-36). */
static const struct vmmu_guest_format two_level = {
	.number = VMMU_GUEST_32BIT,
	.name = "32-bit",
	.source = "Intel SDM vol. 3, 4.3, tables 4-3 to 4-6",
	.levels = 2,
	.entry_bytes = 4,
	.index_bits = 10,
	.address_bits = 32,
	.huge_needs_pse = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.root = VMMU_BITS(31, 12),
	.address = VMMU_BITS(31, 12),
	.huge_high = VMMU_BITS(20, 13),
	.huge_high_shift = 19,
	.huge_level_max = VMMU_LEVEL_2M,
};

static const struct vmmu_guest_format pae = {
	.number = VMMU_GUEST_PAE,
	.name = "PAE",
	.source = "Intel SDM vol. 3, 4.4, tables 4-7 to 4-11",
	.levels = 3,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 32,
	.top_in_registers = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.no_exec = VMMU_BIT(63),
	.root = VMMU_BITS(31, 5),
	.address = VMMU_BITS(51, 12),
	.reserved = VMMU_BITS(62, 52),
	.huge_level_max = VMMU_LEVEL_2M,
};

static const struct vmmu_guest_format four_level = {
	.number = VMMU_GUEST_4LEVEL,
	.name = "4-level",
	.source = "Intel SDM vol. 3, 4.5, tables 4-12 to 4-20",
	.levels = 4,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 48,
	.canonical = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.no_exec = VMMU_BIT(63),
	.key = VMMU_BITS(62, 59),
	.root = VMMU_BITS(51, 12),
	.address = VMMU_BITS(51, 12),
	.huge_level_max = VMMU_LEVEL_1G,
};

static const struct vmmu_guest_format five_level = {
	.number = VMMU_GUEST_5LEVEL,
	.name = "5-level",
	.source = "Intel SDM vol. 3, 4.5, tables 4-12 to 4-20",
	.levels = 5,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 57,
	.canonical = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.no_exec = VMMU_BIT(63),
	.key = VMMU_BITS(62, 59),
	.root = VMMU_BITS(51, 12),
	.address = VMMU_BITS(51, 12),
	.huge_level_max = VMMU_LEVEL_1G,
};

/* ---- nested: what a hypervisor writes for its guest --------------------------------- */

/*
 * NPT: the hypervisor's own mode when it executes VMRUN decides (APM vol. 2, 15.25.3).
 * There is no linear address, so none is canonical, and no protection key. PDPTEs are
 * not loaded but read with each walk.
 */
static const struct vmmu_guest_format npt_two_level = {
	.number = VMMU_GUEST_NPT_32BIT,
	.name = "32-bit NPT",
	.source = "AMD APM vol. 2, 5.2 and 15.25",
	.levels = 2,
	.entry_bytes = 4,
	.index_bits = 10,
	.address_bits = 32,
	.beyond_refused = true,
	.huge_needs_pse = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.root = VMMU_BITS(31, 12),
	.address = VMMU_BITS(31, 12),
	.huge_high = VMMU_BITS(20, 13),
	.huge_high_shift = 19,
	.huge_level_max = VMMU_LEVEL_2M,
};

static const struct vmmu_guest_format npt_pae = {
	.number = VMMU_GUEST_NPT_PAE,
	.name = "PAE NPT",
	.source = "AMD APM vol. 2, 5.2.3, 15.25 and 15.25.10",
	.levels = 3,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 32,
	.top_in_registers = true,
	.top_checked = true,
	.beyond_refused = true,
	.present = VMMU_BIT(0),
	VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.huge = VMMU_BIT(7),
	.global = VMMU_BIT(8),
	.huge_pat = VMMU_BIT(12),
	.no_exec = VMMU_BIT(63),
	.root = VMMU_BITS(31, 5),
	.address = VMMU_BITS(51, 12),
	.reserved = VMMU_BITS(62, 52),
	.huge_level_max = VMMU_LEVEL_2M,
};

#define NPT_LONG_MODE(number_, name_, levels_, address_bits_) \
	{ \
		.number = (number_), .name = (name_), .source = "AMD APM vol. 2, 5.3.3 and 15.25", .levels = (levels_), \
		.entry_bytes = 8, .index_bits = 9, .address_bits = (address_bits_), .beyond_refused = true, \
		.present = VMMU_BIT(0), VMMU_GUEST_GRANT(0, VMMU_BIT(1), VMMU_BIT(2), 0), .accessed = VMMU_BIT(5), \
		.dirty = VMMU_BIT(6), .huge = VMMU_BIT(7), .global = VMMU_BIT(8), .huge_pat = VMMU_BIT(12), \
		.no_exec = VMMU_BIT(63), .root = VMMU_BITS(51, 12), .address = VMMU_BITS(51, 12), \
		.huge_level_max = VMMU_LEVEL_1G, \
	}

static const struct vmmu_guest_format npt_long_mode[] = {
	NPT_LONG_MODE(VMMU_GUEST_NPT_4LEVEL, "4-level NPT", 4, 48),
	NPT_LONG_MODE(VMMU_GUEST_NPT_5LEVEL, "5-level NPT", 5, 57),
};

/*
 * EPT. Present by any of R, W and X. W without R is a misconfiguration, and X without R
 * on CPUs without execute-only translations (SDM vol. 3, 29.3.3.1). Accessed and dirty
 * flags are kept where bit 6 of the EPTP says so (29.3.5). In a leaf bits 5:3 are the
 * memory type and bit 6 ignores the guest's PAT; elsewhere they are reserved.
 */
#define EPT_GRANTS(e, exec_only) \
	(VMMU_PAGE_USER | ((e)&1 ? VMMU_PAGE_READ : 0) | ((e)&2 ? VMMU_PAGE_WRITE : 0) | \
	 ((e)&4 ? VMMU_PAGE_EXEC : 0) | \
	 ((e) && !((e)&1) && !((e) == 4 && (exec_only)) ? VMMU_PAGE_BAD : 0))

#define EPT(ad, exec_only, five) \
	{ \
		.number = (enum vmmu_guest_format_number)(VMMU_GUEST_EPT | ((ad) ? VMMU_GUEST_EPT_AD : 0) | \
		                                          ((exec_only) ? VMMU_GUEST_EPT_EXEC_ONLY : 0) | \
		                                          ((five) ? VMMU_GUEST_EPT_5LEVEL : 0)), \
		.name = (five) ? "5-level EPT" : "EPT", .source = "Intel SDM vol. 3, 29.3.2, tables 29-1 to 29-7", \
		.levels = (five) ? 5 : 4, .entry_bytes = 8, .index_bits = 9, .address_bits = (five) ? 57 : 48, \
		.beyond_refused = true, .has_memtype = true, .present = VMMU_BITS(2, 0), .read = VMMU_BIT(0), \
		.write = VMMU_BIT(1), .exec = VMMU_BIT(2), \
		.grants = {EPT_GRANTS(0, exec_only), EPT_GRANTS(1, exec_only), EPT_GRANTS(2, exec_only), \
		           EPT_GRANTS(3, exec_only), EPT_GRANTS(4, exec_only), EPT_GRANTS(5, exec_only), \
		           EPT_GRANTS(6, exec_only), EPT_GRANTS(7, exec_only)}, \
		.accessed = (ad) ? VMMU_BIT(8) : 0, .dirty = (ad) ? VMMU_BIT(9) : 0, .huge = VMMU_BIT(7), \
		.key = VMMU_BITS(6, 3), .root = VMMU_BITS(51, 12), .address = VMMU_BITS(51, 12), \
		.table_reserved = VMMU_BITS(6, 3), .huge_level_max = VMMU_LEVEL_1G, \
	}

static const struct vmmu_guest_format ept[] = {
	EPT(false, false, false),
	EPT(true, false, false),
	EPT(false, true, false),
	EPT(true, true, false),
	EPT(false, false, true),
	EPT(true, false, true),
	EPT(false, true, true),
	EPT(true, true, true),
};

/*
 * Our type stands for what the machine says of the memory, as MTRRs do; the guest
 * hypervisor's for what software says of the page, as a PAT entry does: SDM vol. 3,
 * table 12-7 "Effective Page-Level Memory Types". Where the host ignores what software
 * says, its own type is all there is.
 */
uint64_t vmmu_guest_join_memtype(const struct vmmu_layout *l, const struct vmmu_backing *host, uint64_t gpte,
                                 uint64_t bits)
{
	enum { UC = VMMU_MEMTYPE_UC,
	       WC = VMMU_MEMTYPE_WC,
	       WT = VMMU_MEMTYPE_WT,
	       WP = VMMU_MEMTYPE_WP,
	       WB = VMMU_MEMTYPE_WB };
	static const uint8_t joined[8][8] = {
		[UC] = {[UC] = UC, [WC] = WC, [WT] = UC, [WP] = UC, [WB] = UC},
		[WC] = {[UC] = UC, [WC] = WC, [WT] = UC, [WP] = UC, [WB] = WC},
		[WT] = {[UC] = UC, [WC] = WC, [WT] = WT, [WP] = WP, [WB] = WT},
		[WP] = {[UC] = UC, [WC] = WC, [WT] = WT, [WP] = WP, [WB] = WP},
		[WB] = {[UC] = UC, [WC] = WC, [WT] = WT, [WP] = WP, [WB] = WB},
	};

	if (host->ignore_pat)
		return bits;
	bits &= ~(l->memtype[7] | l->ignore_pat);
	return bits | l->memtype[joined[host->memtype & 7][gpte >> 3 & 7]] | (gpte & VMMU_BIT(6) ? l->ignore_pat : 0);
}

const struct vmmu_guest_format *vmmu_guest_format_of(enum vmmu_guest_format_number number)
{
	static const struct vmmu_guest_format *const formats[] = {
		&two_level,
		&pae,
		&four_level,
		&five_level,
		&npt_two_level,
		&npt_pae,
		&npt_long_mode[0],
		&npt_long_mode[1],
	};

	if (number >= VMMU_GUEST_EPT)
		return number - VMMU_GUEST_EPT < sizeof(ept) / sizeof(ept[0]) ? &ept[number - VMMU_GUEST_EPT] : NULL;

	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i]->number == number)
			return formats[i];
	return NULL;
}
