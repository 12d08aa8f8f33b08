/* SPDX-License-Identifier: BSD-2-Clause */
/* The judge: tables, TLBs, trace and statistics against the reference. */
#include "internal.h"
#include "random.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

const char *sim_judge_page(struct sim *sim, uint64_t gfn, uint64_t pfn, unsigned rights,
                           unsigned memtype, bool ignore_pat)
{
	const char *wrong = sim_ref_judge_page(&sim->ref, gfn, pfn, rights, memtype, ignore_pat);

	if (wrong && sim->ref_after &&
	    !sim_ref_judge_page(sim->ref_after, gfn, pfn, rights, memtype, ignore_pat))
		return NULL;
	return wrong;
}

const char *sim_judge_leaf(struct sim *sim, uint64_t gfn, unsigned level, uint64_t pfn,
                           unsigned rights, unsigned memtype, bool ignore_pat)
{
	const char *wrong = sim_ref_judge_leaf(&sim->ref, gfn, level, pfn, rights, memtype, ignore_pat);

	if (wrong && sim->ref_after &&
	    !sim_ref_judge_leaf(sim->ref_after, gfn, level, pfn, rights, memtype, ignore_pat))
		return NULL;
	return wrong;
}

/* ---- after each write ----------------------------------------------------------- */

static void look_now(struct sim *sim, uint64_t gfn)
{
	struct sim_walk walk;

	sim_look(sim, gfn << VMMU_PAGE_SHIFT, 0, &walk);
	uint64_t entry_hpa = walk.steps ? walk.step[walk.steps - 1].entry_hpa : 0;

	if (walk.end == SIM_WALK_BUS) {
		sim_fail(sim, entry_hpa, "in between: the walk for gfn %#lx meets memory that is no table", gfn);
	} else if (walk.end == SIM_WALK_MAPPED && walk.rights) {
		uint64_t inside = gfn & (vmmu_level_pages(walk.level) - 1);
		const char *wrong = sim_judge_leaf(sim, gfn - inside, walk.level, walk.pfn - inside,
		                                   walk.rights, walk.memtype, walk.ignore_pat);
		if (wrong)
			sim_fail(sim, entry_hpa, "in between: the entry for gfn %#lx %s", gfn, wrong);
	}
	for (unsigned i = 0; i < sim->vcpus; i++)
		if (sim_random_below(&sim->random, 2) == 0)
			sim_vcpu_speculate(sim, i, gfn);
}

/* A new child becomes part of the tree: note where it hangs. */
static void note_link(struct sim *sim, const struct sim_frame *parent, uint64_t gfn, uint64_t raw)
{
	const struct sim_walker *walker = &sim->vcpu[0].walker;
	struct sim_entry entry;

	walker->format->entry(&walker->cpu, parent->level, raw, &entry);
	if (entry.kind != SIM_ENTRY_TABLE)
		return;
	struct sim_frame *child = sim_memory_frame(&sim->memory, entry.address);

	if (!child || !child->in_use) {
		sim_fail(sim, 0, "an entry was made to point to %#lx, which is no table frame", entry.address);
		return;
	}
	child->level = parent->level - 1;
	child->gfn = gfn;
}

void sim_check_instant(struct sim *sim, uint64_t table, unsigned index)
{
	struct sim_frame *frame = sim_memory_frame(&sim->memory, table);
	uint64_t raw;

	if (!frame || !frame->in_use) {
		sim_fail(sim, table + 8 * index, "entry %u of %#lx was written: not a table frame in use",
		         index, table);
		return;
	}
	if (!frame->level || sim->config.unwatched || sim->failed)
		return; /* not part of a tree yet: no CPU can come here */
	uint64_t pages = vmmu_level_pages(frame->level);
	uint64_t gfn = frame->gfn + index * pages;

	sim_memory_load(&sim->memory, table + 8 * index, &raw);
	if (frame->level > 1)
		note_link(sim, frame, gfn, raw);
	look_now(sim, gfn);
	if (pages > 1)
		look_now(sim, gfn + pages - 1);
	for (unsigned i = 0; i < SIM_INTERESTS && i < sim->interests; i++)
		if (sim->interest[i] - gfn < pages && !sim->failed)
			look_now(sim, sim->interest[i]);
}

void sim_check_unreachable(struct sim *sim, uint64_t table)
{
	struct sim_frame *frame = sim_memory_frame(&sim->memory, table);
	struct sim_walk walk;

	if (!frame || !frame->level || sim->failed)
		return;
	for (unsigned i = 0; i < sim->vcpus; i++) {
		const struct sim_tlb *tlb = &sim->vcpu[i].tlb;

		for (unsigned j = 0; j < SIM_TLB_TABLES; j++)
			if (tlb->table[j].valid && tlb->table[j].table == table)
				sim_fail(sim, tlb->table[j].entry_hpa,
				         "table %#lx is freed while vCPU %u may still remember it", table, i);
	}
	if (!sim->vcpu[0].start.table || sim->vcpu[0].start.table == table)
		return; /* the root itself goes last, with its VM */
	sim_look(sim, frame->gfn << VMMU_PAGE_SHIFT, 0, &walk);
	for (unsigned i = 0; i < walk.steps; i++)
		if (walk.step[i].entry_hpa - table < VMMU_PAGE_SIZE)
			sim_fail(sim, walk.step[i - (i > 0)].entry_hpa,
			         "table %#lx is freed while an entry points to it", table);
}

/* ---- everything at rest ------------------------------------------------------------ */

struct visit {
	struct sim *sim;
	struct sim_census *census;
	bool judge;
	bool good;
	const struct sim_replay *replay; /* compare each entry with it */
};

static void visit_leaf(struct visit *v, uint64_t entry_hpa, unsigned level, uint64_t gfn,
                       unsigned rights, const struct sim_entry *entry)
{
	const char *wrong;

	v->census->leaves[level]++;
	if (!v->judge)
		return;
	wrong = sim_ref_judge_leaf(&v->sim->ref, gfn, level, entry->address >> VMMU_PAGE_SHIFT, rights,
	                           entry->memtype, entry->ignore_pat);
	if (wrong) {
		sim_fail(v->sim, entry_hpa, "the level %u entry for gfn %#lx %s", level, gfn, wrong);
		v->good = false;
	}
}

static enum vmmu_entry_kind kind_of(const struct sim *sim, unsigned level, uint64_t raw)
{
	struct vmmu_decoder decoder = {
		.mode = sim->config.mode,
		.levels = (uint8_t)sim->vcpu[0].start.level,
		.cpu = sim->config.cpu,
	};
	struct vmmu_entry_info info;

	vmmu_entry_decode(&decoder, level, raw, &info);
	return info.kind;
}

/* An entry that the CPU refuses: only a cached MMIO entry may be that. */
static void visit_refused(struct visit *v, uint64_t entry_hpa, unsigned level, uint64_t gfn,
                          uint64_t raw)
{
	if (kind_of(v->sim, level, raw) == VMMU_ENTRY_MMIO && !v->sim->config.no_mmio_cache) {
		v->census->mmio++;
	} else if (v->judge) {
		sim_fail(v->sim, entry_hpa, "the level %u entry for gfn %#lx is %#lx: no CPU accepts it and it "
		                            "is no MMIO entry",
		         level, gfn, raw);
		v->good = false;
	}
}

static void visit_table(struct visit *v, uint64_t table, unsigned level, uint64_t gfn,
                        unsigned rights)
{
	const struct sim_walker *walker = &v->sim->vcpu[0].walker;

	v->census->tables[level]++;
	for (unsigned i = 0; i < 512 && v->good; i++) {
		uint64_t hpa = table + 8 * i, first = gfn + i * vmmu_level_pages(level), raw;
		struct sim_entry entry;

		if (!sim_memory_load(&v->sim->memory, hpa, &raw)) {
			sim_fail(v->sim, 0, "the tree leads to %#lx, which is no table frame", table);
			v->good = false;
			return;
		}
		if (v->replay && sim_replay_get(v->replay, hpa) != raw) {
			sim_fail(v->sim, hpa, "replay gives %#lx for entry %u of table %#lx, memory has %#lx",
			         sim_replay_get(v->replay, hpa), i, table, raw);
			v->good = false;
		}
		if (!raw)
			continue;
		v->census->nonzero++;
		walker->format->entry(&walker->cpu, level, raw, &entry);
		if (entry.kind == SIM_ENTRY_LEAF)
			visit_leaf(v, hpa, level, first, rights & entry.rights, &entry);
		else if (entry.kind == SIM_ENTRY_TABLE)
			visit_table(v, entry.address, level - 1, first, rights & entry.rights);
		else
			visit_refused(v, hpa, level, first, raw);
	}
}

static bool visit(struct sim *sim, struct sim_census *census, bool judge,
                  const struct sim_replay *replay)
{
	struct visit v = {sim, census, judge, true, replay};
	const struct sim_walk_start *root = &sim->vcpu[0].start;

	*census = (struct sim_census){0};
	if (root->table)
		visit_table(&v, root->table, root->level, 0, VMMU_RWX);
	return v.good;
}

bool sim_census(struct sim *sim, struct sim_census *out)
{
	return visit(sim, out, false, NULL);
}

/* No flush is owed: all that a CPU remembers must be right. */
static bool tlbs_good(struct sim *sim)
{
	for (unsigned i = 0; i < sim->vcpus; i++) {
		const struct sim_tlb *tlb = &sim->vcpu[i].tlb;

		for (unsigned j = 0; j < SIM_TLB_PAGES; j++) {
			const struct sim_tlb_page *page = &tlb->page[j];
			const char *wrong = !page->valid ? NULL
			                                 : sim_ref_judge_leaf(&sim->ref, page->gfn, page->level, page->pfn, page->rights,
			                                                      page->memtype, page->ignore_pat);
			if (wrong) {
				sim_fail(sim, page->entry_hpa,
				         "no flush is owed, yet vCPU %u remembers a translation of gfn %#lx that %s",
				         i, page->gfn, wrong);
				return false;
			}
		}
		for (unsigned j = 0; j < SIM_TLB_TABLES; j++) {
			const struct sim_tlb_table *table = &tlb->table[j];
			struct sim_walk walk;
			bool found = false;

			if (!table->valid)
				continue;
			sim_look(sim, table->gfn << VMMU_PAGE_SHIFT, 0, &walk);
			for (unsigned k = 0; k < walk.steps; k++)
				found |= walk.step[k].level == table->level &&
				         walk.step[k].entry_hpa - table->table < VMMU_PAGE_SIZE;
			if (!found) {
				sim_fail(sim, table->entry_hpa,
				         "no flush is owed, yet vCPU %u remembers table %#lx for gfn %#lx, which is "
				         "not there any more",
				         i, table->table, table->gfn);
				return false;
			}
		}
	}
	return true;
}

static void audit_line(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	struct sim *sim = arg;

	sim_fail(sim, step ? step->table.v + 8 * step->index : 0, "vmmu_audit: %s (gfn %#lx)", rule,
	         gfn.v);
}

static bool counts_good(struct sim *sim, const struct sim_census *census)
{
	struct vmmu_stats stats;

	vmmu_stats_read(sim->vm, &stats);
	for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++) {
		if (stats.pages[level] != census->leaves[level]) {
			sim_fail(sim, 0, "statistics count %lu leaves of level %u, the tables hold %lu",
			         stats.pages[level], level, census->leaves[level]);
			return false;
		}
		if (stats.tables_allocated[level] - stats.tables_freed[level] != census->tables[level]) {
			sim_fail(sim, 0, "statistics count %lu - %lu tables of level %u, the tree has %lu",
			         stats.tables_allocated[level], stats.tables_freed[level], level,
			         census->tables[level]);
			return false;
		}
	}
	return true;
}

/* What the engine says of the pages that tests care for is what a CPU would find. */
static bool translations_good(struct sim *sim)
{
	for (unsigned i = 0; i < SIM_INTERESTS && i < sim->interests; i++) {
		struct vmmu_vcpu *vcpu = sim->vcpu[i % sim->vcpus].engine;
		uint64_t gpa = sim->interest[i] << VMMU_PAGE_SHIFT;
		struct vmmu_translation said;
		struct sim_walk walk;
		bool leaf;

		if (!vcpu)
			continue;
		sim_look(sim, gpa, 0, &walk);
		leaf = vmmu_translate(vcpu, vmmu_gpa_of(gpa), &said) == VMMU_ENTRY_LEAF;
		if (leaf != (walk.end == SIM_WALK_MAPPED) || (leaf && (said.pfn.v != walk.pfn || said.rights != walk.rights ||
		                                                       said.level != walk.level))) {
			sim_fail(sim, 0, "vmmu_translate answers for %#lx: %s, frame %#lx, rights %u, level %u; a CPU finds %#lx, %u, %u",
			         gpa, leaf ? "a page" : "none", said.pfn.v, said.rights, said.level, walk.pfn, walk.rights, walk.level);
			return false;
		}
	}
	return true;
}

bool sim_check(struct sim *sim)
{
	struct sim_census census;

	if (sim->failed || !sim->vm || sim->config.unwatched)
		return !sim->failed;
	if (sim->memory.error)
		sim_fail(sim, 0, "%s", sim->memory.error);
	return visit(sim, &census, true, NULL) && tlbs_good(sim) && counts_good(sim, &census) && translations_good(sim) &&
	       vmmu_audit(sim->vm, audit_line, sim) == 0 && !sim->failed;
}

/* ---- provenance --------------------------------------------------------------------- */

struct dump {
	struct sim *sim;
	const struct sim_replay *replay;
	uint64_t entries;
};

static void dump_entry(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	struct dump *dump = arg;
	uint64_t hpa = step->table.v + 8 * step->index;

	(void)gfn;
	dump->entries++;
	if (sim_replay_get(dump->replay, hpa) != step->entry)
		sim_fail(dump->sim, hpa, "vmmu_dump has %#lx for entry %u of table %#lx, replay gives %#lx",
		         step->entry, step->index, step->table.v, sim_replay_get(dump->replay, hpa));
}

/* The DUMP records that vmmu_trace_dump left must say the same once more. */
static bool dump_records_good(struct sim *sim, uint64_t nonzero, const struct sim_replay *replay)
{
	uint64_t count = 0, end = ~0ull;

	vmmu_trace_dump(sim->vm);
	sim_drain(sim);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		count += r->event == VMMU_TRACE_DUMP;
		if (r->event == VMMU_TRACE_DUMP_END)
			end = r->dump_end.records;
		if (r->event == VMMU_TRACE_DUMP &&
		    sim_replay_get(replay, r->entry.table + 8 * r->index) != r->entry.spte)
			sim_fail(sim, r->entry.table + 8 * r->index, "a DUMP record differs from the replay");
	}
	if (count != nonzero || end != count)
		sim_fail(sim, 0, "%lu DUMP records, %lu by DUMP_END, %lu entries in the tables", count, end,
		         nonzero);
	return !sim->failed;
}

bool sim_check_provenance(struct sim *sim)
{
	struct sim_replay replay;
	struct sim_census census;
	char error[256];

	if (sim->config.untraced || sim->failed)
		return !sim->failed;
	sim_drain(sim);
	if (!sim_trace_consistent(&sim->trace, error, sizeof(error)) ||
	    !sim_trace_replay(&sim->trace, &replay, error, sizeof(error))) {
		sim_fail(sim, 0, "trace: %s", error);
		return false;
	}
	struct dump dump = {sim, &replay, 0};

	if (visit(sim, &census, false, &replay) && !sim->ad_writes) {
		vmmu_dump(sim->vm, dump_entry, &dump);
		if (dump.entries != census.nonzero || census.nonzero != sim_replay_nonzero(&replay))
			sim_fail(sim, 0, "%lu entries by vmmu_dump, %lu in memory, %zu by replay", dump.entries,
			         census.nonzero, sim_replay_nonzero(&replay));
		dump_records_good(sim, census.nonzero, &replay);
	}
	sim_replay_fini(&replay);
	return !sim->failed;
}

static void compare(struct sim *sim, const char *what, uint64_t counted, uint64_t traced)
{
	if (counted != traced)
		sim_fail(sim, 0, "statistics count %lu %s, the trace holds %lu", counted, what, traced);
}

/* Did this write empty an entry that a CPU could use? */
static bool is_zap(const struct sim *sim, const struct vmmu_trace_record *r)
{
	enum vmmu_entry_kind was = kind_of(sim, r->level, r->spte.old_spte);
	enum vmmu_entry_kind now = kind_of(sim, r->level, r->spte.new_spte);

	return (was == VMMU_ENTRY_LEAF || was == VMMU_ENTRY_TABLE) && now != VMMU_ENTRY_LEAF &&
	       now != VMMU_ENTRY_TABLE;
}

bool sim_check_statistics(struct sim *sim)
{
	struct vmmu_stats stats, traced = {0};
	uint64_t writes = 0;

	if (sim->config.untraced || sim->failed)
		return !sim->failed;
	sim_drain(sim);
	vmmu_stats_read(sim->vm, &stats);
	for (size_t i = 0; i < sim->trace.records; i++) {
		const struct vmmu_trace_record *r = &sim->trace.record[i];

		if (r->event == VMMU_TRACE_SPTE_CHANGED) {
			traced.entries[r->cause][r->level]++;
			traced.zapped[r->cause] += is_zap(sim, r);
			writes++;
		} else if (r->event == VMMU_TRACE_FAULT_END) {
			traced.faults[r->result]++;
		} else if (r->event == VMMU_TRACE_GET_PAGE) {
			traced.tables_allocated[r->level]++;
		} else if (r->event == VMMU_TRACE_FLUSH_DONE) {
			traced.flushes++;
		} else if (r->event == VMMU_TRACE_HANDLE_MMIO) {
			traced.mmio_hits++;
		} else if (r->event == VMMU_TRACE_DROPS) {
			traced.trace_dropped += r->drops.records;
		}
	}
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
		for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++)
			compare(sim, vmmu_cause_name(cause), stats.entries[cause][level],
			        traced.entries[cause][level]);
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
		compare(sim, "emptied", stats.zapped[cause], traced.zapped[cause]);
	for (unsigned result = 0; result < VMMU_FAULT_RESULT_COUNT; result++)
		compare(sim, vmmu_fault_result_name(result), stats.faults[result], traced.faults[result]);
	for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++)
		compare(sim, "tables allocated", stats.tables_allocated[level],
		        traced.tables_allocated[level]);
	compare(sim, "flushes", stats.flushes, traced.flushes);
	compare(sim, "MMIO hits", stats.mmio_hits, traced.mmio_hits);
	compare(sim, "dropped records", stats.trace_dropped, traced.trace_dropped);
	if (!sim->config.threads) {
		compare(sim, "calls of host.flush", sim->flushes, traced.flushes);
		compare(sim, "writes seen by the hook", sim->config.unhooked ? writes : sim->writes, writes);
	}
	return !sim->failed;
}
