/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with a guest hypervisor: L1's memory with its EPT or NPT in it, one CPU that
 * walks the engine's tables for L1 and for L2 and remembers what it saw, and a judge that
 * walks L1's own tables by the manual (sim/walker.h) and asks the slots.
 *
 * Nothing that a CPU can reach may lag behind L1's tables: after each step all that it
 * remembers is compared with what they say now.
 */
#ifndef SIM_NESTED_MACHINE_H
#define SIM_NESTED_MACHINE_H

#include <vmmu/exit.h>
#include <vmmu/nested.h>

#include "memory.h"
#include "tlb.h"
#include "trace.h"
#include "walker.h"

enum { SIM_NM_SLOTS = 3 };

struct sim_nm_config {
	uint64_t seed;
	enum vmmu_mode mode; /* EPT or NPT */
	unsigned order;      /* of the runs of frames that the host reports */
	uint64_t ram_pages;
	bool levels5;    /* of the CPU */
	uint8_t memtype; /* of the host's memory */
	bool ignore_pat;
	uint32_t max_shadow_tables;
};

struct sim_nm_slot {
	bool present;
	struct vmmu_slot_info info;
};

struct sim_nm {
	struct sim_nm_config config;
	struct sim_memory tables;
	struct sim_trace trace;
	struct vmmu_trace_ring ring, vcpu_ring;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
	uint8_t *ram; /* gfn n is page n */
	uint64_t first_pfn, clock;
	struct sim_nm_slot slot[SIM_NM_SLOTS];
	bool in_l2;
	struct vmmu_nested nested; /* L2's, when it runs */
	struct vmmu_root root;     /* of what runs */
	uint64_t l2_pointer;
	struct sim_tlb tlb[2];   /* L1's and L2's */
	struct vmmu_fault fault; /* the last one */
	bool *logged;            /* pages written since the last round of the log */
	unsigned long accesses, exits, reflected, emulated, flushes;
	bool failed, silent;
	char failure[512];
};

struct vmmu_cpu sim_nm_cpu(const struct sim_nm_config *config);
struct sim_nm *sim_nm_new(const struct sim_nm_config *config);
/* True: nothing was found wrong. */
bool sim_nm_end(struct sim_nm *nm);
void sim_nm_fail(struct sim_nm *nm, const char *format, ...) __attribute__((format(printf, 2, 3)));

void sim_nm_slot_create(struct sim_nm *nm, unsigned n, uint64_t gfn, uint64_t pages, uint32_t flags);
void sim_nm_slot_delete(struct sim_nm *nm, unsigned n);
void sim_nm_slot_flags(struct sim_nm *nm, unsigned n, uint32_t flags);
void sim_nm_log(struct sim_nm *nm, unsigned n);
/* All frames get other numbers. */
void sim_nm_migrate(struct sim_nm *nm);
void sim_nm_audit(struct sim_nm *nm);
/* The host writes L1's memory, and tells the engine. */
void sim_nm_host_write(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value);
uint64_t sim_nm_word(const struct sim_nm *nm, uint64_t gpa);

/* L1 enters L2, or (NULL) runs again. */
enum vmmu_status sim_nm_enter(struct sim_nm *nm, const struct vmmu_nested *nested);
/* An access of what runs, judged. 0: it went through; else the fault's result. `value` is what a write stores. */
enum vmmu_fault_result sim_nm_access(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t value);
/* L1's tables, walked by the manual; touch: accessed and dirty bits are set. */
void sim_nm_model(struct sim_nm *nm, uint64_t gpa, unsigned access, struct sim_walk *out);

#endif
