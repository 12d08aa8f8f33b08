/* SPDX-License-Identifier: BSD-2-Clause */
#include "random.h"
#include "tlb.h"

#include <string.h>

void sim_tlb_init(struct sim_tlb *tlb, uint64_t seed, unsigned evict_percent)
{
	memset(tlb, 0, sizeof(*tlb));
	tlb->random = seed;
	tlb->evict_percent = evict_percent;
}

static bool covers(uint64_t base, unsigned level, uint64_t gfn)
{
	return gfn >= base && gfn - base < vmmu_level_pages(level);
}

static bool overlaps(uint64_t base, uint64_t length, uint64_t start, uint64_t pages)
{
	return base < start ? start - base < length : base - start < pages;
}

/* A place for a new page entry: a free one, else a victim. */
static struct sim_tlb_page *page_place(struct sim_tlb *tlb)
{
	if (sim_random_below(&tlb->random, 100) < tlb->evict_percent)
		tlb->page[sim_random_below(&tlb->random, SIM_TLB_PAGES)].valid = false;
	for (unsigned i = 0; i < SIM_TLB_PAGES; i++)
		if (!tlb->page[i].valid)
			return &tlb->page[i];
	return &tlb->page[sim_random_below(&tlb->random, SIM_TLB_PAGES)];
}

static void insert_page(struct sim_tlb *tlb, const struct sim_tlb_page *fresh)
{
	for (unsigned i = 0; i < SIM_TLB_PAGES; i++) {
		struct sim_tlb_page *old = &tlb->page[i];

		if (old->valid && old->level == fresh->level && old->gfn == fresh->gfn &&
		    old->pfn == fresh->pfn && old->memtype == fresh->memtype &&
		    old->rights == fresh->rights) {
			old->dirty |= fresh->dirty;
			return;
		}
	}
	*page_place(tlb) = *fresh;
}

static void insert_table(struct sim_tlb *tlb, const struct sim_tlb_table *fresh)
{
	struct sim_tlb_table *place = &tlb->table[sim_random_below(&tlb->random, SIM_TLB_TABLES)];

	for (unsigned i = 0; i < SIM_TLB_TABLES; i++) {
		struct sim_tlb_table *old = &tlb->table[i];

		if (!old->valid)
			place = old;
		else if (old->level == fresh->level && old->gfn == fresh->gfn &&
		         old->table == fresh->table && old->rights == fresh->rights)
			return;
	}
	*place = *fresh;
}

void sim_tlb_insert(struct sim_tlb *tlb, uint64_t gpa, const struct sim_walk *walk)
{
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;

	if (walk->end != SIM_WALK_MAPPED && walk->end != SIM_WALK_RIGHTS)
		return;
	for (unsigned i = 0; i + 1 < walk->steps; i++) {
		const struct sim_walk_step *step = &walk->step[i];
		struct sim_tlb_table fresh = {
			.valid = true,
			.level = step->level - 1,
			.gfn = gfn & ~(vmmu_level_pages(step->level) - 1),
			.table = walk->step[i + 1].entry_hpa & ~(uint64_t)(VMMU_PAGE_SIZE - 1),
			.rights = step->rights,
			.entry_hpa = step->entry_hpa,
		};

		insert_table(tlb, &fresh);
	}
	if (!walk->rights)
		return;
	/* A CPU may keep a large page as a small one (SDM vol. 3, 4.10.2.3). */
	unsigned level = walk->level;
	if (level > 1 && sim_random_below(&tlb->random, 4) == 0)
		level -= 1 + sim_random_below(&tlb->random, level - 1);
	uint64_t inside = gfn & (vmmu_level_pages(level) - 1);

	insert_page(tlb, &(struct sim_tlb_page){
				 .valid = true,
				 .level = level,
				 .gfn = gfn - inside,
				 .pfn = walk->pfn - inside,
				 .rights = walk->rights,
				 .memtype = walk->memtype,
				 .ignore_pat = walk->ignore_pat,
				 .dirty = walk->dirty,
				 .entry_hpa = walk->steps ? walk->step[walk->steps - 1].entry_hpa : 0,
			 });
}

struct sim_tlb_page *sim_tlb_page_for(struct sim_tlb *tlb, uint64_t gfn)
{
	struct sim_tlb_page *found = NULL;
	unsigned matches = 0;

	for (unsigned i = 0; i < SIM_TLB_PAGES; i++) {
		struct sim_tlb_page *page = &tlb->page[i];

		if (page->valid && covers(page->gfn, page->level, gfn) &&
		    sim_random_below(&tlb->random, ++matches) == 0)
			found = page;
	}
	return found;
}

void sim_tlb_start_for(struct sim_tlb *tlb, uint64_t gfn, const struct sim_walk_start *root,
                       struct sim_walk_start *out)
{
	unsigned matches = 1;

	*out = *root;
	for (unsigned i = 0; i < SIM_TLB_TABLES; i++) {
		const struct sim_tlb_table *table = &tlb->table[i];

		/* The table named covers what one entry a level above does. */
		if (table->valid && covers(table->gfn, table->level + 1, gfn) &&
		    sim_random_below(&tlb->random, ++matches) == 0)
			*out = (struct sim_walk_start){table->table, table->level, table->rights, true};
	}
}

void sim_tlb_flush(struct sim_tlb *tlb, uint64_t start, uint64_t pages, bool tables)
{
	for (unsigned i = 0; i < SIM_TLB_PAGES; i++) {
		struct sim_tlb_page *page = &tlb->page[i];

		if (page->valid && overlaps(page->gfn, vmmu_level_pages(page->level), start, pages))
			page->valid = false;
	}
	for (unsigned i = 0; tables && i < SIM_TLB_TABLES; i++) {
		struct sim_tlb_table *table = &tlb->table[i];

		if (table->valid &&
		    overlaps(table->gfn, vmmu_level_pages(table->level + 1), start, pages))
			table->valid = false;
	}
}

void sim_tlb_forget(struct sim_tlb *tlb, uint64_t gfn)
{
	sim_tlb_flush(tlb, gfn, 1, true);
}
