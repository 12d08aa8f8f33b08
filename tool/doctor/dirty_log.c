/* SPDX-License-Identifier: BSD-2-Clause */
/* Dirty logging that write-protects what nobody writes. */
#include "doctor.h"

#include <stdlib.h>

#include "../question/writes.h"

enum { PAGES = 512,          /* protected */
       WRITTEN_PERCENT = 10, /* of them written again: less than that is idle */
       ROUND_GAP_NS = 20000000,
       ROUNDS = 4, /* shown */
       TIME_TO_WRITE_NS = 50000000 };

struct log_round {
	uint64_t first, last, pages; /* facts */
};

struct vm_log {
	uint64_t pages, repaired;
	struct extent where; /* of what was protected */
	uint64_t rounds;
	bool repairing;                 /* something was written since the last protection */
	struct log_round round[ROUNDS]; /* the first ones */
};

static char *log_blind(const struct doctor *doctor)
{
	return doctor_without_tdp(doctor, "write protection");
}

static void *log_begin(struct doctor *doctor)
{
	return allocate(model_vm_count(doctor->ask.model) * sizeof(struct vm_log));
}

static void log_take(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	struct vm_log *log = state;

	if (fact->kind != FACT_WRITE || fact->vm >= model_vm_count(doctor->ask.model))
		return;
	log += fact->vm;
	if (write_is_repair(fact)) {
		log->repaired++;
		log->repairing = true;
	}
	if (!write_is_protection(fact))
		return;
	if (!log->pages || log->repairing ||
	    fact->time - model_fact(doctor->ask.model, log->where.last)->time > ROUND_GAP_NS) {
		if (log->rounds < ROUNDS)
			log->round[log->rounds] = (struct log_round){.first = number};
		log->rounds++;
		log->repairing = false;
	}
	log->pages++;
	extent_add(&log->where, number, number, fact->address, write_end(fact));
	if (log->rounds <= ROUNDS) {
		log->round[log->rounds - 1].last = number;
		log->round[log->rounds - 1].pages++;
	}
}

static void log_end(struct doctor *doctor, void *state)
{
	const struct model *model = doctor->ask.model;
	struct vm_log *logs = state;

	for (unsigned vm = 0; vm < model_vm_count(model); vm++) {
		const struct vm_log *log = &logs[vm];
		struct finding *found;

		if (log->pages < PAGES || log->repaired * 100 >= log->pages * WRITTEN_PERCENT ||
		    model_fact(model, doctor->ask.to - 1)->time - model_fact(model, log->where.last)->time < TIME_TO_WRITE_NS)
			continue;
		found = doctor_find(doctor, &illness_idle_dirty_log, vm,
		                    formatted("%s pages were write-protected in %s round%s, and %s of them written again (%u %%).",
		                              text_count(log->pages).text, text_count(log->rounds).text,
		                              log->rounds == 1 ? "" : "s", text_count(log->repaired).text,
		                              (unsigned)(log->repaired * 100 / log->pages)));
		if (!found)
			continue;
		for (uint64_t i = 0; i < log->rounds && i < ROUNDS; i++)
			doctor_evidence(found, log->round[i].first, "%s pages protected in %s",
			                text_count(log->round[i].pages).text,
			                ask_duration(model_fact(model, log->round[i].last)->time -
			                             model_fact(model, log->round[i].first)->time)
			                        .text);
		found->count = log->pages - log->repaired;
		found->where = log->where;
		doctor_more(doctor, found, "dirty");
	}
	free(logs);
}

const struct illness illness_idle_dirty_log = {
	.name = "idle-dirty-log",
	.title = "dirty logging protects pages that nobody writes",
	.advice =
		"All of the slot is walked and protected while few pages change. Let KVM start with all pages dirty and "
		"clear by parts (KVM_DIRTY_LOG_MANUAL_PROTECT2 with INITIALLY_SET), or use the dirty ring, so that only pages "
		"that are sent are protected; split large slots, and log only those that can change.",
	.blind = log_blind,
	.begin = log_begin,
	.take = log_take,
	.end = log_end,
};
