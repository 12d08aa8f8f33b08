/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit: what must be true of the tables at any moment, checked from the
 * tables themselves and not from how they came to be.
 */
#include "api/api.h"
#include "map/audit.h"

/* What was counted on the way must be what is there. */
static void check_counts(struct vmmu_audit *a)
{
	struct vmmu_path_step none = {.level = 0};
	struct vmmu_stats stats;

	vmmu_stats_add(a->vm, &stats);
	for (unsigned level = VMMU_LEVEL_4K; level <= VMMU_LEVEL_MAX; level++) {
		none.level = (uint8_t)level;
		if (stats.pages[level] != a->leaves[level])
			vmmu_audit_finding(a, "leaf count differs from the leaves present", &none, 0);
		if (stats.tables_allocated[level] - stats.tables_freed[level] != a->tables[level])
			vmmu_audit_finding(a, "table count differs from the tables reachable", &none, 0);
	}
}

/* What the log has, its fetch must find. */
static void check_logs(struct vmmu_audit *a, struct vmmu_closed closed)
{
	const struct vmmu_memory *m = &a->vm->memory;
	const struct vmmu_reading reading = vmmu_reading_closed(closed);
	struct vmmu_path_step none = {.level = 0};
	uint64_t gfn;

	for (const struct vmmu_slot *slot = vmmu_slot_from(m, reading, 0); slot; slot = vmmu_slot_from(m, reading, slot->end))
		if (vmmu_dirty_lost(slot, closed, &gfn))
			vmmu_audit_finding(a, "pages of the dirty log are in no summary", &none, gfn);
}

unsigned vmmu_audit(struct vmmu_vm *vm, vmmu_audit_fn report, void *arg)
{
	struct vmmu_audit a = {.vm = vm, .report = report, .arg = arg};
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	/* Closed for as long as it takes: it is a question about one moment. */
	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	closed = vmmu_gate_close(&vm->tables, managing);
	for (struct vmmu_map *map = vm->maps; map; map = map->next) {
		op.map = map;
		map->ops->audit(&op, closed, &a);
	}
	check_counts(&a);
	check_logs(&a, closed);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_manage_unlock(&vm->tables, managing);
	return a.findings;
}
