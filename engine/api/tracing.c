/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tracing on and off, and whole tables into the trace.
 *
 * A trace can be replayed from empty tables only if it says what stood in them
 * when it began; so switching it on tells of every slot, table and entry found.
 */
#include "api/api.h"
#include "map/shadow/shadow.h"

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
	const struct vmmu_layout *l = &vm->tables.layout;
	const struct vmmu_cpu *cpu = &l->cpu;
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_VM);

	if (!r)
		return;
	r->level = l->levels;
	r->config = (struct vmmu_trace_config){
		.mode = vm->mode_number,
		.levels = l->levels,
		.maxphyaddr = cpu->maxphyaddr,
		.features = features(cpu),
	};
	vmmu_trace_end(op);
}

static enum vmmu_next found_entry(struct vmmu_visit *v, void *arg)
{
	(void)arg;
	if (v->entry)
		trace_entry(v->op, VMMU_TRACE_FOUND, v);
	return VMMU_NEXT;
}

static enum vmmu_next found_table(struct vmmu_visit *v, void *arg)
{
	struct vmmu_tables *t = v->op->tables;

	(void)arg;
	trace_entry(v->op, VMMU_TRACE_FOUND, v);
	vmmu_trace_table(v->op, VMMU_TRACE_GET_PAGE,
	                 vmmu_table_find(t, vmmu_entry_address(&t->layout, v->entry)),
	                 VMMU_CAUSE_NONE, false);
	return VMMU_DESCEND;
}

/* All that a vCPU may reach. Gate closed. */
static void trace_found(struct vmmu_vm *vm, struct vmmu_op *op)
{
	static const struct vmmu_visitor found = {.end = found_entry, .table = found_table};

	trace_vm(vm, op);
	for (uint32_t i = 0; i < vm->memory.count; i++)
		vmmu_trace_slot(op, vm->memory.sorted[i], VMMU_CAUSE_NONE, vm->memory.sorted[i]->first);
	vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, vm->root, VMMU_CAUSE_NONE, false);
	vmmu_walk(op, vmmu_root_of(vm), 0, vmmu_level_pages(vm->root->level + 1u), found, NULL);
	for (struct vmmu_shadow *s = vm->shadow ? vm->shadow->oldest : NULL; s; s = s->newer) {
		vmmu_trace_table(op, VMMU_TRACE_GET_PAGE, &s->table, VMMU_CAUSE_NONE, false);
		vmmu_shadow_each(op, s, found_entry, NULL);
	}
}

void vmmu_trace_enable(struct vmmu_vm *vm, bool on)
{
	struct vmmu_op op = vmmu_manage_op(vm);

	vmmu_turn_take(&vm->tables);
	vmmu_gate_close(&vm->tables);
	if (on && !op.tracing) {
		op.tracing = true;
		trace_found(vm, &op);
	}
	atomic_store_explicit(&vm->tables.tracing, on, memory_order_relaxed);
	vmmu_gate_open(&vm->tables);
	vmmu_turn_give(&vm->tables);
}

/* ---- the dump at the end ----------------------------------------------------- */

static enum vmmu_next dump_record(struct vmmu_visit *v, void *arg)
{
	const struct vmmu_layout *l = &v->op->tables->layout;
	uint64_t *records = arg;

	if (!v->entry)
		return VMMU_NEXT;
	++*records;
	trace_entry(v->op, VMMU_TRACE_DUMP, v);
	return vmmu_is_table(l, v->level, v->entry) ? VMMU_DESCEND : VMMU_NEXT;
}

void vmmu_trace_dump(struct vmmu_vm *vm)
{
	static const struct vmmu_visitor dump = {.end = dump_record, .table = dump_record};
	struct vmmu_op op = vmmu_manage_op(vm);
	struct vmmu_trace_record *r;
	uint64_t records = 0;

	vmmu_turn_take(&vm->tables);
	vmmu_walk(&op, vmmu_root_of(vm), 0, vmmu_level_pages(vm->root->level + 1u), dump, &records);
	for (struct vmmu_shadow *s = vm->shadow ? vm->shadow->oldest : NULL; s; s = s->newer)
		vmmu_shadow_each(&op, s, dump_record, &records);
	r = vmmu_trace_begin(&op, VMMU_TRACE_DUMP_END);
	if (r) {
		r->dump_end = (struct vmmu_trace_number){.records = records};
		vmmu_trace_end(&op);
	}
	vmmu_turn_give(&vm->tables);
}
