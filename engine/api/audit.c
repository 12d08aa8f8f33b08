/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit: what must be true of the tables at any moment, checked from the
 * tables themselves and not from how they came to be.
 */
#include "api/audit.h"
#include "map/shadow/shadow.h"

void vmmu_audit_finding(struct audit *a, const char *rule, const struct vmmu_path_step *step, uint64_t gfn)
{
	a->findings++;
	if (a->report)
		a->report(a->arg, rule, step, vmmu_gfn_of(gfn));
}

static void check_rights(struct audit *a, const struct vmmu_slot *slot,
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
		                   page % 64 & 1))
			vmmu_audit_finding(a, "writable leaf that the dirty log does not know", step, gfn);
	}
}

void vmmu_audit_leaf(struct audit *a, const struct vmmu_path_step *step, uint64_t gfn)
{
	const struct vmmu_memory *m = &a->vm->memory;
	const struct vmmu_host *host = a->vm->tables.host;
	uint64_t pages = vmmu_level_pages(step->level);
	struct vmmu_slot *slot = vmmu_slot_at(m, gfn);

	a->leaves[step->level]++;
	if (!slot || gfn + pages > slot->end) {
		vmmu_audit_finding(a, slot ? "leaf reaches over the edge of its slot" : "leaf outside every slot",
		        step, gfn);
		return;
	}
	if (vmmu_cap_of(slot, gfn, step->level) < step->level)
		vmmu_audit_finding(a, "leaf larger than the range's cap", step, gfn);
	if (vmmu_is_pending(m, gfn, gfn + pages))
		vmmu_audit_finding(a, "leaf in a range under invalidation", step, gfn);
	check_rights(a, slot, step, gfn);
	for (uint64_t i = 0; host->owns_frame && i < pages; i++)
		if (!host->owns_frame(a->vm->tables.ctx, &slot->info, vmmu_gfn_of(gfn + i),
		                      vmmu_pfn_of(step->info.pfn.v + i))) {
			vmmu_audit_finding(a, "frame does not belong to this VM at this gfn", step, gfn + i);
			break;
		}
}

static enum vmmu_next check_table(struct audit *a, const struct vmmu_path_step *step, uint64_t gfn)
{
	struct vmmu_table *table = vmmu_table_find(&a->vm->tables, vmmu_pfn_hpa(step->info.pfn));

	if (!table) {
		vmmu_audit_finding(a, "entry references a frame that is no table of this VM", step, gfn);
		return VMMU_NEXT;
	}
	if (table->level != step->level - 1 || table->gfn.v != gfn) {
		vmmu_audit_finding(a, "table is linked where it does not belong", step, gfn);
		return VMMU_NEXT;
	}
	/* PAE's top entries have none to withhold. */
	if (step->info.rights != VMMU_RWX && !(a->vm->shadow && step->level == a->vm->root->level))
		vmmu_audit_finding(a, "entry above the leaves withholds a right", step, gfn);
	a->tables[table->level]++;
	return VMMU_DESCEND;
}

static void check_mmio(struct audit *a, const struct vmmu_path_step *step, uint64_t gfn)
{
	uint64_t generation =
		atomic_load_explicit(&a->vm->memory.generation, memory_order_relaxed);

	if (step->level != VMMU_LEVEL_4K)
		vmmu_audit_finding(a, "MMIO entry above the lowest level", step, gfn);
	else if (step->info.mmio_gen == (generation & VMMU_MMIO_GEN_MASK) &&
	         vmmu_slot_at(&a->vm->memory, gfn))
		vmmu_audit_finding(a, "current MMIO entry inside a slot", step, gfn);
}

static enum vmmu_next audit_visit(struct vmmu_visit *v, void *arg)
{
	struct audit *a = arg;
	struct vmmu_path_step step = {
		.level = v->level, .index = v->index, .table = v->table, .entry = v->entry};

	vmmu_layout_decode(&v->op->tables->layout, v->level, v->entry, &step.info);
	switch (step.info.kind) {
	case VMMU_ENTRY_EMPTY:
		break;
	case VMMU_ENTRY_TABLE:
		return check_table(a, &step, v->gfn.v);
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

/* What was counted on the way must be what is there. */
static void check_counts(struct audit *a)
{
	struct vmmu_path_step none = {.level = 0};
	struct vmmu_stats stats;

	vmmu_stats_add(a->vm, &stats);
	a->tables[a->vm->root->level]++;
	for (unsigned level = VMMU_LEVEL_4K; level <= VMMU_LEVEL_MAX; level++) {
		none.level = (uint8_t)level;
		if (stats.pages[level] != a->leaves[level])
			vmmu_audit_finding(a, "leaf count differs from the leaves present", &none, 0);
		if (stats.tables_allocated[level] - stats.tables_freed[level] != a->tables[level])
			vmmu_audit_finding(a, "table count differs from the tables reachable", &none, 0);
	}
}

unsigned vmmu_audit(struct vmmu_vm *vm, vmmu_audit_fn report, void *arg)
{
	static const struct vmmu_visitor visitor = {.end = audit_visit, .table = audit_visit};
	struct audit a = {.vm = vm, .report = report, .arg = arg};
	struct vmmu_op op = vmmu_manage_op(vm);

	/* Closed for as long as it takes: it is a question about one moment. */
	vmmu_turn_take(&vm->tables);
	vmmu_gate_close(&vm->tables);
	vmmu_walk(&op, vmmu_root_of(vm), 0, vmmu_level_pages(vm->root->level + 1u), visitor, &a);
	if (vm->shadow)
		vmmu_audit_shadow(&a, &op);
	check_counts(&a);
	vmmu_gate_open(&vm->tables);
	vmmu_turn_give(&vm->tables);
	return a.findings;
}
