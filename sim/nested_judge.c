/* SPDX-License-Identifier: BSD-2-Clause */
/* What L1's tables and the slots allow an access, what CPUs remember of it, and what L1 is told. */
#include "nested_internal.h"
#include "nested_machine.h"

#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_LA57 (1u << 12)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)
#define EPTP_AD (1u << 6)

/* ---- L1's tables ------------------------------------------------------------------------ */

/* L1's memory in which some words that are just being written still are what they were. */
struct view {
	struct sim_nm *nm;
	unsigned before; /* a bit for each of nm->pending */
};

static bool load_ram(void *ctx, uint64_t gpa, uint64_t *value)
{
	const struct view *view = ctx;
	struct sim_nm *nm = view->nm;

	if (!sim_nm_slot_at(nm, gpa >> 12))
		return false;
	nm->is_table[gpa >> 12] = true;
	*value = sim_nm_word(nm, gpa & ~7ull);
	for (unsigned i = 0; i < SIM_NM_PENDING; i++)
		if ((view->before >> i & 1) && nm->pending[i].gpa == (gpa & ~7ull))
			*value = nm->pending[i].before;
	if (gpa & 4)
		*value >>= 32;
	return true;
}

/* APM vol. 2, 15.25.3: L1's own mode at VMRUN is that of the tables. */
static const struct sim_format *format_of(const struct sim_nm *nm, const struct vmmu_nested *n)
{
	if (nm->config.mode == VMMU_MODE_EPT)
		return &sim_format_ept;
	if (n->efer & EFER_LMA)
		return &sim_format_npt;
	return n->cr4 & CR4_PAE ? &sim_format_npt_pae : &sim_format_npt_32bit;
}

static struct sim_walker walker_of(const struct sim_nm *nm, const struct sim_nm_space *space)
{
	const struct vmmu_nested *n = &space->nested;

	return (struct sim_walker){
		.format = format_of(nm, n),
		.cpu = {
			.maxphyaddr = n->cpu.maxphyaddr,
			.page_2m = n->cpu.page_2m,
			.page_1g = n->cpu.page_1g,
			.exec_only = n->cpu.exec_only,
			.la57 = n->cr4 & CR4_LA57,
			.nx = n->efer & EFER_NXE,
			.pse = n->cr4 & CR4_PSE,
		},
		.pdpte = space->pdpte,
	};
}

static void walk_l1(struct view *view, const struct sim_nm_space *space, uint64_t gpa, unsigned access,
                    struct sim_walk *out)
{
	struct sim_walker w = walker_of(view->nm, space);
	struct sim_walk_start root = {.rights = VMMU_RWX};

	w.bus = (struct sim_bus){.ctx = view, .load = load_ram};
	if (!w.format->root(&w.cpu, space->nested.root, &root.table, &root.level, &w.ad))
		sim_nm_fail(view->nm, "the engine has accepted L1's root %#lx", space->nested.root);
	sim_walk(&w, &root, gpa, access, false, out);
}

void sim_nm_model(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, struct sim_walk *out)
{
	struct view now = {nm, 0};

	walk_l1(&now, space, gpa, access, out);
}

bool sim_nm_l1_gpa(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t *out)
{
	struct sim_walk model;

	*out = gpa;
	if (!nm->at->on->is_l2)
		return true;
	sim_nm_model(nm, nm->at->on, gpa, access, &model);
	*out = model.pfn << 12 | (gpa & 4095);
	return model.end == SIM_WALK_MAPPED;
}

/* ---- may an access reach this frame? ---------------------------------------------------- */

/* SDM vol. 3, table 12-7, by the words of its rows. */
static unsigned joined_memtype(unsigned mtrr, unsigned pat)
{
	if (pat == VMMU_MEMTYPE_UC || pat == VMMU_MEMTYPE_WC)
		return pat;
	if (mtrr == VMMU_MEMTYPE_WB)
		return pat;
	if (mtrr == VMMU_MEMTYPE_UC || (mtrr == VMMU_MEMTYPE_WC && pat != VMMU_MEMTYPE_WB))
		return VMMU_MEMTYPE_UC;
	return pat == VMMU_MEMTYPE_WB ? mtrr : pat;
}

/* Must the CPU find the bits that L1's CPU would have set, or can they not be stored? */
static bool is_marked(struct sim_nm *nm, const struct sim_nm_space *space, const struct sim_walk *model, unsigned access)
{
	const struct sim_format *f = format_of(nm, &space->nested);

	if (nm->config.mode == VMMU_MODE_EPT && !(space->nested.root & EPTP_AD))
		return true;
	for (unsigned i = 0; i < model->steps; i++) {
		const struct sim_walk_step *step = &model->step[i];
		uint64_t want = f->pdptes && step->level == 3 ? 0 : f->accessed;

		if (i == model->steps - 1u && (access & VMMU_W))
			want |= f->dirty;
		if ((step->entry & want) != want &&
		    !(sim_nm_slot_at(nm, step->entry_hpa >> 12)->info.flags & VMMU_SLOT_READONLY))
			return false;
	}
	return true;
}

static bool is_memtype(const struct sim_nm *nm, const struct sim_walk *model, unsigned memtype, bool ignore_pat)
{
	bool host_ignores;
	uint8_t hosts = sim_nm_memtype(nm, model->pfn, &host_ignores);

	if (host_ignores)
		return memtype == hosts && ignore_pat;
	return memtype == joined_memtype(hosts, model->memtype) && ignore_pat == model->ignore_pat;
}

static const char *judge_l2(struct view *view, const struct sim_nm_space *space, uint64_t gpa, unsigned access,
                            uint64_t pfn, unsigned memtype, bool ignore_pat)
{
	struct sim_nm *nm = view->nm;
	struct sim_walk model;
	struct sim_nm_slot *slot;

	walk_l1(view, space, gpa, access, &model);
	if (model.end != SIM_WALK_MAPPED)
		return "L1's tables do not allow it";
	slot = sim_nm_slot_at(nm, model.pfn);
	if (!slot)
		return "L1 has no memory there";
	if ((access & VMMU_W) && (slot->info.flags & VMMU_SLOT_READONLY))
		return "the slot is read-only";
	if (pfn != sim_nm_frame(nm, model.pfn))
		return "it is another frame";
	if (!is_marked(nm, space, &model, access))
		return "L1's accessed and dirty bits are not set";
	if (nm->config.mode == VMMU_MODE_EPT && !is_memtype(nm, &model, memtype, ignore_pat))
		return "its memory type is another";
	return NULL;
}

static const char *judge_l1(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t pfn)
{
	struct sim_nm_slot *slot = sim_nm_slot_at(nm, gpa >> 12);

	if (!slot)
		return "there is no slot";
	if ((access & VMMU_W) && (slot->info.flags & VMMU_SLOT_READONLY))
		return "the slot is read-only";
	return pfn == sim_nm_frame(nm, gpa >> 12) ? NULL : "it is another frame";
}

const char *sim_nm_judge(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access,
                         uint64_t pfn, unsigned memtype, bool ignore_pat)
{
	unsigned pending = 0;
	const char *wrong;

	if (!space->is_l2)
		return judge_l1(nm, gpa, access, pfn);
	for (unsigned i = 0; i < SIM_NM_PENDING; i++)
		pending |= nm->pending[i].used ? 1u << i : 0;
	/* Each word that is just being written may still be the old one: all subsets of them. */
	for (unsigned before = 0;; before = (before - pending) & pending) {
		struct view view = {nm, before};

		wrong = judge_l2(&view, space, gpa, access, pfn, memtype, ignore_pat);
		if (!wrong || before == pending)
			return wrong;
	}
}

/* ---- what CPUs remember ------------------------------------------------------------------- */

static void check_space(struct sim_nm *nm, unsigned vcpu, const struct sim_nm_space *space)
{
	for (unsigned i = 0; space->pointer && i < SIM_TLB_PAGES && !nm->failed; i++) {
		const struct sim_tlb_page *p = &space->tlb.page[i];

		for (unsigned access = VMMU_R; p->valid && access <= VMMU_X; access <<= 1) {
			/* D is set when it writes first. */
			bool may = p->rights & access;
			const char *wrong = may ? sim_nm_judge(nm, space, p->gfn << 12, access, p->pfn, p->memtype, p->ignore_pat)
			                        : NULL;
			if (wrong)
				sim_nm_fail(nm, "CPU %u remembers for L%u that %#lx is frame %#lx for access %u, but %s", vcpu,
				            space->is_l2 + 1, p->gfn << 12, p->pfn, access, wrong);
		}
	}
}

void sim_nm_check_current(struct sim_nm *nm)
{
	check_space(nm, nm->at->number, nm->at->on);
}

void sim_nm_check_all(struct sim_nm *nm)
{
	for (unsigned n = 0; n < nm->vcpus; n++)
		for (unsigned s = 0; s < SIM_NM_SPACES; s++)
			check_space(nm, n, &nm->cpu[n].space[s]);
}

/* ---- the CPU's walk ------------------------------------------------------------------------- */

static bool load_table(void *ctx, uint64_t hpa, uint64_t *value)
{
	return sim_memory_load(&((struct sim_nm *)ctx)->tables, hpa, value);
}

static bool set_table_bits(void *ctx, uint64_t hpa, uint64_t expected, uint64_t bits)
{
	sim_nm_fail(ctx, "the CPU has bits %#lx to set in the entry at %#lx, which is %#lx", bits, hpa, expected);
	return sim_memory_set_bits(&((struct sim_nm *)ctx)->tables, hpa, expected, bits);
}

void sim_nm_hardware_walk(struct sim_nm *nm, struct sim_nm_vcpu *cpu, uint64_t gpa, unsigned access, struct sim_walk *out)
{
	struct sim_walker w = {
		.format = nm->config.mode == VMMU_MODE_EPT ? &sim_format_ept : &sim_format_npt,
		.cpu = {.maxphyaddr = SIM_NM_PHYSICAL_BITS,
	                .page_2m = true,
	                .page_1g = !nm->config.no_1g,
	                .exec_only = !nm->config.no_exec_only,
	                .nx = true,
	                .la57 = nm->config.levels5},
		.bus = {.ctx = nm, .load = load_table, .set_bits = set_table_bits},
	};
	struct sim_walk_start root = {.rights = VMMU_RWX}, start;

	if (!w.format->root(&w.cpu, cpu->root.pointer, &root.table, &root.level, &w.ad)) {
		sim_nm_fail(nm, "no CPU accepts the root pointer %#lx", cpu->root.pointer);
		*out = (struct sim_walk){.end = SIM_WALK_BUS};
		return;
	}
	sim_tlb_start_for(&cpu->on->tlb, gpa >> 12, &root, &start);
	sim_walk(&w, &start, gpa, access, true, out);
}

/* ---- exits -------------------------------------------------------------------------------------- */

/* SDM vol. 3, table 28-7: bit 8 is clear where the access was one to L2's own tables. */
static uint64_t ept_qualification(const struct sim_nm *nm, const struct sim_walk *walk, unsigned access)
{
	return (access & VMMU_RWX) | (uint64_t)(walk->rights & VMMU_RWX) << 3 | 1u << 7 | (nm->not_final ? 0 : 1u << 8);
}

/* APM vol. 2, 15.25.6: bits 32 and 33 tell the same. */
static uint64_t npf_code(const struct sim_nm *nm, const struct sim_walk *walk, unsigned access)
{
	return (walk->end != SIM_WALK_ABSENT ? 1 : 0) | (access & VMMU_W ? 2 : 0) | 4u |
	       (walk->end == SIM_WALK_BAD ? 8 : 0) | (access & VMMU_X ? 16 : 0) | 1ull << (nm->not_final ? 33 : 32);
}

struct vmmu_fault sim_nm_exit(const struct sim_nm *nm, const struct sim_walk *walk, uint64_t gpa, unsigned access)
{
	if (nm->config.mode == VMMU_MODE_NPT)
		return vmmu_fault_from_npf(npf_code(nm, walk, access), vmmu_gpa_of(gpa), 0);
	return vmmu_fault_from_ept_violation(ept_qualification(nm, walk, access), vmmu_gpa_of(gpa), 0);
}

bool sim_nm_refuses(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, unsigned *reflect,
                    uint64_t *code)
{
	bool reports_fetches = (space->nested.efer & EFER_NXE) && format_of(nm, &space->nested) != &sim_format_npt_32bit;
	struct sim_walk model;

	sim_nm_model(nm, space, gpa, access, &model);
	if (model.end == SIM_WALK_MAPPED)
		return false;
	if (model.end == SIM_WALK_BUS) /* an entry that is nowhere counts as not present */
		model.end = SIM_WALK_ABSENT, model.rights = 0;
	if (nm->config.mode == VMMU_MODE_NPT) {
		*reflect = VMMU_REFLECT_NPF;
		*code = npf_code(nm, &model, access) & ~(reports_fetches ? 0 : 16ull);
	} else {
		*reflect = model.end == SIM_WALK_BAD ? VMMU_REFLECT_EPT_MISCONFIG : VMMU_REFLECT_EPT_VIOLATION;
		*code = model.end == SIM_WALK_BAD ? 0 : ept_qualification(nm, &model, access);
	}
	return true;
}

void sim_nm_mark(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t gpa, unsigned access, bool *dirtied)
{
	const struct sim_format *f = format_of(nm, &space->nested);
	struct sim_walk model;

	sim_nm_model(nm, space, gpa, access, &model);
	if (model.end != SIM_WALK_MAPPED || (nm->config.mode == VMMU_MODE_EPT && !(space->nested.root & EPTP_AD)))
		return;
	for (unsigned i = 0; i < model.steps; i++) {
		const struct sim_walk_step *step = &model.step[i];
		uint64_t want = f->pdptes && step->level == 3 ? 0 : f->accessed;
		bool sets_dirty = i == model.steps - 1u && (access & VMMU_W) && !(step->entry & f->dirty);

		if (sim_nm_slot_at(nm, step->entry_hpa >> 12)->info.flags & VMMU_SLOT_READONLY)
			continue;
		want |= step->entry | (sets_dirty ? f->dirty : 0);
		*dirtied |= sets_dirty;
		sim_nm_store(nm, step->entry_hpa, f->entry_bytes ? f->entry_bytes : 8, want);
	}
}

void sim_nm_check_reflected(struct sim_nm *nm, uint64_t gpa, unsigned access)
{
	const struct vmmu_fault *f = &nm->at->fault;
	unsigned reflect;
	uint64_t code;

	nm->reflected++;
	if (!sim_nm_refuses(nm, nm->at->on, gpa, access, &reflect, &code)) {
		sim_nm_fail(nm, "L1 is told of an access %u to %#lx that its tables allow", access, gpa);
		return;
	}
	if (f->reflect != reflect || f->error_code != code || f->l2_gpa.v != gpa)
		sim_nm_fail(nm, "L1 is told exit %u, code %#lx, address %#lx; its CPU would say %u, %#lx, %#lx (access %u)", f->reflect,
		            f->error_code, f->l2_gpa.v, reflect, code, gpa, access);
}
