/* SPDX-License-Identifier: BSD-2-Clause */
/* struct vmmu_host as the simulated machine fills it in. */
#include "internal.h"
#include "sim.h"

static void *object_alloc(void *ctx, size_t size)
{
	struct sim *sim = ctx;

	return sim_memory_object_alloc(&sim->memory, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	struct sim *sim = ctx;

	sim_memory_object_free(&sim->memory, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	struct sim *sim = ctx;

	return sim_memory_table_alloc(&sim->memory, out);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct sim *sim = ctx;

	if (!sim->config.threads)
		sim_check_unreachable(sim, frame.v);
	sim_memory_table_free(&sim->memory, frame);
}

uint64_t sim_frames(void *ctx, unsigned order, uint64_t pages)
{
	struct sim *sim = ctx;
	uint64_t mask = (1ull << order) - 1;
	uint64_t pfn = (sim->next_pfn + mask) & ~mask;

	sim->next_pfn = pfn + pages;
	return pfn;
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	struct sim *sim = ctx;
	uint64_t first = slot->base.v >> VMMU_PAGE_SHIFT;
	enum vmmu_backing_result result;

	if (access != VMMU_R && access != VMMU_W && access != VMMU_X)
		sim_fail(sim, 0, "host.backing was asked for access %#x: not one of R, W, X", access);
	if (gfn.v < first || gfn.v - first >= slot->bytes >> VMMU_PAGE_SHIFT) {
		sim_fail(sim, 0, "host.backing was asked for gfn %#lx outside slot %u", gfn.v, slot->id);
		return VMMU_BACKING_DENIED;
	}
	pthread_mutex_lock(&sim->lock);
	sim->backing_calls++;
	result = sim_backing_ask(&sim->backing[slot->backing], &sim->memory, gfn.v,
	                         (int64_t)(gfn.v - first), access, sim_frames, sim, out);
	pthread_mutex_unlock(&sim->lock);
	return result;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	struct sim *sim = ctx;

	__atomic_fetch_add(&sim->flushes, 1, __ATOMIC_RELAXED);
	if (what->pages == 0)
		sim_fail(sim, 0, "flush %u names no pages", what->id);
	if (sim->config.threads) {
		/* Walks under way finish; those that begin later see the tables as they are. */
		pthread_rwlock_wrlock(&sim->walks);
		pthread_rwlock_unlock(&sim->walks);
		return;
	}
	for (unsigned i = 0; i < sim->vcpus; i++) {
		if (i && sim->on_flush)
			sim->on_flush(sim->on_point_arg);
		if (what->all)
			sim_tlb_flush(&sim->vcpu[i].tlb, 0, ~0ull, true);
		else
			sim_tlb_flush(&sim->vcpu[i].tlb, what->start.v, what->pages, what->tables_freed);
	}
}

static uint64_t now(void *ctx)
{
	struct sim *sim = ctx;

	return __atomic_add_fetch(&sim->clock, 1, __ATOMIC_SEQ_CST);
}

static void trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	struct sim *sim = ctx;

	sim_trace_drain(&sim->trace, ring);
}

static void relax(void *ctx)
{
	struct sim *sim = ctx;

	if (sim->on_relax)
		sim->on_relax(sim->on_point_arg);
	else if (sim->config.threads)
		sched_yield();
}

static void point(void *ctx, unsigned where, vmmu_hpa table, unsigned index)
{
	struct sim *sim = ctx;

	if (where == VMMU_POINT_ENTRY_AFTER) {
		sim->writes++;
		sim_check_instant(sim, table.v, index);
	}
	if (sim->on_point)
		sim->on_point(sim->on_point_arg, where, table.v, index);
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	struct sim *sim = ctx;
	int64_t offset = (int64_t)(gfn.v - (slot->base.v >> VMMU_PAGE_SHIFT));
	const struct sim_extent *extent = sim_backing_find(&sim->backing[slot->backing], offset);

	return extent && extent->pfn + (uint64_t)(offset - extent->offset) == pfn.v;
}

void sim_host_init(struct sim *sim)
{
	uintptr_t base = sim->memory.config.base;

	sim->host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)sim->memory.read_view - base,
		.table_write_base = (uintptr_t)sim->memory.write_view - base,
		.backing = backing,
		.flush = flush,
		.time = now,
		.time_is_tsc = sim->config.tsc,
		.trace_full = trace_full,
		.relax = relax,
		.point = sim->config.threads || sim->config.unhooked ? NULL : point,
		.owns_frame = owns_frame,
	};
}

static bool bus_load(void *ctx, uint64_t hpa, uint64_t *value)
{
	struct sim *sim = ctx;

	return sim_memory_load(&sim->memory, hpa, value);
}

static bool bus_set_bits(void *ctx, uint64_t hpa, uint64_t expected, uint64_t bits)
{
	struct sim *sim = ctx;

	sim->ad_writes++;
	return sim_memory_set_bits(&sim->memory, hpa, expected, bits);
}

struct sim_bus sim_bus_of(struct sim *sim)
{
	return (struct sim_bus){.ctx = sim, .load = bus_load, .set_bits = bus_set_bits};
}
