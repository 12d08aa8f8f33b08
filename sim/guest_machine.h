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
 */
#ifndef SIM_GUEST_MACHINE_H
#define SIM_GUEST_MACHINE_H

#include <vmmu/exit.h>
#include <vmmu/guest.h>

#include "guest_model.h"
#include "memory.h"
#include "trace.h"

#define SIM_GM_VCPUS 3
#define SIM_GM_SLOTS 4
#define SIM_GM_TLB 64

struct sim_gm_slot {
	bool used;
	struct vmmu_slot_info info;    /* backing: first page of RAM behind it */
};

struct sim_gm_tlb {
	bool valid;
	uint64_t page;                 /* gva >> 12 */
	uint64_t pfn;
	struct sim_guest_result how;   /* rights and key of the walk that found it */
	bool dirty;                    /* a write need not look at the tables first */
};

struct sim_gm_vcpu {
	struct vmmu_vcpu *engine;
	struct vmmu_paging paging;
	struct vmmu_root root;
	struct sim_gm_tlb tlb[SIM_GM_TLB];
	struct vmmu_trace_ring ring;
};

struct sim_gm {
	struct sim_memory tables;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	struct sim_trace trace;
	struct vmmu_trace_ring ring;   /* of management calls */
	uint64_t clock;
	uint8_t *ram;
	uint64_t ram_pages;
	uint64_t first_pfn;            /* frame of RAM's first page; steps when the host moves it */
	unsigned order;                /* of the runs that host.backing reports */
	struct sim_gm_slot slot[SIM_GM_SLOTS];
	struct sim_gm_vcpu vcpu[SIM_GM_VCPUS];
	unsigned vcpus;
	uint64_t random;
	uint8_t *written;              /* per page of RAM, by anybody, since the last round of the log */
	uint64_t exits, injected, emulated, accesses, flushes, entries;
	/*
	 * What other CPUs do while the engine has let go of its locks: in host.backing,
	 * and in host.flush before any TLB has forgotten anything.
	 */
	void (*meanwhile)(void *arg, unsigned busy);
	void *meanwhile_arg;
	bool flushing;
	unsigned busy;                 /* the vCPU that is in the engine */
	bool usable;                   /* false: made without memory, as planned */
	bool failed;
	char failure[512];
};

struct sim_gm_config {
	uint64_t seed;
	unsigned vcpus;
	unsigned order;
	uint64_t ram_pages;
	uint32_t max_shadow_tables;
	bool la57;
	struct sim_fail_plan fail;     /* allocations that are refused, counted from the VM's creation on */
};

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

void sim_gm_set_paging(struct sim_gm *gm, unsigned vcpu, const struct vmmu_paging *paging);
/* One access of up to 8 bytes, not over a page's end. */
void sim_gm_access(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                   const struct sim_guest_access *access, unsigned size, uint64_t value);
/* The same without an exit: made if the CPU lets it through as things stand now. */
void sim_gm_try(struct sim_gm *gm, unsigned vcpu, uint64_t gva, const struct sim_guest_access *access,
                unsigned size, uint64_t value);
void sim_gm_audit(struct sim_gm *gm);

#endif
