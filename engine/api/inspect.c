/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking inside: decoding, paths, entries, statistics. */
#include "api/api.h"
#include "map/shadow/shadow.h"

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

	vmmu_layout_decode(&v->op->tables->layout, v->level, v->entry, &step.info);
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
	static const struct vmmu_visitor path = {.end = path_visit, .table = path_visit};
	struct vmmu_op op = vmmu_manage_op(vm);
	uint64_t gfn = vmmu_gpa_gfn(gpa).v;

	*out = (struct vmmu_path){.steps = 0};
	if (gfn >= vm->memory.limit || gfn >= vmmu_level_pages(vm->root->level + 1u))
		return;
	vmmu_turn_take(&vm->tables);
	vmmu_walk(&op, vmmu_root_of(vm), gfn, gfn + 1, path, out);
	vmmu_turn_give(&vm->tables);
}

struct dump {
	vmmu_dump_fn fn;
	void *arg;
};

static enum vmmu_next dump_visit(struct vmmu_visit *v, void *arg)
{
	const struct dump *d = arg;
	struct vmmu_path_step step;

	if (!v->entry)
		return VMMU_NEXT;
	step = step_of(v);
	d->fn(d->arg, &step, v->gfn);
	return step.info.kind == VMMU_ENTRY_TABLE ? VMMU_DESCEND : VMMU_NEXT;
}

void vmmu_dump(struct vmmu_vm *vm, vmmu_dump_fn fn, void *arg)
{
	static const struct vmmu_visitor visitor = {.end = dump_visit, .table = dump_visit};
	struct vmmu_op op = vmmu_manage_op(vm);
	struct dump d = {fn, arg};

	vmmu_turn_take(&vm->tables);
	/* The root in full, also where no guest of this width can reach. */
	vmmu_walk(&op, vmmu_root_of(vm), 0, vmmu_level_pages(vm->root->level + 1u), visitor, &d);
	for (struct vmmu_shadow *s = vm->shadow ? vm->shadow->oldest : NULL; s; s = s->newer)
		vmmu_shadow_each(&op, s, dump_visit, &d);
	vmmu_turn_give(&vm->tables);
}

static uint64_t read_count(_Atomic uint64_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static void add_counters(struct vmmu_stats *s, struct vmmu_counters *c)
{
	for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++) {
		for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
			s->entries[cause][level] += read_count(&c->entries[cause][level]);
		s->tables_allocated[level] += read_count(&c->tables_allocated[level]);
		s->tables_freed[level] += read_count(&c->tables_freed[level]);
		s->pages[level] += read_count(&c->pages[level]);
	}
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
		s->zapped[cause] += read_count(&c->zapped[cause]);
	for (unsigned result = 0; result < VMMU_FAULT_RESULT_COUNT; result++)
		s->faults[result] += read_count(&c->faults[result]);
	s->mmio_hits += read_count(&c->mmio_hits);
	s->flushes += read_count(&c->flushes);
	s->trace_dropped += read_count(&c->dropped);
}

void vmmu_stats_add(struct vmmu_vm *vm, struct vmmu_stats *out)
{
	*out = (struct vmmu_stats){.mmio_hits = 0};
	add_counters(out, &vm->tables.manager.count);
	for (uint32_t i = 0; i < vm->tables.actors_max; i++)
		if (vm->tables.actors[i])
			add_counters(out, &vm->tables.actors[i]->count);
}

void vmmu_stats_read(struct vmmu_vm *vm, struct vmmu_stats *out)
{
	vmmu_turn_take(&vm->tables);
	vmmu_stats_add(vm, out);
	vmmu_turn_give(&vm->tables);
}
