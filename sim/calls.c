/* SPDX-License-Identifier: BSD-2-Clause */
/* Management calls: made to the engine, made to the reference, compared. */
#include "internal.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/*
 * Between begin and end both states of the reference hold: a CPU may see the
 * tables as before the call or as after it.
 */
struct call {
	struct sim_ref after;
	uint64_t failed;
};

static void begin(struct sim *sim, struct call *call)
{
	call->failed = sim->memory.failed;
	sim_ref_copy(&call->after, &sim->ref);
}

/* The call's outcome is known: from here on a CPU may see it. */
static void publish(struct sim *sim, struct call *call)
{
	/* A write under way may come out before or after the call; a new log may show it. */
	for (unsigned i = 0; i < sim->vcpus; i++)
		if (sim->vcpu[i].writing)
			sim_ref_mark(&call->after, sim->vcpu[i].writing - 1, SIM_MAY_WRITE);
	sim->ref_after = &call->after;
}

static enum vmmu_status end(struct sim *sim, struct call *call, const char *name,
                            enum vmmu_status status, uint32_t allowed)
{
	sim->ref_after = NULL;
	if (sim->memory.failed != call->failed)
		allowed |= 1u << VMMU_ERR_NO_MEMORY;
	if (!(allowed & 1u << status))
		sim_fail(sim, 0, "%s answers \"%s\"", name, vmmu_status_name(status));
	if (status == VMMU_OK && (allowed & 1u << VMMU_OK)) {
		sim_ref_fini(&sim->ref);
		sim->ref = call->after;
	} else {
		sim_ref_fini(&call->after);
	}
	if (!sim->config.interleaved)
		sim_check(sim);
	return status;
}

uint64_t sim_backing_new(struct sim *sim, uint64_t base, const struct sim_backing_config *config)
{
	if (sim->backings == SIM_MAX_BACKINGS)
		abort();
	sim_backing_init(&sim->backing[sim->backings], config, base >> VMMU_PAGE_SHIFT, sim_frames, sim);
	return sim->backings++;
}

enum vmmu_status sim_slot_create(struct sim *sim, uint32_t id, uint64_t base, uint64_t bytes,
                                 uint32_t flags, uint64_t backing)
{
	struct vmmu_slot_info info = {
		.id = id, .flags = flags, .base = vmmu_gpa_of(base), .bytes = bytes, .backing = backing};
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_slot_create(&call.after, &info, &sim->backing[backing]);

	publish(sim, &call);
	return end(sim, &call, "vmmu_slot_create", vmmu_slot_create(sim->vm, &info), allowed);
}

enum vmmu_status sim_slot_delete(struct sim *sim, uint32_t id)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_slot_delete(&call.after, id);

	publish(sim, &call);
	return end(sim, &call, "vmmu_slot_delete", vmmu_slot_delete(sim->vm, id), allowed);
}

enum vmmu_status sim_slot_move(struct sim *sim, uint32_t id, uint64_t base)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_slot_move(&call.after, id, base);

	publish(sim, &call);
	return end(sim, &call, "vmmu_slot_move", vmmu_slot_move(sim->vm, id, vmmu_gpa_of(base)), allowed);
}

enum vmmu_status sim_slot_set_flags(struct sim *sim, uint32_t id, uint32_t flags)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_slot_set_flags(&call.after, id, flags);

	publish(sim, &call);
	return end(sim, &call, "vmmu_slot_set_flags", vmmu_slot_set_flags(sim->vm, id, flags), allowed);
}

enum vmmu_status sim_restrict(struct sim *sim, uint64_t base, uint64_t bytes, unsigned level)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_restrict(&call.after, base, bytes, level);

	publish(sim, &call);
	return end(sim, &call, "vmmu_range_restrict",
	           vmmu_range_restrict(sim->vm, vmmu_gpa_of(base), bytes, level), allowed);
}

enum vmmu_status sim_invalidate_begin(struct sim *sim, uint64_t base, uint64_t bytes)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_invalidate_begin(&call.after, base, bytes);

	publish(sim, &call);
	return end(sim, &call, "vmmu_invalidate_begin",
	           vmmu_invalidate_begin(sim->vm, vmmu_gpa_of(base), bytes), allowed);
}

enum vmmu_status sim_invalidate_end(struct sim *sim, uint64_t base, uint64_t bytes)
{
	struct call call;

	begin(sim, &call);
	uint32_t allowed = sim_ref_invalidate_end(&call.after, base, bytes);

	publish(sim, &call);
	return end(sim, &call, "vmmu_invalidate_end",
	           vmmu_invalidate_end(sim->vm, vmmu_gpa_of(base), bytes), allowed);
}

enum vmmu_status sim_swap_out(struct sim *sim, uint64_t base, uint64_t bytes)
{
	enum vmmu_status status = sim_invalidate_begin(sim, base, bytes);

	if (status != VMMU_OK)
		return status;
	pthread_mutex_lock(&sim->lock);
	for (unsigned i = 0; i < sim->ref.slots; i++) {
		struct sim_ref_slot *slot = &sim->ref.slot[i];
		uint64_t start = base > slot->info.base.v ? base : slot->info.base.v;
		uint64_t slot_end = slot->info.base.v + slot->info.bytes;
		uint64_t stop = base + bytes < slot_end ? base + bytes : slot_end;

		if (start < stop)
			sim_backing_take(slot->backing, (int64_t)((start - slot->info.base.v) >> VMMU_PAGE_SHIFT),
			                 (stop - start) >> VMMU_PAGE_SHIFT);
	}
	pthread_mutex_unlock(&sim->lock);
	return sim_invalidate_end(sim, base, bytes);
}

static void judge_logged_page(struct sim *sim, const struct sim_ref_slot *slot, uint64_t page,
                              bool reported)
{
	if (reported && slot->dirty[page] == SIM_CLEAN)
		sim_fail(sim, 0, "the dirty log of slot %u reports page %lu, which no one wrote",
		         slot->info.id, page);
	if (!reported && slot->dirty[page] == SIM_DIRTY)
		sim_fail(sim, 0, "the dirty log of slot %u misses the write to page %lu", slot->info.id,
		         page);
}

/* What the log said against what was written, 64 pages at a time. */
static void judge_log(struct sim *sim, const struct sim_ref_slot *slot, const uint64_t *bitmap,
                      uint64_t *reported)
{
	static const uint8_t clean[64];
	uint64_t pages = slot->info.bytes >> VMMU_PAGE_SHIFT;

	for (uint64_t first = 0; first < pages; first += 64) {
		uint64_t word = bitmap[first / 64];
		uint64_t here = pages - first < 64 ? pages - first : 64;

		*reported += (uint64_t)__builtin_popcountll(word);
		if (here < 64 && word >> here)
			sim_fail(sim, 0, "the dirty log of slot %u reports pages past its end", slot->info.id);
		if (!word && !memcmp(&slot->dirty[first], clean, here))
			continue;
		for (uint64_t i = 0; i < here; i++)
			judge_logged_page(sim, slot, first + i, word >> i & 1);
	}
}

/* Written while the log was fetched: what this round shows the next one need not show again. */
static void forget_reported(struct sim_ref_slot *slot, const uint64_t *bitmap)
{
	uint64_t pages = slot->info.bytes >> VMMU_PAGE_SHIFT;

	for (uint64_t word = 0; word * 64 < pages; word++)
		for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1) {
			uint64_t page = word * 64 + (unsigned)__builtin_ctzll(bits);

			if (slot->dirty[page] == SIM_DIRTY)
				slot->dirty[page] = SIM_MAY_WRITE;
		}
}

/* The same round by the other call, `room` words at a time. */
static enum vmmu_status log_in_parts(struct sim *sim, uint32_t id, uint64_t *bitmap, size_t words, size_t room)
{
	struct vmmu_dirty *part = calloc(room, sizeof(*part));
	uint64_t page = 0, before = 0;
	enum vmmu_status status;
	size_t count;

	if (!part)
		abort();
	do {
		status = vmmu_dirty_next(sim->vm, id, &page, part, room, &count);
		for (size_t i = 0; i < count; i++) {
			if (part[i].first % 64 || part[i].first < before || part[i].first / 64 >= words || !part[i].pages) {
				sim_fail(sim, 0, "the dirty log of slot %u reports %#lx at page %#lx, after %#lx", id,
				         part[i].pages, part[i].first, before);
				continue;
			}
			before = part[i].first + 64;
			bitmap[part[i].first / 64] |= part[i].pages;
		}
	} while (status == VMMU_OK && count == room);
	free(part);
	return status;
}

enum vmmu_status sim_dirty_log(struct sim *sim, uint32_t id, uint64_t *reported)
{
	struct sim_ref_slot *slot = sim_ref_slot_by_id(&sim->ref, id);
	size_t words = slot ? ((slot->info.bytes >> VMMU_PAGE_SHIFT) + 63) / 64 : 1;
	uint64_t *bitmap = calloc(words, sizeof(*bitmap));
	uint64_t count = 0;
	struct call call;
	uint32_t allowed = 1u << VMMU_OK;

	if (!slot)
		allowed = 1u << VMMU_ERR_SLOT_MISSING | 1u << VMMU_ERR_SLOT_ID;
	else if (!slot->dirty)
		allowed = 1u << VMMU_ERR_SLOT_FLAGS | 1u << VMMU_ERR_INVALID;
	begin(sim, &call);
	sim_ref_new_round(&call.after, id);
	publish(sim, &call);
	/* Either call, in turn: what one says the other would have. */
	enum vmmu_status status = sim->rounds % 2 ? log_in_parts(sim, id, bitmap, words, 1 + sim->rounds % 5)
	                                          : vmmu_dirty_log(sim->vm, id, bitmap, words);

	if (status == VMMU_OK && slot && slot->dirty && !sim->config.threads) {
		judge_log(sim, sim_ref_slot_by_id(&sim->ref, id), bitmap, &count);
		forget_reported(sim_ref_slot_by_id(&call.after, id), bitmap);
	}
	sim->rounds++;
	free(bitmap);
	if (reported)
		*reported = count;
	return end(sim, &call, "vmmu_dirty_log", status, allowed);
}

void sim_mark_dirty(struct sim *sim, int vcpu, uint64_t gpa)
{
	struct vmmu_vcpu *engine = vcpu < 0 ? NULL : sim->vcpu[vcpu].engine;
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT, rounds;

	if (sim->config.threads) {
		vmmu_mark_dirty(sim->vm, engine, vmmu_gfn_of(gfn));
		return;
	}
	rounds = sim->rounds;
	sim_expect_write(sim, gfn, SIM_MAY_WRITE);
	if (engine)
		sim->vcpu[vcpu].writing = gfn + 1;
	vmmu_mark_dirty(sim->vm, engine, vmmu_gfn_of(gfn));
	if (engine)
		sim->vcpu[vcpu].writing = 0;
	/* A log fetched meanwhile may have shown it already. */
	sim_expect_write(sim, gfn, sim->rounds == rounds ? SIM_DIRTY : SIM_MAY_WRITE);
}
