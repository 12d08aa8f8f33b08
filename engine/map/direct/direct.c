/* SPDX-License-Identifier: BSD-2-Clause */
/* A direct map as an object: made, told of entry by entry, taken down. */
#include "map/direct/direct.h"

struct telling {
	struct vmmu_closed closed;
	const struct vmmu_each *each;
	void *arg;
};

static enum vmmu_next tell_entry(struct vmmu_visit *v, void *arg)
{
	const struct telling *t = arg;

	if (v->entry)
		t->each->entry(v, t->arg);
	return VMMU_NEXT;
}

static enum vmmu_next tell_table(struct vmmu_visit *v, void *arg)
{
	const struct telling *t = arg;
	struct vmmu_tables *tables = v->op->tables;
	struct vmmu_table *below;

	t->each->entry(v, t->arg);
	below = t->each->table
	                ? vmmu_table_find(tables, t->closed, vmmu_entry_address(&v->op->map->layout, v->entry))
	                : NULL;
	if (below)
		t->each->table(v->op, below, t->arg);
	return VMMU_DESCEND;
}

static void direct_each_entry(struct vmmu_op *op, struct vmmu_closed closed, const struct vmmu_each *each, void *arg)
{
	static const struct vmmu_visitor visitor = {.leaf = tell_entry, .table_pre = tell_table};
	struct telling t = {closed, each, arg};

	if (each->table)
		each->table(op, op->map->root, arg);
	/* The root in full, also where no guest of this width can reach. */
	vmmu_walk(op, vmmu_top_of(op->map), 0, vmmu_map_end(op->map), visitor, &t);
}

static enum vmmu_handler direct_handler(const struct vmmu_vcpu *vcpu)
{
	(void)vcpu;
	return VMMU_HANDLER_DIRECT;
}

static enum vmmu_status direct_root_pointer(const struct vmmu_vcpu *vcpu, struct vmmu_root *out)
{
	const struct vmmu_map *map = vcpu->map;

	*out = (struct vmmu_root){
		.table = map->root->hpa,
		.pointer = vmmu_root_register(&map->layout, map->root->hpa),
		.levels = map->root->level,
		.id = map->id,
	};
	return VMMU_OK;
}

static uint64_t direct_prefault_limit(const struct vmmu_vcpu *vcpu)
{
	(void)vcpu; /* the faults themselves say where memory ends */
	return UINT64_MAX;
}

static void direct_fini(struct vmmu_op *op, struct vmmu_managing managing)
{
	struct vmmu_map *map = op->map;
	struct vmmu_closed closed;

	vmmu_direct_zap_range(op, managing, 0, map->vm->memory.limit, 0, VMMU_CAUSE_ZAP_VM);
	vmmu_op_flush(op);
	/* The sweep leaves large tables in place; with the root they all go. */
	closed = vmmu_gate_close(op->tables, managing);
	vmmu_table_retire(op, closed, map->root, VMMU_CAUSE_ZAP_VM);
	vmmu_gate_open(op->tables, closed);
	vmmu_op_flush(op);
	vmmu_map_remove(map);
	vmmu_object_free(map->vm, map, sizeof(*map));
}

const struct vmmu_map_ops vmmu_direct_ops = {
	.fault = vmmu_direct_fault,
	.quick = vmmu_direct_quick,
	.quick_known = vmmu_direct_quick_known,
	.traced = vmmu_direct_traced,
	.prefault = vmmu_direct_prefault,
	.zap_range = vmmu_direct_zap_range,
	.zap_page = vmmu_direct_zap_page,
	.protect_range = vmmu_direct_protect_range,
	.harvest_range = vmmu_direct_harvest_range,
	.zap_mmio = vmmu_mmio_zap,
	.each_entry = direct_each_entry,
	.audit = vmmu_direct_audit,
	.handler = direct_handler,
	.root_pointer = direct_root_pointer,
	.prefault_limit = direct_prefault_limit,
	.vcpu_bytes = sizeof(struct vmmu_vcpu),
	.fini = direct_fini,
};

bool vmmu_direct_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout)
{
	struct vmmu_map *map = vmmu_object_alloc(vm, sizeof(*map));

	if (!map || !vmmu_spares_fill(&vm->tables, op->who, 1)) {
		vmmu_object_free(vm, map, sizeof(*map));
		return false;
	}
	vmmu_map_init(map, &vmmu_direct_ops, vm, config, layout);
	op->map = map;
	map->root = vmmu_table_take(op, layout->levels, vmmu_gfn_of(0));
	vmmu_table_publish(op, map->root);
	return true;
}
