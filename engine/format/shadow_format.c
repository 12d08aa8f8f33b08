/* SPDX-License-Identifier: BSD-2-Clause */
/* The entries of shadow tables as data. */
#include "format/format.h"

/*
 * The tables that the CPU walks for a guest without nested paging: long mode's
 * and PAE's are the same below PAE's top level, whose four entries have neither
 * rights nor accessed bit (SDM vol. 3, table 4-8), so that a reference to a table
 * is told by presence alone. PAE leaves bits 11:9 to software and nothing else.
 * The host enters with CR0.WP and EFER.NXE set, whatever the guest thinks they
 * are. MMIO as under NPT: bit 51.
 */
const struct vmmu_format vmmu_format_shadow = {
	.name = "shadow",
	.source = "Intel SDM vol. 3, 4.4 and 4.5",
	.levels_max = 5,
	.bare_tables = true,
	.present = VMMU_BIT(0),
	.write = VMMU_BIT(1),
	.user = VMMU_BIT(2),
	.no_exec = VMMU_BIT(63),
	.always = VMMU_BIT(0),
	.huge = VMMU_BIT(7),
	.accessed = VMMU_BIT(5),
	.dirty = VMMU_BIT(6),
	.key = VMMU_BITS(62, 59),
	.soft_host_writable = VMMU_BIT(9),
	.soft_map_writable = VMMU_BIT(10),
	.mmio_mark = VMMU_BIT(0) | VMMU_BIT(51),
	.mmio_by_reserved = true,
};
