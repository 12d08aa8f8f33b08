/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine in user space for the engine to run on, and the judge of what it
 * does there: physical memory, virtual CPUs that walk the tables and remember
 * what they saw, frames for guests, and the reference that says what every
 * call means. docs/testing.md tells how the parts check each other.
 *
 * A test drives the machine through the calls below instead of calling the
 * engine itself. Each of them makes the engine's call, applies the same call
 * to the reference, and compares the two. The first thing found wrong is kept,
 * printed with the history of the entry, and makes sim_end answer false.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "state.h"

/* A CPU with everything: 46-bit addresses, all page sizes, exec-only, A/D, NX. */
struct vmmu_cpu sim_cpu_full(void);
struct sim_config sim_config_default(enum vmmu_mode mode);

/* *status says how vmmu_vm_create and the vCPUs' creation ended. Never NULL: sim_end must follow. */
struct sim *sim_new(const struct sim_config *config, enum vmmu_status *status);
/* Final checks, replay, tear-down, leaks. True: nothing was found wrong, now or before. */
bool sim_end(struct sim *sim);
/* The same, leaving the first finding's words in `message` ("" when there is none). */
bool sim_end_saying(struct sim *sim, char *message, size_t size);
/* Record a finding. entry_hpa: whose history to print, 0 = none. */
void sim_fail(struct sim *sim, uint64_t entry_hpa, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- calls, made and judged ------------------------------------------------ */

/* A backing for a slot that will begin at base. Its handle. */
uint64_t sim_backing_new(struct sim *sim, uint64_t base, const struct sim_backing_config *config);

enum vmmu_status sim_slot_create(struct sim *sim, uint32_t id, uint64_t base, uint64_t bytes,
                                 uint32_t flags, uint64_t backing);
enum vmmu_status sim_slot_delete(struct sim *sim, uint32_t id);
enum vmmu_status sim_slot_move(struct sim *sim, uint32_t id, uint64_t base);
enum vmmu_status sim_slot_set_flags(struct sim *sim, uint32_t id, uint32_t flags);
enum vmmu_status sim_restrict(struct sim *sim, uint64_t base, uint64_t bytes, unsigned level);
enum vmmu_status sim_invalidate_begin(struct sim *sim, uint64_t base, uint64_t bytes);
enum vmmu_status sim_invalidate_end(struct sim *sim, uint64_t base, uint64_t bytes);
/* Compares the bitmap with the writes made; *pages (may be NULL) = dirty pages reported. */
enum vmmu_status sim_dirty_log(struct sim *sim, uint32_t id, uint64_t *pages);
/* The host writes a page: from a vCPU, or from a management thread (-1). */
void sim_mark_dirty(struct sim *sim, int vcpu, uint64_t gpa);
/* begin, take the frames, end: the next touch gets others. */
enum vmmu_status sim_swap_out(struct sim *sim, uint64_t base, uint64_t bytes);

/*
 * A guest access by the modelled CPU: TLB, walk, exit, vmmu_fault, again. 0 =
 * the access went through, else the fault result that ended it.
 */
#define SIM_OK ((enum vmmu_fault_result)0)
enum vmmu_fault_result sim_access(struct sim *sim, unsigned vcpu, uint64_t gpa, unsigned access);
/* The same for the guest's own page walk. */
enum vmmu_fault_result sim_access_walk(struct sim *sim, unsigned vcpu, uint64_t gpa);
enum vmmu_fault_result sim_prefault(struct sim *sim, unsigned vcpu, uint64_t gpa, uint64_t bytes,
                                    unsigned access, uint64_t *done);

/* ---- looking ----------------------------------------------------------------- */

/* The CPU's walk for gpa now, without TLB and without setting A/D. */
void sim_look(struct sim *sim, uint64_t gpa, unsigned access, struct sim_walk *out);
/* Everything at rest: tables against the reference, TLBs, audit, statistics. */
bool sim_check(struct sim *sim);
/* The records so far, replayed from empty tables, against memory and the engine's dumps. */
bool sim_check_provenance(struct sim *sim);
/* Live page counts from the CPU's point of view. */
struct sim_census {
	uint64_t leaves[VMMU_LEVEL_MAX + 1];
	uint64_t tables[VMMU_LEVEL_MAX + 1];
	uint64_t mmio;
	uint64_t nonzero; /* entries */
};
bool sim_census(struct sim *sim, struct sim_census *out);
void sim_drain(struct sim *sim);

#endif
