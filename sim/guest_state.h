/* SPDX-License-Identifier: BSD-2-Clause */
/* What a machine without nested paging consists of, and how it is set up. */
#ifndef SIM_GUEST_STATE_H
#define SIM_GUEST_STATE_H

#include <vmmu/exit.h>
#include <vmmu/guest.h>

#include "guest_cache.h"
#include "guest_history.h"
#include "guest_model.h"
#include "memory.h"
#include "trace.h"

#define SIM_GM_VCPUS 3
#define SIM_GM_SLOTS 4
#define SIM_GM_PCIDS 8
#define SIM_GM_PLACES 16

enum sim_gm_presence {
	SIM_GM_ABSENT,
	SIM_GM_PRESENT,
	SIM_GM_CHANGING, /* a call that makes, deletes or moves it is under way */
};

/* What the guest's tables no longer say, but a CPU might still know: where is it a finding? */
enum sim_gm_lateness {
	SIM_GM_NEVER_LATE,  /* everywhere */
	SIM_GM_CACHED_LATE, /* in the engine's tables; not in what a CPU remembers of them */
	SIM_GM_ALL_LATE,    /* nowhere: as for an engine that lags behind */
};

struct sim_gm_slot {
	enum sim_gm_presence presence;
	struct vmmu_slot_info info; /* backing: first page of RAM behind it */
	uint64_t moving_to;         /* CHANGING: base it may also have */
	uint32_t flags_before;      /* until the call that changes them is done */
};

struct sim_gm_vcpu {
	struct vmmu_vcpu *engine;
	struct vmmu_paging paging; /* that the guest believes in */
	struct vmmu_root root;
	bool switching;    /* it runs on neither the old root nor the new one */
	uint64_t pdpte[4]; /* outside long mode: the CPU's own registers */
	struct sim_guest_cache cache;
	struct {
		uint64_t pointer;
		bool known;
	} space[SIM_GM_PCIDS]; /* root that the PCID was last used with */
	struct sim_invalidations log;
	uint64_t place[SIM_GM_PLACES]; /* addresses it has used, to look at again */
	unsigned places;
	struct vmmu_trace_ring ring;
};

struct sim_gm {
	struct sim_memory tables;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	struct sim_trace trace;
	struct vmmu_trace_ring ring; /* of management calls */
	uint64_t clock;              /* for the trace */
	pthread_mutex_t lock;        /* everything below; never held while the engine is called */
	uint8_t *ram;
	uint64_t ram_pages;
	uint64_t first_pfn; /* frame of RAM's first page; steps when the host moves it */
	unsigned order;     /* of the runs that host.backing reports */
	/*
	 * Copy on write, and nobody is told: a page is in a frame that may be read, in one
	 * run with all others, until the host is asked for a write; then in one of its own.
	 * NULL: there is none. Once a CPU has written the page the first frame is wrong.
	 */
	struct sim_gm_copy {
		bool made, written;
	} * copy;
	struct sim_gm_slot slot[SIM_GM_SLOTS];
	uint64_t slots_changed; /* in the history's time */
	struct sim_gm_vcpu vcpu[SIM_GM_VCPUS];
	unsigned vcpus;
	uint64_t random;
	struct sim_history history;
	uint64_t *written; /* when each page was, since the last round of the log; 0: not */
	uint64_t exits, injected, emulated, accesses, flushes, entries;
	uint64_t looks; /* of CPUs at addresses that nobody has asked for */
	uint64_t late;  /* uses of what the guest's tables no longer said */
	/*
	 * What other CPUs do while the engine has let go of its locks: in host.backing,
	 * in host.flush before any TLB has forgotten anything, and while the host has
	 * taken a page.
	 */
	void (*meanwhile)(void *arg, unsigned busy);
	void *meanwhile_arg;
	bool flushing;
	bool exchanging; /* accesses need not get on */
	unsigned busy;   /* the vCPU that is in the engine */
	/* Points at which another actor may go on, and where this one must wait for another. */
	void (*pause)(void);
	void (*wait)(void);
	unsigned look_percent; /* chance that CPUs look around when an entry has been written */
	unsigned busy_one_in;  /* guest memory cannot be read just now, once in so many reads of the engine's; 0: never */
	uint64_t busy_random;
	enum sim_gm_lateness lateness;
	bool tagged; /* the host tags translations by PCID, and keeps those of other roots */
	bool threads;
	bool usable; /* false: made without memory, as planned */
	bool failed;
	bool silent;
	char failure[512];
};

struct sim_gm_config {
	uint64_t seed;
	unsigned vcpus;
	unsigned order;
	bool copy_on_write;
	uint64_t ram_pages;
	unsigned table_frames; /* 0: many */
	uint32_t max_shadow_tables;
	bool la57;
	bool threads;
	bool tagged;
	enum sim_gm_lateness lateness;
	unsigned look_percent;
	unsigned busy_one_in;
	struct sim_fail_plan fail; /* allocations that are refused, counted from the VM's creation on */
	void (*pause)(void);
	void (*wait)(void);
};

#endif
