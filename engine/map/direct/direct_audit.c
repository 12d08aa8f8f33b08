/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit of a direct map: each entry and table, from the root down. */
#include "map/audit.h"
#include "map/direct/direct.h"

static enum vmmu_next check_table(struct vmmu_audit *a, const struct vmmu_map *map,
                                  const struct vmmu_path_step *step, uint64_t gfn)
{
	struct vmmu_table *table = vmmu_table_find(&a->vm->tables, a->closed, vmmu_pfn_hpa(step->info.pfn));

	if (!table) {
		vmmu_audit_finding(a, "entry references a frame that is no table of this VM", step, gfn);
		return VMMU_NEXT;
	}
	if (table->level != step->level - 1 || table->gfn.v != gfn) {
		vmmu_audit_finding(a, "table is linked where it does not belong", step, gfn);
		return VMMU_NEXT;
	}
	/* PAE's top entries have none to withhold. */
	if (step->info.rights != VMMU_RWX &&
	    !(map->layout.format->bare_tables && step->level == map->root->level))
		vmmu_audit_finding(a, "entry above the leaves withholds a right", step, gfn);
	a->tables[table->level]++;
	return VMMU_DESCEND;
}

static void check_mmio(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn)
{
	uint64_t generation =
		atomic_load_explicit(&a->vm->memory.generation, memory_order_relaxed);

	if (step->level != VMMU_LEVEL_4K)
		vmmu_audit_finding(a, "MMIO entry above the lowest level", step, gfn);
	else if (step->info.mmio_gen == (generation & VMMU_MMIO_GEN_MASK) &&
	         vmmu_slot_at(&a->vm->memory, vmmu_reading_closed(a->closed), gfn))
		vmmu_audit_finding(a, "current MMIO entry inside a slot", step, gfn);
}

static enum vmmu_next audit_visit(struct vmmu_visit *v, void *arg)
{
	struct vmmu_audit *a = arg;
	struct vmmu_path_step step = {
		.level = v->level, .index = v->index, .table = v->table, .entry = v->entry};

	vmmu_layout_decode(&v->op->map->layout, v->level, v->entry, &step.info);
	switch (step.info.kind) {
	case VMMU_ENTRY_EMPTY:
		break;
	case VMMU_ENTRY_TABLE:
		return check_table(a, v->op->map, &step, v->gfn.v);
	case VMMU_ENTRY_LEAF:
		vmmu_audit_leaf(a, &step, v->gfn.v);
		break;
	case VMMU_ENTRY_MMIO:
		check_mmio(a, &step, v->gfn.v);
		break;
	case VMMU_ENTRY_BAD:
		vmmu_audit_finding(a, "reserved bits or combination: the CPU would refuse it", &step, v->gfn.v);
		break;
	}
	return VMMU_NEXT;
}

void vmmu_direct_audit(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_audit *a)
{
	static const struct vmmu_visitor visitor = {.leaf = audit_visit, .table_pre = audit_visit};

	a->closed = closed;
	a->tables[op->map->root->level]++;
	vmmu_walk(op, vmmu_top_of(op->map), 0, vmmu_map_end(op->map), visitor, a);
}
