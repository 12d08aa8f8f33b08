/* SPDX-License-Identifier: BSD-2-Clause */
/* A CPU of the nested machine: what it runs on, what it looks up unasked, its accesses and exits. */
#include "nested_internal.h"
#include "nested_machine.h"
#include "random.h"

#include <string.h>

enum { TRIES = 64 };

void sim_nm_by(struct sim_nm *nm, unsigned n)
{
	nm->at = &nm->cpu[n];
}

/* ---- entering ------------------------------------------------------------------------------ */

/* Translations stay under the root's address (EP4TA, ASID): the CPU finds them again with it. */
static struct sim_nm_space *space_for(struct sim_nm_vcpu *cpu, uint64_t pointer, bool is_l2)
{
	struct sim_nm_space *oldest = &cpu->space[1];

	if (!is_l2)
		return &cpu->space[0];
	for (unsigned s = 1; s < SIM_NM_SPACES; s++) {
		if (cpu->space[s].pointer == pointer)
			return &cpu->space[s];
		if (cpu->space[s].used < oldest->used)
			oldest = &cpu->space[s];
	}
	sim_tlb_flush(&oldest->tlb, 0, ~0ull, true);
	return oldest;
}

/* APM vol. 2, 15.25.3: the four entries that nCR3 names, as they are at VMRUN. */
static void read_pdptes(struct sim_nm *nm, struct sim_nm_space *space)
{
	uint64_t at = space->nested.root & 0xffffffe0ull;

	for (unsigned i = 0; i < 4; i++)
		space->pdpte[i] = sim_nm_slot_at(nm, at >> 12) ? sim_nm_word(nm, at + i * 8) : 0;
}

enum vmmu_status sim_nm_enter(struct sim_nm *nm, const struct vmmu_nested *nested)
{
	struct sim_nm_vcpu *cpu = nm->at;
	bool late[SIM_NM_PENDING];
	struct sim_nm_space *space;
	enum vmmu_status status;

	for (unsigned i = 0; i < SIM_NM_PENDING; i++)
		late[i] = nm->pending[i].used && nm->pending[i].late;
	cpu->outside = true;
	status = vmmu_vcpu_set_nested(cpu->vcpu, nested);
	nm->at = cpu;
	if (status == VMMU_OK) {
		if (vmmu_vcpu_load(cpu->vcpu, &cpu->root) != VMMU_OK)
			sim_nm_fail(nm, "no root");
		space = space_for(cpu, cpu->root.pointer, nested != NULL);
		space->pointer = cpu->root.pointer;
		space->is_l2 = nested != NULL;
		if (nested) {
			space->nested = *nested;
			read_pdptes(nm, space);
		}
		/* L1's INVEPT, if it has executed one: whatever was written before is seen by all. */
		for (unsigned i = 0; nested && i < SIM_NM_PENDING; i++)
			nm->pending[i].used &= !late[i];
		space->used = ++nm->clock;
		cpu->on = space;
	}
	cpu->outside = false;
	sim_nm_check_all(nm);
	return status;
}

/* ---- unasked --------------------------------------------------------------------------------- */

static void look(struct sim_nm *nm, struct sim_nm_vcpu *cpu, uint64_t gpa)
{
	struct sim_walk walk;

	nm->looks++;
	sim_nm_hardware_walk(nm, cpu, gpa, 0, &walk);
	if (walk.end != SIM_WALK_MAPPED)
		return;
	for (unsigned access = VMMU_R; access <= VMMU_X; access <<= 1) {
		const char *wrong = walk.rights & access
		                            ? sim_nm_judge(nm, cpu->on, gpa, access, walk.pfn, walk.memtype, walk.ignore_pat)
		                            : NULL;
		if (wrong)
			sim_nm_fail(nm, "in between CPU %u finds for L%u frame %#lx at %#lx for access %u, but %s", cpu->number,
			            cpu->on->is_l2 + 1, walk.pfn, gpa, access, wrong);
	}
	sim_tlb_insert(&cpu->on->tlb, gpa, &walk);
}

void sim_nm_look_around(struct sim_nm *nm)
{
	for (unsigned n = 0; n < nm->vcpus && !nm->failed; n++) {
		struct sim_nm_vcpu *cpu = &nm->cpu[n];

		if (cpu == nm->at || cpu->outside || !cpu->recents || sim_random_below(&nm->random, 100) >= nm->config.look_percent)
			continue;
		for (unsigned i = 0; i < 2; i++)
			look(nm, cpu, cpu->recent[sim_random_below(&nm->random, SIM_NM_RECENT)]);
	}
}

void sim_nm_try_meanwhile(struct sim_nm *nm)
{
	struct sim_nm_vcpu *cpu = nm->at;
	uint64_t gpa = cpu->recent[sim_random_below(&nm->random, SIM_NM_RECENT)];
	unsigned access = sim_random_below(&nm->random, 2) ? VMMU_R : VMMU_W;
	enum vmmu_fault_result result;
	struct sim_walk walk;

	sim_nm_hardware_walk(nm, cpu, gpa, access, &walk);
	if (walk.end == SIM_WALK_MAPPED) {
		sim_nm_fail(nm, "%#lx is mapped for L%u while the host takes it back", gpa, cpu->on->is_l2 + 1);
		return;
	}
	cpu->fault = sim_nm_exit(nm, &walk, gpa, access);
	cpu->fault.access |= sim_random_below(&nm->random, 2) ? VMMU_ACCESS_PML_FULL : 0;
	result = vmmu_fault(cpu->vcpu, &cpu->fault);
	/* What is no memory, or what registers refuse, is known all the same; the address may have been the other guest's. */
	if (result != VMMU_FAULT_RETRY && result != VMMU_FAULT_EMULATE_MMIO && result != VMMU_FAULT_REFLECT &&
	    result != VMMU_FAULT_READ_ONLY && result != VMMU_FAULT_BEYOND)
		sim_nm_fail(nm, "%s for access %u of L%u to %#lx, which the host takes back", vmmu_fault_result_name(result), access,
		            cpu->on->is_l2 + 1, gpa);
}

/* ---- accesses -------------------------------------------------------------------------------- */

/* The instruction is emulated. */
static void emulate(struct sim_nm *nm, enum vmmu_fault_result result, uint64_t gpa, unsigned access, uint64_t value)
{
	struct sim_nm_slot *slot;
	uint64_t at;

	if (!sim_nm_l1_gpa(nm, gpa, access, &at)) {
		sim_nm_fail(nm, "%s for an access %u to %#lx that L1's tables refuse", vmmu_fault_result_name(result), access, gpa);
		return;
	}
	if (nm->at->fault.gpa.v != at)
		sim_nm_fail(nm, "%s at %#lx, but %#lx means %#lx", vmmu_fault_result_name(result), nm->at->fault.gpa.v, gpa, at);
	slot = sim_nm_slot_at(nm, at >> 12);
	if (result == VMMU_FAULT_WRITE_TABLE && slot && (access & VMMU_W)) {
		nm->emulated++;
		if (!nm->not_final)
			sim_nm_host_write(nm, at & ~7ull, 8, value);
	} else if (!(result == VMMU_FAULT_EMULATE_MMIO && (!slot || slot->going)) &&
	           !(result == VMMU_FAULT_READ_ONLY && slot && (slot->info.flags & VMMU_SLOT_READONLY) &&
	             (access & VMMU_W))) {
		sim_nm_fail(nm, "%s for access %u to %#lx of L%u", vmmu_fault_result_name(result), access, gpa, nm->at->on->is_l2 + 1);
	}
}

/* The access ends with an exit that somebody has to see to. */
static void ended(struct sim_nm *nm, enum vmmu_fault_result result, uint64_t gpa, unsigned access, uint64_t value)
{
	if (result == VMMU_FAULT_NO_MEMORY && nm->tables.failed)
		nm->refused++;
	else if (result == VMMU_FAULT_REFLECT)
		sim_nm_check_reflected(nm, gpa, access);
	else
		emulate(nm, result, gpa, access, value);
}

/* The CPU lets it through to this frame. */
static void through(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t pfn, unsigned memtype, bool ignore_pat,
                    uint64_t value)
{
	const char *wrong = sim_nm_judge(nm, nm->at->on, gpa, access, pfn, memtype, ignore_pat);

	if (wrong)
		sim_nm_fail(nm, "access %u of L%u to %#lx reaches frame %#lx, but %s", access, nm->at->on->is_l2 + 1, gpa, pfn, wrong);
	else if ((access & VMMU_W) && !nm->not_final)
		sim_nm_store_late(nm, (pfn - sim_nm_frame(nm, 0)) << 12 | (gpa & 0xff8), value);
	else
		sim_nm_check_current(nm);
}

/* True: the CPU lets the access through, by what it remembers or by a walk. Else the exit is in at->fault. */
static bool attempt(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t value)
{
	struct sim_nm_vcpu *cpu = nm->at;
	struct sim_tlb_page *page = sim_tlb_page_for(&cpu->on->tlb, gpa >> 12);
	struct sim_walk walk;

	if (page && !(access & ~page->rights)) {
		through(nm, gpa, access, page->pfn + ((gpa >> 12) - page->gfn), page->memtype, page->ignore_pat, value);
		return true;
	}
	sim_nm_hardware_walk(nm, cpu, gpa, access, &walk);
	if (walk.end == SIM_WALK_MAPPED) {
		sim_tlb_insert(&cpu->on->tlb, gpa, &walk);
		through(nm, gpa, access, walk.pfn, walk.memtype, walk.ignore_pat, value);
		return true;
	}
	sim_tlb_forget(&cpu->on->tlb, gpa >> 12);
	nm->exits++;
	cpu->fault = sim_nm_exit(nm, &walk, gpa, access);
	return false;
}

/* One of the pages that have been tables lately. */
static void make_some_table_busy(struct sim_nm *nm)
{
	uint64_t gfn = sim_random_below(&nm->random, nm->config.ram_pages);

	for (unsigned i = 0; i < 64 && !nm->is_table[gfn]; i++)
		gfn = gfn ? gfn - 1 : nm->config.ram_pages - 1;
	sim_nm_make_busy(nm, gfn);
}

enum vmmu_fault_result sim_nm_access(struct sim_nm *nm, uint64_t gpa, unsigned access, uint64_t value)
{
	enum vmmu_fault_result result = VMMU_FAULT_RETRY;
	struct sim_nm_vcpu *cpu = nm->at;

	nm->accesses++;
	cpu->recent[cpu->recents++ % SIM_NM_RECENT] = gpa;
	make_some_table_busy(nm);
	for (unsigned i = 0; i < TRIES && !nm->failed; i++) {
		uint64_t changes;

		nm->at = cpu;
		if (attempt(nm, gpa, access, value))
			return 0;
		sim_nm_pause(nm);
		changes = nm->changes;
		cpu->outside = true;
		result = vmmu_fault(cpu->vcpu, &cpu->fault);
		cpu->outside = false;
		nm->at = cpu;
		sim_nm_pause(nm);
		if (result == VMMU_FAULT_RETRY && nm->config.wait)
			nm->config.wait();
		if (result == VMMU_FAULT_FIXED || result == VMMU_FAULT_SPURIOUS || result == VMMU_FAULT_RETRY)
			continue;
		/* Another's doing may have come between: then the answer was to another question. */
		if (nm->config.pause && changes != nm->changes)
			continue;
		ended(nm, result, gpa, access, value);
		sim_nm_check_current(nm);
		return result;
	}
	if (!nm->config.pause)
		sim_nm_fail(nm, "access %u of L%u to %#lx does not get on: %s", access, cpu->on->is_l2 + 1, gpa,
		            vmmu_fault_result_name(result));
	return result;
}
