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

#include <vmmu/exit.h>
#include <vmmu/nested.h>

#include "memory.h"
#include "tlb.h"
#include "trace.h"
#include "walker.h"

enum { SIM_NM_SLOTS = 3,
       SIM_NM_VCPUS = 3,
       SIM_NM_SPACES = 4,  /* roots whose translations a CPU keeps at once: L1's, and three of L2 */
       SIM_NM_RECENT = 8,  /* addresses that a CPU looks at again */
       SIM_NM_PENDING = 4, /* words written, of which the engine is being told */
       SIM_NM_ORDER_MIXED = 64 };

struct sim_nm_config {
	uint64_t seed;
	enum vmmu_mode mode; /* EPT or NPT */
	unsigned order;      /* of the runs of frames that the host reports; SIM_NM_ORDER_MIXED: now this, now that */
	uint64_t skew;       /* pages by which frames are out of step with gfns */
	uint64_t ram_pages;
	unsigned vcpus; /* 0: one */
	bool levels5;   /* of the CPU */
	bool no_1g;     /* the CPU has no pages of 1 GiB */
	uint8_t memtype; /* of the host's memory */
	bool ignore_pat;
	bool memtype_mixed; /* each 2 MiB of the host's memory has another type */
	uint32_t max_shadow_tables;
	unsigned busy_percent; /* chance that some page of L1's cannot be read or stored to just now */
	unsigned look_percent; /* chance that a CPU looks around when an entry has changed */
	/* A scheduler's, or NULL: another vCPU may go on here; must go on here. */
	void (*pause)(void);
	void (*wait)(void);
};

struct sim_nm_slot {
	bool present;
	struct vmmu_slot_info info;
};

/* What a CPU keeps for one root. */
struct sim_nm_space {
	uint64_t pointer; /* EPTP or nCR3; 0: none */
	bool is_l2;
	struct vmmu_nested nested; /* L2's */
	uint64_t pdpte[4];         /* of PAE's nCR3 at the entry */
	struct sim_tlb tlb;
	uint64_t used;
};

struct sim_nm_vcpu {
	struct vmmu_vcpu *vcpu;
	struct vmmu_trace_ring ring;
	unsigned number;
	bool outside; /* it is in a call that changes what it runs on */
	struct vmmu_root root;
	struct sim_nm_space space[SIM_NM_SPACES];
	struct sim_nm_space *on;
	uint64_t recent[SIM_NM_RECENT];
	unsigned recents;
	struct vmmu_fault fault; /* the last one */
};

struct sim_nm_pending {
	bool used;
	uint64_t gpa, before; /* 8 bytes, aligned */
};

struct sim_nm {
	struct sim_nm_config config;
	struct sim_memory tables;
	struct sim_trace trace;
	struct vmmu_trace_ring ring;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	uint8_t *ram; /* gfn n is page n */
	uint64_t first_pfn, clock, random;
	struct sim_nm_slot slot[SIM_NM_SLOTS];
	struct sim_nm_vcpu cpu[SIM_NM_VCPUS];
	unsigned vcpus;
	struct sim_nm_vcpu *at; /* the one that acts */
	struct sim_nm_pending pending[SIM_NM_PENDING];
	bool *logged;     /* pages written since the last round of the log */
	bool *is_table;   /* pages that the judge has read as tables of L1's */
	uint64_t changes; /* of what L1's tables may say */
	bool not_final;   /* accesses are those of a walk of L2's own tables */
	uint64_t busy_gfn; /* of this page the next `busy_for` questions have no answer */
	unsigned busy_for;
	unsigned long accesses, exits, reflected, emulated, flushes, looks, refused;
	bool failed, silent;
	char failure[512];
};

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
/* All frames get other numbers. */
void sim_nm_migrate(struct sim_nm *nm);
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

/* L1's tables, walked by the manual. */
void sim_nm_model(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, struct sim_walk *out);

#endif
