/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters, added up over those who count. */
#include "api/api.h"

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
		s->tables_nested[level] += read_count(&c->tables_nested[level]);
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
	for (uint32_t i = 0; i < vm->tables.actors_end; i++)
		if (vm->tables.actors[i])
			add_counters(out, &vm->tables.actors[i]->count);
}

void vmmu_stats_read(struct vmmu_vm *vm, struct vmmu_stats *out)
{
	struct vmmu_managing managing;

	managing = vmmu_manage_lock(&vm->tables);
	vmmu_stats_add(vm, out);
	vmmu_manage_unlock(&vm->tables, managing);
}
