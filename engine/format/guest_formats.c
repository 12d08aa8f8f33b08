/* SPDX-License-Identifier: BSD-2-Clause */
#include "format/guest.h"

/* A 4 MiB page's address has its bits 39:32 at 20:13 (PSE-36); see vmmu_guest_frame. */
static const struct vmmu_guest_format two_level = {
	.name = "32-bit",
	.source = "Intel SDM vol. 3, 4.3, tables 4-3 to 4-6",
	.levels = 2,
	.entry_bytes = 4,
	.index_bits = 10,
	.address_bits = 32,
	.huge_needs_pse = true,
	.root = VMMU_BITS(31, 12),
	.address = VMMU_BITS(31, 12),
	.huge_level_max = VMMU_LEVEL_2M,
};

static const struct vmmu_guest_format pae = {
	.name = "PAE",
	.source = "Intel SDM vol. 3, 4.4, tables 4-7 to 4-11",
	.levels = 3,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 32,
	.top_in_registers = true,
	.has_no_exec = true,
	.root = VMMU_BITS(31, 5),
	.address = VMMU_BITS(51, 12),
	.reserved = VMMU_BITS(62, 52),
	.huge_level_max = VMMU_LEVEL_2M,
};

static const struct vmmu_guest_format four_level = {
	.name = "4-level",
	.source = "Intel SDM vol. 3, 4.5, tables 4-12 to 4-20",
	.levels = 4,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 48,
	.canonical = true,
	.has_no_exec = true,
	.has_keys = true,
	.root = VMMU_BITS(51, 12),
	.address = VMMU_BITS(51, 12),
	.huge_level_max = VMMU_LEVEL_1G,
};

static const struct vmmu_guest_format five_level = {
	.name = "5-level",
	.source = "Intel SDM vol. 3, 4.5, tables 4-12 to 4-20",
	.levels = 5,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 57,
	.canonical = true,
	.has_no_exec = true,
	.has_keys = true,
	.root = VMMU_BITS(51, 12),
	.address = VMMU_BITS(51, 12),
	.huge_level_max = VMMU_LEVEL_1G,
};

const struct vmmu_guest_format *vmmu_guest_format_of(unsigned levels)
{
	switch (levels) {
	case 2:
		return &two_level;
	case 3:
		return &pae;
	case 4:
		return &four_level;
	case 5:
		return &five_level;
	}
	return NULL;
}
