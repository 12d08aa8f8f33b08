/* SPDX-License-Identifier: BSD-2-Clause */
/* Roots that vCPUs remember, and the tables that they keep from being taken down. */
#include "map/shadow/shadow.h"

void vmmu_shadow_let_go(struct vmmu_exclusive x, struct vmmu_root_slot *slot)
{
	struct vmmu_shadow *top = slot->top;

	if (!top)
		return;
	for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++)
		if (slot->part[i])
			slot->part[i]->pins--;
	for (unsigned i = VMMU_CROWN_TABLES; i-- > 0;)
		if (slot->crown[i]) {
			slot->crown[i]->pins--;
			vmmu_shadow_retire(x, slot->crown[i], VMMU_CAUSE_ROOT);
		}
	top->pins--;
	/* A TLB with tags may hold what it says, and nothing that changes in it needs a flush from now on. */
	vmmu_flush_all_needed(x.op, VMMU_CAUSE_ROOT);
	/* It is made of one vCPU's registers, and no other vCPU can use it. */
	if (top->role.registers)
		vmmu_shadow_retire(x, top, VMMU_CAUSE_ROOT);
	*slot = (struct vmmu_root_slot){.top = NULL};
}

static bool needs(const struct vmmu_root_slot *slot, const struct vmmu_shadow *s)
{
	bool any = slot->top == s;

	for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++)
		any |= slot->part[i] == s;
	return any;
}

void vmmu_shadow_forget_roots(struct vmmu_exclusive x)
{
	for (struct vmmu_shadow_vcpu *sv = vmmu_shadow_map_of(x.op)->vcpus; sv; sv = sv->next)
		for (unsigned i = 0; i < VMMU_ROOTS; i++)
			if (&sv->slot[i] != sv->root)
				vmmu_shadow_let_go(x, &sv->slot[i]);
}

bool vmmu_shadow_unpin(struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	for (struct vmmu_shadow_vcpu *sv = vmmu_shadow_map_of(x.op)->vcpus; s->pins && sv; sv = sv->next)
		for (unsigned i = 0; i < VMMU_ROOTS; i++)
			if (&sv->slot[i] != sv->root && needs(&sv->slot[i], s))
				vmmu_shadow_let_go(x, &sv->slot[i]);
	return !s->pins;
}
