/* SPDX-License-Identifier: BSD-2-Clause */
/* The host takes frames back or protects them: the reverse map says where they are mapped. */
#include "map/shadow/shadow.h"

struct range {
	uint64_t first, end;
	unsigned keep;
	bool forbid;
	enum vmmu_cause cause;
	struct vmmu_block *gone; /* taken out, to be freed when the gate is open */
};

typedef void (*on_block)(struct vmmu_exclusive x, struct vmmu_block *block, const struct range *r);

static void drop_list(struct vmmu_exclusive x, struct vmmu_link **head, enum vmmu_cause cause)
{
	while (*head)
		vmmu_shadow_drop(x, vmmu_shadow_of(*head), vmmu_link_index(*head), cause);
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void zap_block(struct vmmu_exclusive x, struct vmmu_block *block, const struct range *r)
{
	uint64_t start = block->number * VMMU_ENTRIES;

	if (r->keep < VMMU_LEVEL_2M)
		drop_list(x, &block->huge, r->cause);
	for (uint64_t gfn = later(start, r->first);
	     r->keep < VMMU_LEVEL_4K && gfn < sooner(start + VMMU_ENTRIES, r->end); gfn++)
		drop_list(x, &block->page[gfn % VMMU_ENTRIES], r->cause);
}

static void protect_block(struct vmmu_exclusive x, struct vmmu_block *block, const struct range *r)
{
	uint64_t start = block->number * VMMU_ENTRIES;

	for (uint64_t gfn = later(start, r->first); gfn < sooner(start + VMMU_ENTRIES, r->end); gfn++)
		vmmu_shadow_protect(x, gfn, r->forbid);
}

static bool meets(const struct vmmu_block *block, const struct range *r)
{
	uint64_t start = block->number * VMMU_ENTRIES;

	return start < r->end && start + VMMU_ENTRIES > r->first;
}

/* The gate opens now and then, so that a fault never waits for all of memory. */
enum { BUCKETS_PER_CLOSING = 32 };

/*
 * May the block go, now that nothing of the range hangs in it? Where a slot goes, or
 * the host takes all of the block back; a guest that moves a device about would leave
 * one behind at each place. A block in which the map beside still has a leaf stays, as
 * nothing else says so.
 */
static bool may_go(struct vmmu_exclusive x, const struct vmmu_block *block, const struct range *r)
{
	uint64_t start = block->number * VMMU_ENTRIES;
	bool whole = r->first <= start && r->end >= start + VMMU_ENTRIES;

	return meets(block, r) && !r->keep && (whole || r->cause == VMMU_CAUSE_ZAP_SLOT) &&
	       vmmu_block_is_empty(block) && !vmmu_unpaged_maps_some(x, block);
}

static void take_out_empty(struct vmmu_exclusive x, struct vmmu_block **at, struct range *r)
{
	while (*at) {
		struct vmmu_block *block = *at;

		if (!may_go(x, block, r)) {
			at = &block->next;
			continue;
		}
		vmmu_block_remove(at);
		block->next = r->gone;
		r->gone = block;
	}
}

static void free_gone(struct vmmu_op *op, struct range *r)
{
	while (r->gone) {
		struct vmmu_block *block = r->gone;

		r->gone = block->next;
		vmmu_object_free(op->map->vm, block, sizeof(*block));
	}
}

/* Those buckets that may have a block of the range: each once, from its first one's on. */
static unsigned buckets_of(const struct range *r, uint64_t *first)
{
	uint64_t blocks;

	*first = r->first / VMMU_ENTRIES;
	blocks = r->end > r->first ? (r->end - 1) / VMMU_ENTRIES - *first + 1 : 0;
	return blocks < VMMU_BLOCK_BUCKETS ? (unsigned)blocks : VMMU_BLOCK_BUCKETS;
}

static void for_blocks(struct vmmu_op *op, struct vmmu_managing managing, struct range *r, on_block fn)
{
	struct vmmu_frames *frames = &vmmu_shadow_map_of(op)->frames;
	struct vmmu_closed closed;
	uint64_t first;
	const unsigned count = buckets_of(r, &first);

	for (unsigned i = 0; i < count; i++) {
		struct vmmu_block **bucket = &frames->bucket[(first + i) % VMMU_BLOCK_BUCKETS];

		if (i % BUCKETS_PER_CLOSING == 0)
			closed = vmmu_gate_close(op->tables, managing);
		for (struct vmmu_block *b = *bucket; b; b = b->next)
			if (meets(b, r))
				fn(vmmu_exclusive_of(op, closed), b, r);
		if (fn == zap_block)
			take_out_empty(vmmu_exclusive_of(op, closed), bucket, r);
		if (i % BUCKETS_PER_CLOSING != BUCKETS_PER_CLOSING - 1 && i + 1 < count)
			continue;
		vmmu_answers_age(&op->map->vm->memory, closed);
		vmmu_gate_open(op->tables, closed);
		free_gone(op, r);
	}
}

/* Of so few pages the tables are looked up; of more, all tables are looked at. */
enum { PAGES_LOOKED_UP = 64 };

static void retire_in(struct vmmu_exclusive x, const struct range *r)
{
	struct vmmu_shadow *s, *newer;

	for (s = vmmu_shadow_map_of(x.op)->oldest; s; s = newer) {
		newer = s->newer;
		if (vmmu_shadow_stands_for_frame(s) && s->gfn >= r->first && s->gfn < r->end)
			vmmu_shadow_retire(x, s, r->cause);
	}
}

static void retire_at(struct vmmu_exclusive x, uint64_t gfn, enum vmmu_cause cause)
{
	struct vmmu_shadow *s, *next;

	for (s = vmmu_shadow_at(vmmu_shadow_map_of(x.op), NULL, gfn); s; s = next) {
		next = vmmu_shadow_at(vmmu_shadow_map_of(x.op), s, gfn);
		vmmu_shadow_retire(x, s, cause);
	}
}

/* Guest tables in frames that are no longer what they were say nothing any more. */
static void retire_tables(struct vmmu_op *op, struct vmmu_managing managing, const struct range *r)
{
	struct vmmu_closed closed = vmmu_gate_close(op->tables, managing);

	if (r->end - r->first > PAGES_LOOKED_UP)
		retire_in(vmmu_exclusive_of(op, closed), r);
	else
		for (uint64_t gfn = r->first; gfn < r->end; gfn++)
			retire_at(vmmu_exclusive_of(op, closed), gfn, r->cause);
	vmmu_answers_age(&op->map->vm->memory, closed);
	vmmu_gate_open(op->tables, closed);
}

void vmmu_shadow_zap_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                           uint64_t end, unsigned keep, enum vmmu_cause cause)
{
	struct range r = {.first = first, .end = end, .keep = keep, .cause = cause};

	if (!keep)
		retire_tables(op, managing, &r);
	for_blocks(op, managing, &r, zap_block);
}

void vmmu_shadow_protect_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                               uint64_t end, bool forbid)
{
	struct range r = {.first = first, .end = end, .forbid = forbid};

	for_blocks(op, managing, &r, protect_block);
}

void vmmu_shadow_harvest_range(struct vmmu_op *op, struct vmmu_closed closed, uint64_t first,
                               uint64_t end)
{
	for (uint64_t gfn = first; gfn < end; gfn++)
		vmmu_shadow_protect(vmmu_exclusive_of(op, closed), gfn, false);
}

/* Guest tables in it can have their accessed bits set from now on: no entry without. */
void vmmu_shadow_allow_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                             uint64_t end)
{
	vmmu_shadow_zap_range(op, managing, first, end, 0, VMMU_CAUSE_ZAP_RANGE);
}
