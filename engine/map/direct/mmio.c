/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MMIO entries: refused by the CPU in a way that tells them from an empty
 * entry, so that the next access needs no search for a slot. They carry the
 * slots' generation; an entry of another generation counts as empty.
 */
#include "map/direct/direct.h"
#include "table/trace.h"

struct install {
	struct vmmu_mapping *m;
	uint64_t value;
};

/*
 * A guest may look wherever nothing is, and each place would cost its host a table.
 * While there are so many no more are made: an access where there is none finds its slot
 * missing by a search. They go with what takes their range: a slot that comes, or an
 * invalidation.
 */
enum { HOLE_TABLES = 2048 };

static enum vmmu_next link_table(struct vmmu_visit *v, struct vmmu_mapping *m)
{
	struct vmmu_map *map = v->op->map;
	enum vmmu_next next;

	if (atomic_load_explicit(&map->hole_tables, memory_order_relaxed) >= HOLE_TABLES) {
		m->result = VMMU_FAULT_EMULATE_MMIO;
		return VMMU_STOP;
	}
	next = vmmu_link_table(v, VMMU_CAUSE_MMIO);
	if (next == VMMU_DESCEND)
		atomic_fetch_add_explicit(&map->hole_tables, 1, memory_order_relaxed);
	return next;
}

static enum vmmu_next mmio_map_leaf(struct vmmu_visit *v, void *arg)
{
	const struct vmmu_layout *l = &v->op->map->layout;
	const struct install *i = arg;

	/* A leaf is what remains of a slot being deleted; anything else is damage. */
	if (v->entry && !vmmu_is_mmio(l, v->entry))
		return vmmu_mapped(v, i->m,
		                   vmmu_is_leaf(l, v->level, v->entry) ? VMMU_FAULT_EMULATE_MMIO
		                                                       : VMMU_FAULT_BAD_ENTRY);
	if (v->level > VMMU_LEVEL_4K)
		return link_table(v, i->m);
	if (v->entry != i->value && !vmmu_entry_write(v, i->value, VMMU_CAUSE_MMIO))
		return VMMU_AGAIN;
	vmmu_remember(v);
	return vmmu_mapped(v, i->m, VMMU_FAULT_EMULATE_MMIO);
}

void vmmu_mmio_map(struct vmmu_op *op, struct vmmu_inside inside, struct vmmu_mapping *m)
{
	static const struct vmmu_visitor map = {.leaf = mmio_map_leaf};

	uint64_t generation =
		atomic_load_explicit(&op->map->vm->memory.generation, memory_order_relaxed);
	struct install i = {m, vmmu_make_mmio(&op->map->layout, generation)};

	vmmu_assert_inside(inside);
	vmmu_walk(op, vmmu_nearest(op, m->gfn), m->gfn, m->gfn + 1, map, &i);
}

static enum vmmu_next mmio_zap_leaf(struct vmmu_visit *v, void *arg)
{
	(void)arg;
	if (vmmu_is_mmio(&v->op->map->layout, v->entry) && !vmmu_entry_write(v, 0, VMMU_CAUSE_ZAP_MMIO))
		return VMMU_AGAIN;
	return VMMU_NEXT;
}

void vmmu_mmio_zap(struct vmmu_op *op, struct vmmu_closed closed)
{
	static const struct vmmu_visitor zap = {.leaf = mmio_zap_leaf};

	vmmu_assert_closed(closed);
	vmmu_walk(op, vmmu_top_of(op->map), 0, op->map->vm->memory.limit, zap, NULL);
}

void vmmu_trace_mmio(struct vmmu_op *op, const struct vmmu_fault *f, enum vmmu_trace_event event, uint64_t entry,
                     uint64_t generation)
{
	struct vmmu_trace_record *t = vmmu_trace_begin(op, event);

	if (!t)
		return;
	if (event == VMMU_TRACE_HANDLE_MMIO)
		t->mmio = (struct vmmu_trace_mmio){
			.addr = f->gpa.v,
			.gfn = vmmu_fault_gfn(f),
			.guest_rip = f->rip,
			.spte = entry,
		};
	else
		t->check_mmio = (struct vmmu_trace_check_mmio){
			.kvm_gen = generation & VMMU_MMIO_GEN_MASK,
			.spte_gen = vmmu_mmio_generation(entry),
			.spte = entry,
		};
	vmmu_trace_end(op);
}
