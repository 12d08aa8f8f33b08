/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking inside: decoding, paths, entries. */
#include "api/api.h"

void vmmu_entry_decode(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry,
                       struct vmmu_entry_info *out)
{
	const struct vmmu_mode_ops *mode = vmmu_mode_ops(decoder->mode);
	struct vmmu_layout layout;

	if (level < VMMU_LEVEL_4K || level > VMMU_LEVEL_MAX || !mode ||
	    vmmu_layout_init(&layout, mode->format, &decoder->cpu, decoder->levels) != VMMU_OK) {
		*out = (struct vmmu_entry_info){.kind = entry ? VMMU_ENTRY_BAD : VMMU_ENTRY_EMPTY};
		return;
	}
	vmmu_layout_decode(&layout, level, entry, out);
}

static struct vmmu_path_step step_of(const struct vmmu_visit *v)
{
	struct vmmu_path_step step = {
		.level = v->level, .index = v->index, .table = v->table, .entry = v->entry};

	vmmu_layout_decode(&v->op->map->layout, v->level, v->entry, &step.info);
	return step;
}

static enum vmmu_next path_visit(struct vmmu_visit *v, void *arg)
{
	struct vmmu_path *path = arg;
	struct vmmu_path_step *step = &path->step[path->steps++];

	*step = step_of(v);
	return step->info.kind == VMMU_ENTRY_TABLE ? VMMU_DESCEND : VMMU_STOP;
}

void vmmu_path_of(struct vmmu_vm *vm, vmmu_gpa gpa, struct vmmu_path *out)
{
	static const struct vmmu_visitor path = {.leaf = path_visit, .table_pre = path_visit};
	uint64_t gfn = vmmu_gpa_gfn(gpa).v;
	struct vmmu_op op;
	struct vmmu_managing managing;

	*out = (struct vmmu_path){.steps = 0};
	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	op.map = vmmu_map_of_gpas(vm);
	if (gfn < vm->memory.limit && gfn < vmmu_map_end(op.map))
		vmmu_walk(&op, vmmu_top_of(op.map), gfn, gfn + 1, path, out);
	vmmu_manage_unlock(&vm->tables, managing);
}

struct dump {
	vmmu_dump_fn fn;
	void *arg;
};

static void dump_entry(struct vmmu_visit *v, void *arg)
{
	const struct dump *d = arg;
	struct vmmu_path_step step = step_of(v);

	d->fn(d->arg, &step, v->gfn);
}

void vmmu_dump(struct vmmu_vm *vm, vmmu_dump_fn fn, void *arg)
{
	static const struct vmmu_each each = {.entry = dump_entry};
	struct dump d = {fn, arg};
	struct vmmu_op op;
	struct vmmu_closed closed;
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	op = vmmu_manage_op(vm);
	/* Faults take tables out of the lists of some maps, and free them. */
	closed = vmmu_gate_close(&vm->tables, managing);
	vmmu_each_entry(vm, &op, closed, &each, &d);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_manage_unlock(&vm->tables, managing);
}
