/* SPDX-License-Identifier: BSD-2-Clause */
/* What a simulated machine consists of, and how it is set up. */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include "backing.h"
#include "memory.h"
#include "ref.h"
#include "tlb.h"
#include "trace.h"
#include "walker.h"

#include <vmmu/exit.h>
#include <vmmu/vmmu.h>

#define SIM_MAX_VCPUS 8
#define SIM_MAX_BACKINGS 256
#define SIM_INTERESTS 16

struct sim_config {
	enum vmmu_mode mode;
	struct vmmu_cpu cpu;
	uint8_t levels;
	uint8_t max_level;
	uint8_t fault_around;
	uint8_t guest_maxphyaddr;
	uint32_t max_slots;
	bool no_mmio_cache;
	unsigned vcpus; /* 0 = 1 */
	uint64_t seed;
	unsigned table_frames;     /* 0 = 4096 */
	unsigned evict_percent;    /* of the modelled TLBs; 0 = they keep all they can hold */
	unsigned ring_records;     /* 0 = 256 */
	bool untraced;             /* no records; nothing to replay */
	bool unwatched;            /* no look at the tables after each write, no full check after each call */
	bool unhooked;             /* no test hook: the ways that the engine takes in production, traced or not */
	bool tsc;                  /* records have the TSC's time, not the sim's */
	bool threads;              /* calls come from several threads: no TLB model, no hook */
	bool interleaved;          /* calls come from several fibers: another may act within a call */
	bool silent;               /* findings are kept, not printed */
	struct sim_fail_plan fail; /* allocations that are refused, counted from the VM's creation on */
};

struct sim_vcpu {
	struct vmmu_vcpu *engine;
	struct vmmu_root root;
	struct sim_walk_start start;
	struct sim_walker walker;
	struct sim_tlb tlb;
	struct vmmu_trace_ring ring;
	uint64_t writing; /* gfn + 1 of the write under way, 0 = none */
};

struct sim {
	struct sim_config config;
	struct sim_memory memory;
	struct sim_trace trace;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	struct vmmu_trace_ring ring; /* of management calls */
	struct sim_vcpu vcpu[SIM_MAX_VCPUS];
	unsigned vcpus;
	struct sim_backing backing[SIM_MAX_BACKINGS];
	unsigned backings;
	struct sim_ref ref;
	struct sim_ref *ref_after; /* while a call is under way: what will hold when it is done */
	uint64_t next_pfn;
	uint64_t clock;
	uint64_t random;
	uint64_t interest[SIM_INTERESTS]; /* gfns looked at after each write */
	unsigned interests;
	/* counted */
	uint64_t writes; /* entries written, as the hook saw them */
	uint64_t flushes;
	uint64_t rounds; /* dirty logs fetched */
	uint64_t backing_calls;
	uint64_t ad_writes; /* A/D bits the CPU had to set itself */
	/* a test's own hook behind the model's */
	void (*on_point)(void *arg, unsigned point, uint64_t table, unsigned index);
	void *on_point_arg;
	void (*on_relax)(void *arg);
	void (*on_flush)(void *arg); /* between the CPUs of one flush: they forget at different times */
	struct vmmu_fault fault;     /* the last one, as the engine left it */
	/* verdict */
	bool failed;
	char failure[512];
	pthread_mutex_t lock;
	pthread_rwlock_t walks; /* threads: held by a walk; a flush waits for all of them */
};

#endif
