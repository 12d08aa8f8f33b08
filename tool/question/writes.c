/* SPDX-License-Identifier: BSD-2-Clause */
#include "writes.h"

#include <vmmu/types.h>

static bool is_leaf(uint64_t entry, unsigned level)
{
	return kvm_entry_kind(entry, level) == KVM_ENTRY_LEAF;
}

bool write_is_zap(const struct fact *fact)
{
	return fact->kind == FACT_WRITE && kvm_entry_is_there(fact->a, fact->level) &&
	       !kvm_entry_is_there(fact->b, fact->level) && fact->level >= 1 && fact->level <= VMMU_LEVEL_MAX;
}

/* A page stays a page. */
static bool keeps_page(const struct fact *fact)
{
	return fact->kind == FACT_WRITE && is_leaf(fact->a, fact->level) && is_leaf(fact->b, fact->level);
}

bool write_is_protection(const struct fact *fact)
{
	return keeps_page(fact) && kvm_entry_writable(fact->a) && !kvm_entry_writable(fact->b);
}

bool write_is_repair(const struct fact *fact)
{
	return keeps_page(fact) && !kvm_entry_writable(fact->a) && kvm_entry_writable(fact->b);
}

bool write_is_split(const struct fact *fact)
{
	return fact->kind == FACT_WRITE && is_leaf(fact->a, fact->level) &&
	       kvm_entry_kind(fact->b, fact->level) == KVM_ENTRY_TABLE;
}

uint64_t write_end(const struct fact *fact)
{
	return fact->address + (vmmu_level_pages(fact->level) << VMMU_PAGE_SHIFT) - 1;
}

uint64_t split_joined(const struct model *model, uint64_t split, uint64_t until)
{
	const struct fact *fact = model_fact(model, split);
	uint64_t n = model_last(model, fact->vm, fact->level, fact->address, 0, until), joined = MODEL_NONE;

	for (; n != MODEL_NONE && n > split; n = model_before(model, n))
		if (is_leaf(model_fact(model, n)->b, fact->level))
			joined = n;
	return joined;
}

const struct fact *write_maps_again(const struct model *model, uint64_t number, bool *same)
{
	const struct fact *fact = model_fact(model, number), *zap;
	uint64_t before = model_before(model, number);

	if (before == MODEL_NONE || !is_leaf(fact->b, fact->level) || kvm_entry_is_there(fact->a, fact->level))
		return NULL;
	zap = model_fact(model, before);
	if (!write_is_zap(zap) || !is_leaf(zap->a, zap->level))
		return NULL;
	*same = kvm_entry_hpa(zap->a, zap->level) == kvm_entry_hpa(fact->b, fact->level);
	return zap;
}

unsigned slot_largest_level(const struct fact *slot)
{
	uint64_t differ = slot->address ^ slot->b;

	return slot->b == 0 ? 0 : !(differ & ((1 << 30) - 1)) ? 3
	                  : !(differ & ((1 << 21) - 1))       ? 2
	                                                      : 1;
}
