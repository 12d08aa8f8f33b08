/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Large pages that were taken apart: for dirty logging or the like, and never became
 * one again; and for the guest to execute from them (nx_huge_pages).
 */
#include "doctor.h"

#include <stdlib.h>

#include "../question/writes.h"

enum { SPLITS = 8,
       NX_SPLITS = 8 };

struct split_of {
	uint64_t fact;
	bool nx;    /* the fault that caused it was a fetch */
	bool never; /* it has not become one page again */
};

struct splits {
	struct split_of *list;
	size_t count, room;
	uint64_t recovered, last_recovered; /* by the recovery of huge pages */
};

static char *splits_blind(const struct doctor *doctor)
{
	return doctor_without_tdp(doctor, "old value of an entry");
}

static void *splits_begin(struct doctor *doctor)
{
	(void)doctor;
	return allocate(sizeof(struct splits));
}

/* A fault of a fetch that the large page refuses: it may be written and not executed. */
static bool is_for_fetch(const struct doctor *doctor, uint64_t number)
{
	const struct fact *fault = model_fault_of(doctor->ask.model, number, NULL);
	const unsigned refused = ACCESS_FETCH | ACCESS_PRESENT;

	return fault && (ask_access(ask_mode(&doctor->ask, fault), fault->a) & refused) == refused;
}

/* A table where a large page was: in one write, or dropped first and then written. */
static bool takes_apart(const struct doctor *doctor, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number), *zap;
	uint64_t before;

	if (write_is_split(fact))
		return true;
	if (fact->level < VMMU_LEVEL_2M || kvm_entry_kind(fact->b, fact->level) != KVM_ENTRY_TABLE ||
	    !is_for_fetch(doctor, number))
		return false;
	before = model_before(doctor->ask.model, number);
	zap = before == MODEL_NONE ? NULL : model_fact(doctor->ask.model, before);
	return zap && write_is_zap(zap) && zap->thread == fact->thread &&
	       kvm_entry_kind(zap->a, zap->level) == KVM_ENTRY_LEAF;
}

static void splits_take(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	struct splits *splits = state;

	if (fact->kind != FACT_WRITE || fact->vm >= model_vm_count(doctor->ask.model))
		return;
	if (fact->cause == FACT_CAUSE_ZAP_NX && write_is_zap(fact)) {
		splits->recovered++;
		splits->last_recovered = number;
	}
	if (!takes_apart(doctor, number))
		return;
	if (splits->count == splits->room) {
		splits->room = splits->room ? 2 * splits->room : 64;
		splits->list = reallocate(splits->list, splits->room * sizeof(*splits->list));
	}
	splits->list[splits->count++] = (struct split_of){.fact = number, .nx = is_for_fetch(doctor, number)};
}

static void note_split(const struct doctor *doctor, struct finding *f, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	char *who = ask_thread_text(&doctor->ask, fact->thread);

	doctor_evidence(f, number, "%s page at gpa 0x%" PRIx64 " taken apart (%s) by %s", text_level_span(fact->level),
	                fact->address, fact_cause_name(fact->cause), who);
	free(who);
	extent_add(&f->where, number, number, fact->address, write_end(fact));
}

static void report_splits(struct doctor *doctor, struct splits *splits, unsigned vm)
{
	const struct model *model = doctor->ask.model;
	uint64_t bytes = 0, never = 0, all = 0;
	struct finding *found;

	for (size_t i = 0; i < splits->count; i++) {
		struct split_of *split = &splits->list[i];
		const struct fact *fact = model_fact(model, split->fact);

		if (split->nx || fact->vm != vm)
			continue;
		all++;
		split->never = split_joined(model, split->fact, doctor->ask.to) == MODEL_NONE;
		if (!split->never)
			continue;
		never++;
		bytes += vmmu_level_pages(fact->level) << VMMU_PAGE_SHIFT;
	}
	if (never < SPLITS)
		return;
	found = doctor_find(doctor, &illness_large_pages_split, vm,
	                    formatted("%s of %s large pages that were taken apart never became one again: %s are mapped by "
	                              "small pages now.",
	                              text_count(never).text, text_count(all).text, text_bytes(bytes).text));
	for (size_t i = 0; found && i < splits->count; i++)
		if (splits->list[i].never && model_fact(model, splits->list[i].fact)->vm == vm)
			note_split(doctor, found, splits->list[i].fact);
	if (!found)
		return;
	found->count = never;
	doctor_more(doctor, found, "pages");
}

static void large_pages_end(struct doctor *doctor, void *state)
{
	struct splits *splits = state;

	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++)
		report_splits(doctor, splits, vm);
	free(splits->list);
	free(splits);
}

const struct illness illness_large_pages_split = {
	.name = "large-pages-split",
	.title = "large pages were taken apart and stayed so",
	.advice =
		"The thread and the reason are named. Dirty logging splits on purpose; KVM makes large pages again when "
		"the log is switched off for the slot, so check that the VMM does so after a migration that failed or a "
		"snapshot. If the host's own page was split (partial madvise or munmap, KSM, a balloon that works by 4 KiB), "
		"nothing joins it: use free page reporting by 2 MiB, hugetlbfs, or khugepaged.",
	.blind = splits_blind,
	.begin = splits_begin,
	.take = splits_take,
	.end = large_pages_end,
};

/* ---- nx_huge_pages ------------------------------------------------------------------------- */

static void nx_end(struct doctor *doctor, void *state)
{
	struct splits *splits = state;

	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		struct rate rate = {0};
		struct finding *found;
		uint64_t count = 0;

		for (size_t i = 0; i < splits->count; i++) {
			const struct fact *fact = model_fact(doctor->ask.model, splits->list[i].fact);

			if (!splits->list[i].nx || fact->vm != vm)
				continue;
			count++;
			rate_add(&rate, fact->time);
		}
		if (count < NX_SPLITS)
			continue;
		found = doctor_find(doctor, &illness_nx_splits, vm,
		                    formatted("%s large pages were taken apart because the guest executed from them, up to %s a "
		                              "second.",
		                              text_count(count).text, text_count(rate.worst).text));
		for (size_t i = 0; found && i < splits->count; i++)
			if (splits->list[i].nx && model_fact(doctor->ask.model, splits->list[i].fact)->vm == vm)
				note_split(doctor, found, splits->list[i].fact);
		if (found && splits->recovered)
			doctor_evidence(found, splits->last_recovered, "%s entries dropped by the recovery of huge pages",
			                text_count(splits->recovered).text);
		if (!found)
			continue;
		found->count = count;
		doctor_more(doctor, found, "pages");
	}
	free(splits->list);
	free(splits);
}

const struct illness illness_nx_splits = {
	.name = "nx-splits",
	.title = "large pages are taken apart because the guest executes from them",
	.advice =
		"This is kvm.nx_huge_pages, the answer to iTLB multihit: each large page that is executed from becomes "
		"512 small ones, and a worker drops them again at intervals, which costs faults. Where the CPU is not "
		"affected (/sys/devices/system/cpu/vulnerabilities/itlb_multihit) or the guests are trusted, switch it off; "
		"else nx_huge_pages_recovery_ratio and _period_ms set how often.",
	.blind = splits_blind,
	.begin = splits_begin,
	.take = splits_take,
	.end = nx_end,
};
