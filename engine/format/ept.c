/* SPDX-License-Identifier: BSD-2-Clause */
/* EPT entries as data. */
#include "format/format.h"

/*
 * Reserved in an entry that references a table: bits 6:3 (no memory type
 * there) and bit 7, which is the huge marker and must be 0 in a PML4E.
 * MMIO: W and X without R. W without R is a misconfiguration on every CPU
 * (SDM vol. 3, 29.3.3.1), and misconfigured entries are never cached in a TLB
 * (29.4.2), so that replacing one needs no flush.
 * EPTP: bits 2:0 memory type of the tables, 5:3 levels less one, bit 6 accessed
 * and dirty flags (25.6.11, table 25-9).
 */
const struct vmmu_format vmmu_format_ept = {
	.name = "EPT",
	.source = "Intel SDM vol. 3, 29.3.2, tables 29-1 to 29-7",
	.levels_max = 5,
	.write_needs_read = true,
	.has_memtype = true,
	.present = VMMU_BITS(2, 0),
	.read = VMMU_BIT(0),
	.write = VMMU_BIT(1),
	.exec = VMMU_BIT(2),
	.huge = VMMU_BIT(7),
	.accessed = VMMU_BIT(8),
	.dirty = VMMU_BIT(9),
	.table_reserved = VMMU_BITS(6, 3),
	.soft_host_writable = VMMU_BIT(52),
	.soft_map_writable = VMMU_BIT(53),
	.pointer = VMMU_MEMTYPE_WB,
	.pointer_ad = VMMU_BIT(6),
	.pointer_levels = 3,
	.mmio_mark = VMMU_BIT(1) | VMMU_BIT(2),
	.mmio_clear = VMMU_BIT(0),
};
