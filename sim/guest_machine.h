/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine without nested paging: guests with page tables of their own, CPUs
 * that walk the engine's shadow tables and remember what they saw, and a judge
 * that asks the guest's own tables what should have happened.
 *
 * Every access is made twice: by the CPU, through the shadow tables (exits go to
 * the engine), and in the model of sim/guest_model.h, through the guest's. They
 * must agree on the frame, on the fault and its error code, and on every bit
 * that a CPU would have set in the guest's tables.
 *
 *   guest_machine.c   the host: memory, slots, callbacks
 *   guest_cpu.c       a CPU: registers, caches, invalidations, accesses, exits
 *   guest_judge.c     what the guest's tables allow, now and within a time
 *   guest_cache.c     what a CPU remembers
 *   guest_history.c   what the guest's memory was
 *
 * It may be used by one thread; by actors of a scheduler that takes turns at
 * `pause` and `wait`; or by a thread for each vCPU and one for management.
 */
#ifndef SIM_GUEST_MACHINE_H
#define SIM_GUEST_MACHINE_H

#include "guest_state.h"

/* The model's words for these registers. */
struct sim_guest_cpu sim_gm_cpu_of(const struct vmmu_paging *paging);

struct sim_gm *sim_gm_new(const struct sim_gm_config *config);
/* True: nothing was found wrong. */
bool sim_gm_end(struct sim_gm *gm);
void sim_gm_fail(struct sim_gm *gm, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool sim_gm_read(struct sim_gm *gm, uint64_t gpa, unsigned size, uint64_t *value);
/* The host or its emulator writes; the engine is told. */
void sim_gm_host_write(struct sim_gm *gm, unsigned vcpu, uint64_t gpa, unsigned size, uint64_t value);

void sim_gm_slot_create(struct sim_gm *gm, unsigned n, uint64_t gfn, uint64_t pages, uint64_t ram_page,
                        uint32_t flags);
void sim_gm_slot_delete(struct sim_gm *gm, unsigned n);
void sim_gm_slot_flags(struct sim_gm *gm, unsigned n, uint32_t flags);
void sim_gm_slot_move(struct sim_gm *gm, unsigned n, uint64_t gfn);
/* Fetch the log of a slot and compare it with the writes made. */
void sim_gm_log(struct sim_gm *gm, unsigned n);
/* Every frame gets another number, as if the host had migrated all of RAM. */
void sim_gm_migrate(struct sim_gm *gm);
/*
 * The host takes the page at gfn back, and gives it again with another word at
 * `offset`. Nobody is told of the word: while the host had the page, nothing may
 * have been concluded from it.
 */
void sim_gm_exchange(struct sim_gm *gm, uint64_t gfn, unsigned offset, unsigned size, uint64_t value);
void sim_gm_audit(struct sim_gm *gm);

/* ---- what a guest CPU does ---- */

/* MOV to CR0, CR4 and CR3, WRMSR of EFER, WRPKRU: all that differs. */
void sim_gm_set_paging(struct sim_gm *gm, unsigned vcpu, const struct vmmu_paging *paging);
/* MOV to CR3; `keep`: with bit 63 set, so that the PCID's translations stay. */
void sim_gm_load_cr3(struct sim_gm *gm, unsigned vcpu, uint64_t cr3, bool keep);
/* INVLPG, which makes no exit. */
void sim_gm_invlpg(struct sim_gm *gm, unsigned vcpu, uint64_t gva);
/* INVPCID, which makes none either: type 0 one address, 1 one PCID, 2 all, 3 all but global ones. */
void sim_gm_invpcid(struct sim_gm *gm, unsigned vcpu, unsigned type, unsigned pcid, uint64_t gva);

/* One access of up to 8 bytes, not over a page's end. */
void sim_gm_access(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                   const struct sim_guest_access *access, unsigned size, uint64_t value);
/* The same without an exit: made if the CPU lets it through as things stand now. */
void sim_gm_try(struct sim_gm *gm, unsigned vcpu, uint64_t gva, const struct sim_guest_access *access,
                unsigned size, uint64_t value);
/* The CPU looks up an address that nobody has asked for, as CPUs do, and remembers what it saw. */
void sim_gm_look(struct sim_gm *gm, unsigned vcpu, uint64_t gva);

#endif
