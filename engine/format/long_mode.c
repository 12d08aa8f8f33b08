/* SPDX-License-Identifier: BSD-2-Clause */
/* Long mode's entries as data, as NPT walks them. */
#include "format/format.h"

/*
 * Long-mode tables as NPT walks them. Every nested walk is a user access, so
 * the U bit is always set (APM vol. 2, 15.25.5). Memory types go through the
 * host's PAT, whose entries 0 to 3 are WB, WT, UC- and UC after reset (APM
 * vol. 2, 7.8.1); the layout uses those four and nothing else.
 * MMIO: present with physical-address bit 51, which is reserved wherever
 * MAXPHYADDR is below 52 (APM vol. 2, 5.3.3), and makes the CPU report RSV.
 */
const struct vmmu_format vmmu_format_long_mode = {
	.name = "long mode",
	.source = "AMD APM vol. 2, 5.3.3 and 15.25",
	.levels_max = 5,
	.present = VMMU_BIT(0),
	.write = VMMU_BIT(1),
	.no_exec = VMMU_BIT(63),
	.always = VMMU_BIT(0) | VMMU_BIT(2),
	.huge = VMMU_BIT(7),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.upper_reserved = VMMU_BIT(8),
	.soft_host_writable = VMMU_BIT(52),
	.soft_map_writable = VMMU_BIT(53),
	.mmio_mark = VMMU_BIT(0) | VMMU_BIT(51),
	.mmio_by_reserved = true,
};
