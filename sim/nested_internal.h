/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the nested machine know of each other. */
#ifndef SIM_NESTED_INTERNAL_H
#define SIM_NESTED_INTERNAL_H

#include "nested_state.h"

enum { SIM_NM_PHYSICAL_BITS = 46 };

/* ---- nested_machine.c ---- */

struct sim_nm_slot *sim_nm_slot_at(struct sim_nm *nm, uint64_t gfn);
uint64_t sim_nm_frame(const struct sim_nm *nm, uint64_t gfn);
/* What the host's memory is there. */
uint8_t sim_nm_memtype(const struct sim_nm *nm, uint64_t gfn, bool *ignore_pat);
/* L1's memory gets a value. True: the judge reads a table there. */
bool sim_nm_store(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value);
void sim_nm_make_busy(struct sim_nm *nm, uint64_t gfn);
/* The same by a CPU, and all is checked that this may concern. */
void sim_nm_store_late(struct sim_nm *nm, uint64_t gpa, uint64_t value);
/* Another vCPU may go on here. */
void sim_nm_pause(struct sim_nm *nm);

/* ---- nested_cpu.c ---- */

/* While the host takes memory back: an access gets nowhere. */
void sim_nm_try_meanwhile(struct sim_nm *nm);
/* An entry has changed: CPUs that are in the guest look around. */
void sim_nm_look_around(struct sim_nm *nm);

/* ---- nested_judge.c ---- */

/* The CPU's walk of the engine's tables; it may begin at a table that it remembers. */
void sim_nm_hardware_walk(struct sim_nm *nm, struct sim_nm_vcpu *cpu, uint64_t gpa, unsigned access, struct sim_walk *out);
/* May an access in this space reach the frame? NULL: yes; else why not. */
const char *sim_nm_judge(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access,
                         uint64_t pfn, unsigned memtype, bool ignore_pat);
/* All that this CPU remembers of what it runs on; or all that any remembers of anything. */
void sim_nm_check_current(struct sim_nm *nm);
void sim_nm_check_all(struct sim_nm *nm);
/* Is what L1 is told of the last fault what its CPU would have said? */
void sim_nm_check_reflected(struct sim_nm *nm, uint64_t gpa, unsigned access);
/* What the CPU reports of an access of L2 or L1 by the engine's tables. */
struct vmmu_fault sim_nm_exit(const struct sim_nm *nm, const struct sim_walk *walk, uint64_t gpa, unsigned access);
/* The gpa of L1's that the access means. False: none. */
bool sim_nm_l1_gpa(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t *out);

#endif
