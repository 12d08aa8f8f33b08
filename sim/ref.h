/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference: what the calls of <vmmu/vmmu.h> mean, kept as plainly as
 * possible. Lists and loops; no tables, no locks, nothing of the engine.
 */
#ifndef SIM_REF_H
#define SIM_REF_H

#include "backing.h"

struct sim_ref_slot {
	struct vmmu_slot_info info;
	struct sim_backing *backing;
	uint8_t *dirty; /* one enum sim_dirty per page, when the slot logs */
};

enum sim_dirty {
	SIM_CLEAN,     /* must not be reported, must not be writable */
	SIM_DIRTY,     /* written since the last round: must be reported */
	SIM_MAY_WRITE, /* a write was let through but has not been made: may be reported */
};

struct sim_ref_range {
	uint64_t gfn;
	uint64_t pages;
	unsigned level; /* caps only */
};

struct sim_ref {
	uint64_t reach; /* pages that a guest address can name */
	uint32_t max_slots;
	unsigned max_level;        /* of a leaf */
	bool has_ignore_pat;       /* EPT */
	struct sim_ref_slot *slot; /* sorted by base */
	unsigned slots;
	struct sim_ref_range *cap; /* disjoint */
	unsigned caps;
	struct sim_ref_range *busy; /* under invalidation, may repeat */
	unsigned busies;
};

void sim_ref_init(struct sim_ref *ref, uint64_t reach, uint32_t max_slots, unsigned max_level,
                  bool has_ignore_pat);
void sim_ref_copy(struct sim_ref *to, const struct sim_ref *from);
void sim_ref_fini(struct sim_ref *ref);

/*
 * The calls. Each says which statuses the headers allow as its answer, as a
 * mask of 1 << status; the change is made only when VMMU_OK is among them.
 */
uint32_t sim_ref_slot_create(struct sim_ref *ref, const struct vmmu_slot_info *info,
                             struct sim_backing *backing);
uint32_t sim_ref_slot_delete(struct sim_ref *ref, uint32_t id);
uint32_t sim_ref_slot_move(struct sim_ref *ref, uint32_t id, uint64_t base);
uint32_t sim_ref_slot_set_flags(struct sim_ref *ref, uint32_t id, uint32_t flags);
uint32_t sim_ref_restrict(struct sim_ref *ref, uint64_t base, uint64_t bytes, unsigned level);
uint32_t sim_ref_invalidate_begin(struct sim_ref *ref, uint64_t base, uint64_t bytes);
uint32_t sim_ref_invalidate_end(struct sim_ref *ref, uint64_t base, uint64_t bytes);

struct sim_ref_slot *sim_ref_slot_by_id(const struct sim_ref *ref, uint32_t id);
struct sim_ref_slot *sim_ref_slot_at(const struct sim_ref *ref, uint64_t gfn);
bool sim_ref_busy(const struct sim_ref *ref, uint64_t gfn, uint64_t pages);
/* Lowest cap that touches the range. */
unsigned sim_ref_cap(const struct sim_ref *ref, uint64_t gfn, uint64_t pages);
void sim_ref_mark(struct sim_ref *ref, uint64_t gfn, enum sim_dirty state);
void sim_ref_new_round(struct sim_ref *ref, uint32_t id);

/* May a CPU hold this translation of one page? NULL = yes, else what is wrong with it. */
const char *sim_ref_judge_page(const struct sim_ref *ref, uint64_t gfn, uint64_t pfn,
                               unsigned rights, unsigned memtype, bool ignore_pat);
/* May this leaf stand in the tables? */
const char *sim_ref_judge_leaf(const struct sim_ref *ref, uint64_t gfn, unsigned level, uint64_t pfn,
                               unsigned rights, unsigned memtype, bool ignore_pat);

/* Largest leaf level that slot edges, host and caps allow for a first access to gfn. */
unsigned sim_ref_best_level(const struct sim_ref *ref, uint64_t gfn, unsigned host_order);

#endif
