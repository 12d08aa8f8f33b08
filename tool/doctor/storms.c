/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables that are dropped over and over: as a whole, or page by page for the host's sake. */
#include "doctor.h"

#include <stdlib.h>

#include <vmmu/vmmu.h>

#include "../question/writes.h"

enum { ZAP_ALLS = 4,      /* in one second */
       ZAP_ALL_BACK = 64, /* and pages that were mapped again at once: firmware at boot has few */
       BACK = 64,         /* pages that came back with the same frame */
       SAME_PERCENT = 50, /* of those dropped */
       SOON_NS = 1000000000 };

/* ---- everything at once ------------------------------------------------------------------- */

struct zap_all {
	struct rate rate;
	uint64_t count, first, last, leaves, back;
	uint32_t thread; /* that dropped everything last */
	uint64_t *facts; /* of zap-alls, the first ones */
	size_t shown;
};

static void *zap_all_begin(struct doctor *doctor)
{
	return allocate(model_vm_count(doctor->ask.model) * sizeof(struct zap_all));
}

/* Tables that go take their entries along. */
static bool is_of_zap_all(const struct doctor *doctor, const struct zap_all *all, const struct fact *zap)
{
	return zap->thread == all->thread && zap->time >= model_fact(doctor->ask.model, all->first)->time &&
	       (zap->cause == FACT_CAUSE_ZAP_ALL || zap->cause == FACT_CAUSE_ZAP_TABLE);
}

static void zap_all_take(struct doctor *doctor, void *state, uint64_t number)
{
	enum { SHOWN = 64 };
	const struct fact *fact = model_fact(doctor->ask.model, number), *zap;
	struct zap_all *all = state;
	bool same;

	if (fact->vm >= model_vm_count(doctor->ask.model))
		return;
	all += fact->vm;
	if (fact->kind == FACT_ZAP_ALL) {
		if (!all->count++)
			all->first = number;
		all->last = number;
		all->thread = fact->thread;
		rate_add(&all->rate, fact->time);
		if (all->shown < SHOWN) {
			all->facts = reallocate(all->facts, (all->shown + 1) * sizeof(*all->facts));
			all->facts[all->shown++] = number;
		}
	}
	if (fact->kind != FACT_WRITE || !all->count)
		return;
	if (write_is_zap(fact)) {
		all->leaves += is_of_zap_all(doctor, all, fact) && kvm_entry_kind(fact->a, fact->level) == KVM_ENTRY_LEAF;
		return;
	}
	zap = write_maps_again(doctor->ask.model, number, &same);
	all->back += zap && is_of_zap_all(doctor, all, zap) && fact->time - zap->time <= SOON_NS;
}

static void zap_all_end(struct doctor *doctor, void *state)
{
	struct zap_all *alls = state;

	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		struct zap_all *all = &alls[vm];
		struct finding *found = NULL;

		if (all->rate.worst >= ZAP_ALLS && all->back >= ZAP_ALL_BACK)
			found = doctor_find(doctor, &illness_zap_all_storm, vm,
			                    formatted("All tables were dropped %s times, up to %s times a second: %s pages, of which "
			                              "%s were mapped again within a second.",
			                              text_count(all->count).text, text_count(all->rate.worst).text,
			                              text_count(all->leaves).text, text_count(all->back).text));
		for (size_t i = 0; found && i < all->shown; i++) {
			char *who = ask_thread_text(&doctor->ask, model_fact(doctor->ask.model, all->facts[i])->thread);

			doctor_evidence(found, all->facts[i], "kvm_mmu_zap_all_fast by %s", who);
			free(who);
		}
		if (found) {
			found->count = all->count;
			extent_add(&found->where, all->first, all->last, UINT64_MAX, 0);
			doctor_more(doctor, found, "zaps");
		}
		free(all->facts);
	}
	free(alls);
}

static char *drops_blind(const struct doctor *doctor)
{
	return doctor_without_tdp(doctor, "drop of an entry");
}

const struct illness illness_zap_all_storm = {
	.name = "zap-all-storm",
	.title = "all tables of the VM are dropped again and again",
	.advice =
		"KVM drops everything when a memory slot is deleted or moved. Find what changes slots at these times: a "
		"guest that moves a PCI BAR or toggles a ROM, SMM or VGA windows at boot, hotplug, a VMM that deletes and "
		"creates a slot where changing its flags would do. Since Linux 6.12 a VMM can switch the quirk "
		"KVM_X86_QUIRK_SLOT_ZAP_ALL off, and only the slot's own pages go.",
	.blind = drops_blind,
	.begin = zap_all_begin,
	.take = zap_all_take,
	.end = zap_all_end,
};

/* ---- MMU notifiers ---------------------------------------------------------------------------- */

struct notifier {
	uint64_t dropped, back, same, unmaps;
	struct extent where;
	struct majority who;
};

static bool is_for_the_host(const struct fact *zap)
{
	return zap->cause == FACT_CAUSE_ZAP_NOTIFIER || zap->cause == VMMU_CAUSE_ZAP_RANGE;
}

static void *notifier_begin(struct doctor *doctor)
{
	return allocate(model_vm_count(doctor->ask.model) * sizeof(struct notifier));
}

static void note_drop(struct notifier *n, const struct fact *fact, uint64_t number)
{
	n->dropped++;
	majority_add(&n->who, fact->thread);
	extent_add(&n->where, number, number, fact->address, write_end(fact));
}

static void notifier_take(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number), *zap;
	struct notifier *n = state;
	bool same;

	if (fact->vm >= model_vm_count(doctor->ask.model))
		return;
	n += fact->vm;
	n->unmaps += fact->kind == FACT_UNMAP;
	if (fact->kind != FACT_WRITE)
		return;
	if (write_is_zap(fact)) {
		if (is_for_the_host(fact) && kvm_entry_kind(fact->a, fact->level) == KVM_ENTRY_LEAF)
			note_drop(n, fact, number);
		return;
	}
	zap = write_maps_again(doctor->ask.model, number, &same);
	if (!zap || !is_for_the_host(zap) || fact->time - zap->time > SOON_NS)
		return;
	n->back++;
	n->same += same;
}

static void notifier_end(struct doctor *doctor, void *state)
{
	struct notifier *all = state;

	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		const struct notifier *n = &all[vm];
		struct finding *found;
		char *who;

		if (n->same < BACK || n->same * 100 < n->dropped * SAME_PERCENT)
			continue;
		found = doctor_find(doctor, &illness_notifier_storm, vm,
		                    formatted("The host had %s pages dropped; %s were mapped again within a second, %s of them to "
		                              "the very same frame: they had never gone.",
		                              text_count(n->dropped).text, text_count(n->back).text, text_count(n->same).text));
		if (!found)
			continue;
		who = ask_thread_text(&doctor->ask, (uint32_t)n->who.value);
		doctor_evidence(found, n->where.first, "the first of them; %s by %s", n->who.lead ? "most" : "some", who);
		free(who);
		doctor_evidence(found, n->where.last, "the last of them, %.3f s later",
		                doctor_seconds(doctor, n->where.first, n->where.last));
		if (n->unmaps)
			doctor_evidence(found, MODEL_NONE, "%s calls of the notifier (kvm_unmap_hva_range)", text_count(n->unmaps).text);
		found->count = n->same;
		found->where = n->where;
		doctor_more(doctor, found, "zaps");
	}
	free(all);
}

const struct illness illness_notifier_storm = {
	.name = "notifier-storm",
	.title = "the host takes pages from the tables that it then gives back unchanged",
	.advice =
		"An MMU notifier drops entries whenever the host changes its own mapping, even if the frame stays. Usual "
		"causes: NUMA balancing (kernel.numa_balancing=0, or bind the VM's memory and vCPUs), mprotect by the VMM, "
		"KSM and transparent huge pages scanning (MADV_UNMERGEABLE, khugepaged's defrag), fork of the VMM "
		"(MADV_DONTFORK). `vmmu record --stacks` names the caller.",
	.blind = drops_blind,
	.begin = notifier_begin,
	.take = notifier_take,
	.end = notifier_end,
};
