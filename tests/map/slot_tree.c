/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trees of slots beside a sorted array: after each slot that comes or goes every
 * question has the same answer, and the depth stays logarithmic up to as many slots as
 * there may be, whatever step their ids have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory/memory.h"

enum { FEW = 96 };

static struct vmmu_slot slots[VMMU_MAX_SLOTS_DEFAULT];
static struct vmmu_slot *roots[VMMU_SLOT_ORDERS];

static void add(struct vmmu_slot *slot)
{
	for (enum vmmu_slot_order o = 0; o < VMMU_SLOT_ORDERS; o++)
		vmmu_slot_tree_add(&roots[o], o, slot);
}

static void take(struct vmmu_slot *slot)
{
	for (enum vmmu_slot_order o = 0; o < VMMU_SLOT_ORDERS; o++)
		vmmu_slot_tree_take(&roots[o], o, slot);
}

static void place(struct vmmu_slot *slot, uint32_t id, uint64_t first, uint64_t pages)
{
	*slot = (struct vmmu_slot){.info = {.id = id}, .first = first, .end = first + pages};
	/* What stands there from before must not matter. */
	for (enum vmmu_slot_order o = 0; o < VMMU_SLOT_ORDERS; o++)
		slot->below[o] = slot->above[o] = &slots[0];
}

/* The slots that are in the trees, without the trees. */
static const struct vmmu_slot *by_place(const bool *in, uint64_t least)
{
	const struct vmmu_slot *best = NULL;

	for (unsigned i = 0; i < FEW; i++)
		if (in[i] && slots[i].end > least && (!best || slots[i].first < best->first))
			best = &slots[i];
	return best;
}

static const struct vmmu_slot *by_id(const bool *in, uint64_t least)
{
	const struct vmmu_slot *best = NULL;

	for (unsigned i = 0; i < FEW; i++)
		if (in[i] && slots[i].info.id >= least && (!best || slots[i].info.id < best->info.id))
			best = &slots[i];
	return best;
}

static void same_answers(const bool *in)
{
	for (uint64_t gfn = 0; gfn <= FEW * 4 + 1; gfn++)
		assert_ptr_equal(vmmu_slot_tree_find(roots[VMMU_BY_PLACE], VMMU_BY_PLACE, gfn), by_place(in, gfn));
	for (uint64_t id = 0; id <= FEW * 3 + 1; id++)
		assert_ptr_equal(vmmu_slot_tree_find(roots[VMMU_BY_ID], VMMU_BY_ID, id), by_id(in, id));
}

/* Slots of one to four pages, most of which touch; ids in another order than places. */
static void slots_come_and_go(void **state)
{
	bool in[FEW] = {false};

	(void)state;
	srand(20261129);
	for (unsigned i = 0; i < FEW; i++)
		place(&slots[i], (i * 61 % FEW) * 3 + 1, i * 4ull, 1 + (unsigned)rand() % 4);
	for (unsigned step = 0; step < 1500; step++) {
		/* Nearly full, nearly empty, and between. */
		unsigned i = (unsigned)rand() % FEW, wanted = step / 250 % 3;

		if (wanted && in[i] != (wanted == 1))
			i = (unsigned)rand() % FEW;
		in[i] ? take(&slots[i]) : add(&slots[i]);
		in[i] = !in[i];
		same_answers(in);
	}
	for (unsigned i = 0; i < FEW; i++)
		if (in[i])
			take(&slots[i]);
	assert_null(roots[VMMU_BY_PLACE]);
	assert_null(roots[VMMU_BY_ID]);
}

static unsigned depth(const struct vmmu_slot *slot, enum vmmu_slot_order order)
{
	unsigned below, above;

	if (!slot)
		return 0;
	below = depth(slot->below[order], order);
	above = depth(slot->above[order], order);
	return 1 + (below > above ? below : above);
}

/* ids 0, step, 2 * step ... in the order of places, or against it. A list would be 32,764 deep. */
static void stays_shallow(void **state)
{
	static const uint32_t steps[] = {1, 2, 3, 64, 1 << 10, 1 << 16, 0xffffffff};

	(void)state;
	for (unsigned s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		for (unsigned i = 0; i < VMMU_MAX_SLOTS_DEFAULT; i++) {
			place(&slots[i], i * steps[s], i * 8ull, 8);
			add(&slots[i]);
		}
		for (enum vmmu_slot_order o = 0; o < VMMU_SLOT_ORDERS; o++)
			assert_in_range(depth(roots[o], o), 15, 45);
		for (unsigned i = 0; i < VMMU_MAX_SLOTS_DEFAULT; i++)
			take(&slots[i]);
		assert_null(roots[VMMU_BY_PLACE]);
		assert_null(roots[VMMU_BY_ID]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_come_and_go),
		cmocka_unit_test(stays_shallow),
	};

	return cmocka_run_group_tests_name("slot tree", tests, NULL, NULL);
}
