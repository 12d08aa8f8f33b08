/* SPDX-License-Identifier: BSD-2-Clause */
#include "walker.h"

static unsigned index_bits(const struct sim_format *f)
{
	return f->index_bits ? f->index_bits : 9;
}

static unsigned shift_of(const struct sim_format *f, unsigned level)
{
	return VMMU_PAGE_SHIFT + index_bits(f) * (level - 1);
}

/* Bits of an address that a walk from a top table of this level can translate. */
static unsigned width(const struct sim_format *f, unsigned level)
{
	return f->pdptes || f->entry_bytes == 4 ? 32 : shift_of(f, level + 1);
}

static bool load_entry(const struct sim_walker *w, uint64_t table, uint64_t gpa, struct sim_walk_step *step)
{
	const struct sim_format *f = w->format;
	unsigned index = gpa >> shift_of(f, step->level) & ((1u << index_bits(f)) - 1);

	step->entry_hpa = table + (f->entry_bytes ? f->entry_bytes : 8) * index;
	if (f->pdptes && step->level == 3) {
		step->entry = w->pdpte[index & 3];
		return true;
	}
	if (!w->bus.load(w->bus.ctx, step->entry_hpa, &step->entry))
		return false;
	if (f->entry_bytes == 4)
		step->entry &= 0xffffffff;
	return true;
}

/*
 * Set A in every entry used and D in the leaf that is written (SDM vol. 3,
 * 29.3.5; APM vol. 2, 5.4.2). False: an entry changed under the walk, which the
 * CPU answers by walking again.
 */
static bool touch_path(const struct sim_walker *w, unsigned access, struct sim_walk *walk)
{
	for (unsigned i = 0; i < walk->steps; i++) {
		struct sim_walk_step *step = &walk->step[i];
		uint64_t want = w->format->accessed;

		if (i == walk->steps - 1 && (access & VMMU_W))
			want |= w->format->dirty;
		if ((step->entry & want) == want)
			continue;
		if (!w->bus.set_bits(w->bus.ctx, step->entry_hpa, step->entry, want))
			return false;
		step->entry |= want;
		walk->ad_writes++;
	}
	return true;
}

static void walk_once(const struct sim_walker *w, const struct sim_walk_start *start, uint64_t gpa,
                      unsigned access, struct sim_walk *out)
{
	uint64_t table = start->table;

	*out = (struct sim_walk){.end = SIM_WALK_BUS, .rights = start->rights};
	for (unsigned level = start->level; level >= 1; level--) {
		struct sim_walk_step *step = &out->step[out->steps];
		struct sim_entry entry;

		out->level = level;
		step->level = level;
		if (!load_entry(w, table, gpa, step))
			return;
		out->steps++;
		w->format->entry(&w->cpu, level, step->entry, &entry);
		out->rights &= entry.rights;
		step->rights = out->rights;
		if (entry.kind == SIM_ENTRY_ABSENT || entry.kind == SIM_ENTRY_BAD) {
			out->end = entry.kind == SIM_ENTRY_BAD ? SIM_WALK_BAD : SIM_WALK_ABSENT;
			return;
		}
		if (entry.kind == SIM_ENTRY_LEAF) {
			uint64_t inside = (gpa >> VMMU_PAGE_SHIFT) & ((1ull << (shift_of(w->format, level) - VMMU_PAGE_SHIFT)) - 1);

			out->pfn = (entry.address >> VMMU_PAGE_SHIFT) + inside;
			out->memtype = entry.memtype;
			out->ignore_pat = entry.ignore_pat;
			out->dirty = !w->ad || (step->entry & w->format->dirty);
			/* Rights are judged once the whole path is known (SDM vol. 3, 29.3.3.3). */
			out->end = (access & ~out->rights & VMMU_RWX) ? SIM_WALK_RIGHTS : SIM_WALK_MAPPED;
			return;
		}
		table = entry.address;
	}
}

void sim_walk(const struct sim_walker *walker, const struct sim_walk_start *start, uint64_t gpa,
              unsigned access, bool touch, struct sim_walk *out)
{
	/* Bits above what the top table indexes cannot be translated (SDM vol. 3, 29.3.2). */
	if (!start->cached && gpa >> width(walker->format, start->level)) {
		*out = (struct sim_walk){.end = SIM_WALK_ABSENT, .level = start->level};
		return;
	}
	do {
		walk_once(walker, start, gpa, access, out);
	} while (touch && walker->ad && out->end == SIM_WALK_MAPPED && !touch_path(walker, access, out));
	if (touch && out->end == SIM_WALK_MAPPED && (access & VMMU_W))
		out->dirty = true;
}
