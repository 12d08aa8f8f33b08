/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of the machine without nested paging; tests include guest_machine.h. */
#ifndef SIM_GUEST_INTERNAL_H
#define SIM_GUEST_INTERNAL_H

#include "guest_state.h"

#define SIM_GM_PHYSICAL_BITS 46

/* A call whose refusal for lack of memory must leave it possible. */
#define SIM_GM_MUST(gm, what, call) \
	do { \
		enum vmmu_status status_ = (call); \
		for (unsigned i_ = 0; i_ < 2 && sim_gm_is_refused(gm, status_); i_++) \
			status_ = (call); \
		if (status_ != VMMU_OK) \
			sim_gm_fail(gm, "%s: %s", what, vmmu_status_name(status_)); \
	} while (0)

/* Is what the page at ram_page says to be found in that frame? */
bool sim_gm_is_frame_of(const struct sim_gm *gm, uint64_t pfn, uint64_t ram_page);
bool sim_gm_is_refused(struct sim_gm *gm, enum vmmu_status status);

static inline void sim_gm_lock(struct sim_gm *gm)
{
	pthread_mutex_lock(&gm->lock);
}

static inline void sim_gm_unlock(struct sim_gm *gm)
{
	pthread_mutex_unlock(&gm->lock);
}

/* ---- guest_machine.c, under the lock ---- */

/* The slot that is, or may be, at gfn, and the page of RAM behind it. NULL: none. */
struct sim_gm_slot *sim_gm_slot_at(struct sim_gm *gm, uint64_t gfn, uint64_t *ram_page);
/* Is a write through this page one that its slot may still allow? */
bool sim_gm_may_write(const struct sim_gm_slot *slot);
/* A CPU stores to RAM. */
void sim_gm_store(struct sim_gm *gm, uint64_t ram_page, unsigned offset, unsigned size, uint64_t value);

/* ---- guest_cpu.c, under the lock ---- */

unsigned sim_gm_pcid_of(const struct vmmu_paging *paging);
void sim_gm_forget_all(struct sim_gm *gm, unsigned vcpu);
/* May the CPU still use what it remembers of this table? */
bool sim_gm_reaches(struct sim_gm *gm, unsigned vcpu, uint64_t table);

/* ---- guest_judge.c, under the lock ---- */

/*
 * Is there a way through the guest's tables, each word as it was at some moment
 * in [from, to], each read no earlier than the one above it, whose end `accept`
 * agrees to?
 */
typedef bool (*sim_gm_accept)(void *arg, const struct sim_guest_result *result);
bool sim_gm_possible(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                     const struct sim_guest_access *access, uint64_t from, uint64_t to,
                     sim_gm_accept accept, void *arg);

/* May an access reach this frame? As things are, or at least within the architecture's time. */
enum sim_gm_verdict { SIM_GM_WRONG,
	              SIM_GM_LATE,
	              SIM_GM_RIGHT };
enum sim_gm_verdict sim_gm_judge_frame(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                                       const struct sim_guest_access *access, uint64_t pfn);
/* What the guest's tables say now. */
void sim_gm_truth(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                  const struct sim_guest_access *access, struct sim_guest_result *out);

#endif
