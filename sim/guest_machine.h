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
	SIM_GM_CHANGING,               /* a call that makes, deletes or moves it is under way */
};

/* What the guest's tables no longer say, but a CPU might still know: where is it a finding? */
enum sim_gm_lateness {
	SIM_GM_NEVER_LATE,             /* everywhere */
	SIM_GM_CACHED_LATE,            /* in the engine's tables; not in what a CPU remembers of them */
	SIM_GM_ALL_LATE,               /* nowhere: as for an engine that lags behind */
};

struct sim_gm_slot {
	enum sim_gm_presence presence;
	struct vmmu_slot_info info;    /* backing: first page of RAM behind it */
	uint64_t moving_to;            /* CHANGING: base it may also have */
	uint32_t flags_before;         /* until the call that changes them is done */
};

struct sim_gm_vcpu {
	struct vmmu_vcpu *engine;
	struct vmmu_paging paging;     /* that the guest believes in */
	struct vmmu_root root;
	bool switching;                /* it runs on neither the old root nor the new one */
	uint64_t pdpte[4];             /* outside long mode: the CPU's own registers */
	struct sim_guest_cache cache;
	struct { uint64_t pointer; bool known; } space[SIM_GM_PCIDS]; /* root that the PCID was last used with */
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
	struct vmmu_trace_ring ring;   /* of management calls */
	uint64_t clock;                /* for the trace */
	pthread_mutex_t lock;          /* everything below; never held while the engine is called */
	uint8_t *ram;
	uint64_t ram_pages;
	uint64_t first_pfn;            /* frame of RAM's first page; steps when the host moves it */
	unsigned order;                /* of the runs that host.backing reports */
	struct sim_gm_slot slot[SIM_GM_SLOTS];
	uint64_t slots_changed;        /* in the history's time */
	struct sim_gm_vcpu vcpu[SIM_GM_VCPUS];
	unsigned vcpus;
	uint64_t random;
	struct sim_history history;
	uint64_t *written;             /* when each page was, since the last round of the log; 0: not */
	uint64_t exits, injected, emulated, accesses, flushes, entries;
	uint64_t looks;                /* of CPUs at addresses that nobody has asked for */
	uint64_t late;                 /* uses of what the guest's tables no longer said */
	/*
	 * What other CPUs do while the engine has let go of its locks: in host.backing,
	 * in host.flush before any TLB has forgotten anything, and while the host has
	 * taken a page.
	 */
	void (*meanwhile)(void *arg, unsigned busy);
	void *meanwhile_arg;
	bool flushing;
	bool exchanging;               /* accesses need not get on */
	unsigned busy;                 /* the vCPU that is in the engine */
	/* Points at which another actor may go on, and where this one must wait for another. */
	void (*pause)(void);
	void (*wait)(void);
	unsigned look_percent;         /* chance that CPUs look around when an entry has been written */
	enum sim_gm_lateness lateness;
	bool tagged;                   /* the host tags translations by PCID, and keeps those of other roots */
	bool threads;
	bool usable;                   /* false: made without memory, as planned */
	bool failed;
	bool silent;
	char failure[512];
};

struct sim_gm_config {
	uint64_t seed;
	unsigned vcpus;
	unsigned order;
	uint64_t ram_pages;
	unsigned table_frames;         /* 0: many */
	uint32_t max_shadow_tables;
	bool la57;
	bool threads;
	bool tagged;
	enum sim_gm_lateness lateness;
	unsigned look_percent;
	struct sim_fail_plan fail;     /* allocations that are refused, counted from the VM's creation on */
	void (*pause)(void);
	void (*wait)(void);
};

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
