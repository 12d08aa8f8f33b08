/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/ahead.h"

#include <vmmu/exit.h>

#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

#define PAGE VMMU_PAGE_SIZE
#define USER 3

/* From one page to the next, at most. */
#define INSTRUCTIONS 32u
/* Of a REP string: up to a page's end, which may take several runs of elements, and on to the next one. */
#define STRING_ROUNDS 128u
/* What is no loop does not come back so often. */
#define ROUNDS_FOR_LOOP 2u
/* After that many failures in a row the waiting gets no longer: 2^n - 1 rounds. */
#define FAILURES_MAX 6u

/* One way ahead. The CPU's TLB, too, would keep what it knows of pages. */
struct way {
	struct vcpu *vcpu;
	struct guest_memory memory;
	struct guest_recent recent;
	struct emulate_info info;
	uint64_t code_page; /* number of the linear page; UINT64_MAX: none yet */
	const uint8_t *code;
	bool moved; /* something has been carried out */
};

/* ---- is it a loop? -------------------------------------------------------------- */

static struct ahead_place *place_of(struct vcpu *v, uint64_t rip)
{
	uint64_t hash = (rip ^ v->paging.cr3) * 0x9e3779b97f4a7c15ull;
	struct ahead_place *p = &v->vm->ahead.place[hash >> 60 & (AHEAD_PLACES - 1)];

	if (p->rip != rip || p->cr3 != v->paging.cr3)
		*p = (struct ahead_place){.rip = rip, .cr3 = v->paging.cr3};
	return p;
}

void ahead_note_injection(struct vcpu *v, const struct vmmu_fault *fault)
{
	struct ahead *a = &v->vm->ahead;

	if (!v->vm->options->run_ahead || !(fault->access & VMMU_ACCESS_USER))
		return;
	a->last = place_of(v, fault->rip);
	a->last->page = fault->gva.v / PAGE;
}

/* One round has gone by: its #PF was injected, the handler is through, and the instruction is there again. */
static bool is_worth_it(struct ahead_place *p)
{
	if (p->rounds < ROUNDS_FOR_LOOP) {
		p->rounds++;
		return false;
	}
	if (p->wait) {
		p->wait--;
		return false;
	}
	return true;
}

bool ahead_is_due(struct vcpu *v, const struct vmmu_fault *fault)
{
	struct ahead *a = &v->vm->ahead;
	struct ahead_place *p = a->last;

	/* The kernel in between has faults of its own, of no matter here. */
	if (!p || !(fault->access & VMMU_ACCESS_USER))
		return false;
	a->last = NULL;
	if (p->rip != fault->rip || p->cr3 != v->paging.cr3) {
		p->rounds = 0;
		return false;
	}
	return is_worth_it(p);
}

static void note_result(struct vcpu *v, struct ahead_place *from, bool met)
{
	struct ahead *a = &v->vm->ahead;

	if (met) {
		from->failures = 0;
		/* It may be another instruction of the same loop. */
		a->last->rounds = ROUNDS_FOR_LOOP;
		a->faults++;
		return;
	}
	from->failures += from->failures < FAILURES_MAX;
	from->wait = (1u << from->failures) - 1;
}

/* ---- may it be done here? ---------------------------------------------------------- */

/* Nothing that waits to be delivered, or asks to be told before the next instruction. */
static bool is_undisturbed(struct vcpu *v)
{
	return !v->window_wanted && !v->kept_event && !v->backend->interrupts_shadowed(v) &&
	       !platform_interrupt_pending(v->vm->platform) &&
	       !(v->backend->read_special(v, CPU_SPECIAL_DR7) & X86_DR7_ENABLED);
}

static bool ahead_in_64bit_code(const struct x86_cpu_state *s)
{
	return (s->efer & X86_EFER_LMA) && (s->segment[X86_CS].access & X86_ACCESS_LONG);
}

/*
 * Does an instruction do what its text says, and no more? Not while it is traced
 * or checked for alignment, in virtual-8086 mode or in 16-bit code, or where the
 * stack is narrower than the code.
 */
static bool is_plain_code(const struct x86_cpu_state *s)
{
	return s->cpl == USER && !(s->rflags & (X86_FLAG_TF | X86_FLAG_VM)) &&
	       !(s->rflags & X86_FLAG_AC && s->cr0 & X86_CR0_AM) &&
	       (ahead_in_64bit_code(s) || s->segment[X86_CS].access & s->segment[X86_SS].access & X86_ACCESS_BIG);
}

/* ---- instructions -------------------------------------------------------------------- */

/* In 32-bit code: is all that an instruction may have within the code segment? */
static bool is_within_code(const struct x86_cpu_state *s)
{
	return ahead_in_64bit_code(s) || s->rip + EMULATE_MAX_INSTRUCTION <= s->segment[X86_CS].limit;
}

/* The page that CS:RIP is on. False: it cannot be executed, as the CPU will find out by itself. */
static bool ahead_find_code(struct way *w, uint64_t gva)
{
	const struct x86_cpu_state *s = &w->vcpu->state;
	struct vmmu_guest_walk walk;

	if (gva / PAGE == w->code_page)
		return true;
	if (guest_translate(s, &w->memory, gva, VMMU_X, &walk) != VMMU_GUEST_OK)
		return false;
	w->code = w->memory.page(w->memory.ctx, walk.gpa.v - walk.gpa.v % PAGE, false);
	w->code_page = gva / PAGE;
	return w->code;
}

static enum emulate_result ahead_emulate(struct way *w, const uint8_t *bytes, unsigned count)
{
	return emulate_instruction(&w->vcpu->state, &w->memory, bytes, count, UINT64_MAX, &w->info);
}

/* The instruction at CS:RIP, whose bytes are read anew each time. The next page is looked at if it is on both. */
static enum emulate_result one_instruction(struct way *w)
{
	const struct x86_cpu_state *s = &w->vcpu->state;
	uint64_t gva = guest_code_address(s, 0), rest = PAGE - gva % PAGE;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	enum emulate_result result;

	if (!is_within_code(s) || !ahead_find_code(w, gva))
		return EMULATE_TRUNCATED;
	if (rest >= EMULATE_MAX_INSTRUCTION)
		return ahead_emulate(w, w->code + gva % PAGE, EMULATE_MAX_INSTRUCTION);
	result = ahead_emulate(w, w->code + gva % PAGE, (unsigned)rest);
	if (result == EMULATE_TRUNCATED)
		result = ahead_emulate(w, bytes, guest_fetch(s, &w->memory, bytes, sizeof(bytes)));
	return result;
}

static enum emulate_result ahead_step(struct way *w)
{
	struct x86_cpu_state *s = &w->vcpu->state;
	uint64_t rcx = s->gpr[X86_RCX];
	enum emulate_result result = one_instruction(w);

	if (result == EMULATE_DONE) {
		s->rflags &= ~X86_FLAG_RF;
		w->vcpu->vm->ahead.instructions++;
	}
	/* A REP string may have come some way and then met its fault. */
	w->moved |= result == EMULATE_DONE || s->gpr[X86_RCX] != rcx;
	return result;
}

/* True: w->info has the #PF that the instruction at CS:RIP raises. */
static bool run_to_fault(struct way *w)
{
	enum emulate_result result = EMULATE_DONE;

	for (unsigned i = 0; result == EMULATE_DONE && i < INSTRUCTIONS; i++)
		result = ahead_step(w);
	return result == EMULATE_PAGE_FAULT;
}

/* ---- one way ---------------------------------------------------------------------------- */

/* The guest's tables deny it; but the engine must know, who takes the table that will be written out of reach. */
static bool ahead_raise(struct way *w, struct vmmu_fault *fault)
{
	const uint32_t of_access = VMMU_PF_WRITE | VMMU_PF_USER | VMMU_PF_FETCH;
	struct vcpu *v = w->vcpu;

	/* As the CPU would find it in tables that do not reach so far. */
	*fault = vmmu_fault_from_pf(w->info.error_code & of_access, vmmu_gva_of(w->info.fault_gva), USER, v->state.rflags, v->state.rip);
	fault->access |= VMMU_ACCESS_REPEATS;
	if (unlikely(v->tracing))
		fault->word = v->backend->trace_word(v);
	return vmmu_fault(v->mmu, fault) == VMMU_FAULT_INJECT_PF;
}

/* Does the instruction want something else by now? Else its page is still missing. */
static bool is_another(const struct emulate_info *met, const struct vmmu_fault *fault)
{
	return met->fault_gva / PAGE != fault->gva.v / PAGE ||
	       !(met->error_code & VMMU_PF_WRITE) != !(fault->access & VMMU_W);
}

static enum ahead_result ahead_run_piece(struct vcpu *v, struct vmmu_fault *fault)
{
	struct way w = {.vcpu = v, .memory = v->vm->bus, .code_page = UINT64_MAX};
	uint64_t resume_flag = v->state.rflags & X86_FLAG_RF;
	struct vmmu_fault next;
	bool met;

	w.memory.ram_only = true;
	w.memory.rounds = STRING_ROUNDS;
	w.memory.recent = &w.recent;
	met = run_to_fault(&w);
	if (!w.moved && !(met && is_another(&w.info, fault)))
		return AHEAD_STAYED;
	/* Where a fault left it set, it is so after this one, too (SDM vol. 3, 28.3.3). */
	if (met)
		v->state.rflags |= resume_flag;
	v->backend->write_registers(v);
	if (!met || !ahead_raise(&w, &next))
		return AHEAD_MOVED;
	*fault = next;
	return AHEAD_MET;
}

enum ahead_result ahead_run(struct vcpu *v, struct vmmu_fault *fault)
{
	struct ahead_place *from = place_of(v, fault->rip);
	enum ahead_result result;

	v->backend->read_state(v);
	if (!is_undisturbed(v) || !is_plain_code(&v->state))
		return AHEAD_STAYED;
	result = ahead_run_piece(v, fault);
	/*
	 * The guest is at its next page already: the handler's write was emulated, and the entry made
	 * with it. The way ahead begins with the second fault at one page, so there must be one.
	 */
	if (result == AHEAD_STAYED && from->page != fault->gva.v / PAGE) {
		fault->access |= VMMU_ACCESS_REPEATS;
		return result;
	}
	if (result == AHEAD_MET)
		ahead_note_injection(v, fault);
	note_result(v, from, result == AHEAD_MET);
	return result;
}
