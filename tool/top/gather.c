/* SPDX-License-Identifier: BSD-2-Clause */
/* From facts to counts: by VM, by region of guest memory, by the guest's function. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#include "../question/writes.h"
#include "top.h"

void gather_init(struct gather *gather)
{
	*gather = (struct gather){.taken = 0};
	map_init(&gather->regions.places, map_random_seed());
	map_init(&gather->places.places, map_random_seed());
}

void gather_free(struct gather *gather)
{
	map_free(&gather->regions.places);
	map_free(&gather->places.places);
	free(gather->regions.list);
	free(gather->places.list);
	free(gather->vms);
}

static struct counts *spot_for(struct spots *spots, uint64_t key, uint64_t fact)
{
	uint64_t *place = map_at(&spots->places, key);

	if (*place == MAP_NONE) {
		if (spots->count == spots->room) {
			spots->room = spots->room ? 2 * spots->room : 64;
			spots->list = reallocate(spots->list, spots->room * sizeof(*spots->list));
		}
		*place = spots->count;
		spots->list[spots->count++] = (struct spot){.key = key};
	}
	spots->list[*place].last = fact;
	return &spots->list[*place].counts;
}

static void count(struct gather *gather, const struct fact *fact, uint64_t number, enum counter counter)
{
	gather->vms[fact->vm].counts.total[counter]++;
	spot_for(&gather->regions, spot_key(fact->vm, fact->address >> REGION_SHIFT), number)->total[counter]++;
}

/* For the function that holds the fault's instruction, or for the instruction where names are not known. */
static void count_place(struct gather *gather, const struct ask *ask, const struct fact *fault, uint64_t number, enum counter counter)
{
	uint64_t offset = 0;

	if (!fault || !fault->b)
		return;
	if (!symbols_find(&ask->symbols, fault->b, &offset))
		offset = 0;
	/* Kernels' addresses are above 2^47: what is cut off their ends is put back by its sign. */
	spot_for(&gather->places, spot_key(fault->vm, fault->b - offset), number)->total[counter]++;
}

/* What is mapped, by sizes, and how many tables there are. */
static void count_entry(struct vm_counts *vm, const struct fact *fact)
{
	unsigned level = fact->level <= 3 ? fact->level : 3;
	bool had = fact->kind == FACT_WRITE;
	bool was = had && kvm_entry_kind(fact->a, fact->level) == KVM_ENTRY_LEAF;
	bool was_table = had && kvm_entry_kind(fact->a, fact->level) == KVM_ENTRY_TABLE;

	/* What was there before the trace began shows when it goes. */
	vm->leaves[level] -= was && vm->leaves[level] > 0;
	vm->leaves[level] += kvm_entry_kind(fact->b, fact->level) == KVM_ENTRY_LEAF;
	vm->tables -= was_table && vm->tables > 0;
	vm->tables += kvm_entry_kind(fact->b, fact->level) == KVM_ENTRY_TABLE;
}

static void take_write(struct gather *gather, const struct ask *ask, const struct fact *fact, uint64_t number)
{
	struct vm_counts *vm = &gather->vms[fact->vm];

	count_place(gather, ask, model_fault_of(ask->model, number, NULL), number, COUNT_WRITES);

	vm->cause[fact->cause < FACT_CAUSE_END ? fact->cause : 0]++;
	count_entry(vm, fact);
	/* Upper tables cover far more than anybody meant. */
	if (fact->level > VMMU_LEVEL_2M) {
		vm->counts.total[COUNT_WRITES]++;
		return;
	}
	count(gather, fact, number, COUNT_WRITES);
	if (write_is_zap(fact))
		count(gather, fact, number, COUNT_DROPS);
}

static void take_fault(struct gather *gather, const struct ask *ask, const struct fact *fact, uint64_t number)
{
	count(gather, fact, number, COUNT_FAULTS);
	count_place(gather, ask, fact, number, COUNT_FAULTS);
	/* Where accesses to devices have events of their own, those are counted. */
	if (!gather->vms[fact->vm].accesses && ask_access(ask_mode(ask, fact), fact->a) & ACCESS_DEVICE) {
		count(gather, fact, number, COUNT_DEVICE);
		count_place(gather, ask, fact, number, COUNT_DEVICE);
	}
}

static void take_access(struct gather *gather, const struct ask *ask, const struct fact *fact, uint64_t number)
{
	gather->vms[fact->vm].accesses = true;
	if (fact->cause == FACT_MMIO_READ_PENDING)
		return;
	count(gather, fact, number, COUNT_DEVICE);
	count_place(gather, ask, model_fault_of(ask->model, number, NULL), number, COUNT_DEVICE);
}

static void take(struct gather *gather, const struct ask *ask, uint64_t number)
{
	const struct fact *fact = model_fact(ask->model, number);

	if (fact->kind == FACT_LOST)
		gather->lost += fact->a ? fact->a : 1;
	if (fact->time > gather->time)
		gather->time = fact->time;
	if (fact->vm == FACT_NO_VM)
		return;
	while (fact->vm >= gather->vm_count) {
		gather->vms = reallocate(gather->vms, (gather->vm_count + 1) * sizeof(*gather->vms));
		gather->vms[gather->vm_count++] = (struct vm_counts){.tables = 0};
	}
	switch (fact->kind) {
	case FACT_FAULT:
		take_fault(gather, ask, fact, number);
		break;
	case FACT_MMIO:
		take_access(gather, ask, fact, number);
		break;
	case FACT_WRITE:
	case FACT_SET:
		take_write(gather, ask, fact, number);
		break;
	case FACT_FOUND:
		count_entry(&gather->vms[fact->vm], fact);
		break;
	default:
		break;
	}
}

void gather_take(struct gather *gather, const struct ask *ask)
{
	uint64_t all = model_count(ask->model);

	/* More may have come than are kept. */
	if (all > MODEL_LIVE_FACTS && gather->taken < all - MODEL_LIVE_FACTS)
		gather->taken = all - MODEL_LIVE_FACTS;
	for (; gather->taken < all; gather->taken++)
		take(gather, ask, gather->taken);
}

static void tick(struct counts *counts, double seconds)
{
	for (unsigned i = 0; i < COUNTERS; i++) {
		counts->rate[i] = (double)(counts->total[i] - counts->before[i]) / seconds;
		counts->before[i] = counts->total[i];
	}
}

void gather_tick(struct gather *gather, double seconds)
{
	double recorded = gather->time_before ? (double)(gather->time - gather->time_before) * 1e-9 : 0;

	/* While it catches up, more time passes in the recording than on the wall. */
	if (recorded > seconds)
		seconds = recorded;
	gather->time_before = gather->time;
	for (size_t i = 0; i < gather->vm_count; i++) {
		struct vm_counts *vm = &gather->vms[i];

		tick(&vm->counts, seconds);
		for (unsigned cause = 0; cause < FACT_CAUSE_END; cause++) {
			vm->cause_rate[cause] = (double)(vm->cause[cause] - vm->cause_before[cause]) / seconds;
			vm->cause_before[cause] = vm->cause[cause];
		}
	}
	for (size_t i = 0; i < gather->regions.count; i++)
		tick(&gather->regions.list[i].counts, seconds);
	for (size_t i = 0; i < gather->places.count; i++)
		tick(&gather->places.list[i].counts, seconds);
}
