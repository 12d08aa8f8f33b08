/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tracing on and off, and whole tables into the trace.
 *
 * A trace can be replayed from empty tables only if it says what stood in them
 * when it began; so switching it on records every slot, table and entry found.
 */
#include "api/api.h"

/* Put one entry into the trace as `event`, DUMP or FOUND. */
static void trace_entry(struct vmmu_op *op, enum vmmu_trace_event event, const struct vmmu_visit *v)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, event);

	if (!r)
		return;
	r->level = v->level;
	r->index = v->index;
	r->entry = (struct vmmu_trace_entry){
		.table = v->table.v, .gfn = v->gfn.v, .spte = v->entry};
	vmmu_trace_end(op);
}

/* ---- what is found when it begins ------------------------------------------ */

static uint64_t features(const struct vmmu_cpu *cpu)
{
	return (cpu->page_2m ? VMMU_TRACE_PAGE_2M : 0u) | (cpu->page_1g ? VMMU_TRACE_PAGE_1G : 0u) |
	       (cpu->exec_only ? VMMU_TRACE_EXEC_ONLY : 0u) | (cpu->ad ? VMMU_TRACE_AD : 0u) |
	       (cpu->nx ? VMMU_TRACE_NX : 0u) | (cpu->levels5 ? VMMU_TRACE_LEVELS5 : 0u);
}

static void trace_vm(struct vmmu_vm *vm, struct vmmu_op *op)
{
	const struct vmmu_layout *l = &vm->maps->layout;
	const struct vmmu_cpu *cpu = &l->cpu;
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_VM);

	if (!r)
		return;
	r->level = l->levels;
	r->config = (struct vmmu_trace_config){
		.mode = vm->mode->number,
		.levels = l->levels,
		.maxphyaddr = cpu->maxphyaddr,
		.features = features(cpu) | (vm->maps->input == VMMU_INPUT_NESTED_GPA ? VMMU_TRACE_NESTED : 0u),
	};
	vmmu_trace_end(op);
}

static void found_entry(struct vmmu_visit *v, void *arg)
{
	(void)arg;
	trace_entry(v->op, VMMU_TRACE_FOUND, v);
}

static void found_table(struct vmmu_op *op, const struct vmmu_table *table, void *arg)
{
	(void)arg;
	vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, table, VMMU_CAUSE_NONE, false);
}

/* All that a vCPU may reach. */
static void trace_found(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed)
{
	static const struct vmmu_each found = {.entry = found_entry, .table = found_table};
	const struct vmmu_reading reading = vmmu_reading_closed(closed);
	const struct vmmu_memory *m = &vm->memory;

	trace_vm(vm, op);
	for (const struct vmmu_slot *slot = vmmu_slot_from(m, reading, 0); slot; slot = vmmu_slot_from(m, reading, slot->end))
		vmmu_trace_slot(op, slot, VMMU_CAUSE_NONE, slot->first);
	vmmu_each_entry(vm, op, closed, &found, NULL);
}

void vmmu_trace_enable(struct vmmu_vm *vm, bool on)
{
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	closed = vmmu_gate_close(&vm->tables, managing);
	if (on && !op.tracing) {
		op.tracing = true;
		trace_found(vm, &op, closed);
	}
	atomic_store_explicit(&vm->tables.tracing, on, memory_order_relaxed);
	/* A fault that began unwatched goes on in full, as after any answer of the host that is old. */
	for (struct vmmu_map *map = vm->maps; map; map = map->next)
		vmmu_map_watch(map, on && vm->tables.host->time_is_tsc && !vm->tables.host->point);
	atomic_store_explicit(&vm->tables.watched, on || vm->tables.host->point, memory_order_relaxed);
	vmmu_answers_age(&vm->memory, closed);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_manage_unlock(&vm->tables, managing);
}

/* ---- the host's own records ---------------------------------------------------- */

void vmmu_trace_mark(struct vmmu_vcpu *vcpu, uint64_t number)
{
	struct vmmu_trace_record *r;
	struct vmmu_inside inside;
	struct vmmu_op op;

	vmmu_vcpu_op(&op, vcpu);
	/* Inside, as all that a vCPU does: what was found when tracing began stands before it. */
	inside = vmmu_op_enter(&op);
	r = vmmu_trace_begin(&op, VMMU_TRACE_MARK);
	if (r) {
		r->mark = (struct vmmu_trace_mark){.number = number};
		vmmu_trace_end(&op);
	}
	vmmu_op_leave(&op, inside);
}

void vmmu_trace_guest_flush(struct vmmu_vcpu *vcpu, enum vmmu_guest_flush instruction, uint64_t value,
                            uint64_t rip)
{
	struct vmmu_trace_record *r;
	struct vmmu_inside inside;
	struct vmmu_op op;

	vmmu_vcpu_op(&op, vcpu);
	inside = vmmu_op_enter(&op);
	r = vmmu_trace_begin(&op, VMMU_TRACE_GUEST_FLUSH);
	if (r) {
		r->instruction = instruction < VMMU_GUEST_FLUSH_COUNT ? instruction : VMMU_GUEST_FLUSH_NONE;
		r->guest_flush = (struct vmmu_trace_guest_flush){.value = value, .guest_rip = rip};
		vmmu_trace_end(&op);
	}
	vmmu_op_leave(&op, inside);
}

/* ---- the dump at the end ----------------------------------------------------- */

static void dump_record(struct vmmu_visit *v, void *arg)
{
	uint64_t *records = arg;

	++*records;
	trace_entry(v->op, VMMU_TRACE_DUMP, v);
}

void vmmu_trace_dump(struct vmmu_vm *vm)
{
	static const struct vmmu_each dump = {.entry = dump_record};
	struct vmmu_trace_record *r;
	uint64_t records = 0;
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	/* All at one moment; and no fault frees a table that is being told of. */
	closed = vmmu_gate_close(&vm->tables, managing);
	vmmu_each_entry(vm, &op, closed, &dump, &records);
	vmmu_gate_open(&vm->tables, closed);
	r = vmmu_trace_begin(&op, VMMU_TRACE_DUMP_END);
	if (r) {
		r->dump_end = (struct vmmu_trace_number){.records = records};
		vmmu_trace_end(&op);
	}
	vmmu_manage_unlock(&vm->tables, managing);
}
