/* SPDX-License-Identifier: BSD-2-Clause */
/* What the nested machine (nested_machine.h) is made of. */
#ifndef SIM_NESTED_STATE_H
#define SIM_NESTED_STATE_H

#include <vmmu/exit.h>
#include <vmmu/nested.h>

#include "memory.h"
#include "tlb.h"
#include "trace.h"
#include "walker.h"

enum { SIM_NM_SLOTS = 3,
       SIM_NM_VCPUS = 3,
       SIM_NM_SPACES = 4,   /* roots whose translations a CPU keeps at once: L1's, and three of L2 */
       SIM_NM_RECENT = 8,   /* addresses that a CPU looks at again */
       SIM_NM_PENDING = 12, /* words written, of which the engine is being told */
       SIM_NM_ORDER_MIXED = 64 };

struct sim_nm_config {
	uint64_t seed;
	enum vmmu_mode mode; /* EPT or NPT */
	unsigned order;      /* of the runs of frames that the host reports; SIM_NM_ORDER_MIXED: now this, now that */
	uint64_t skew;       /* pages by which frames are out of step with gfns */
	uint64_t ram_pages;
	unsigned vcpus;           /* 0: one */
	bool levels5;             /* of the CPU */
	bool no_1g;               /* the CPU has no pages of 1 GiB */
	bool no_exec_only, no_ad; /* nor these of EPT */
	uint8_t memtype;          /* of the host's memory */
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
	bool going; /* it is just being deleted */
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
	bool late;            /* the engine has been told; another vCPU may still owe the flush, until L2 is entered */
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
	bool *logged;      /* pages written since the last round of the log */
	bool *is_table;    /* pages that the judge has read as tables of L1's */
	uint64_t changes;  /* of what L1's tables may say */
	bool taking;       /* the host takes all of L1's memory back: nobody may read it */
	bool not_final;    /* accesses are those of a walk of L2's own tables */
	uint64_t busy_gfn; /* of this page the next `busy_for` questions have no answer */
	unsigned busy_for;
	unsigned long accesses, exits, reflected, emulated, flushes, looks, refused;
	bool failed, silent;
	char failure[512];
};

#endif
