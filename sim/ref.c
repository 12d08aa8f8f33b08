/* SPDX-License-Identifier: BSD-2-Clause */
#include "ref.h"

#include <stdlib.h>
#include <string.h>

#define ONLY(status) (1u << (status))
#define KNOWN_FLAGS (VMMU_SLOT_READONLY | VMMU_SLOT_LOG_DIRTY)

static void *grown(void *array, size_t bytes)
{
	array = realloc(array, bytes ? bytes : 1);
	if (!array)
		abort();
	return array;
}

static void *copied(const void *from, size_t bytes)
{
	void *to = grown(NULL, bytes);

	if (bytes)
		memcpy(to, from, bytes);
	return to;
}

static uint64_t slot_gfn(const struct sim_ref_slot *slot)
{
	return slot->info.base.v >> VMMU_PAGE_SHIFT;
}

static uint64_t slot_pages(const struct sim_ref_slot *slot)
{
	return slot->info.bytes >> VMMU_PAGE_SHIFT;
}

static bool meets(uint64_t a, uint64_t a_pages, uint64_t b, uint64_t b_pages)
{
	return a < b ? b - a < a_pages : a - b < b_pages;
}

void sim_ref_init(struct sim_ref *ref, uint64_t reach, uint32_t max_slots, unsigned max_level,
                  bool has_ignore_pat)
{
	*ref = (struct sim_ref){
		.reach = reach,
		.max_slots = max_slots,
		.max_level = max_level,
		.has_ignore_pat = has_ignore_pat,
	};
}

void sim_ref_copy(struct sim_ref *to, const struct sim_ref *from)
{
	*to = *from;
	to->slot = copied(from->slot, from->slots * sizeof(*from->slot));
	to->cap = copied(from->cap, from->caps * sizeof(*from->cap));
	to->busy = copied(from->busy, from->busies * sizeof(*from->busy));
	for (unsigned i = 0; i < to->slots; i++)
		if (to->slot[i].dirty)
			to->slot[i].dirty = copied(from->slot[i].dirty, slot_pages(&from->slot[i]));
}

void sim_ref_fini(struct sim_ref *ref)
{
	for (unsigned i = 0; i < ref->slots; i++)
		free(ref->slot[i].dirty);
	free(ref->slot);
	free(ref->cap);
	free(ref->busy);
	*ref = (struct sim_ref){0};
}

struct sim_ref_slot *sim_ref_slot_by_id(const struct sim_ref *ref, uint32_t id)
{
	for (unsigned i = 0; i < ref->slots; i++)
		if (ref->slot[i].info.id == id)
			return &ref->slot[i];
	return NULL;
}

struct sim_ref_slot *sim_ref_slot_at(const struct sim_ref *ref, uint64_t gfn)
{
	unsigned low = 0, high = ref->slots;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		struct sim_ref_slot *slot = &ref->slot[middle];

		if (gfn < slot_gfn(slot))
			high = middle;
		else if (gfn - slot_gfn(slot) >= slot_pages(slot))
			low = middle + 1;
		else
			return slot;
	}
	return NULL;
}

/* Every reason there is against a slot at [base, base + bytes). 0 = none. */
static uint32_t range_objections(const struct sim_ref *ref, uint64_t base, uint64_t bytes,
                                 const struct sim_ref_slot *except)
{
	uint32_t reasons = 0;

	if (!bytes)
		reasons |= ONLY(VMMU_ERR_SLOT_EMPTY);
	if ((base | bytes) % VMMU_PAGE_SIZE)
		reasons |= ONLY(VMMU_ERR_SLOT_MISALIGNED);
	if (base + bytes < base)
		reasons |= ONLY(VMMU_ERR_SLOT_WRAP) | ONLY(VMMU_ERR_SLOT_BEYOND);
	else if ((base + bytes) >> VMMU_PAGE_SHIFT > ref->reach || base >> VMMU_PAGE_SHIFT >= ref->reach)
		reasons |= ONLY(VMMU_ERR_SLOT_BEYOND);
	for (unsigned i = 0; i < ref->slots; i++)
		if (&ref->slot[i] != except &&
		    meets(ref->slot[i].info.base.v, ref->slot[i].info.bytes, base, bytes))
			reasons |= ONLY(VMMU_ERR_SLOT_OVERLAP);
	return reasons;
}

static uint32_t flag_objections(uint32_t flags)
{
	return flags & ~(uint32_t)KNOWN_FLAGS ? ONLY(VMMU_ERR_SLOT_FLAGS) : 0;
}

static void insert_slot(struct sim_ref *ref, struct sim_ref_slot fresh)
{
	unsigned place = ref->slots;

	ref->slot = grown(ref->slot, (ref->slots + 1) * sizeof(fresh));
	while (place && ref->slot[place - 1].info.base.v > fresh.info.base.v)
		place--;
	memmove(&ref->slot[place + 1], &ref->slot[place], (ref->slots - place) * sizeof(fresh));
	ref->slot[place] = fresh;
	ref->slots++;
}

static struct sim_ref_slot take_slot(struct sim_ref *ref, struct sim_ref_slot *slot)
{
	struct sim_ref_slot taken = *slot;
	unsigned place = (unsigned)(slot - ref->slot);

	ref->slots--;
	memmove(slot, slot + 1, (ref->slots - place) * sizeof(*slot));
	return taken;
}

static void start_log(struct sim_ref_slot *slot)
{
	free(slot->dirty);
	slot->dirty = NULL;
	if (slot->info.flags & VMMU_SLOT_LOG_DIRTY) {
		slot->dirty = calloc(slot_pages(slot), 1);
		if (!slot->dirty)
			abort();
	}
}

uint32_t sim_ref_slot_create(struct sim_ref *ref, const struct vmmu_slot_info *info,
                             struct sim_backing *backing)
{
	uint32_t reasons = range_objections(ref, info->base.v, info->bytes, NULL) |
	                   flag_objections(info->flags);

	if (info->id >= ref->max_slots)
		reasons |= ONLY(VMMU_ERR_SLOT_ID);
	else if (sim_ref_slot_by_id(ref, info->id))
		reasons |= ONLY(VMMU_ERR_SLOT_EXISTS);
	if (reasons)
		return reasons;
	struct sim_ref_slot fresh = {.info = *info, .backing = backing};

	start_log(&fresh);
	insert_slot(ref, fresh);
	return ONLY(VMMU_OK);
}

/* Caps belong to the slot they were set in and end with it. */
static void drop_caps(struct sim_ref *ref, uint64_t gfn, uint64_t pages)
{
	unsigned count = ref->caps;

	for (unsigned i = 0; i < count; i++) {
		struct sim_ref_range old = ref->cap[i];
		uint64_t end = gfn + pages, old_end = old.gfn + old.pages;

		if (!meets(old.gfn, old.pages, gfn, pages))
			continue;
		ref->cap[i].pages = old.gfn < gfn ? gfn - old.gfn : 0;
		if (old_end > end) {
			ref->cap = grown(ref->cap, (ref->caps + 1) * sizeof(*ref->cap));
			ref->cap[ref->caps++] = (struct sim_ref_range){end, old_end - end, old.level};
		}
	}
	unsigned kept = 0;
	for (unsigned i = 0; i < ref->caps; i++)
		if (ref->cap[i].pages)
			ref->cap[kept++] = ref->cap[i];
	ref->caps = kept;
}

uint32_t sim_ref_slot_delete(struct sim_ref *ref, uint32_t id)
{
	struct sim_ref_slot *slot = sim_ref_slot_by_id(ref, id);

	if (!slot)
		return ONLY(VMMU_ERR_SLOT_MISSING) | (id >= ref->max_slots ? ONLY(VMMU_ERR_SLOT_ID) : 0);
	struct sim_ref_slot gone = take_slot(ref, slot);

	drop_caps(ref, slot_gfn(&gone), slot_pages(&gone));
	free(gone.dirty);
	return ONLY(VMMU_OK);
}

uint32_t sim_ref_slot_move(struct sim_ref *ref, uint32_t id, uint64_t base)
{
	struct sim_ref_slot *slot = sim_ref_slot_by_id(ref, id);

	if (!slot)
		return ONLY(VMMU_ERR_SLOT_MISSING) | (id >= ref->max_slots ? ONLY(VMMU_ERR_SLOT_ID) : 0);
	uint32_t reasons = range_objections(ref, base, slot->info.bytes, slot);

	if (reasons)
		return reasons;
	struct sim_ref_slot moved = take_slot(ref, slot);

	if (moved.info.base.v != base)
		drop_caps(ref, slot_gfn(&moved), slot_pages(&moved));
	moved.info.base.v = base;
	insert_slot(ref, moved);
	return ONLY(VMMU_OK);
}

uint32_t sim_ref_slot_set_flags(struct sim_ref *ref, uint32_t id, uint32_t flags)
{
	struct sim_ref_slot *slot = sim_ref_slot_by_id(ref, id);

	if (!slot)
		return ONLY(VMMU_ERR_SLOT_MISSING) | (id >= ref->max_slots ? ONLY(VMMU_ERR_SLOT_ID) : 0);
	if (flag_objections(flags))
		return flag_objections(flags);
	uint32_t turned = slot->info.flags ^ flags;

	slot->info.flags = flags;
	if (turned & VMMU_SLOT_LOG_DIRTY)
		start_log(slot);
	return ONLY(VMMU_OK);
}

uint32_t sim_ref_restrict(struct sim_ref *ref, uint64_t base, uint64_t bytes, unsigned level)
{
	uint64_t gfn = base >> VMMU_PAGE_SHIFT, pages = bytes >> VMMU_PAGE_SHIFT;
	struct sim_ref_slot *slot = sim_ref_slot_at(ref, gfn);
	uint32_t refusal = ONLY(VMMU_ERR_INVALID) | ONLY(VMMU_ERR_SLOT_MISSING) |
	                   ONLY(VMMU_ERR_SLOT_MISALIGNED) | ONLY(VMMU_ERR_SLOT_EMPTY) |
	                   ONLY(VMMU_ERR_SLOT_WRAP) | ONLY(VMMU_ERR_SLOT_BEYOND);

	if (level < VMMU_LEVEL_4K || level > VMMU_LEVEL_1G)
		return refusal;
	if (!bytes || (base | bytes) % VMMU_PAGE_SIZE || !slot || base + bytes < base ||
	    gfn + pages > slot_gfn(slot) + slot_pages(slot))
		return refusal;
	/* A cap counts for the whole of each 2 MiB block, as far as the slot goes. */
	uint64_t block = vmmu_level_pages(VMMU_LEVEL_2M);
	uint64_t end = (gfn + pages + block - 1) & ~(block - 1);
	uint64_t slot_end = slot_gfn(slot) + slot_pages(slot);

	gfn &= ~(block - 1);
	gfn = gfn > slot_gfn(slot) ? gfn : slot_gfn(slot);
	pages = (end < slot_end ? end : slot_end) - gfn;
	drop_caps(ref, gfn, pages);
	if (level < VMMU_LEVEL_1G) {
		ref->cap = grown(ref->cap, (ref->caps + 1) * sizeof(*ref->cap));
		ref->cap[ref->caps++] = (struct sim_ref_range){gfn, pages, level};
	}
	return ONLY(VMMU_OK);
}

uint32_t sim_ref_invalidate_begin(struct sim_ref *ref, uint64_t base, uint64_t bytes)
{
	uint64_t gfn = base >> VMMU_PAGE_SHIFT;
	uint64_t last = (base + bytes - 1) >> VMMU_PAGE_SHIFT;

	if (!bytes || base + bytes - 1 < base || gfn >= ref->reach)
		return ONLY(VMMU_ERR_INVALID);
	ref->busy = grown(ref->busy, (ref->busies + 1) * sizeof(*ref->busy));
	ref->busy[ref->busies++] = (struct sim_ref_range){gfn, last - gfn + 1, 0};
	return ONLY(VMMU_OK);
}

uint32_t sim_ref_invalidate_end(struct sim_ref *ref, uint64_t base, uint64_t bytes)
{
	uint64_t gfn = base >> VMMU_PAGE_SHIFT;
	uint64_t last = (base + bytes - 1) >> VMMU_PAGE_SHIFT;

	for (unsigned i = 0; i < ref->busies; i++) {
		struct sim_ref_range *busy = &ref->busy[i];

		if (busy->gfn == gfn && busy->pages == last - gfn + 1) {
			*busy = ref->busy[--ref->busies];
			return ONLY(VMMU_OK);
		}
	}
	return ONLY(VMMU_ERR_INVALID);
}

bool sim_ref_busy(const struct sim_ref *ref, uint64_t gfn, uint64_t pages)
{
	for (unsigned i = 0; i < ref->busies; i++)
		if (meets(ref->busy[i].gfn, ref->busy[i].pages, gfn, pages))
			return true;
	return false;
}

unsigned sim_ref_cap(const struct sim_ref *ref, uint64_t gfn, uint64_t pages)
{
	unsigned level = ref->max_level;

	for (unsigned i = 0; i < ref->caps; i++)
		if (meets(ref->cap[i].gfn, ref->cap[i].pages, gfn, pages) && ref->cap[i].level < level)
			level = ref->cap[i].level;
	return level;
}

void sim_ref_mark(struct sim_ref *ref, uint64_t gfn, enum sim_dirty state)
{
	struct sim_ref_slot *slot = sim_ref_slot_at(ref, gfn);

	if (slot && slot->dirty && slot->dirty[gfn - slot_gfn(slot)] != SIM_DIRTY)
		slot->dirty[gfn - slot_gfn(slot)] = state;
}

void sim_ref_new_round(struct sim_ref *ref, uint32_t id)
{
	struct sim_ref_slot *slot = sim_ref_slot_by_id(ref, id);

	if (slot)
		start_log(slot);
}

static bool in_transition(const struct sim_backing *backing, int64_t offset, uint64_t pfn,
                          unsigned rights)
{
	for (unsigned i = 0; i < backing->transitions; i++)
		if (backing->transition[i].offset == offset && backing->transition[i].pfn == pfn &&
		    !(rights & ~backing->transition[i].rights))
			return true;
	return false;
}

const char *sim_ref_judge_page(const struct sim_ref *ref, uint64_t gfn, uint64_t pfn,
                               unsigned rights, unsigned memtype, bool ignore_pat)
{
	const struct sim_ref_slot *slot = sim_ref_slot_at(ref, gfn);

	if (!slot)
		return "maps a page outside every slot";
	if (sim_ref_busy(ref, gfn, 1))
		return "maps a page whose frame the host is taking back";
	const struct sim_backing *backing = slot->backing;
	int64_t offset = (int64_t)(gfn - slot_gfn(slot));
	const struct sim_extent *extent = sim_backing_find(backing, offset);
	unsigned allowed = backing->config.rights;

	if (memtype != backing->config.memtype ||
	    (ref->has_ignore_pat && ignore_pat != backing->config.ignore_pat))
		return "has another memory type than the backing's";
	if (in_transition(backing, offset, pfn, rights))
		return NULL;
	if (!extent)
		return "maps a page that the host has given no frame for";
	if (extent->pfn + (uint64_t)(offset - extent->offset) != pfn)
		return "maps a frame that is not this page's";
	if (extent->shared)
		allowed &= ~VMMU_W;
	if (rights & ~allowed)
		return "grants a right that the host does not";
	if ((rights & VMMU_W) && (slot->info.flags & VMMU_SLOT_READONLY))
		return "grants write to a read-only slot";
	if ((rights & VMMU_W) && slot->dirty && slot->dirty[offset] == SIM_CLEAN)
		return "grants write to a page that the dirty log does not have";
	return NULL;
}

const char *sim_ref_judge_leaf(const struct sim_ref *ref, uint64_t gfn, unsigned level, uint64_t pfn,
                               unsigned rights, unsigned memtype, bool ignore_pat)
{
	uint64_t pages = vmmu_level_pages(level);
	const struct sim_ref_slot *slot = sim_ref_slot_at(ref, gfn);

	if (slot && gfn + pages > slot_gfn(slot) + slot_pages(slot))
		return "is a leaf that reaches over its slot's edge";
	if (level > sim_ref_cap(ref, gfn, pages))
		return "is a larger leaf than allowed there";
	if (level > 1 && (rights & VMMU_W) && slot && slot->dirty)
		return "is a large writable leaf in a slot that logs 4 KiB pages";
	if (sim_ref_busy(ref, gfn, pages))
		return "maps a page whose frame the host is taking back";
	for (uint64_t page = 0; page < pages;) {
		const char *wrong = sim_ref_judge_page(ref, gfn + page, pfn + page, rights, memtype,
		                                       ignore_pat);
		if (wrong)
			return wrong;
		/* The rest of this extent follows suit, unless pages differ by a copy made. */
		int64_t offset = (int64_t)(gfn + page - slot_gfn(slot));
		const struct sim_extent *extent = sim_backing_find(slot->backing, offset);

		page += extent ? extent->pages - (uint64_t)(offset - extent->offset) : 1;
	}
	return NULL;
}

unsigned sim_ref_best_level(const struct sim_ref *ref, uint64_t gfn, unsigned host_order)
{
	const struct sim_ref_slot *slot = sim_ref_slot_at(ref, gfn);
	unsigned level = VMMU_LEVEL_1G;

	for (; level > VMMU_LEVEL_4K; level--) {
		uint64_t pages = vmmu_level_pages(level);
		uint64_t first = gfn & ~(pages - 1);

		if (first >= slot_gfn(slot) && first + pages <= slot_gfn(slot) + slot_pages(slot) &&
		    host_order >= 9 * (level - 1) && level <= sim_ref_cap(ref, first, pages))
			break;
	}
	return level;
}
