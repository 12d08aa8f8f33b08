/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtual CPU: guest accesses through TLB and walk, exits handed to the engine. */
#include "internal.h"
#include "random.h"
#include "sim.h"

#include <stdlib.h>

#define RSVD_PRESENT 9u /* EXITINFO1 bits 0 and 3 */
#define GUEST_USER 4u   /* EXITINFO1 bit 2: nested accesses are user accesses */
#define NPF_FINAL (1ull << 32)
#define NPF_WALK (1ull << 33)
#define EPT_LINEAR_VALID 0x80u
#define EPT_FINAL 0x100u
#define MANY 8 /* exits that one access may take before it counts as stuck */

bool sim_vcpu_init(struct sim *sim, unsigned n, enum vmmu_status *status)
{
	struct sim_vcpu *v = &sim->vcpu[n];
	bool ept = sim->config.mode == VMMU_MODE_EPT;
	const struct vmmu_cpu *cpu = &sim->config.cpu;
	unsigned levels = 0;

	v->ring.size = sim->config.ring_records;
	v->ring.records = calloc(v->ring.size, sizeof(*v->ring.records));
	*status = vmmu_vcpu_create(sim->vm, (uint16_t)n, &v->ring, &v->engine);
	if (*status != VMMU_OK)
		return false;
	*status = vmmu_vcpu_load(v->engine, &v->root);
	if (*status != VMMU_OK)
		return false;
	v->walker = (struct sim_walker){
		.format = ept ? &sim_format_ept : &sim_format_npt,
		.cpu = {
			.maxphyaddr = cpu->maxphyaddr,
			.page_2m = cpu->page_2m,
			.page_1g = cpu->page_1g,
			.exec_only = cpu->exec_only,
			.nx = cpu->nx,
			.la57 = cpu->levels5,
		},
		.bus = sim_bus_of(sim),
	};
	if (!v->walker.format->root(&v->walker.cpu, v->root.pointer, &v->start.table, &levels,
	                            &v->walker.ad))
		sim_fail(sim, 0, "VM entry would refuse root pointer %#lx", v->root.pointer);
	v->start.level = levels;
	v->start.rights = VMMU_RWX;
	if (levels != v->root.levels || v->start.table != v->root.table.v)
		sim_fail(sim, 0, "root pointer %#lx is not the root that vmmu_vcpu_load names",
		         v->root.pointer);
	struct sim_frame *frame = sim_memory_frame(&sim->memory, v->start.table);

	if (!frame || !frame->in_use) {
		sim_fail(sim, 0, "the root is no table frame");
		return false;
	}
	frame->level = (uint8_t)levels;
	sim_tlb_init(&v->tlb, sim->config.seed * 31 + n + 1, sim->config.evict_percent);
	return true;
}

void sim_vcpu_fini(struct sim *sim, unsigned n)
{
	struct sim_vcpu *v = &sim->vcpu[n];

	if (v->engine)
		vmmu_vcpu_destroy(v->engine);
	v->engine = NULL;
}

void sim_note_interest(struct sim *sim, uint64_t gfn)
{
	if (!sim->config.threads)
		sim->interest[sim->interests++ % SIM_INTERESTS] = gfn;
}

void sim_vcpu_speculate(struct sim *sim, unsigned n, uint64_t gfn)
{
	struct sim_vcpu *v = &sim->vcpu[n];
	struct sim_walk_start start;
	struct sim_walk walk;

	if (!v->start.table || gfn >> (9 * v->start.level))
		return;
	sim_tlb_start_for(&v->tlb, gfn, &v->start, &start);
	sim_walk(&v->walker, &start, gfn << VMMU_PAGE_SHIFT, 0, true, &walk);
	if (walk.end == SIM_WALK_BUS)
		sim_fail(sim, start.table, "vCPU %u: its paging-structure cache leads to a freed table", n);
	/* By way of a remembered table the CPU may see more than by way of the root. */
	const char *wrong = walk.end != SIM_WALK_MAPPED || !walk.rights ? NULL
	                                                                : sim_judge_page(sim, gfn, walk.pfn, walk.rights, walk.memtype, walk.ignore_pat);
	if (wrong)
		sim_fail(sim, walk.step[walk.steps - 1].entry_hpa,
		         "vCPU %u sees, from what it remembers, an entry for gfn %#lx that %s", n, gfn, wrong);
	sim_tlb_insert(&v->tlb, gfn << VMMU_PAGE_SHIFT, &walk);
}

/* ---- one attempt ------------------------------------------------------------- */

struct attempt {
	bool through;
	struct sim_walk walk; /* what stopped it, when not through */
};

static void judge_use(struct sim *sim, unsigned n, uint64_t gfn, const struct sim_tlb_page *page,
                      unsigned access)
{
	const char *wrong = sim_judge_page(sim, gfn, page->pfn + (gfn - page->gfn),
	                                   access & VMMU_RWX, page->memtype, page->ignore_pat);

	if (wrong)
		sim_fail(sim, page->entry_hpa, "vCPU %u used a translation of gfn %#lx that %s", n, gfn,
		         wrong);
}

static bool through_tlb(struct sim *sim, unsigned n, uint64_t gfn, unsigned access,
                        struct attempt *out)
{
	struct sim_vcpu *v = &sim->vcpu[n];
	struct sim_tlb_page *page = sim_tlb_page_for(&v->tlb, gfn);

	if (!page)
		return false;
	if ((access & VMMU_W) && (page->rights & VMMU_W) && !page->dirty)
		return false; /* D must be set in the table: walk */
	out->through = !(access & ~page->rights & VMMU_RWX);
	if (out->through) {
		judge_use(sim, n, gfn, page, access);
	} else {
		out->walk = (struct sim_walk){.end = SIM_WALK_RIGHTS, .rights = page->rights};
		sim_tlb_forget(&v->tlb, gfn);
	}
	return true;
}

static void through_walk(struct sim *sim, unsigned n, uint64_t gpa, unsigned access,
                         struct attempt *out)
{
	struct sim_vcpu *v = &sim->vcpu[n];
	struct sim_walk_start start;

	sim_tlb_start_for(&v->tlb, gpa >> VMMU_PAGE_SHIFT, &v->start, &start);
	sim_walk(&v->walker, &start, gpa, access & VMMU_RWX, true, &out->walk);
	out->through = out->walk.end == SIM_WALK_MAPPED;
	if (out->walk.end == SIM_WALK_BUS)
		sim_fail(sim, start.table, "vCPU %u: the walk for %#lx met memory that is no table", n, gpa);
	if (out->through) {
		struct sim_tlb_page used = {
			.gfn = gpa >> VMMU_PAGE_SHIFT,
			.pfn = out->walk.pfn,
			.memtype = out->walk.memtype,
			.ignore_pat = out->walk.ignore_pat,
			.entry_hpa = out->walk.step[out->walk.steps - 1].entry_hpa,
		};

		judge_use(sim, n, used.gfn, &used, access);
		sim_tlb_insert(&v->tlb, gpa, &out->walk);
	} else {
		sim_tlb_forget(&v->tlb, gpa >> VMMU_PAGE_SHIFT);
	}
}

/* With threads there is no TLB: every access walks, and flushes wait for walks. */
static void through_shared_walk(struct sim *sim, unsigned n, uint64_t gpa, unsigned access,
                                struct attempt *out)
{
	struct sim_vcpu *v = &sim->vcpu[n];

	pthread_rwlock_rdlock(&sim->walks);
	sim_walk(&v->walker, &v->start, gpa, access & VMMU_RWX, true, &out->walk);
	pthread_rwlock_unlock(&sim->walks);
	out->through = out->walk.end == SIM_WALK_MAPPED;
	if (out->walk.end == SIM_WALK_BUS)
		sim_fail(sim, 0, "vCPU %u: the walk for %#lx met memory that is no table", n, gpa);
}

static void attempt(struct sim *sim, unsigned n, uint64_t gpa, unsigned access, struct attempt *out)
{
	*out = (struct attempt){0};
	if (sim->config.threads) {
		through_shared_walk(sim, n, gpa, access, out);
		return;
	}
	if (!through_tlb(sim, n, gpa >> VMMU_PAGE_SHIFT, access, out))
		through_walk(sim, n, gpa, access, out);
}

/* ---- the exit ------------------------------------------------------------------ */

/* What the CPU tells its hypervisor (SDM vol. 3, table 28-7; APM vol. 2, 15.25.6). */
static struct vmmu_fault exit_for(const struct sim *sim, uint64_t gpa, unsigned access,
                                  const struct sim_walk *walk)
{
	uint64_t rip = 0xffffffff81000000 + (gpa & 0xfff);
	bool of_walk = access & VMMU_ACCESS_WALK;

	if (sim->config.mode == VMMU_MODE_EPT) {
		if (walk->end == SIM_WALK_BAD)
			return vmmu_fault_from_ept_misconfig(vmmu_gpa_of(gpa), rip);
		uint64_t rights = walk->end == SIM_WALK_RIGHTS ? walk->rights : 0;

		return vmmu_fault_from_ept_violation((access & VMMU_RWX) | rights << 3 | EPT_LINEAR_VALID |
		                                             (of_walk ? 0 : EPT_FINAL),
		                                     vmmu_gpa_of(gpa), rip);
	}
	uint64_t info = GUEST_USER | (of_walk ? NPF_WALK : NPF_FINAL);

	if (walk->end == SIM_WALK_BAD)
		info |= RSVD_PRESENT;
	if (walk->end == SIM_WALK_RIGHTS)
		info |= 1;
	if (access & VMMU_W)
		info |= 2;
	if (access & VMMU_X)
		info |= 0x10;
	return vmmu_fault_from_npf(info, vmmu_gpa_of(gpa), rip);
}

/* ---- what the engine may answer --------------------------------------------------- */

struct before {
	uint64_t failed;
	uint64_t writes;
	unsigned retries;
};

static struct sim_backing *backing_at(struct sim *sim, uint64_t gfn)
{
	struct sim_ref_slot *slot = sim_ref_slot_at(&sim->ref, gfn);

	return slot ? slot->backing : NULL;
}

/* Entries written so far: as the hook saw them, or where there is none as the engine counts them. */
static uint64_t writes_of(struct sim *sim)
{
	struct vmmu_stats stats;
	uint64_t writes = 0;

	if (!sim->config.unhooked)
		return sim->writes;
	vmmu_stats_read(sim->vm, &stats);
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++)
		for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++)
			writes += stats.entries[cause][level];
	return writes;
}

static struct before snapshot(struct sim *sim, uint64_t gfn)
{
	struct sim_backing *backing = backing_at(sim, gfn);

	return (struct before){sim->memory.failed, writes_of(sim), backing ? backing->retries : 0};
}

static bool denied(const struct sim_ref_slot *slot, uint64_t gfn, unsigned access)
{
	const struct sim_backing *backing = slot->backing;
	int64_t offset = (int64_t)(gfn - (slot->info.base.v >> VMMU_PAGE_SHIFT));

	if (access & ~backing->config.rights & VMMU_RWX)
		return true;
	return (access & backing->denied_access) && offset >= backing->denied_offset &&
	       (uint64_t)(offset - backing->denied_offset) < backing->denied_pages;
}

/* Mask of the results that the headers allow here. */
static uint32_t allowed_results(struct sim *sim, const struct vmmu_fault *fault,
                                const struct before *before)
{
	uint64_t gfn = fault->gpa.v >> VMMU_PAGE_SHIFT;
	struct sim_ref_slot *slot = sim_ref_slot_at(&sim->ref, gfn);
	uint32_t mask = 0;

	if (gfn >= sim->ref.reach)
		return 1u << VMMU_FAULT_BEYOND;
	if (sim_ref_busy(&sim->ref, gfn, 1))
		mask |= 1u << VMMU_FAULT_RETRY;
	/* Neither of these needs memory. */
	if (!slot)
		return mask | 1u << VMMU_FAULT_EMULATE_MMIO;
	if ((slot->info.flags & VMMU_SLOT_READONLY) && (fault->access & VMMU_W))
		return mask | 1u << VMMU_FAULT_READ_ONLY;
	if (sim->memory.failed != before->failed)
		mask |= 1u << VMMU_FAULT_NO_MEMORY;
	/* What the host refuses it refuses, whatever becomes of the frame. */
	if (sim_ref_busy(&sim->ref, gfn, 1))
		return mask | (denied(slot, gfn, fault->access) ? 1u << VMMU_FAULT_DENIED : 0);
	if (slot->backing->retries != before->retries)
		return mask | 1u << VMMU_FAULT_RETRY;
	if (denied(slot, gfn, fault->access))
		return mask | 1u << VMMU_FAULT_DENIED;
	/* Another frame: the old one may be dropped in one round, the new one mapped in the next. */
	if (slot->backing->transitions && writes_of(sim) != before->writes)
		mask |= 1u << VMMU_FAULT_RETRY;
	if (!(mask & 1u << VMMU_FAULT_NO_MEMORY))
		mask |= 1u << VMMU_FAULT_FIXED | 1u << VMMU_FAULT_SPURIOUS;
	return mask | 1u << VMMU_FAULT_FIXED; /* memory that was refused may not have been needed */
}

static void judge_repaired(struct sim *sim, const struct vmmu_fault *fault)
{
	struct sim_walk walk;

	sim_look(sim, fault->gpa.v, fault->access & VMMU_RWX, &walk);
	if (walk.end != SIM_WALK_MAPPED) {
		sim_fail(sim, walk.steps ? walk.step[walk.steps - 1].entry_hpa : 0,
		         "the engine says %#lx is mapped for access %#x; the CPU does not see it",
		         fault->gpa.v, fault->access);
		return;
	}
	if (walk.level != fault->level || walk.pfn != fault->pfn.v ||
	    walk.step[walk.steps - 1].entry != fault->entry)
		sim_fail(sim, walk.step[walk.steps - 1].entry_hpa,
		         "vmmu_fault reports level %u pfn %#lx entry %#lx for %#lx; the CPU sees %u %#lx %#lx",
		         fault->level, fault->pfn.v, fault->entry, fault->gpa.v, walk.level, walk.pfn,
		         walk.step[walk.steps - 1].entry);
}

static void judge_result(struct sim *sim, const struct vmmu_fault *fault,
                         enum vmmu_fault_result result, const struct before *before)
{
	struct sim_ref_slot *slot = sim_ref_slot_at(&sim->ref, fault->gpa.v >> VMMU_PAGE_SHIFT);

	if (!(allowed_results(sim, fault, before) & 1u << result)) {
		sim_fail(sim, 0, "vmmu_fault for %#lx access %#x answers %s", fault->gpa.v, fault->access,
		         vmmu_fault_result_name(result));
		return;
	}
	if (result == VMMU_FAULT_FIXED && writes_of(sim) == before->writes)
		sim_fail(sim, 0, "FIXED for %#lx, but no entry was written", fault->gpa.v);
	if ((result == VMMU_FAULT_SPURIOUS || result == VMMU_FAULT_NO_MEMORY) &&
	    writes_of(sim) != before->writes)
		sim_fail(sim, 0, "%s for %#lx, but entries were written", vmmu_fault_result_name(result),
		         fault->gpa.v);
	if (fault->slot != (slot ? slot->info.id : UINT32_MAX) && result != VMMU_FAULT_BEYOND)
		sim_fail(sim, 0, "vmmu_fault names slot %u for %#lx", fault->slot, fault->gpa.v);
	if (result == VMMU_FAULT_FIXED || result == VMMU_FAULT_SPURIOUS)
		judge_repaired(sim, fault);
}

/*
 * A write made while a call is under way may be in the log that the call fetches
 * or in the next, but if the slot logs before the call it must be in one.
 */
void sim_expect_write(struct sim *sim, uint64_t gfn, enum sim_dirty state)
{
	const struct sim_ref_slot *slot = sim_ref_slot_at(&sim->ref, gfn);

	if (!sim->ref_after) {
		sim_ref_mark(&sim->ref, gfn, state);
		return;
	}
	sim_ref_mark(&sim->ref, gfn, SIM_MAY_WRITE);
	sim_ref_mark(sim->ref_after, gfn, slot && slot->dirty ? state : SIM_MAY_WRITE);
}

/* Another frame is in place for good: the old one may not be seen again. */
static void end_transition(struct sim *sim, uint64_t gfn)
{
	struct sim_ref_slot *slot = sim_ref_slot_at(&sim->ref, gfn);

	if (!slot)
		return;
	int64_t offset = (int64_t)(gfn - (slot->info.base.v >> VMMU_PAGE_SHIFT));
	struct sim_backing *backing = slot->backing;

	for (unsigned i = 0; i < backing->transitions;) {
		if (backing->transition[i].offset == offset)
			backing->transition[i] = backing->transition[--backing->transitions];
		else
			i++;
	}
}

/*
 * A call that may have had [first, end) copied is over. Once the host has named another frame,
 * the one from before is not for use, whatever the call has come to.
 */
static void end_writing_call(struct sim *sim, uint64_t first, uint64_t end)
{
	for (uint64_t gfn = first; gfn < end; gfn++) {
		struct sim_backing *backing = backing_at(sim, gfn);

		if (backing)
			backing->busy = false;
		if (!sim->config.interleaved)
			end_transition(sim, gfn);
	}
}

static enum vmmu_fault_result handle_exit(struct sim *sim, unsigned n, struct vmmu_fault *fault)
{
	uint64_t gfn = fault->gpa.v >> VMMU_PAGE_SHIFT;
	enum vmmu_fault_result result;

	if (sim->config.threads)
		return vmmu_fault(sim->vcpu[n].engine, fault);
	struct before before = snapshot(sim, gfn);

	if (fault->access & VMMU_W)
		sim_expect_write(sim, gfn, SIM_MAY_WRITE);
	result = vmmu_fault(sim->vcpu[n].engine, fault);
	sim->fault = *fault;
	if (!sim->config.interleaved)
		judge_result(sim, fault, result, &before);
	if (fault->access & VMMU_W)
		end_writing_call(sim, gfn, gfn + 1);
	if (result == VMMU_FAULT_FIXED && (fault->access & VMMU_W))
		end_transition(sim, gfn);
	return result;
}

static enum vmmu_fault_result access_loop(struct sim *sim, unsigned n, uint64_t gpa, unsigned access)
{
	for (unsigned exits = 0; exits < MANY; exits++) {
		struct attempt try;

		attempt(sim, n, gpa, access, &try);
		if (sim->failed && !sim->config.threads)
			return SIM_OK;
		if (try.through)
			return SIM_OK;
		struct vmmu_fault fault = exit_for(sim, gpa, access, &try.walk);
		uint64_t writes = writes_of(sim);
		enum vmmu_fault_result result = handle_exit(sim, n, &fault);

		if (result == VMMU_FAULT_RETRY && (sim->config.threads || sim->config.interleaved)) {
			if (sim->host.relax)
				sim->host.relax(sim);
			exits--;
			continue;
		}
		if (result == VMMU_FAULT_RETRY && writes_of(sim) != writes)
			continue; /* it got somewhere: a stale entry is gone */
		if (result != VMMU_FAULT_FIXED && result != VMMU_FAULT_SPURIOUS)
			return result;
	}
	if (!sim->config.threads && !sim->config.interleaved)
		sim_fail(sim, 0, "access %#x to %#lx makes no progress after %u exits", access, gpa, MANY);
	return VMMU_FAULT_RETRY;
}

enum vmmu_fault_result sim_access(struct sim *sim, unsigned vcpu, uint64_t gpa, unsigned access)
{
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;
	enum vmmu_fault_result result;

	sim_note_interest(sim, gfn);
	if (sim->config.threads)
		return access_loop(sim, vcpu, gpa, access);
	sim->vcpu[vcpu].writing = access & VMMU_W ? gfn + 1 : 0;
	result = access_loop(sim, vcpu, gpa, access);
	if (result == SIM_OK && (access & VMMU_W))
		sim_expect_write(sim, gfn, SIM_DIRTY);
	sim->vcpu[vcpu].writing = 0;
	for (unsigned i = 0; i < sim->vcpus; i++)
		if (sim_random_below(&sim->random, 3) == 0)
			sim_vcpu_speculate(sim, i, gfn);
	return result;
}

enum vmmu_fault_result sim_access_walk(struct sim *sim, unsigned vcpu, uint64_t gpa)
{
	/*
	 * With A/D on, the walker's accesses to guest tables count as writes (SDM
	 * vol. 3, 29.3.5; APM vol. 2, 15.25.5); without, as reads.
	 */
	unsigned access = sim->vcpu[vcpu].walker.ad ? VMMU_R | VMMU_W : VMMU_R;

	return sim_access(sim, vcpu, gpa, access | VMMU_ACCESS_WALK);
}

enum vmmu_fault_result sim_prefault(struct sim *sim, unsigned vcpu, uint64_t gpa, uint64_t bytes,
                                    unsigned access, uint64_t *done)
{
	uint64_t end = (gpa + bytes + VMMU_PAGE_SIZE - 1) >> VMMU_PAGE_SHIFT;
	enum vmmu_fault_result result;
	uint64_t got = 0;

	for (uint64_t gfn = gpa >> VMMU_PAGE_SHIFT; access & VMMU_W && gfn < end; gfn++)
		sim_expect_write(sim, gfn, SIM_MAY_WRITE);
	result = vmmu_prefault(sim->vcpu[vcpu].engine, vmmu_gpa_of(gpa), bytes, access, &got);
	for (uint64_t page = gpa >> VMMU_PAGE_SHIFT; page << VMMU_PAGE_SHIFT < gpa + got; page++) {
		struct sim_walk walk;

		sim_look(sim, page << VMMU_PAGE_SHIFT, access, &walk);
		if (walk.end != SIM_WALK_MAPPED)
			sim_fail(sim, 0, "prefault says %#lx bytes from %#lx are mapped; gfn %#lx is not", got,
			         gpa, page);
		else
			end_transition(sim, page);
	}
	if (access & VMMU_W)
		end_writing_call(sim, gpa >> VMMU_PAGE_SHIFT, end);
	if (got > bytes)
		sim_fail(sim, 0, "prefault says it did %#lx of %#lx bytes", got, bytes);
	if (result <= VMMU_FAULT_SPURIOUS && got != bytes)
		sim_fail(sim, 0, "prefault answers %s after %#lx of %#lx bytes",
		         vmmu_fault_result_name(result), got, bytes);
	if (done)
		*done = got;
	sim_check(sim);
	return result;
}

void sim_look(struct sim *sim, uint64_t gpa, unsigned access, struct sim_walk *out)
{
	sim_walk(&sim->vcpu[0].walker, &sim->vcpu[0].start, gpa, access, false, out);
}
