/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with a guest hypervisor: L1's memory with its EPT or NPT in it, CPUs that walk
 * the engine's tables for L1 and for L2 and remember what they saw, and a judge that walks
 * L1's own tables by the manual (sim/walker.h) and asks the slots.
 *
 * Nothing that a CPU can reach may lag behind L1's tables: after each step all that any CPU
 * remembers is compared with what they say now. Whenever the engine has changed an entry the
 * other CPUs look around, as CPUs do unasked, and remember what they find.
 *
 *   nested_machine.c   the host: L1's memory, slots, callbacks
 *   nested_cpu.c       a CPU: what it runs on, its accesses and exits
 *   nested_judge.c     what L1's tables and the slots allow
 */
#ifndef SIM_NESTED_MACHINE_H
#define SIM_NESTED_MACHINE_H

#include "nested_state.h"

struct vmmu_cpu sim_nm_cpu_of(const struct sim_nm_config *config);
struct sim_nm *sim_nm_new(const struct sim_nm_config *config);
/* True: nothing was found wrong. */
bool sim_nm_end(struct sim_nm *nm);
void sim_nm_fail(struct sim_nm *nm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the host ---- */

void sim_nm_slot_create(struct sim_nm *nm, unsigned n, uint64_t gfn, uint64_t pages, uint32_t flags);
void sim_nm_slot_delete(struct sim_nm *nm, unsigned n);
void sim_nm_slot_flags(struct sim_nm *nm, unsigned n, uint32_t flags);
void sim_nm_log(struct sim_nm *nm, unsigned n);
/* All frames get other numbers. Meanwhile each vCPU tries some access. */
void sim_nm_migrate(struct sim_nm *nm);
/* The same in two parts. */
void sim_nm_take(struct sim_nm *nm);
void sim_nm_give(struct sim_nm *nm);
void sim_nm_audit(struct sim_nm *nm);
/* The host writes L1's memory, by the vCPU that acts, and tells the engine. */
void sim_nm_host_write(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value);
uint64_t sim_nm_word(const struct sim_nm *nm, uint64_t gpa);
/* The nth allocation from now on is refused; `all`: and those after it. 0: none. */
void sim_nm_refuse(struct sim_nm *nm, unsigned nth, bool all);

/* ---- CPUs ---- */

/* From now on this vCPU acts. */
void sim_nm_by(struct sim_nm *nm, unsigned n);
/* L1 enters L2, or (NULL) runs again. Refused: it runs as before. */
enum vmmu_status sim_nm_enter(struct sim_nm *nm, const struct vmmu_nested *nested);
/* An access of what runs, judged. 0: it went through; else the fault's result. `value` is what a write stores. */
enum vmmu_fault_result sim_nm_access(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t value);

/* ---- judge ---- */

/* Do L1's tables refuse the access? Then this is the exit (enum vmmu_reflect) that its CPU would make. */
bool sim_nm_refuses(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, unsigned *reflect,
                    uint64_t *code);
/* Set the bits in L1's tables that its CPU would set for an access that they allow; *dirtied: D is one of them. */
void sim_nm_mark(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, bool *dirtied);

/* L1's tables, walked by the manual. */
void sim_nm_model(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, struct sim_walk *out);

#endif
