/* SPDX-License-Identifier: BSD-2-Clause */
#include "nested_machine.h"
#include "random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PHYSICAL_BITS 46
#define TABLE_FRAMES 4096u
#define TABLES_AT ((1ull << PHYSICAL_BITS) - TABLE_FRAMES * 4096ull)
#define FIRST_PFN 0x100000u
#define TRIES 64

void sim_nm_fail(struct sim_nm *nm, const char *format, ...)
{
	va_list args;

	if (nm->failed)
		return;
	nm->failed = true;
	va_start(args, format);
	vsnprintf(nm->failure, sizeof(nm->failure), format, args);
	va_end(args);
	if (!nm->silent)
		fprintf(stderr, "FOUND after %lu accesses (seed %lu): %s\n", nm->accesses, nm->config.seed, nm->failure);
}

struct vmmu_cpu sim_nm_cpu(const struct sim_nm_config *config)
{
	return (struct vmmu_cpu){
		.maxphyaddr = PHYSICAL_BITS,
		.page_2m = true,
		.page_1g = true,
		.exec_only = config->mode == VMMU_MODE_EPT,
		.ad = true,
		.nx = true,
		.levels5 = config->levels5,
	};
}

/* ---- L1's memory -------------------------------------------------------------------- */

static struct sim_nm_slot *slot_at(struct sim_nm *nm, uint64_t gfn)
{
	for (unsigned i = 0; i < SIM_NM_SLOTS; i++) {
		struct sim_nm_slot *slot = &nm->slot[i];
		uint64_t first = slot->info.base.v >> 12;

		if (slot->present && gfn >= first && gfn - first < slot->info.bytes >> 12)
			return slot;
	}
	return NULL;
}

uint64_t sim_nm_word(const struct sim_nm *nm, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, nm->ram + gpa, 8);
	return value;
}

static void store(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value)
{
	memcpy(nm->ram + gpa, &value, size);
	nm->logged[gpa >> 12] = true;
}

static bool load_ram(void *ctx, uint64_t gpa, uint64_t *value)
{
	struct sim_nm *nm = ctx;

	if (!slot_at(nm, gpa >> 12))
		return false;
	*value = sim_nm_word(nm, gpa);
	return true;
}

void sim_nm_host_write(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value)
{
	if (!slot_at(nm, gpa >> 12))
		return;
	store(nm, gpa, size, value);
	vmmu_guest_written(nm->vcpu, vmmu_gpa_of(gpa), size);
}

/* ---- host callbacks ------------------------------------------------------------------ */

static void *object_alloc(void *ctx, size_t size)
{
	return sim_memory_object_alloc(&((struct sim_nm *)ctx)->tables, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	sim_memory_object_free(&((struct sim_nm *)ctx)->tables, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	return sim_memory_table_alloc(&((struct sim_nm *)ctx)->tables, out);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct sim_nm *nm = ctx;

	for (unsigned l = 0; l < 2; l++)
		for (unsigned i = 0; i < SIM_TLB_TABLES; i++)
			if (nm->tlb[l].table[i].valid && nm->tlb[l].table[i].table == frame.v)
				sim_nm_fail(nm, "table %#lx is freed while the CPU remembers it for L%u", frame.v, l + 1);
	sim_memory_table_free(&nm->tables, frame);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                        struct vmmu_backing *out)
{
	struct sim_nm *nm = ctx;

	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = {nm->first_pfn + gfn.v},
		.order = (uint8_t)nm->config.order,
		.rights = VMMU_RWX,
		.memtype = nm->config.memtype,
		.ignore_pat = nm->config.ignore_pat,
	};
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	struct sim_nm *nm = ctx;

	nm->flushes++;
	if (what->all)
		sim_tlb_flush(&nm->tlb[1], 0, ~0ull, true);
	if (what->all)
		sim_tlb_flush(&nm->tlb[0], 0, ~0ull, true);
	else
		sim_tlb_flush(&nm->tlb[0], what->start.v, what->pages, what->tables_freed);
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct sim_nm *nm = ctx;

	*value = 0;
	if (!slot_at(nm, gpa.v >> 12))
		return VMMU_GUEST_READ_NONE;
	memcpy(value, nm->ram + gpa.v, size);
	return VMMU_GUEST_READ_OK;
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	struct sim_nm *nm = ctx;
	uint64_t now;

	if (guest_read(ctx, gpa, size, &now) != VMMU_GUEST_READ_OK || now != expected)
		return VMMU_GUEST_CHANGED;
	if (slot_at(nm, gpa.v >> 12)->info.flags & VMMU_SLOT_READONLY)
		return VMMU_GUEST_READ_ONLY;
	store(nm, gpa.v, size, value);
	return VMMU_GUEST_SWAPPED;
}

static uint64_t now(void *ctx)
{
	return ++((struct sim_nm *)ctx)->clock;
}

static void trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	sim_trace_drain(&((struct sim_nm *)ctx)->trace, ring);
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	(void)slot;
	return pfn.v == ((struct sim_nm *)ctx)->first_pfn + gfn.v;
}

/* ---- the machine ----------------------------------------------------------------------- */

static void ring_init(struct vmmu_trace_ring *ring)
{
	ring->size = 256;
	ring->records = calloc(ring->size, sizeof(*ring->records));
	if (!ring->records)
		abort();
}

struct sim_nm *sim_nm_new(const struct sim_nm_config *config)
{
	struct sim_nm *nm = calloc(1, sizeof(*nm));
	struct sim_memory_config memory = {.base = TABLES_AT, .seed = config->seed, .frames = TABLE_FRAMES};
	struct vmmu_config vm = {
		.mode = config->mode,
		.cpu = sim_nm_cpu(config),
		.max_shadow_tables = config->max_shadow_tables,
		.nested = true,
		.id = 1,
	};
	uintptr_t base = TABLES_AT;

	if (!nm || !sim_memory_init(&nm->tables, &memory))
		abort();
	nm->config = *config;
	nm->ram = calloc(config->ram_pages, 4096);
	nm->logged = calloc(config->ram_pages, sizeof(*nm->logged));
	if (!nm->ram || !nm->logged)
		abort();
	nm->first_pfn = FIRST_PFN;
	for (unsigned l = 0; l < 2; l++)
		sim_tlb_init(&nm->tlb[l], config->seed + l, 10);
	nm->host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)nm->tables.read_view - base,
		.table_write_base = (uintptr_t)nm->tables.write_view - base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.time = now,
		.trace_full = trace_full,
		.owns_frame = owns_frame,
	};
	sim_trace_init(&nm->trace);
	ring_init(&nm->ring);
	ring_init(&nm->vcpu_ring);
	vm.ring = &nm->ring;
	vm.host = &nm->host;
	vm.host_ctx = nm;
	if (vmmu_vm_create(&vm, &nm->vm) != VMMU_OK || vmmu_vcpu_create(nm->vm, 0, &nm->vcpu_ring, &nm->vcpu) != VMMU_OK)
		abort();
	vmmu_trace_enable(nm->vm, true);
	sim_nm_enter(nm, NULL);
	return nm;
}

static void audit_line(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	sim_nm_fail(arg, "audit: %s (level %u, index %u of %#lx, entry %#lx, gfn %#lx)", rule, step->level, step->index,
	            step->table.v, step->entry, gfn.v);
}

void sim_nm_audit(struct sim_nm *nm)
{
	vmmu_audit(nm->vm, audit_line, nm);
}

/* Replaying the trace from empty tables must give the tables as they are. */
static void check_provenance(struct sim_nm *nm)
{
	struct sim_replay replay;
	char error[256];
	size_t count = 0;

	sim_trace_drain(&nm->trace, &nm->ring);
	sim_trace_drain(&nm->trace, &nm->vcpu_ring);
	if (!sim_trace_replay(&nm->trace, &replay, error, sizeof(error))) {
		sim_nm_fail(nm, "trace: %s", error);
		return;
	}
	for (unsigned f = 0; f < TABLE_FRAMES; f++)
		for (unsigned i = 0; nm->tables.frame[f].in_use && i < 512; i++) {
			uint64_t hpa = TABLES_AT + f * 4096ull + i * 8, value;

			sim_memory_load(&nm->tables, hpa, &value);
			count += value != 0;
			if (value && value != sim_replay_get(&replay, hpa))
				sim_nm_fail(nm, "entry at %#lx is %#lx; by the trace %#lx", hpa, value,
				            sim_replay_get(&replay, hpa));
		}
	if (count != sim_replay_nonzero(&replay))
		sim_nm_fail(nm, "%zu entries, by the trace %zu", count, sim_replay_nonzero(&replay));
	sim_replay_fini(&replay);
}

bool sim_nm_end(struct sim_nm *nm)
{
	bool good;

	if (!nm->failed)
		sim_nm_audit(nm);
	if (!nm->failed)
		check_provenance(nm);
	vmmu_vcpu_destroy(nm->vcpu);
	if (vmmu_vm_destroy(nm->vm) != VMMU_OK)
		sim_nm_fail(nm, "the VM cannot be destroyed");
	if (nm->tables.objects || nm->tables.in_use)
		sim_nm_fail(nm, "%u objects and %u frames are left", nm->tables.objects, nm->tables.in_use);
	if (nm->tables.error)
		sim_nm_fail(nm, "%s", nm->tables.error);
	good = !nm->failed;
	sim_trace_fini(&nm->trace);
	sim_memory_fini(&nm->tables);
	free(nm->ring.records);
	free(nm->vcpu_ring.records);
	free(nm->logged);
	free(nm->ram);
	free(nm);
	return good;
}

/* ---- walks ------------------------------------------------------------------------------- */

static struct sim_walker walker_of(const struct sim_nm *nm)
{
	return (struct sim_walker){
		.format = nm->config.mode == VMMU_MODE_EPT ? &sim_format_ept : &sim_format_npt,
		.cpu = {.maxphyaddr = PHYSICAL_BITS, .page_2m = true, .page_1g = true, .exec_only = true, .nx = true, .la57 = nm->config.levels5},
	};
}

static bool load_table(void *ctx, uint64_t hpa, uint64_t *value)
{
	return sim_memory_load(&((struct sim_nm *)ctx)->tables, hpa, value);
}

static bool set_table_bits(void *ctx, uint64_t hpa, uint64_t expected, uint64_t bits)
{
	sim_nm_fail(ctx, "the CPU has bits %#lx to set in the entry at %#lx, which is %#lx", bits, hpa, expected);
	return sim_memory_set_bits(&((struct sim_nm *)ctx)->tables, hpa, expected, bits);
}

/* What the CPU does with the engine's tables. */
static void hardware_walk(struct sim_nm *nm, uint64_t gpa, unsigned access, struct sim_walk *out)
{
	struct sim_walker w = walker_of(nm);
	struct sim_walk_start root = {.rights = VMMU_RWX}, start;

	w.bus = (struct sim_bus){.ctx = nm, .load = load_table, .set_bits = set_table_bits};
	if (!w.format->root(&w.cpu, nm->root.pointer, &root.table, &root.level, &w.ad)) {
		sim_nm_fail(nm, "no CPU accepts the root pointer %#lx", nm->root.pointer);
		*out = (struct sim_walk){.end = SIM_WALK_BUS};
		return;
	}
	sim_tlb_start_for(&nm->tlb[nm->in_l2], gpa >> 12, &root, &start);
	sim_walk(&w, &start, gpa, access, true, out);
}

void sim_nm_model(struct sim_nm *nm, uint64_t gpa, unsigned access, struct sim_walk *out)
{
	struct sim_walker w = walker_of(nm);
	struct sim_walk_start root = {.rights = VMMU_RWX};

	w.cpu.maxphyaddr = nm->nested.cpu.maxphyaddr;
	w.cpu.page_2m = nm->nested.cpu.page_2m;
	w.cpu.page_1g = nm->nested.cpu.page_1g;
	w.cpu.exec_only = nm->nested.cpu.exec_only;
	w.cpu.la57 = nm->nested.cr4 >> 12 & 1;
	w.cpu.nx = nm->nested.efer >> 11 & 1;
	w.bus = (struct sim_bus){.ctx = nm, .load = load_ram};
	if (!w.format->root(&w.cpu, nm->nested.root, &root.table, &root.level, &w.ad))
		sim_nm_fail(nm, "the engine has accepted L1's root %#lx", nm->nested.root);
	sim_walk(&w, &root, gpa, access, false, out);
}

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
static bool is_marked(struct sim_nm *nm, const struct sim_walk *model, unsigned access)
{
	struct sim_walker w = walker_of(nm);

	if (nm->config.mode == VMMU_MODE_EPT && !(nm->nested.root & 1u << 6))
		return true;
	for (unsigned i = 0; i < model->steps; i++) {
		const struct sim_walk_step *step = &model->step[i];
		uint64_t want = w.format->accessed;

		if (i == model->steps - 1u && (access & VMMU_W))
			want |= w.format->dirty;
		if ((step->entry & want) != want &&
		    !(slot_at(nm, step->entry_hpa >> 12)->info.flags & VMMU_SLOT_READONLY))
			return false;
	}
	return true;
}

/* May L2's access reach this frame? NULL: yes. */
static const char *judge_l2(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t pfn, unsigned memtype,
                            bool ignore_pat)
{
	struct sim_walk model;
	struct sim_nm_slot *slot;

	sim_nm_model(nm, gpa, access, &model);
	if (model.end != SIM_WALK_MAPPED)
		return "L1's tables do not allow it";
	slot = slot_at(nm, model.pfn);
	if (!slot)
		return "L1 has no memory there";
	if ((access & VMMU_W) && (slot->info.flags & VMMU_SLOT_READONLY))
		return "the slot is read-only";
	if (pfn != nm->first_pfn + model.pfn)
		return "it is another frame";
	if (!is_marked(nm, &model, access))
		return "L1's accessed and dirty bits are not set";
	if (nm->config.mode == VMMU_MODE_EPT &&
	    (nm->config.ignore_pat ? memtype != nm->config.memtype || !ignore_pat
	                           : memtype != joined_memtype(nm->config.memtype, model.memtype) ||
	                                     ignore_pat != model.ignore_pat))
		return "its memory type is another";
	return NULL;
}

static const char *judge(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t pfn, unsigned memtype,
                         bool ignore_pat)
{
	struct sim_nm_slot *slot;

	if (nm->in_l2)
		return judge_l2(nm, gpa, access, pfn, memtype, ignore_pat);
	slot = slot_at(nm, gpa >> 12);
	if (!slot)
		return "there is no slot";
	if ((access & VMMU_W) && (slot->info.flags & VMMU_SLOT_READONLY))
		return "the slot is read-only";
	return pfn == nm->first_pfn + (gpa >> 12) ? NULL : "it is another frame";
}

/* All that is remembered of what runs must still be so, with every right. */
static void check_remembered(struct sim_nm *nm)
{
	struct sim_tlb *tlb = &nm->tlb[nm->in_l2];

	for (unsigned i = 0; i < SIM_TLB_PAGES && !nm->failed; i++) {
		const struct sim_tlb_page *p = &tlb->page[i];

		for (unsigned access = VMMU_R; p->valid && access <= VMMU_X; access <<= 1) {
			const char *wrong = p->rights & access
			                            ? judge(nm, p->gfn << 12, access, p->pfn, p->memtype, p->ignore_pat)
			                            : NULL;
			if (wrong)
				sim_nm_fail(nm, "the CPU remembers for L%u that %#lx is frame %#lx for access %u, but %s",
				            nm->in_l2 + 1, p->gfn << 12, p->pfn, access, wrong);
		}
	}
}

/* ---- entering ------------------------------------------------------------------------------ */

enum vmmu_status sim_nm_enter(struct sim_nm *nm, const struct vmmu_nested *nested)
{
	enum vmmu_status status = vmmu_vcpu_set_nested(nm->vcpu, nested);

	if (status != VMMU_OK)
		return status;
	nm->in_l2 = nested;
	if (nested)
		nm->nested = *nested;
	if (vmmu_vcpu_load(nm->vcpu, &nm->root) != VMMU_OK)
		sim_nm_fail(nm, "no root");
	if (nested && nm->root.pointer != nm->l2_pointer) {
		sim_tlb_flush(&nm->tlb[1], 0, ~0ull, true);
		nm->l2_pointer = nm->root.pointer;
	}
	check_remembered(nm);
	return VMMU_OK;
}

/* ---- accesses -------------------------------------------------------------------------------- */

static uint64_t ept_qualification(const struct sim_walk *walk, unsigned access)
{
	return (access & VMMU_RWX) | (uint64_t)(walk->rights & VMMU_RWX) << 3 | 1u << 7 | 1u << 8;
}

static uint64_t npf_code(const struct sim_walk *walk, unsigned access)
{
	return (walk->end != SIM_WALK_ABSENT ? 1 : 0) | (access & VMMU_W ? 2 : 0) | 4u |
	       (walk->end == SIM_WALK_BAD ? 8 : 0) | (access & VMMU_X ? 16 : 0) | 1ull << 32;
}

static struct vmmu_fault exit_of(struct sim_nm *nm, const struct sim_walk *walk, uint64_t gpa, unsigned access)
{
	if (nm->config.mode == VMMU_MODE_NPT)
		return vmmu_fault_from_npf(npf_code(walk, access), vmmu_gpa_of(gpa), 0);
	return vmmu_fault_from_ept_violation(ept_qualification(walk, access), vmmu_gpa_of(gpa), 0);
}

/* What L1's CPU would have given it. */
static void check_reflected(struct sim_nm *nm, uint64_t gpa, unsigned access)
{
	const struct vmmu_fault *f = &nm->fault;
	struct sim_walk model;
	uint64_t code = 0;
	unsigned reflect;

	nm->reflected++;
	sim_nm_model(nm, gpa, access, &model);
	if (model.end == SIM_WALK_MAPPED) {
		sim_nm_fail(nm, "L1 is told of an access %u to %#lx that its tables allow", access, gpa);
		return;
	}
	if (model.end == SIM_WALK_BUS) /* an entry that is nowhere counts as not present */
		model.end = SIM_WALK_ABSENT, model.rights = 0;
	if (nm->config.mode == VMMU_MODE_NPT) {
		reflect = VMMU_REFLECT_NPF;
		code = npf_code(&model, access);
		if (!(nm->nested.efer >> 11 & 1))
			code &= ~16ull;
	} else {
		reflect = model.end == SIM_WALK_BAD ? VMMU_REFLECT_EPT_MISCONFIG : VMMU_REFLECT_EPT_VIOLATION;
		code = model.end == SIM_WALK_BAD ? 0 : ept_qualification(&model, access);
	}
	if (f->reflect != reflect || f->error_code != code || f->l2_gpa.v != gpa)
		sim_nm_fail(nm, "L1 is told exit %u, code %#lx, address %#lx; its CPU would say %u, %#lx, %#lx (access %u)",
		            f->reflect, f->error_code, f->l2_gpa.v, reflect, code, gpa, access);
}

/* The gpa of L1's that the access means; false: none. */
static bool l1_gpa(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t *out)
{
	struct sim_walk model;

	*out = gpa;
	if (!nm->in_l2)
		return true;
	sim_nm_model(nm, gpa, access, &model);
	*out = model.pfn << 12 | (gpa & 4095);
	return model.end == SIM_WALK_MAPPED;
}

/* The access ends with an exit that somebody has to see to. */
static void ended(struct sim_nm *nm, enum vmmu_fault_result result, uint64_t gpa, unsigned access, uint64_t value)
{
	struct sim_nm_slot *slot;
	uint64_t at;

	if (result == VMMU_FAULT_REFLECT) {
		check_reflected(nm, gpa, access);
		return;
	}
	if (!l1_gpa(nm, gpa, access, &at)) {
		sim_nm_fail(nm, "%s for an access %u to %#lx that L1's tables refuse", vmmu_fault_result_name(result), access, gpa);
		return;
	}
	if (nm->fault.gpa.v != at)
		sim_nm_fail(nm, "%s at %#lx, but %#lx means %#lx", vmmu_fault_result_name(result), nm->fault.gpa.v, gpa, at);
	slot = slot_at(nm, at >> 12);
	if (result == VMMU_FAULT_WRITE_TABLE && slot && (access & VMMU_W)) {
		nm->emulated++;
		sim_nm_host_write(nm, at & ~7ull, 8, value);
	} else if (!(result == VMMU_FAULT_EMULATE_MMIO && !slot) &&
	           !(result == VMMU_FAULT_READ_ONLY && slot && (slot->info.flags & VMMU_SLOT_READONLY) &&
	             (access & VMMU_W))) {
		sim_nm_fail(nm, "%s for access %u to %#lx of L%u", vmmu_fault_result_name(result), access, gpa, nm->in_l2 + 1);
	}
}

/* The CPU lets it through to this frame. */
static void through(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t pfn, unsigned memtype, bool ignore_pat,
                    uint64_t value)
{
	const char *wrong = judge(nm, gpa, access, pfn, memtype, ignore_pat);

	if (wrong)
		sim_nm_fail(nm, "access %u of L%u to %#lx reaches frame %#lx, but %s", access, nm->in_l2 + 1, gpa, pfn, wrong);
	else if (access & VMMU_W)
		store(nm, (pfn - nm->first_pfn) << 12 | (gpa & 0xff8), 8, value);
}

enum vmmu_fault_result sim_nm_access(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t value)
{
	enum vmmu_fault_result result = VMMU_FAULT_RETRY;
	struct sim_walk walk;

	nm->accesses++;
	for (unsigned i = 0; i < TRIES && !nm->failed; i++) {
		struct sim_tlb_page *page = sim_tlb_page_for(&nm->tlb[nm->in_l2], gpa >> 12);

		if (page && !(access & ~page->rights)) {
			uint64_t inside = (gpa >> 12) - page->gfn;

			through(nm, gpa, access, page->pfn + inside, page->memtype, page->ignore_pat, value);
			check_remembered(nm);
			return 0;
		}
		hardware_walk(nm, gpa, access, &walk);
		if (walk.end == SIM_WALK_MAPPED) {
			sim_tlb_insert(&nm->tlb[nm->in_l2], gpa, &walk);
			through(nm, gpa, access, walk.pfn, walk.memtype, walk.ignore_pat, value);
			check_remembered(nm);
			return 0;
		}
		sim_tlb_forget(&nm->tlb[nm->in_l2], gpa >> 12);
		nm->exits++;
		nm->fault = exit_of(nm, &walk, gpa, access);
		result = vmmu_fault(nm->vcpu, &nm->fault);
		if (result != VMMU_FAULT_FIXED && result != VMMU_FAULT_SPURIOUS && result != VMMU_FAULT_RETRY) {
			ended(nm, result, gpa, access, value);
			check_remembered(nm);
			return result;
		}
	}
	sim_nm_fail(nm, "access %u of L%u to %#lx does not get on: %s", access, nm->in_l2 + 1, gpa,
	            vmmu_fault_result_name(result));
	return result;
}

/* ---- what the host does ------------------------------------------------------------------------ */

void sim_nm_slot_create(struct sim_nm *nm, unsigned n, uint64_t gfn, uint64_t pages, uint32_t flags)
{
	nm->slot[n].info = (struct vmmu_slot_info){.id = n, .base = {gfn << 12}, .bytes = pages << 12, .flags = flags};
	if (vmmu_slot_create(nm->vm, &nm->slot[n].info) != VMMU_OK)
		sim_nm_fail(nm, "slot %u is refused", n);
	nm->slot[n].present = true;
}

void sim_nm_slot_delete(struct sim_nm *nm, unsigned n)
{
	nm->slot[n].present = false;
	if (vmmu_slot_delete(nm->vm, n) != VMMU_OK)
		sim_nm_fail(nm, "slot %u cannot be deleted", n);
	check_remembered(nm);
}

void sim_nm_slot_flags(struct sim_nm *nm, unsigned n, uint32_t flags)
{
	struct vmmu_slot_info *info = &nm->slot[n].info;

	if (flags & ~info->flags & VMMU_SLOT_LOG_DIRTY)
		memset(nm->logged + (info->base.v >> 12), 0, info->bytes >> 12);
	info->flags = flags;
	if (vmmu_slot_set_flags(nm->vm, n, flags) != VMMU_OK)
		sim_nm_fail(nm, "flags of slot %u are refused", n);
	check_remembered(nm);
}

void sim_nm_log(struct sim_nm *nm, unsigned n)
{
	const struct vmmu_slot_info *info = &nm->slot[n].info;
	size_t words = ((info->bytes >> 12) + 63) / 64;
	uint64_t *bitmap = calloc(words, 8), first = info->base.v >> 12;

	if (!bitmap || vmmu_dirty_log(nm->vm, n, bitmap, words) != VMMU_OK)
		sim_nm_fail(nm, "the log of slot %u is refused", n);
	for (uint64_t i = 0; bitmap && i < info->bytes >> 12; i++) {
		if (nm->logged[first + i] && !(bitmap[i / 64] >> i % 64 & 1))
			sim_nm_fail(nm, "gfn %#lx was written and is not in the log", first + i);
		nm->logged[first + i] = false;
	}
	free(bitmap);
	check_remembered(nm);
}

void sim_nm_migrate(struct sim_nm *nm)
{
	uint64_t bytes = nm->config.ram_pages << 12;

	if (vmmu_invalidate_begin(nm->vm, vmmu_gpa_of(0), bytes) != VMMU_OK)
		sim_nm_fail(nm, "invalidation is refused");
	nm->first_pfn += 1u << 18;
	if (nm->first_pfn > 1u << 30)
		nm->first_pfn = FIRST_PFN;
	if (vmmu_invalidate_end(nm->vm, vmmu_gpa_of(0), bytes) != VMMU_OK)
		sim_nm_fail(nm, "invalidation has no end");
	check_remembered(nm);
}
