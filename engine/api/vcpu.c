/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and unmaking vCPUs, and the root that one enters its guest with. */
#include "api/api.h"

/*
 * A trace tells vCPUs apart by their ids, and a ring has one producer. The management
 * lock is held.
 */
static bool is_taken(struct vmmu_vm *vm, struct vmmu_managing managing, uint16_t id, const struct vmmu_trace_ring *ring)
{
	vmmu_assert_managing(managing);
	for (uint32_t i = 0; i < vm->tables.actors_end; i++) {
		const struct vmmu_actor *other = vm->tables.actors[i];

		if (other && (other->id == id || (ring && other->ring == ring)))
			return true;
	}
	return ring && vm->tables.manager.ring == ring;
}

static struct vmmu_actor **free_seat(struct vmmu_vm *vm)
{
	for (uint32_t i = 0; i < vm->tables.actors_max; i++)
		if (!vm->tables.actors[i])
			return &vm->tables.actors[i];
	return NULL;
}

/* Who closes the gate looks at the seats before `actors_end` only. */
static void find_last_seat(struct vmmu_tables *t)
{
	t->actors_end = t->actors_max;
	while (t->actors_end && !t->actors[t->actors_end - 1])
		t->actors_end--;
}

static void free_vcpu(struct vmmu_vcpu *vcpu)
{
	vmmu_object_free(vcpu->vm, vcpu->stream, sizeof(*vcpu->stream));
	vmmu_object_free(vcpu->vm, vcpu, vcpu->map->ops->vcpu_bytes);
}

/* What is kept of the vCPU in the trace, if it has a record there. */
static void keep_stream(struct vmmu_vcpu *vcpu, struct vmmu_managing managing)
{
	struct vmmu_stream *stream = vcpu->stream;

	vmmu_assert_managing(managing);
	if (!vcpu->actor.seq)
		return;
	*stream = (struct vmmu_stream){
		.next = vcpu->vm->streams,
		.untold = vcpu->actor.untold,
		.seq = vcpu->actor.seq,
		.faults = vcpu->actor.faults,
		.id = vcpu->actor.id,
	};
	vcpu->vm->streams = stream;
	vcpu->stream = NULL;
}

/* Another vCPU of this id may have been here: its stream goes on. */
static void resume_stream(struct vmmu_vcpu *vcpu, struct vmmu_managing managing)
{
	struct vmmu_stream **at = &vcpu->vm->streams, *kept;

	vmmu_assert_managing(managing);
	while (*at && (*at)->id != vcpu->actor.id)
		at = &(*at)->next;
	kept = *at;
	if (!kept)
		return;
	*at = kept->next;
	vcpu->actor.untold = kept->untold;
	vcpu->actor.seq = kept->seq;
	vcpu->actor.faults = kept->faults;
	vmmu_object_free(vcpu->vm, kept, sizeof(*kept));
}

void vmmu_streams_free_all(struct vmmu_vm *vm)
{
	struct vmmu_stream *stream;

	while ((stream = vm->streams)) {
		vm->streams = stream->next;
		vmmu_object_free(vm, stream, sizeof(*stream));
	}
}

enum vmmu_status vmmu_vcpu_create(struct vmmu_vm *vm, uint16_t id, struct vmmu_trace_ring *ring,
                                  struct vmmu_vcpu **out)
{
	struct vmmu_map *map = vm->maps;
	struct vmmu_actor **seat;
	struct vmmu_vcpu *vcpu;
	struct vmmu_managing managing;
	bool taken;

	if (!vmmu_ring_is_usable(ring) || id == VMMU_TRACE_NO_VCPU)
		return VMMU_ERR_INVALID;
	vcpu = vmmu_object_alloc(vm, map->ops->vcpu_bytes);
	if (!vcpu)
		return VMMU_ERR_NO_MEMORY;
	vcpu->vm = vm;
	vcpu->map = map;
	vcpu->known_last = vcpu->known;
	vcpu->actor.vm = vm->tables.vm_id;
	vcpu->actor.id = id;
	vcpu->actor.ring = ring;
	vcpu->stream = vmmu_object_alloc(vm, sizeof(*vcpu->stream));
	if (!vcpu->stream) {
		free_vcpu(vcpu);
		return VMMU_ERR_NO_MEMORY;
	}

	managing = vmmu_manage_lock(&vm->tables);
	taken = is_taken(vm, managing, id, ring);
	seat = taken ? NULL : free_seat(vm);
	if (seat) {
		*seat = &vcpu->actor;
		find_last_seat(&vm->tables);
		vm->vcpus++;
		resume_stream(vcpu, managing);
		if (map->ops->join)
			map->ops->join(vcpu, managing);
	}
	vmmu_manage_unlock(&vm->tables, managing);
	if (!seat) {
		free_vcpu(vcpu);
		return taken ? VMMU_ERR_BUSY : VMMU_ERR_INVALID;
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

static void leave_map(struct vmmu_vcpu *vcpu, struct vmmu_managing managing)
{
	struct vmmu_op op = vmmu_manage_op(vcpu->vm);

	op.map = vcpu->map;
	vcpu->map->ops->leave(vcpu, &op, managing);
	vmmu_op_flush(&op);
}

/*
 * A host that waits for the last vCPU to go may free the VM as soon as the management
 * lock is free. So unlocking is the last thing done to the VM.
 */
void vmmu_vcpu_destroy(struct vmmu_vcpu *vcpu)
{
	struct vmmu_vm *vm = vcpu->vm;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	if (vcpu->map->ops->leave)
		leave_map(vcpu, managing);
	for (uint32_t i = 0; i < vm->tables.actors_max; i++)
		if (vm->tables.actors[i] == &vcpu->actor)
			vm->tables.actors[i] = NULL;
	find_last_seat(&vm->tables);
	keep_counters(&vm->tables.manager.count, &vcpu->actor.count);
	keep_stream(vcpu, managing);
	vmmu_spares_drain(&vm->tables, &vcpu->actor);
	free_vcpu(vcpu);
	vm->vcpus--;
	vmmu_manage_unlock(&vm->tables, managing);
}

enum vmmu_status vmmu_vcpu_load(struct vmmu_vcpu *vcpu, struct vmmu_root *out)
{
	enum vmmu_status status = vcpu->map->ops->root_pointer(vcpu, out);
	struct vmmu_trace_record *r;
	struct vmmu_op op;

	if (status != VMMU_OK)
		return status;
	vmmu_vcpu_op(&op, vcpu);
	r = vmmu_trace_begin(&op, VMMU_TRACE_ROOT_LOAD);
	if (r) {
		r->level = out->levels;
		r->root_load = (struct vmmu_trace_root_load){.table = out->table.v, .pointer = out->pointer};
		vmmu_trace_end(&op);
	}
	return VMMU_OK;
}
