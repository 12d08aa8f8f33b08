/* SPDX-License-Identifier: BSD-2-Clause */
/* The modes: what hardware walks the tables, and who handles its faults. */
#include "map/shadow/shadow.h"

static unsigned ept_levels(const struct vmmu_cpu *cpu)
{
	(void)cpu; /* the host chooses in the EPTP, and 48 bits are enough for all but a few */
	return 4;
}

/* NPT walks as many levels as the host's own CR4 says (APM vol. 2, 15.25.3). */
static unsigned host_levels(const struct vmmu_cpu *cpu)
{
	return cpu->levels5 ? 5 : 4;
}

/*
 * EPTP: bits 2:0 memory type of the tables (6, write-back), 5:3 levels less
 * one, bit 6 accessed and dirty flags (SDM vol. 3, 25.6.11, table 25-9).
 */
static uint64_t eptp(const struct vmmu_layout *l, vmmu_hpa root)
{
	return root.v | VMMU_MEMTYPE_WB | (l->levels - 1ull) << 3 | (l->accessed ? VMMU_BIT(6) : 0);
}

static uint64_t cr3(const struct vmmu_layout *l, vmmu_hpa root)
{
	(void)l;
	return root.v;
}

static const struct vmmu_mode_ops ept_mode = {
	.name = "EPT",
	.format = &vmmu_format_ept,
	.levels = ept_levels,
	.root_pointer = eptp,
	.fault = vmmu_direct_fault,
};

static const struct vmmu_mode_ops npt_mode = {
	.name = "NPT",
	.format = &vmmu_format_long_mode,
	.levels = host_levels,
	.levels_fixed = true,
	.root_pointer = cr3,
	.fault = vmmu_direct_fault,
};

/* A guest in long mode is walked with as many levels as it chose itself. */
static const struct vmmu_mode_ops shadow_mode = {
	.name = "shadow",
	.format = &vmmu_format_shadow,
	.levels = host_levels,
	.shadow = true,
	.root_pointer = cr3,
	.fault = vmmu_shadow_fault,
};

const struct vmmu_mode_ops *vmmu_mode_ops(enum vmmu_mode mode)
{
	switch (mode) {
	case VMMU_MODE_EPT:
		return &ept_mode;
	case VMMU_MODE_NPT:
		return &npt_mode;
	case VMMU_MODE_SHADOW:
		return &shadow_mode;
	}
	return NULL;
}
