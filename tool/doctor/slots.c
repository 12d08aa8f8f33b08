/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots whose guest and host addresses differ below 2 MiB: no large page can map them. */
#include "doctor.h"

#include <stdlib.h>

#include "../question/writes.h"

enum { LARGE_PAGES = 512 };

struct slots {
	uint64_t *facts;
	size_t count;
};

static char *slots_blind(const struct doctor *doctor)
{
	for (uint64_t n = 0; n < doctor->ask.to; n++)
		if (model_fact(doctor->ask.model, n)->kind == FACT_SLOT && model_fact(doctor->ask.model, n)->b)
			return NULL;
	return duplicate("the trace does not tell where slots lie in the host (vmmu record does)");
}

/* Slots are told of when recording begins: a question about a later time asks of them, too. */
static void *slots_begin(struct doctor *doctor)
{
	struct slots *slots = allocate(sizeof(*slots));

	for (uint64_t n = 0; n < doctor->ask.to; n++) {
		const struct fact *slot = model_fact(doctor->ask.model, n);

		if (slot->kind != FACT_SLOT || slot->a < LARGE_PAGES || slot_largest_level(slot) != VMMU_LEVEL_4K)
			continue;
		slots->facts = reallocate(slots->facts, (slots->count + 1) * sizeof(*slots->facts));
		slots->facts[slots->count++] = n;
	}
	return slots;
}

static void slots_end(struct doctor *doctor, void *state)
{
	struct slots *slots = state;

	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		struct finding *found = NULL;
		uint64_t bytes = 0;

		for (size_t i = 0; i < slots->count; i++) {
			const struct fact *slot = model_fact(doctor->ask.model, slots->facts[i]);

			if (slot->vm != vm)
				continue;
			bytes += slot->a << VMMU_PAGE_SHIFT;
			if (!found)
				found = doctor_find(doctor, &illness_misaligned_slot, vm, NULL);
			if (!found)
				break;
			found->count++;
			extent_add(&found->where, slots->facts[i], slots->facts[i], slot->address,
			           slot->address + (slot->a << VMMU_PAGE_SHIFT) - 1);
			doctor_evidence(found, slots->facts[i], "slot %" PRIu64 ": gpa 0x%" PRIx64 " + %s at hva 0x%" PRIx64, slot->table,
			                slot->address, text_bytes(slot->a << VMMU_PAGE_SHIFT).text, slot->b);
		}
		if (!found)
			continue;
		found->what = formatted("%s of the guest's memory can be mapped by 4 KiB pages only, whatever backs it.",
		                        text_bytes(bytes).text);
		doctor_more(doctor, found, "pages");
	}
	free(slots->facts);
	free(slots);
}

const struct illness illness_misaligned_slot = {
	.name = "misaligned-slot",
	.title = "a slot's addresses do not allow large pages",
	.advice =
		"A large page needs the guest's and the host's address to be alike below 2 MiB. Have the VMM align what it "
		"maps (mmap of 2 MiB more, rounded up, as QEMU does), or move the slot; huge pages in the host alone do not help.",
	.blind = slots_blind,
	.begin = slots_begin,
	.end = slots_end,
};
