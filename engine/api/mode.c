/* SPDX-License-Identifier: BSD-2-Clause */
/* The modes: what hardware walks the tables, and by which maps. The one place that knows all kinds. */
#include "api/api.h"
#include "map/direct/direct.h"
#include "map/nested/nested.h"
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

static const struct vmmu_mode_ops ept_mode = {
	.number = VMMU_MODE_EPT,
	.name = "EPT",
	.format = &vmmu_format_ept,
	.levels = ept_levels,
	.create_maps = vmmu_direct_create,
	.create_nested = vmmu_nested_create,
};

static const struct vmmu_mode_ops npt_mode = {
	.number = VMMU_MODE_NPT,
	.name = "NPT",
	.format = &vmmu_format_long_mode,
	.levels = host_levels,
	.levels_fixed = true,
	.create_maps = vmmu_direct_create,
	.create_nested = vmmu_nested_create,
};

/* A guest in long mode is walked with as many levels as it chose itself. */
static const struct vmmu_mode_ops shadow_mode = {
	.number = VMMU_MODE_SHADOW,
	.name = "shadow",
	.format = &vmmu_format_shadow,
	.levels = host_levels,
	.follows_guest = true,
	.create_maps = vmmu_shadow_create,
};

const struct vmmu_mode_ops *vmmu_mode_ops(enum vmmu_mode number)
{
	static const struct vmmu_mode_ops *const modes[] = {&ept_mode, &npt_mode, &shadow_mode};

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i]->number == number)
			return modes[i];
	return NULL;
}
