/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Could a CPU still be using this translation? It could if some choice among what the
 * words on the way have held since the last order to forget them gives it.
 */
#include "guest_internal.h"
#include "guest_machine.h"

#include <string.h>

/* Values of one word that are looked at; more than are ever written between two invalidations of interest. */
#define MOST 24

/* ---- one word of a guest table, at some moment ------------------------------------ */

/* A walk of the guest's tables in which each word read is one of several. */
struct past {
	struct sim_gm *gm;
	uint64_t from, to;
	uint64_t at; /* the walk has come so far in time */
	unsigned depth;
	unsigned choice[SIM_CACHE_DEPTH];
	unsigned choices[SIM_CACHE_DEPTH];
};

static unsigned words_at(struct past *p, uint64_t ram_page, uint64_t gpa, struct sim_word *word)
{
	unsigned index = gpa % 4096 / 8;
	uint64_t now;

	memcpy(&now, p->gm->ram + ram_page * 4096 + index * 8, 8);
	return sim_history_values(&p->gm->history, ram_page, index, now, p->at, p->to, word, MOST);
}

static uint64_t part_of(uint64_t word, uint64_t gpa, unsigned size)
{
	word >>= gpa % 8 * 8;
	return size == 4 ? word & 0xffffffff : word;
}

static bool load_past(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct past *p = ctx;
	struct sim_word word[MOST];
	unsigned level = p->depth++, count = 0;
	uint64_t ram_page;
	struct sim_gm_slot *slot = sim_gm_slot_at(p->gm, gpa >> 12, &ram_page);
	const struct sim_word *chosen = &word[p->choice[level]];

	if (slot)
		count = words_at(p, ram_page, gpa, word);
	/* While a slot comes or goes it may be there or not. */
	p->choices[level] = count + (!slot || slot->presence == SIM_GM_CHANGING);
	if (p->choice[level] >= count)
		return false;
	if (chosen->begin > p->at)
		p->at = chosen->begin;
	*value = part_of(chosen->value, gpa, size);
	return true;
}

/* The next walk in order, deepest choice first. False: that was the last. */
static bool next_walk(struct past *p)
{
	unsigned depth = p->depth;

	while (depth > 0 && p->choice[depth - 1] + 1 >= p->choices[depth - 1])
		p->choice[--depth] = 0;
	if (depth == 0)
		return false;
	p->choice[depth - 1]++;
	return true;
}

bool sim_gm_possible(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                     const struct sim_guest_access *access, uint64_t from, uint64_t to,
                     sim_gm_accept accept, void *arg)
{
	struct sim_guest_cpu cpu = sim_gm_cpu_of(&gm->vcpu[vcpu].paging);
	struct past p = {.gm = gm, .from = from, .to = to};
	struct sim_guest_result result;

	do {
		p.at = from;
		p.depth = 0;
		sim_guest_translate(&cpu, load_past, &p, gva, access, &result);
		if (accept(arg, &result))
			return true;
	} while (next_walk(&p));
	return false;
}

static bool load_present(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct sim_gm *gm = ctx;
	uint64_t ram_page;

	*value = 0;
	if (!sim_gm_slot_at(gm, gpa >> 12, &ram_page))
		return false;
	memcpy(value, gm->ram + ram_page * 4096 + gpa % 4096, size);
	return true;
}

void sim_gm_truth(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                  const struct sim_guest_access *access, struct sim_guest_result *out)
{
	struct sim_guest_cpu cpu = sim_gm_cpu_of(&gm->vcpu[vcpu].paging);

	sim_guest_translate(&cpu, load_present, gm, gva, access, out);
}

/* ---- may an access reach this frame? ------------------------------------------------ */

struct frame_question {
	struct sim_gm *gm;
	uint64_t pfn;
	bool write;
};

/* Are all marks only in memory that the guest cannot write? There they are lost. */
static bool marks_are_lost(struct sim_gm *gm, const struct sim_guest_result *result)
{
	for (unsigned i = 0; i < result->marks; i++) {
		uint64_t ram_page;
		struct sim_gm_slot *slot = sim_gm_slot_at(gm, result->mark[i].gpa >> 12, &ram_page);

		if (slot && !((slot->info.flags | slot->flags_before) & VMMU_SLOT_READONLY))
			return false;
	}
	return true;
}

static bool leads_to_frame(void *arg, const struct sim_guest_result *result)
{
	struct frame_question *q = arg;
	struct sim_gm_slot *slot;
	uint64_t ram_page;

	if (result->end != SIM_GUEST_DONE)
		return false;
	slot = sim_gm_slot_at(q->gm, result->gpa >> 12, &ram_page);
	return slot && sim_gm_is_frame_of(q->gm, q->pfn, ram_page) && marks_are_lost(q->gm, result) &&
	       (!q->write || sim_gm_may_write(slot));
}

/* Must the CPU have forgotten the address's translation then? Or at least how it got there? */
static bool ends_page(const struct sim_invalidation *i, unsigned pcid, uint64_t linear)
{
	if (i->forgets == SIM_FORGETS_ALL)
		return true;
	return i->pcid == pcid && (i->forgets == SIM_FORGETS_PCID || i->linear >> 12 == linear >> 12);
}

static bool ends_ways(const struct sim_invalidation *i, unsigned pcid, uint64_t linear)
{
	return i->forgets == SIM_FORGETS_PAGE ? i->pcid == pcid : ends_page(i, pcid, linear);
}

/*
 * A translation that a CPU may use was found by one walk since the last
 * invalidation that names it; and all of that walk lies between two of those that
 * empty the paging-structure caches. Global translations may live longer; none of
 * the engine's is, so they are held to the same.
 */
static bool is_within_time(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                           const struct sim_guest_access *access, struct frame_question *q)
{
	const struct sim_gm_vcpu *v = &gm->vcpu[vcpu];
	unsigned pcid = sim_gm_pcid_of(&v->paging);
	uint64_t to = gm->history.clock;

	for (unsigned i = v->log.events; i-- > 0;) {
		const struct sim_invalidation *event = &v->log.event[i];

		if (!ends_ways(event, pcid, gva))
			continue;
		if (sim_gm_possible(gm, vcpu, gva, access, event->time, to, leads_to_frame, q))
			return true;
		if (ends_page(event, pcid, gva))
			return false;
		to = event->time;
	}
	return sim_gm_possible(gm, vcpu, gva, access, 0, to, leads_to_frame, q);
}

enum sim_gm_verdict sim_gm_judge_frame(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                                       const struct sim_guest_access *access, uint64_t pfn)
{
	struct frame_question q = {gm, pfn, access->write};
	uint64_t now = gm->history.clock;

	if (sim_gm_possible(gm, vcpu, gva, access, now, now, leads_to_frame, &q))
		return SIM_GM_RIGHT;
	return is_within_time(gm, vcpu, gva, access, &q) ? SIM_GM_LATE : SIM_GM_WRONG;
}
