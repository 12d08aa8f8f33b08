/* SPDX-License-Identifier: BSD-2-Clause */
/* There may only be so many shadow tables: the oldest go. */
#include "map/shadow/shadow.h"

void vmmu_shadow_reclaim(struct vmmu_exclusive x, unsigned room)
{
	struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);
	struct vmmu_shadow *s, *newer;

	if (all->count + room <= all->limit)
		return;
	/* What no vCPU runs on is worth less than what the last fault has built. */
	vmmu_shadow_forget_roots(x);
	for (s = all->oldest; s && all->count + room > all->limit; s = newer) {
		newer = s->newer;
		if (!s->pins)
			vmmu_shadow_retire(x, s, VMMU_CAUSE_RECLAIM);
	}
}
