/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and unmaking VMs and vCPUs. */
#include "api/api.h"
#include "map/shadow/shadow.h"

enum { MAX_VCPUS_DEFAULT = 1024, MAX_VCPUS = 0xffff };

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
	    c->max_vcpus > MAX_VCPUS || (c->guest_maxphyaddr && c->guest_maxphyaddr < 32))
		return VMMU_ERR_INVALID;
	if (mode->levels_fixed && c->levels == 4 && mode->levels(&c->cpu) != 4)
		return VMMU_ERR_INVALID;
	if (mode->shadow && !host_has_guest_memory(c->host))
		return VMMU_ERR_INVALID;
	/* A shadow table must be able to withhold execution wherever the guest's does. */
	if (mode->shadow && !c->cpu.nx)
		return VMMU_ERR_UNSUPPORTED;
	return vmmu_layout_init(layout, mode->format, &c->cpu,
	                        c->levels ? c->levels : mode->levels(&c->cpu));
}

static uint8_t smaller(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

static void init_vm(struct vmmu_vm *vm, const struct vmmu_config *c, const struct vmmu_layout *layout)
{
	struct vmmu_tables *t = &vm->tables;

	t->host = c->host;
	t->ctx = c->host_ctx;
	t->read_base = c->host->table_read_base;
	t->layout = *layout;
	t->vm_id = c->id;
	t->actors_max = c->max_vcpus ? c->max_vcpus : MAX_VCPUS_DEFAULT;
	t->manager.id = VMMU_TRACE_NO_VCPU;
	t->manager.ring = c->ring;
	vm->memory.max_slots = c->max_slots ? c->max_slots : VMMU_MAX_SLOTS_DEFAULT;
	vm->memory.limit = gfn_limit(c, layout);
	t->retired = 1; /* no hint is good yet */
	atomic_init(&vm->memory.generation, 1);
	atomic_init(&vm->memory.sequence, 1);
	vm->mode = vmmu_mode_ops(c->mode);
	vm->mode_number = c->mode;
	vm->root_id = 1;
	vm->path_tables = layout->levels - 1;
	vm->leaf_level_max = c->max_level ? smaller(c->max_level, layout->leaf_level_max)
	                                  : layout->leaf_level_max;
	vm->mmio_cache = layout->mmio_supported && !c->no_mmio_cache;
	t->header_bytes = sizeof(struct vmmu_table);
}

enum { SHADOW_PATH_TABLES = 6 }; /* four levels of the guest's, two below a 1 GiB page */

static void init_shadow(struct vmmu_vm *vm, const struct vmmu_config *c)
{
	uint32_t limit = c->max_shadow_tables ? c->max_shadow_tables : VMMU_SHADOW_LIMIT_DEFAULT;

	vm->tables.shadow = true;
	vm->tables.header_bytes = sizeof(struct vmmu_shadow);
	vm->shadow->limit = limit < VMMU_SHADOW_LIMIT_MIN ? VMMU_SHADOW_LIMIT_MIN : limit;
	vm->path_tables = SHADOW_PATH_TABLES;
	vm->leaf_level_max = smaller(vm->leaf_level_max, VMMU_LEVEL_2M);
	/* The guest's tables have the first word on every access; an entry would save nothing. */
	vm->mmio_cache = false;
}

static bool make_root(struct vmmu_vm *vm)
{
	struct vmmu_op op = vmmu_manage_op(vm);

	if (vm->shadow)
		return vmmu_shadow_init(vm, &op);
	if (!vmmu_spares_fill(&vm->tables, &vm->tables.manager, 1))
		return false;
	vm->root = vmmu_table_take(&op, vm->tables.layout.levels, vmmu_gfn_of(0));
	vmmu_table_publish(&op, vm->root);
	return true;
}

static size_t actors_bytes(const struct vmmu_vm *vm)
{
	return vm->tables.actors_max * sizeof(struct vmmu_actor *);
}

/* What init_vm could not do without memory. */
static bool make_parts(struct vmmu_vm *vm, const struct vmmu_config *c)
{
	vm->tables.actors = vmmu_object_alloc(vm, actors_bytes(vm));
	if (vm->mode->shadow) {
		vm->shadow = vmmu_object_alloc(vm, sizeof(*vm->shadow));
		if (vm->shadow)
			init_shadow(vm, c);
	}
	return vm->tables.actors && (!vm->mode->shadow || vm->shadow) && make_root(vm);
}

static void free_parts(struct vmmu_vm *vm)
{
	vmmu_spares_drain(&vm->tables, &vm->tables.manager);
	vmmu_object_free(vm, vm->shadow, sizeof(*vm->shadow));
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
	if (!make_parts(vm, config)) {
		free_parts(vm);
		config->host->object_free(config->host_ctx, vm, sizeof(*vm));
		return VMMU_ERR_NO_MEMORY;
	}
	*out = vm;
	return VMMU_OK;
}

static void free_tables(struct vmmu_vm *vm)
{
	struct vmmu_op op = vmmu_manage_op(vm);

	if (vm->shadow)
		vmmu_shadow_fini(vm, &op);
	vmmu_zap_range(vm, &op, 0, vm->memory.limit, 0, VMMU_CAUSE_ZAP_VM);
	/* The sweep leaves tables above 1 GiB in place; with the root they all go. */
	vmmu_table_retire(&op, vm->root, VMMU_CAUSE_ZAP_VM);
	vmmu_settle(&op);
}

enum vmmu_status vmmu_vm_destroy(struct vmmu_vm *vm)
{
	const struct vmmu_host *host = vm->tables.host;
	void *ctx = vm->tables.ctx;

	vmmu_turn_take(&vm->tables);
	if (vm->vcpus) {
		vmmu_turn_give(&vm->tables);
		return VMMU_ERR_BUSY;
	}
	free_tables(vm);
	vmmu_slots_free_all(vm);
	vmmu_pending_free_all(vm);
	free_parts(vm);
	host->object_free(ctx, vm, sizeof(*vm));
	return VMMU_OK;
}

/* ---- vCPUs ---- */

static struct vmmu_actor **free_seat(struct vmmu_vm *vm)
{
	for (uint32_t i = 0; i < vm->tables.actors_max; i++)
		if (!vm->tables.actors[i])
			return &vm->tables.actors[i];
	return NULL;
}

static void free_vcpu(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;

	if (vcpu->shadow)
		vmmu_object_free(vm, vcpu->shadow->spare, sizeof(*vcpu->shadow->spare));
	vmmu_object_free(vm, vcpu->shadow, sizeof(*vcpu->shadow));
	vmmu_object_free(vm, vcpu, sizeof(*vcpu));
}

static void join_roots(struct vmmu_vcpu *vcpu)
{
	if (!vcpu->shadow)
		return;
	vmmu_gate_close(&vcpu->vm->tables);
	vmmu_shadow_join(vcpu);
	vmmu_gate_open(&vcpu->vm->tables);
}

enum vmmu_status vmmu_vcpu_create(struct vmmu_vm *vm, uint16_t id, struct vmmu_trace_ring *ring,
                                  struct vmmu_vcpu **out)
{
	struct vmmu_vcpu *vcpu = vmmu_object_alloc(vm, sizeof(*vcpu));
	struct vmmu_actor **seat;

	if (!vcpu)
		return VMMU_ERR_NO_MEMORY;
	if (vm->shadow && !(vcpu->shadow = vmmu_object_alloc(vm, sizeof(*vcpu->shadow)))) {
		vmmu_object_free(vm, vcpu, sizeof(*vcpu));
		return VMMU_ERR_NO_MEMORY;
	}
	vcpu->vm = vm;
	vcpu->actor.id = id;
	vcpu->actor.ring = ring;

	vmmu_turn_take(&vm->tables);
	seat = id == VMMU_TRACE_NO_VCPU ? NULL : free_seat(vm);
	if (seat) {
		*seat = &vcpu->actor;
		vm->vcpus++;
		join_roots(vcpu);
	}
	vmmu_turn_give(&vm->tables);
	if (!seat) {
		free_vcpu(vcpu);
		return VMMU_ERR_INVALID;
	}
	*out = vcpu;
	return VMMU_OK;
}

/* What a vCPU counted outlives it. */
static void keep_counters(struct vmmu_counters *to, struct vmmu_counters *from)
{
	_Atomic uint64_t *sum = (_Atomic uint64_t *)to;
	_Atomic uint64_t *add = (_Atomic uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
		vmmu_count(&sum[i], atomic_load_explicit(&add[i], memory_order_relaxed));
}

static void leave_roots(struct vmmu_vcpu *vcpu)
{
	struct vmmu_op op = vmmu_manage_op(vcpu->vm);

	vmmu_gate_close(&vcpu->vm->tables);
	vmmu_shadow_leave(vcpu, &op);
	vmmu_gate_open(&vcpu->vm->tables);
	vmmu_settle(&op);
}

void vmmu_vcpu_destroy(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;

	vmmu_turn_take(&vm->tables);
	if (vcpu->shadow)
		leave_roots(vcpu);
	for (uint32_t i = 0; i < vm->tables.actors_max; i++)
		if (vm->tables.actors[i] == &vcpu->actor)
			vm->tables.actors[i] = NULL;
	keep_counters(&vm->tables.manager.count, &vcpu->actor.count);
	vm->vcpus--;
	vmmu_turn_give(&vm->tables);
	vmmu_spares_drain(&vm->tables, &vcpu->actor);
	free_vcpu(vcpu);
}

/* The top table of what this vCPU runs on. */
static const struct vmmu_table *top_of(const struct vmmu_vcpu *vcpu)
{
	const struct vmmu_shadow_vcpu *sv = vcpu->shadow;

	return sv && sv->root ? &sv->root->top->table : vcpu->vm->root;
}

enum vmmu_status vmmu_vcpu_load(struct vmmu_vcpu *vcpu, struct vmmu_root *out)
{
	const struct vmmu_table *top = top_of(vcpu);
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_trace_record *r;
	struct vmmu_op op;

	vmmu_op_init(&op, &vm->tables, &vcpu->actor, vm->root_id);
	*out = (struct vmmu_root){
		.table = top->hpa,
		.pointer = vm->mode->root_pointer(&vm->tables.layout, top->hpa),
		.levels = top->level,
		.id = vm->root_id,
	};
	/* Outside long mode CR3 has 32 bits. */
	if (vm->shadow && top->level == VMMU_LEVEL_1G && out->pointer >> 32)
		return VMMU_ERR_UNSUPPORTED;
	r = vmmu_trace_begin(&op, VMMU_TRACE_ROOT_LOAD);
	if (r) {
		r->level = out->levels;
		r->root_load = (struct vmmu_trace_root_load){.table = out->table.v, .pointer = out->pointer};
		vmmu_trace_end(&op);
	}
	return VMMU_OK;
}
