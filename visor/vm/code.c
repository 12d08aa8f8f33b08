/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/code.h"

#include "visor/cpu/x86.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

#define ENTRY_PRESENT 1u
#define ENTRY_LARGE (1u << 7)
#define ENTRY_ADDRESS 0x000ffffffffff000ull

/* Walk the guest's tables, and remember the way. NULL: it cannot be walked so. */
static __attribute__((noinline)) const uint8_t *walk_to_code(struct vm *vm, struct code_path *p, uint64_t cr3, bool five_levels, uint64_t gva)
{
	uint64_t entry = (cr3 & ENTRY_ADDRESS) | ENTRY_PRESENT, in_page;
	unsigned shift = five_levels ? 57 : 48, entries = 0;
	const uint64_t *table;

	*p = (struct code_path){.cr3 = cr3, .page = gva / VMMU_PAGE_SIZE, .five_levels = five_levels, .slots = vm->slot_changes};
	while (shift > 12 && !(shift <= 30 && entry & ENTRY_LARGE)) {
		table = memory_page(vm, entry & ENTRY_ADDRESS, false);
		shift -= 9;
		if (!table)
			return NULL;
		p->entry[entries] = &table[gva >> shift & 511];
		entry = p->value[entries] = __atomic_load_n(p->entry[entries], __ATOMIC_RELAXED);
		entries++;
		if (!(entry & ENTRY_PRESENT))
			return NULL;
	}
	for (; entries < VMMU_LEVEL_MAX; entries++)
		p->entry[entries] = &p->value[entries];
	in_page = (1ull << shift) - 1;
	p->code = memory_page(vm, (entry & ENTRY_ADDRESS & ~in_page) | (gva & in_page), false);
	return p->code;
}

/* The slots are the same, and the entries: so is where they lead. */
static inline bool leads_to_code(const struct vm *vm, const struct code_path *p, uint64_t cr3, bool five_levels, uint64_t gva)
{
	uint64_t other = (p->page ^ gva / VMMU_PAGE_SIZE) | (p->cr3 ^ cr3) | (p->slots ^ vm->slot_changes);

	if (other || !p->code || p->five_levels != five_levels)
		return false;
#pragma GCC unroll 8
	for (unsigned i = 0; i < VMMU_LEVEL_MAX; i++)
		other |= __atomic_load_n(p->entry[i], __ATOMIC_RELAXED) ^ p->value[i];
	return !other;
}

const uint8_t *code_just_fetched(struct vm *vm, uint64_t cr3, bool five_levels, uint64_t gva)
{
	struct code_path *p = &vm->code_path[gva / VMMU_PAGE_SIZE % CODE_PATHS];

	if (unlikely(!leads_to_code(vm, p, cr3, five_levels, gva)) && !walk_to_code(vm, p, cr3, five_levels, gva))
		return NULL;
	return p->code + gva % VMMU_PAGE_SIZE;
}
