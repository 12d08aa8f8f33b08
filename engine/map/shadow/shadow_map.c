/* SPDX-License-Identifier: BSD-2-Clause */
/* A shadow map as an object: made, with the map for guests without paging; told of; taken down. */
#include "map/shadow/shadow.h"

/* ---- vCPUs ----------------------------------------------------------------------- */

void vmmu_shadow_join(struct vmmu_vcpu *vcpu, struct vmmu_managing managing)
{
	struct vmmu_shadow_map *all = (struct vmmu_shadow_map *)vcpu->map;
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(vcpu);
	uint32_t least = VMMU_SHADOW_TABLES_MIN + VMMU_SHADOW_PER_VCPU * vcpu->vm->vcpus;

	struct vmmu_closed closed = vmmu_gate_close(&vcpu->vm->tables, managing);

	sv->reads = &sv->mode;
	sv->next = all->vcpus;
	all->vcpus = sv;
	if (all->limit < least)
		all->limit = least;
	vmmu_gate_open(&vcpu->vm->tables, closed);
}

void vmmu_shadow_leave(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_managing managing)
{
	struct vmmu_shadow_vcpu **at = &vmmu_shadow_map_of(op)->vcpus;
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(vcpu);

	struct vmmu_closed closed = vmmu_gate_close(op->tables, managing);

	while (*at != sv)
		at = &(*at)->next;
	*at = sv->next;
	for (unsigned i = 0; i < VMMU_ROOTS; i++)
		vmmu_shadow_let_go(vmmu_exclusive_of(op, closed), &sv->slot[i]);
	vmmu_gate_open(op->tables, closed);
	vmmu_object_free(vcpu->vm, sv->spare, sizeof(*sv->spare));
	sv->spare = NULL;
}

static enum vmmu_handler shadow_handler(const struct vmmu_vcpu *vcpu)
{
	const struct vmmu_shadow_vcpu *sv = (const struct vmmu_shadow_vcpu *)vcpu;

	return sv->mode.levels ? VMMU_HANDLER_SHADOW : VMMU_HANDLER_UNPAGED;
}

enum vmmu_status vmmu_shadow_root_pointer(const struct vmmu_vcpu *vcpu, struct vmmu_root *out)
{
	const struct vmmu_shadow_map *all = (const struct vmmu_shadow_map *)vcpu->map;
	const struct vmmu_shadow_vcpu *sv = (const struct vmmu_shadow_vcpu *)vcpu;
	const struct vmmu_table *top = sv->root ? &vmmu_root_of(sv->root)->table : all->unpaged->root;

	*out = (struct vmmu_root){
		.table = top->hpa,
		.pointer = vmmu_root_register(&vcpu->map->layout, top->hpa),
		.levels = top->level,
		.id = vcpu->map->id,
	};
	/* Outside long mode CR3 has 32 bits. */
	return top->level == VMMU_LEVEL_1G && out->pointer >> 32 ? VMMU_ERR_UNSUPPORTED : VMMU_OK;
}

static uint64_t shadow_prefault_limit(const struct vmmu_vcpu *vcpu)
{
	const struct vmmu_shadow_vcpu *sv = (const struct vmmu_shadow_vcpu *)vcpu;

	return sv->mode.levels ? 0 : vmmu_level_pages(VMMU_LEVEL_1G) * VMMU_PAE_ENTRIES * VMMU_PAGE_SIZE;
}

/* ---- looking ----------------------------------------------------------------------- */

void vmmu_shadow_each_entry(struct vmmu_op *op, struct vmmu_closed closed, const struct vmmu_each *each,
                            void *arg)
{
	vmmu_assert_closed(closed);
	for (struct vmmu_shadow *s = vmmu_shadow_map_of(op)->oldest; s; s = s->newer) {
		if (each->table)
			each->table(op, &s->table, arg);
		for (unsigned i = 0; i < VMMU_ENTRIES; i++) {
			struct vmmu_visit v = vmmu_shadow_entry(op, s, i);

			if (v.entry)
				each->entry(&v, arg);
		}
	}
}

/* ---- coming and going ----------------------------------------------------------------- */

static void free_blocks(struct vmmu_op *op)
{
	struct vmmu_frames *frames = &vmmu_shadow_map_of(op)->frames;

	for (unsigned i = 0; i < VMMU_BLOCK_BUCKETS; i++)
		while (frames->bucket[i]) {
			struct vmmu_block *block = frames->bucket[i];

			frames->bucket[i] = block->next;
			vmmu_object_free(op->map->vm, block, sizeof(*block));
		}
}

void vmmu_shadow_fini(struct vmmu_op *op, struct vmmu_managing managing)
{
	struct vmmu_closed closed = vmmu_gate_close(op->tables, managing);
	struct vmmu_shadow_map *all = vmmu_shadow_map_of(op);

	while (all->oldest)
		vmmu_shadow_retire(vmmu_exclusive_of(op, closed), all->oldest, VMMU_CAUSE_ZAP_VM);
	vmmu_gate_open(op->tables, closed);
	vmmu_op_flush(op);
	free_blocks(op);
	vmmu_map_remove(&all->map);
	vmmu_object_free(all->map.vm, all, sizeof(*all));
}

static const struct vmmu_map_ops shadow_ops = {
	.fault = vmmu_shadow_fault,
	.zap_range = vmmu_shadow_zap_range,
	.protect_range = vmmu_shadow_protect_range,
	.harvest_range = vmmu_shadow_harvest_range,
	.allow_range = vmmu_shadow_allow_range,
	.each_entry = vmmu_shadow_each_entry,
	.audit = vmmu_shadow_audit,
	.written = vmmu_shadow_written,
	.refill = vmmu_shadow_refill,
	.release = vmmu_shadow_release,
	.handler = shadow_handler,
	.root_pointer = vmmu_shadow_root_pointer,
	.prefault_limit = shadow_prefault_limit,
	.vcpu_bytes = sizeof(struct vmmu_shadow_vcpu),
	.join = vmmu_shadow_join,
	.leave = vmmu_shadow_leave,
	.fini = vmmu_shadow_fini,
};

enum { SHADOW_PATH_TABLES = 6 }; /* four levels of the guest's, two below a 1 GiB page */

static void init(struct vmmu_shadow_map *all, struct vmmu_vm *vm, const struct vmmu_config *config,
                 const struct vmmu_layout *layout, const struct vmmu_shadow_kind *kind)
{
	struct vmmu_map *map = &all->map;

	vmmu_map_init(map, kind->ops, vm, config, layout);
	all->kind = kind;
	vmmu_shadow_doubt(all);
	map->input = kind->input;
	map->flush_all = true;
	map->path_tables = SHADOW_PATH_TABLES;
	if (map->leaf_level_max > VMMU_LEVEL_2M)
		map->leaf_level_max = VMMU_LEVEL_2M;
	/* The guest's tables have the first word on every access; an entry would save nothing. */
	map->mmio_cache = false;
	all->limit = config->max_shadow_tables ? config->max_shadow_tables : VMMU_SHADOW_TABLES_DEFAULT;
}

bool vmmu_shadow_create_kind(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                             const struct vmmu_layout *layout, const struct vmmu_shadow_kind *kind)
{
	struct vmmu_shadow_map *all = vmmu_object_alloc(vm, sizeof(*all));

	if (!all)
		return false;
	/* Before any table is made. */
	vm->tables.header_bytes = sizeof(struct vmmu_shadow);
	init(all, vm, config, layout, kind);
	if (!kind->create_unpaged(vm, op, config, layout)) {
		vmmu_map_remove(&all->map);
		vmmu_object_free(vm, all, sizeof(*all));
		return false;
	}
	all->unpaged = all->map.next;
	op->map = &all->map;
	return true;
}

bool vmmu_shadow_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout)
{
	static const struct vmmu_shadow_kind kind = {
		.ops = &shadow_ops,
		.input = VMMU_INPUT_GVA,
		.root_tables = 1 + VMMU_PAE_ENTRIES,
		.low_top = true,
		.create_unpaged = vmmu_unpaged_create,
	};

	return vmmu_shadow_create_kind(vm, op, config, layout, &kind);
}
