/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and unmaking VMs. */
#include "api/api.h"
#include "table/table_hash.h"

enum { MAX_VCPUS_DEFAULT = 1024,
       MAX_VCPUS = 0xffff };

static bool host_is_complete(const struct vmmu_host *h)
{
	return h && h->object_alloc && h->object_free && h->table_alloc && h->table_free &&
	       h->backing && h->flush;
}

/* To walk a guest's tables one must be able to read them. */
static bool host_has_guest_memory(const struct vmmu_host *h)
{
	return h->guest_read && h->guest_cmpxchg;
}

/* As far as the tables, the CPU and the guest's own idea of it reach. */
static uint64_t gfn_limit(const struct vmmu_config *c, const struct vmmu_layout *l)
{
	unsigned bits = VMMU_PAGE_SHIFT + VMMU_INDEX_BITS * l->levels;

	if (bits > l->cpu.maxphyaddr)
		bits = l->cpu.maxphyaddr;
	if (c->guest_maxphyaddr && c->guest_maxphyaddr < bits)
		bits = c->guest_maxphyaddr;
	return 1ull << (bits - VMMU_PAGE_SHIFT);
}

static enum vmmu_status check_config(const struct vmmu_config *c, struct vmmu_layout *layout)
{
	const struct vmmu_mode_ops *mode = vmmu_mode_ops(c->mode);

	if (!mode || !host_is_complete(c->host) || c->max_level > VMMU_LEVEL_1G ||
	    c->max_vcpus > MAX_VCPUS || c->fault_around > VMMU_AROUND_MAX || !vmmu_ring_is_usable(c->ring) ||
	    (c->guest_maxphyaddr && (c->guest_maxphyaddr < 32 || c->guest_maxphyaddr > 52)) ||
	    (c->max_shadow_tables && c->max_shadow_tables < VMMU_SHADOW_TABLES_MIN))
		return VMMU_ERR_INVALID;
	if (mode->levels_fixed && c->levels == 4 && mode->levels(&c->cpu) != 4)
		return VMMU_ERR_INVALID;
	if (c->nested && !mode->create_nested)
		return VMMU_ERR_INVALID;
	if ((mode->follows_guest || c->nested) && !host_has_guest_memory(c->host))
		return VMMU_ERR_INVALID;
	/* The tables must be able to withhold execution wherever the guest's do. */
	if ((mode->follows_guest || c->nested) && !c->cpu.nx)
		return VMMU_ERR_UNSUPPORTED;
	return vmmu_layout_init(layout, mode->format, &c->cpu,
	                        c->levels ? c->levels : mode->levels(&c->cpu));
}

static void init_vm(struct vmmu_vm *vm, const struct vmmu_config *c, const struct vmmu_layout *layout)
{
	struct vmmu_tables *t = &vm->tables;

	t->host = c->host;
	t->ctx = c->host_ctx;
	t->read_base = c->host->table_read_base;
	t->frame_mask = layout->address;
	atomic_init(&t->watched, c->host->point != NULL);
	t->vm_id = c->id;
	t->actors_max = c->max_vcpus ? c->max_vcpus : MAX_VCPUS_DEFAULT;
	t->manager.vm = c->id;
	t->manager.id = VMMU_TRACE_NO_VCPU;
	t->manager.ring = c->ring;
	vm->memory.max_slots = c->max_slots ? c->max_slots : VMMU_MAX_SLOTS_DEFAULT;
	vm->memory.limit = gfn_limit(c, layout);
	vm->memory.ranges = vm->memory.own_ranges;
	vm->memory.ranges_max = VMMU_OWN_RANGES;
	atomic_init(&vm->memory.generation, 1);
	atomic_init(&vm->memory.sequence, 1);
	vm->mode = vmmu_mode_ops(c->mode);
	t->header_bytes = sizeof(struct vmmu_table);
}

static size_t actors_bytes(const struct vmmu_vm *vm)
{
	return vm->tables.actors_max * sizeof(struct vmmu_actor *);
}

/* What init_vm could not do without memory. */
static bool make_parts(struct vmmu_vm *vm, const struct vmmu_config *c,
                       const struct vmmu_layout *layout)
{
	struct vmmu_op op = vmmu_manage_op(vm);

	vm->tables.actors = vmmu_object_alloc(vm, actors_bytes(vm));
	return vm->tables.actors && (c->nested ? vm->mode->create_nested : vm->mode->create_maps)(vm, &op, c, layout);
}

static void free_parts(struct vmmu_vm *vm)
{
	vmmu_spares_drain(&vm->tables, &vm->tables.manager);
	vmmu_table_hash_free(&vm->tables);
	vmmu_object_free(vm, vm->tables.actors, actors_bytes(vm));
}

enum vmmu_status vmmu_vm_create(const struct vmmu_config *config, struct vmmu_vm **out)
{
	struct vmmu_layout layout;
	enum vmmu_status status;
	struct vmmu_vm *vm;

	if (!config || !out)
		return VMMU_ERR_INVALID;
	status = check_config(config, &layout);
	if (status != VMMU_OK)
		return status;

	vm = config->host->object_alloc(config->host_ctx, sizeof(*vm));
	if (!vm)
		return VMMU_ERR_NO_MEMORY;
	init_vm(vm, config, &layout);
	if (!make_parts(vm, config, &layout)) {
		free_parts(vm);
		config->host->object_free(config->host_ctx, vm, sizeof(*vm));
		return VMMU_ERR_NO_MEMORY;
	}
	*out = vm;
	return VMMU_OK;
}

static void free_maps(struct vmmu_vm *vm, struct vmmu_managing managing)
{
	struct vmmu_op op = vmmu_manage_op(vm);

	while ((op.map = vm->maps))
		op.map->ops->fini(&op, managing);
}

enum vmmu_status vmmu_vm_destroy(struct vmmu_vm *vm)
{
	const struct vmmu_host *host = vm->tables.host;
	void *ctx = vm->tables.ctx;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	if (vm->vcpus) {
		vmmu_manage_unlock(&vm->tables, managing);
		return VMMU_ERR_BUSY;
	}
	vm->tables.ending = true;
	free_maps(vm, managing);
	vmmu_slots_free_all(vm);
	vmmu_invalidations_free_all(vm);
	vmmu_streams_free_all(vm);
	free_parts(vm);
	host->object_free(ctx, vm, sizeof(*vm));
	return VMMU_OK;
}
