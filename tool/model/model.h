/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The history of a trace's tables, ready for questions: its facts in the order of
 * time, and for each entry the last fact that concerns it, from which the ones
 * before are reached. It lives in an index, a file that is mapped: built once
 * beside the trace, in memory that does not grow with the number of events, and
 * used again as long as the trace stays as it is.
 */
#ifndef TOOL_MODEL_H
#define TOOL_MODEL_H

#include "../base/map.h"
#include "../fact/fact.h"
#include "../kvm/kvm.h"

#define MODEL_NONE UINT64_MAX

struct model_event_count {
	const char *name;
	uint64_t count;
	bool used; /* something is made of it */
};

/* What the trace is, and how its reading went. */
struct model_info {
	const char *kind, *machine, *clock, *tool, *damage, *record; /* "" = not said */
	unsigned cpus;
	uint64_t events, incomplete, lost, lost_times, out_of_order, foreign;
	uint64_t late;             /* of those out of order: could not be put in order, and count as late as others */
	uint64_t last_time;        /* of all events, also of those that nothing is made of; 0 = not said */
	uint64_t ticks_per_second; /* vmmu traces; 0 = times are ns */
	double build_seconds;
	struct model_event_count *counts;
	size_t count_count;
	const char **examples; /* of writes that nothing explains */
	size_t example_count;
};

struct model;

struct model_options {
	bool no_cache; /* neither use an index file nor leave one */
	bool quiet;    /* no progress */
};

/* "-" is standard input. False: *error says why (the caller frees). */
bool model_open(struct model **model, const char *path, const struct model_options *options, char **error);
void model_close(struct model *model);

/*
 * To watch while it happens: facts come one event after another and are kept in
 * memory, the last MODEL_LIVE_FACTS of them. Of the questions below only those
 * about VMs, threads, single facts and their faults can be asked. A file may grow.
 */
enum { MODEL_LIVE_FACTS = 1 << 20 };
bool model_open_live(struct model **model, const char *path, char **error);
/* Take the next event; false when there are no more. Waits for it. */
bool model_live_more(struct model *model);
/*
 * The same in two steps, for two threads: the first one waits and touches nothing that
 * a question looks at, the second one does not wait.
 */
bool model_live_wait(struct model *model);
void model_live_take(struct model *model);

const struct model_info *model_info(const struct model *model);
size_t model_vm_count(const struct model *model);
const struct kvm_vm *model_vm(const struct model *model, size_t vm);
size_t model_thread_count(const struct model *model);
/* NULL when there is no such thread. */
const struct kvm_thread *model_thread(const struct model *model, uint32_t thread);

uint64_t model_count(const struct model *model);
const struct fact *model_fact(const struct model *model, uint64_t number);
/* Times as the trace has them; seconds count from the first fact. */
uint64_t model_first_time(const struct model *model);
double model_seconds(const struct model *model, uint64_t time);
/* Number of the first fact whose time is after `time`. */
uint64_t model_after(const struct model *model, uint64_t time);

/*
 * The last fact before number `until` that concerns the entry that covers an
 * address at a level; root 0: in any. MODEL_NONE when there is none.
 */
uint64_t model_last(const struct model *model, unsigned vm, unsigned level, uint64_t address, unsigned root,
                    uint64_t until);
/* That one, or the last one before it in the same root that another table than `table` does not hold (0: not known). */
uint64_t model_last_in(const struct model *model, uint64_t number, uint64_t table);
/* The one of the same entry before this one, in any root. */
uint64_t model_before(const struct model *model, uint64_t number);
/* The fault that a fact belongs to; NULL: none. */
const struct fact *model_fault_of(const struct model *model, uint64_t number, uint64_t *fault);
/* Were events lost between two facts? */
bool model_lost_between(const struct model *model, uint64_t from, uint64_t to);

/* Each entry that was ever written, in no order. */
typedef void (*model_entry_fn)(void *arg, unsigned vm, unsigned level, uint64_t address, uint64_t last);
void model_each_entry(const struct model *model, model_entry_fn fn, void *arg);

/* One entry of a walk. */
struct model_step {
	unsigned level, index;
	uint64_t table; /* host-physical; 0 = not known */
	uint64_t entry;
	enum fact_known known; /* FACT_SEEN with fact MODEL_NONE: never written since its table was made */
	bool after_loss;       /* events were lost since it was known */
	uint64_t fact;         /* that says so */
};
struct model_walk {
	const struct kvm_root_info *root; /* NULL: none was known yet */
	struct model_step steps[5];
	unsigned count;
};
/* The root of a VM that its vCPUs walked before fact `until`; NULL = none known. */
const struct kvm_root_info *model_root(const struct model *model, unsigned vm, unsigned as_id, uint64_t until);
/* root NULL: the one that model_root names, address space 0. */
void model_walk(const struct model *model, unsigned vm, const struct kvm_root_info *root, uint64_t address,
                uint64_t until, struct model_walk *walk);

#endif
