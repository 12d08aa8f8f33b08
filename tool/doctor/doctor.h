/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu doctor: known illnesses of second-level tables, each in a file of its own.
 * All of them look at the same facts in one pass and add what they find.
 */
#ifndef TOOL_DOCTOR_H
#define TOOL_DOCTOR_H

#include "../question/ask.h"

struct illness;

/* Which facts something is about, and which addresses. Empty when it is all zero. */
struct extent {
	bool any;
	uint64_t first, last; /* facts */
	uint64_t low, high;   /* addresses; low > high: none */
};
/* Facts [first, last] and addresses [low, high] are of it, too. */
void extent_add(struct extent *extent, uint64_t first, uint64_t last, uint64_t low, uint64_t high);

/* One illness of one VM, with what shows it. */
struct finding {
	const struct illness *illness;
	unsigned vm;
	char *what;     /* one sentence with numbers */
	char *command;  /* that shows more; NULL: none */
	uint64_t count; /* how often, of whatever it is */
	struct extent where;
	struct evidence {
		uint64_t fact; /* MODEL_NONE: none in particular */
		char *text;
	} * evidence;
	size_t evidence_count;
};

struct doctor {
	struct ask ask;
	struct open_fault *open; /* by thread */
	struct finding *findings;
	size_t count;
};

/* A fault that is over. */
struct ended_fault {
	uint64_t number; /* its fact */
	bool wrote;      /* entries */
	bool device;     /* what it found is a device */
	bool instead;    /* no entry was needed: the guest goes on without one */
	bool user;       /* it left to the VMM */
};

struct illness {
	const char *name;   /* one word that never changes */
	const char *title;  /* what is wrong, as one would say it */
	const char *advice; /* what to do */
	/* Why it cannot be seen in this trace; NULL: it can. The caller frees. */
	char *(*blind)(const struct doctor *doctor);
	void *(*begin)(struct doctor *doctor);
	/* Each fact in the order of time, and each fault when it is over; NULL: not wanted. */
	void (*take)(struct doctor *doctor, void *state, uint64_t number);
	void (*fault)(struct doctor *doctor, void *state, const struct ended_fault *fault);
	/* Add findings, free the state. */
	void (*end)(struct doctor *doctor, void *state);
};

extern const struct illness illness_repeating_fault, illness_page_comes_and_goes, illness_device_storm,
	illness_large_pages_split, illness_idle_dirty_log, illness_zap_all_storm, illness_notifier_storm,
	illness_misaligned_slot, illness_nx_splits;

/* A new finding, or NULL where --vm names another VM. Takes over `what`. Valid until the next call. */
struct finding *doctor_find(struct doctor *doctor, const struct illness *illness, unsigned vm, char *what);
void doctor_evidence(struct finding *finding, uint64_t fact, const char *format, ...) PRINTF_LIKE(3, 4);
/* That shows more: a question, asked of this VM. */
void doctor_more(const struct doctor *doctor, struct finding *finding, const char *question);
/* Is it a trace of the visor, not a recording of KVM? */
bool doctor_of_visor(const struct doctor *doctor);
/*
 * Why an illness cannot be seen, where no VM has the TDP MMU: the others record no `what`.
 * NULL: some VM has it. The caller frees.
 */
char *doctor_without_tdp(const struct doctor *doctor, const char *what);
/* "gpa 0x1000" or, under shadow paging, "address 0x1000". */
const char *doctor_address_name(const struct doctor *doctor, unsigned vm);
/* How much time passed between two facts. */
double doctor_seconds(const struct doctor *doctor, uint64_t first, uint64_t last);

/* How many were the most in any one second? */
struct rate {
	uint64_t begin, count, worst; /* the window under way, and the best one */
};
void rate_add(struct rate *rate, uint64_t time);

/* Which of many values is the most frequent, if one makes up more than half. */
struct majority {
	uint64_t value, lead;
};
void majority_add(struct majority *majority, uint64_t value);

int question_doctor(int argc, char **argv);

#endif
