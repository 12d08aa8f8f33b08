/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of the simulated machine; tests include sim.h. */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "state.h"

/* host.c: the callbacks. */
void sim_host_init(struct sim *sim);
uint64_t sim_frames(void *ctx, unsigned order, uint64_t pages);
/* The CPU's way to memory. */
struct sim_bus sim_bus_of(struct sim *sim);

/* vcpu.c */
bool sim_vcpu_init(struct sim *sim, unsigned n, enum vmmu_status *status);
void sim_vcpu_fini(struct sim *sim, unsigned n);
/* This vCPU happens to look at gfn, as CPUs do, and remembers what it saw. */
void sim_vcpu_speculate(struct sim *sim, unsigned n, uint64_t gfn);
void sim_note_interest(struct sim *sim, uint64_t gfn);

/* A write is let through (MAY_WRITE) or has been made (DIRTY): what logs must or may show. */
void sim_expect_write(struct sim *sim, uint64_t gfn, enum sim_dirty state);

/* check.c */
/* One translation against the reference, before or after the call under way. NULL = fine. */
const char *sim_judge_page(struct sim *sim, uint64_t gfn, uint64_t pfn, unsigned rights,
                           unsigned memtype, bool ignore_pat);
const char *sim_judge_leaf(struct sim *sim, uint64_t gfn, unsigned level, uint64_t pfn,
                           unsigned rights, unsigned memtype, bool ignore_pat);
/* A vCPU looks right after a write to `index` of `table`. */
void sim_check_instant(struct sim *sim, uint64_t table, unsigned index);
/* The table that is about to be freed must be out of everyone's reach. */
void sim_check_unreachable(struct sim *sim, uint64_t table);
bool sim_check_statistics(struct sim *sim);

#endif
