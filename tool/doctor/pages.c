/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One page that faults again and again: because nothing is ever mapped for it, or
 * because what is mapped is dropped again at once.
 */
#include "doctor.h"

#include <stdlib.h>

#include "../question/writes.h"

enum { DRY = 16,   /* faults of one page without an entry written in between */
       COMES = 32, /* times that one page was mapped, dropped and mapped again */
       SOON_NS = 1000000000 };

struct page {
	uint64_t key;
	uint64_t dry, first_dry, best, best_first, best_last; /* the run under way, and the longest one */
	uint64_t again, first_again, last_again, zap;         /* facts */
	bool user;
};

struct pages {
	struct map places;
	struct page *list;
	size_t count, room;
};

static void *pages_begin(struct doctor *doctor)
{
	struct pages *pages = allocate(sizeof(*pages));

	(void)doctor;
	map_init(&pages->places, map_random_seed());
	return pages;
}

static struct page *page_for(struct pages *pages, uint64_t vm, uint64_t address)
{
	uint64_t key = vm << 52 | address >> VMMU_PAGE_SHIFT, *place = map_at(&pages->places, key);

	if (*place == MAP_NONE) {
		if (pages->count == pages->room) {
			pages->room = pages->room ? 2 * pages->room : 256;
			pages->list = reallocate(pages->list, pages->room * sizeof(*pages->list));
		}
		*place = pages->count;
		pages->list[pages->count++] = (struct page){.key = key};
	}
	return &pages->list[*place];
}

static unsigned vm_of(const struct page *page)
{
	return (unsigned)(page->key >> 52);
}

static uint64_t address_of(const struct page *page)
{
	return page->key << 12 >> 12 << VMMU_PAGE_SHIFT;
}

static int by_best(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	if (x->best != y->best)
		return x->best > y->best ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static int by_again(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	if (x->again != y->again)
		return x->again > y->again ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static void pages_free(struct pages *pages)
{
	map_free(&pages->places);
	free(pages->list);
	free(pages);
}

static void cover(struct finding *f, const struct page *page, uint64_t first, uint64_t last)
{
	extent_add(&f->where, first, last, address_of(page), address_of(page) + 4095);
}

/* That shows more: a question, asked of these addresses. */
static void more_there(const struct doctor *doctor, struct finding *f, const char *question)
{
	f->command = formatted("vmmu %s --gpa %" PRIx64 "-%" PRIx64 " %s", question, f->where.low, f->where.high, doctor->ask.path);
}

/* ---- nothing is ever mapped --------------------------------------------------------------- */

static void repeating_fault(struct doctor *doctor, void *state, const struct ended_fault *ended)
{
	const struct fact *fault = model_fact(doctor->ask.model, ended->number);
	struct page *page;

	if (ended->device)
		return;
	page = page_for(state, fault->vm, fault->address);
	page->user |= ended->user;
	if (ended->wrote || ended->instead) {
		page->dry = 0;
		return;
	}
	if (!page->dry++)
		page->first_dry = ended->number;
	if (page->dry > page->best) {
		page->best = page->dry;
		page->best_first = page->first_dry;
		page->best_last = ended->number;
	}
}

/* Another thread's write ends the run, too. */
static void repeating_write(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	struct pages *pages = state;
	uint64_t place;

	if (fact->kind != FACT_WRITE && fact->kind != FACT_SET)
		return;
	if (fact->level != VMMU_LEVEL_4K || !kvm_entry_is_there(fact->b, fact->level))
		return;
	place = map_get(&pages->places, (uint64_t)fact->vm << 52 | fact->address >> VMMU_PAGE_SHIFT);
	if (place != MAP_NONE)
		pages->list[place].dry = 0;
}

static const char *what_stands_there(const struct doctor *doctor, const struct page *page)
{
	struct model_walk walk;

	if (!model_vm(doctor->ask.model, vm_of(page))->tdp)
		return page->user ? "KVM leaves it to the VMM" : "what stands there is not recorded";
	model_walk(doctor->ask.model, vm_of(page), NULL, address_of(page), page->best_last, &walk);
	if (walk.count &&
	    kvm_entry_kind(walk.steps[walk.count - 1].entry, walk.steps[walk.count - 1].level) == KVM_ENTRY_LEAF)
		return "a page is mapped there, which does not satisfy the access";
	return page->user ? "nothing is mapped there, and each time it is left to the VMM" : "nothing is mapped there";
}

static void repeating_end(struct doctor *doctor, void *state)
{
	struct pages *pages = state;
	struct finding *found = NULL;

	if (pages->count)
		qsort(pages->list, pages->count, sizeof(*pages->list), by_best);
	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		size_t ill = 0;
		uint64_t faults = 0;

		for (size_t i = 0; i < pages->count && pages->list[i].best >= DRY; i++) {
			ill += vm_of(&pages->list[i]) == vm;
			faults += vm_of(&pages->list[i]) == vm ? pages->list[i].best : 0;
		}
		if (!ill)
			continue;
		found = doctor_find(doctor, &illness_repeating_fault, vm,
		                    formatted("%s faults of %s page%s, one after the other, wrote no entry: the guest cannot go "
		                              "on there.",
		                              text_count(faults).text, text_count(ill).text, ill == 1 ? "" : "s"));
		for (size_t i = 0; found && i < pages->count && pages->list[i].best >= DRY; i++) {
			const struct page *page = &pages->list[i];
			char *place;

			if (vm_of(page) != vm)
				continue;
			place = ask_place_text(&doctor->ask, model_fact(doctor->ask.model, page->best_last)->b);
			doctor_evidence(found, page->best_first, "%s 0x%" PRIx64 ": %s faults in %.3f s, the last at %s; %s",
			                doctor_address_name(doctor, vm), address_of(page), text_count(page->best).text,
			                doctor_seconds(doctor, page->best_first, page->best_last), place,
			                what_stands_there(doctor, page));
			cover(found, page, page->best_first, page->best_last);
			free(place);
		}
		if (found) {
			found->count = faults;
			more_there(doctor, found, "faults");
		}
	}
	pages_free(pages);
}

const struct illness illness_repeating_fault = {
	.name = "repeating-fault",
	.title = "a fault comes again and again, and nothing gets mapped",
	.advice =
		"Look at what backs the page. If each fault is left to the VMM, the host cannot give the page: its "
		"mapping there is missing or forbids the access (munmap, PROT_NONE, a truncated file, a poisoned page, "
		"userfaultfd that nobody serves); KVM_RUN returns EFAULT, and a VMM that simply runs again never ends. If "
		"a page is mapped that does not satisfy the access, compare its rights with the access.",
	.begin = pages_begin,
	.take = repeating_write,
	.fault = repeating_fault,
	.end = repeating_end,
};

/* ---- mapped, dropped, mapped ------------------------------------------------------------- */

static void comes_take(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number), *zap;
	struct page *page;
	bool same;

	if (fact->kind != FACT_WRITE || fact->vm >= model_vm_count(doctor->ask.model))
		return;
	zap = write_maps_again(doctor->ask.model, number, &same);
	if (!zap || fact->time - zap->time > SOON_NS)
		return;
	page = page_for(state, fact->vm, fact->address);
	if (!page->again++)
		page->first_again = number;
	page->last_again = number;
	page->zap = model_before(doctor->ask.model, number);
}

static void comes_end(struct doctor *doctor, void *state)
{
	struct pages *pages = state;

	if (pages->count)
		qsort(pages->list, pages->count, sizeof(*pages->list), by_again);
	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		struct finding *found;
		uint64_t times = 0;
		size_t ill = 0;

		for (size_t i = 0; i < pages->count && pages->list[i].again >= COMES; i++) {
			ill += vm_of(&pages->list[i]) == vm;
			times += vm_of(&pages->list[i]) == vm ? pages->list[i].again : 0;
		}
		if (!ill)
			continue;
		found = doctor_find(doctor, &illness_page_comes_and_goes, vm,
		                    formatted("%s page%s dropped and mapped again within a second, %s times together.",
		                              text_count(ill).text, ill == 1 ? " was" : "s were", text_count(times).text));
		for (size_t i = 0; found && i < pages->count && pages->list[i].again >= COMES; i++) {
			const struct page *page = &pages->list[i];
			const struct fact *zap = model_fact(doctor->ask.model, page->zap);
			char *who;

			if (vm_of(page) != vm)
				continue;
			who = ask_thread_text(&doctor->ask, zap->thread);
			doctor_evidence(found, page->first_again, "%s 0x%" PRIx64 ": %s times in %.3f s; dropped (%s) by %s",
			                doctor_address_name(doctor, vm), address_of(page), text_count(page->again).text,
			                doctor_seconds(doctor, page->first_again, page->last_again),
			                fact_cause_name(zap->cause), who);
			cover(found, page, page->first_again, page->last_again);
			free(who);
		}
		if (found) {
			found->count = times;
			more_there(doctor, found, "zaps");
		}
	}
	pages_free(pages);
}

static char *comes_blind(const struct doctor *doctor)
{
	return doctor_without_tdp(doctor, "drop of an entry");
}

const struct illness illness_page_comes_and_goes = {
	.name = "page-comes-and-goes",
	.title = "a page is mapped, dropped and mapped again without end",
	.advice =
		"Somebody takes the page away while the guest uses it: the thread and the reason are named. Two usual "
		"ones are a VMM that discards or remaps memory in a loop (balloon, post-copy, a device that shares the "
		"page) and the host's own memory management (compaction, KSM, NUMA balancing) on a page that is hot.",
	.blind = comes_blind,
	.begin = pages_begin,
	.take = comes_take,
	.end = comes_end,
};
