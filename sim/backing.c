/* SPDX-License-Identifier: BSD-2-Clause */
#include "backing.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

/* A contiguous backing begins 1 GiB before its slot, as a host's larger mapping would. */
#define BEFORE (1ull << 18)
#define DEFAULT_PAGES (3 * BEFORE)

static uint64_t run_mask(unsigned order)
{
	return (1ull << order) - 1;
}

/* Index of the first extent that ends behind offset. */
static unsigned place_of(const struct sim_backing *backing, int64_t offset)
{
	unsigned low = 0, high = backing->extents;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct sim_extent *e = &backing->extent[middle];

		if (e->offset + (int64_t)e->pages <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void insert_at(struct sim_backing *backing, unsigned place, struct sim_extent fresh)
{
	if (backing->extents == backing->room) {
		backing->room = backing->room ? backing->room * 2 : 8;
		backing->extent = realloc(backing->extent, backing->room * sizeof(fresh));
		if (!backing->extent)
			abort();
	}
	memmove(&backing->extent[place + 1], &backing->extent[place],
	        (backing->extents - place) * sizeof(fresh));
	backing->extent[place] = fresh;
	backing->extents++;
}

static void remove_at(struct sim_backing *backing, unsigned place)
{
	backing->extents--;
	memmove(&backing->extent[place], &backing->extent[place + 1],
	        (backing->extents - place) * sizeof(*backing->extent));
}

/* Make an extent begin exactly at offset, if one covers it. */
static void split_at(struct sim_backing *backing, int64_t offset)
{
	unsigned place = place_of(backing, offset);

	if (place == backing->extents || backing->extent[place].offset >= offset)
		return;
	struct sim_extent *first = &backing->extent[place];
	struct sim_extent second = *first;
	uint64_t keep = (uint64_t)(offset - first->offset);

	first->pages = keep;
	second.offset = offset;
	second.pages -= keep;
	second.pfn += keep;
	insert_at(backing, place + 1, second);
}

bool sim_backing_init(struct sim_backing *backing, const struct sim_backing_config *config,
                      uint64_t slot_gfn, sim_frames_fn frames, void *ctx)
{
	*backing = (struct sim_backing){.config = *config};
	if (!backing->config.rights)
		backing->config.rights = VMMU_RWX;
	if (!backing->config.memtype_set)
		backing->config.memtype = VMMU_MEMTYPE_WB;
	if (config->demand)
		return true;
	/* In step with the gfns modulo 1 GiB, or out of step by `skew` pages. */
	uint64_t pages = (config->pages ? config->pages : DEFAULT_PAGES) + 2 * BEFORE;
	uint64_t lead = slot_gfn & run_mask(18);
	uint64_t pfn = frames(ctx, 18, pages + lead + config->skew) + lead + config->skew;

	insert_at(backing, 0, (struct sim_extent){
				      .offset = -(int64_t)BEFORE,
				      .pages = pages,
				      .pfn = pfn,
				      .shared = config->copy_on_write,
			      });
	return true;
}

void sim_backing_fini(struct sim_backing *backing)
{
	free(backing->extent);
	free(backing->transition);
	backing->extent = NULL;
	backing->transition = NULL;
	backing->extents = backing->room = 0;
}

const struct sim_extent *sim_backing_find(const struct sim_backing *backing, int64_t offset)
{
	unsigned place = place_of(backing, offset);

	if (place == backing->extents || backing->extent[place].offset > offset)
		return NULL;
	return &backing->extent[place];
}

void sim_backing_take(struct sim_backing *backing, int64_t offset, uint64_t pages)
{
	split_at(backing, offset);
	split_at(backing, offset + (int64_t)pages);
	unsigned place = place_of(backing, offset);

	while (place < backing->extents && backing->extent[place].offset < offset + (int64_t)pages)
		remove_at(backing, place);
	for (unsigned i = 0; i < backing->transitions;) {
		int64_t at = backing->transition[i].offset;

		if (at >= offset && at < offset + (int64_t)pages)
			backing->transition[i] = backing->transition[--backing->transitions];
		else
			i++;
	}
	/* Nobody may still see what stood there before a copy. */
	for (unsigned i = 0; i < backing->transitions;) {
		int64_t inside = backing->transition[i].offset - offset;

		if (inside >= 0 && (uint64_t)inside < pages)
			backing->transition[i] = backing->transition[--backing->transitions];
		else
			i++;
	}
}

/* Bring frames for a run around offset, as large as fits between its neighbours. */
static bool bring(struct sim_backing *backing, struct sim_memory *memory, uint64_t gfn,
                  int64_t offset, sim_frames_fn frames, void *ctx)
{
	unsigned order = backing->config.order;

	if (!sim_memory_grant(memory))
		return false;
	for (;; order--) {
		int64_t first = offset - (int64_t)(gfn & run_mask(order));
		unsigned place = place_of(backing, first);

		if (place < backing->extents &&
		    backing->extent[place].offset < first + (int64_t)(1ull << order))
			continue; /* order 0 always fits: offset itself has no extent */
		insert_at(backing, place, (struct sim_extent){
						  .offset = first,
						  .pages = 1ull << order,
						  .pfn = frames(ctx, order, 1ull << order),
						  .shared = backing->config.copy_on_write,
					  });
		return true;
	}
}

/* The first write to a shared page: a frame of its own. */
static bool copy(struct sim_backing *backing, struct sim_memory *memory, int64_t offset,
                 sim_frames_fn frames, void *ctx)
{
	if (!sim_memory_grant(memory))
		return false;
	split_at(backing, offset);
	split_at(backing, offset + 1);
	struct sim_extent *extent = &backing->extent[place_of(backing, offset)];

	backing->transition = realloc(backing->transition,
	                              (backing->transitions + 1) * sizeof(*backing->transition));
	if (!backing->transition)
		abort();
	backing->transition[backing->transitions++] = (struct sim_transition){
		offset, extent->pfn, backing->config.rights & ~VMMU_W};
	extent->pfn = frames(ctx, 0, 1);
	extent->shared = false;
	backing->busy = backing->config.busy_then;
	return true;
}

/* The largest aligned run around gfn that one extent backs in step. */
static unsigned order_of(const struct sim_backing *backing, const struct sim_extent *extent,
                         uint64_t gfn, int64_t offset)
{
	uint64_t pfn = extent->pfn + (uint64_t)(offset - extent->offset);

	for (unsigned order = backing->config.order; order > 0; order--) {
		int64_t first = offset - (int64_t)(gfn & run_mask(order));

		if (!((gfn ^ pfn) & run_mask(order)) && first >= extent->offset &&
		    first + (int64_t)(1ull << order) <= extent->offset + (int64_t)extent->pages)
			return order;
	}
	return 0;
}

enum vmmu_backing_result sim_backing_ask(struct sim_backing *backing, struct sim_memory *memory,
                                         uint64_t gfn, int64_t offset, unsigned access,
                                         sim_frames_fn frames, void *ctx,
                                         struct vmmu_backing *out)
{
	if (backing->retries) {
		backing->retries--;
		return VMMU_BACKING_RETRY;
	}
	if (backing->busy)
		return VMMU_BACKING_RETRY;
	if ((access & backing->denied_access) && offset >= backing->denied_offset &&
	    (uint64_t)(offset - backing->denied_offset) < backing->denied_pages)
		return VMMU_BACKING_DENIED;
	if (access & ~backing->config.rights & VMMU_RWX)
		return VMMU_BACKING_DENIED;
	if (!sim_backing_find(backing, offset) &&
	    !bring(backing, memory, gfn, offset, frames, ctx))
		return VMMU_BACKING_NO_MEMORY;
	if ((access & VMMU_W) && sim_backing_find(backing, offset)->shared &&
	    !copy(backing, memory, offset, frames, ctx))
		return VMMU_BACKING_NO_MEMORY;
	const struct sim_extent *extent = sim_backing_find(backing, offset);

	*out = (struct vmmu_backing){
		.pfn = vmmu_pfn_of(extent->pfn + (uint64_t)(offset - extent->offset)),
		.order = order_of(backing, extent, gfn, offset),
		.rights = backing->config.rights & ~(extent->shared ? (unsigned)VMMU_W : 0u),
		.memtype = backing->config.memtype,
		.ignore_pat = backing->config.ignore_pat,
	};
	return VMMU_BACKING_OK;
}
