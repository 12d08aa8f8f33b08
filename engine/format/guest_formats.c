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

const struct vmmu_guest_format *vmmu_guest_format_of(enum vmmu_guest_format_number number)
{
	static const struct vmmu_guest_format *const formats[] = {
		&two_level,
		&pae,
		&four_level,
		&five_level,
	};

	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i]->number == number)
			return formats[i];
	return NULL;
}
