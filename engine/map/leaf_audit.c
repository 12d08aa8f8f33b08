/* SPDX-License-Identifier: BSD-2-Clause */
/* What must be true of a leaf, in whatever map it stands. */
#include "map/audit.h"

void vmmu_audit_finding(struct vmmu_audit *a, const char *rule, const struct vmmu_path_step *step,
                        uint64_t gfn)
{
	a->findings++;
	if (a->report)
		a->report(a->arg, rule, step, vmmu_gfn_of(gfn));
}

static void check_rights(struct vmmu_audit *a, const struct vmmu_slot *slot,
                         const struct vmmu_path_step *step, uint64_t gfn)
{
	const struct vmmu_entry_info *e = &step->info;
	bool read_only = slot->info.flags & VMMU_SLOT_READONLY;

	if ((e->rights & VMMU_W) && !e->map_writable)
		vmmu_audit_finding(a, "writable leaf without the map-writable bit", step, gfn);
	if (e->map_writable && !e->host_writable)
		vmmu_audit_finding(a, "map-writable leaf without the host-writable bit", step, gfn);
	if (e->host_writable && read_only)
		vmmu_audit_finding(a, "host-writable leaf in a read-only slot", step, gfn);
	if ((e->rights & VMMU_W) && read_only)
		vmmu_audit_finding(a, "writable leaf in a read-only slot", step, gfn);
	if ((e->rights & VMMU_W) && (slot->info.flags & VMMU_SLOT_LOG_DIRTY)) {
		uint64_t page = gfn - slot->first;

		if (step->level > VMMU_LEVEL_4K)
			vmmu_audit_finding(a, "writable huge leaf in a slot that logs", step, gfn);
		else if (!(atomic_load_explicit(&slot->dirty[page / 64], memory_order_relaxed) >>
		                   page % 64 &
		           1))
			vmmu_audit_finding(a, "writable leaf that the dirty log does not know", step, gfn);
	}
}

void vmmu_audit_leaf(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn)
{
	const struct vmmu_memory *m = &a->vm->memory;
	const struct vmmu_host *host = a->vm->tables.host;
	uint64_t pages = vmmu_level_pages(step->level);
	struct vmmu_slot *slot = vmmu_slot_at(m, vmmu_reading_closed(a->closed), gfn);

	a->leaves[step->level]++;
	if (!slot || gfn + pages > slot->end) {
		vmmu_audit_finding(a, slot ? "leaf reaches over the edge of its slot" : "leaf outside every slot",
		                   step, gfn);
		return;
	}
	if (vmmu_cap_of(slot, vmmu_reading_closed(a->closed), gfn, step->level) < step->level)
		vmmu_audit_finding(a, "leaf larger than the range's cap", step, gfn);
	if (vmmu_is_invalidating(m, gfn, gfn + pages))
		vmmu_audit_finding(a, "leaf in a range under invalidation", step, gfn);
	check_rights(a, slot, step, gfn);
	for (uint64_t i = 0; host->owns_frame && i < pages; i++)
		if (!host->owns_frame(a->vm->tables.ctx, &slot->info, vmmu_gfn_of(gfn + i),
		                      vmmu_pfn_of(step->info.pfn.v + i))) {
			vmmu_audit_finding(a, "frame does not belong to this VM at this gfn", step, gfn + i);
			break;
		}
}
