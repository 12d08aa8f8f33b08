/* SPDX-License-Identifier: BSD-2-Clause */
/* From L1 to L2 by VMRUN, and back by #VMEXIT (APM vol. 2, 15.5.1 and 15.6). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

#define V_TPR 0xffull
/* The other control block is the one that runs: the loop's stack names it (svm/entry.S). */
static void switch_to(struct vcpu *v, struct vmcb *next)
{
	struct vmcb *old = v->svm.vmcb;

	next->host_stack = old->host_stack;
	*(uint64_t *)(uintptr_t)old->host_stack = (uintptr_t)next;
	next->tlb_control |= old->tlb_control;
	nsvm_copy_loaded(next, old);
	v->svm.vmcb = next;
}

static void take_registers(struct vcpu *v, const struct vmcb *b)
{
	v->state.gpr[X86_RAX] = b->rax;
	v->state.gpr[X86_RSP] = b->rsp;
	v->state.rip = b->rip;
	v->state.rflags = b->rflags;
}

/* A window that the visor has opened for the guest it is about to leave. */
static void close_window(struct vcpu *v)
{
	if (v->window_wanted)
		svm_want_window(v, false);
	v->window_wanted = false;
}

/* ---- VMRUN -------------------------------------------------------------------------- */

static void load_save_area(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *b = n->vmcb02;
	const struct vmcb *a = n->vmcb12;

	b->es = a->es;
	b->cs = a->cs;
	b->ss = a->ss;
	b->ds = a->ds;
	b->gdtr = a->gdtr;
	b->idtr = a->idtr;
	b->cpl = a->cpl;
	b->efer = a->efer;
	b->cr0 = a->cr0;
	b->cr3 = a->cr3;
	b->cr2 = a->cr2;
	b->dr6 = a->dr6;
	b->dr7 = a->dr7;
	b->rflags = a->rflags | X86_FLAG_FIXED;
	b->rip = a->rip;
	b->rsp = a->rsp;
	b->rax = a->rax;
	b->pat = a->nested_control & NESTED_PAGING ? a->pat : n->vmcb01->pat;
}

static void load_control_area(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *b = n->vmcb02;
	const struct vmcb *a = n->vmcb12;

	for (unsigned i = 0; i < INTERCEPT_WORDS; i++) {
		n->asked[i] = ((const uint32_t *)a)[i];
		((uint32_t *)b)[i] = 0;
	}
	b->tsc_offset = n->vmcb01->tsc_offset + a->tsc_offset;
	b->virtual_interrupt = a->virtual_interrupt | VIRTUAL_INTERRUPT_MASKING;
	b->interrupt_shadow = a->interrupt_shadow & 1;
	nsvm_merge_bitmap(v);
	v->event = (uint32_t)a->event_injection & EVENT_VALID ? (uint32_t)a->event_injection : 0;
	v->event_error = (uint32_t)(a->event_injection >> 32);
	v->nested.as_given = v->event;
}

static void flush_for(struct vcpu *v)
{
	static const enum vmmu_nested_flush of[] = {
		[1] = VMMU_NESTED_FLUSH_ALL, [3] = VMMU_NESTED_FLUSH_TAG, [7] = VMMU_NESTED_FLUSH_TAG};
	struct svm_nested *n = v->svm.nested;
	uint16_t asid = (uint16_t)n->vmcb12->asid;

	if (n->vmcb12->tlb_control)
		nested_ask_flush(v, of[n->vmcb12->tlb_control], asid);
	if (vmmu_nested_tag(v->mmu, asid, v->nested.flush, v->nested.flushed) || v->nested.flush == VMMU_NESTED_FLUSH_ALL)
		n->vmcb02->tlb_control = TLB_FLUSH_ALL;
	v->nested.flush = VMMU_NESTED_FLUSH_NONE;
}

/* L1's nested paging, as the CPU that it was promised has it. */
static enum vmmu_status enter_tables(struct vcpu *v, struct vmmu_root *root)
{
	struct svm_nested *n = v->svm.nested;
	const struct vmcb *l1 = n->vmcb01;
	struct vmmu_nested tables = {.root = n->vmcb12->nested_cr3, .cr0 = l1->cr0, .cr4 = svm_read_cr4(v), .efer = l1->efer, .cpu = n->cpu};

	return nested_enter(v, n->vmcb12->nested_control & NESTED_PAGING ? &tables : NULL, n->vmcb12->tsc_offset, root);
}

/* VMCB12 itself, to be written; where it cannot be, its copy: that is lost. */
static struct vmcb *vmcb12_to_write(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *a = memory_page(v->vm, n->vmcb12_gpa, true);

	return a ? a : n->vmcb12;
}

/* Nothing of L2 has been executed, and L1 goes on behind its VMRUN (15.5.1). */
static void refuse_entry(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *a = vmcb12_to_write(v);

	a->exit_code = UINT64_MAX;
	a->exit_info1 = a->exit_info2 = a->exit_interrupt_info = 0;
	nsvm_written(v, n->vmcb12_gpa);
	n->gif = false;
}

/* All of VMCB12 that is ever looked at: most of its page is reserved. */
static void copy_vmcb12(struct svm_nested *n, const struct vmcb *given)
{
	const size_t control = offsetof(struct vmcb, reserved4), save = offsetof(struct vmcb, es);

	memcpy(n->vmcb12, given, control);
	memcpy((uint8_t *)n->vmcb12 + save, (const uint8_t *)given + save, offsetof(struct vmcb, reserved12) - save);
}

void nsvm_vmrun(struct vcpu *v, uint64_t gpa, const struct vmcb *given, unsigned length)
{
	struct svm_nested *n = v->svm.nested;
	enum vmmu_status status = VMMU_ERR_INVALID;
	struct vmmu_root root;

	if (!length) {
		vm_fail(v, "the VMRUN that caused the exit cannot be read");
		return;
	}
	if (v->event & EVENT_VALID) /* it comes first, and VMRUN again */
		return;
	exit_count(v, EXIT_NESTED_ENTRY);
	close_window(v);
	n->vmcb12_gpa = gpa;
	copy_vmcb12(n, given);
	nsvm_find_promises(v);
	if (nsvm_consistent(v, n->vmcb12))
		status = enter_tables(v, &root);
	if (nested_is_tried_again(v, status)) /* L1 is before its VMRUN, as it was */
		return;
	v->state.rip += length;
	v->state.rflags &= ~X86_FLAG_RF;
	svm_clear_shadow(v);
	svm_commit(v);
	if (status == VMMU_ERR_INVALID || status == VMMU_ERR_UNSUPPORTED) {
		refuse_entry(v);
		return;
	}
	if (status != VMMU_OK) {
		vm_fail(v, "no tables for the guest's guest: %s", vmmu_status_name(status));
		return;
	}
	n->umip01 = v->svm.umip;
	n->gif = true;
	load_control_area(v);
	load_save_area(v);
	n->vmcb02->nested_cr3 = root.pointer;
	switch_to(v, n->vmcb02);
	svm_set_cr4(v, n->vmcb12->cr4, n->vmcb12->cr4);
	svm_block_nmi(v, v->svm.nmi_blocked); /* the other intercepts are merged when the exit is over (svm/loop.c) */
	flush_for(v);
	take_registers(v, n->vmcb02);
}

/* ---- #VMEXIT ------------------------------------------------------------------------- */

/* INT3 and INTO are exceptions there (15.7.2). */
static uint64_t broken_off(const struct vcpu *v)
{
	uint32_t event = v->event;

	if (!(event & EVENT_VALID))
		return 0;
	if ((event & EVENT_TYPE_MASK) == EVENT_SOFTWARE_EXCEPTION)
		event = (event & ~EVENT_TYPE_MASK) | EVENT_EXCEPTION;
	return event | (uint64_t)v->event_error << 32;
}

/* What #VMEXIT writes (15.6), but for what it tells of itself. */
static void save_l2(struct vcpu *v, struct vmcb *a)
{
	const struct svm_nested *n = v->svm.nested;
	const struct vmcb *b = n->vmcb02, *given = n->vmcb12;
	uint64_t live = VIRTUAL_INTERRUPT_REQUEST | V_TPR;

	a->virtual_interrupt = (given->virtual_interrupt & ~live) | (b->virtual_interrupt & live);
	a->interrupt_shadow = b->interrupt_shadow;
	a->event_injection = given->event_injection & ~(uint64_t)EVENT_VALID;
	a->es = b->es;
	a->cs = b->cs;
	a->ss = b->ss;
	a->ds = b->ds;
	a->gdtr = b->gdtr;
	a->idtr = b->idtr;
	a->cpl = b->cpl;
	a->efer = b->efer;
	a->cr0 = b->cr0;
	a->cr2 = b->cr2;
	a->cr3 = b->cr3;
	a->cr4 = svm_read_cr4(v);
	a->dr6 = b->dr6;
	a->dr7 = b->dr7;
	a->rflags = b->rflags;
	a->rip = b->rip;
	a->rsp = b->rsp;
	a->rax = b->rax;
	if (given->nested_control & NESTED_PAGING)
		a->pat = b->pat;
}

/* L1 as it was at VMRUN, but for what #VMEXIT changes: breakpoints off, CPL 0; CR2 and DR6 stay L2's. */
static void resume_l1(struct vcpu *v)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *l1 = n->vmcb01;
	struct vmmu_root root;

	nested_leave(v, &root);
	l1->cr2 = n->vmcb02->cr2;
	l1->dr6 = n->vmcb02->dr6;
	l1->dr7 = X86_DR7_RESET;
	l1->rflags &= ~X86_FLAG_VM;
	l1->cpl = 0;
	switch_to(v, l1);
	l1->nested_cr3 = root.pointer;
	v->svm.umip = n->umip01;
	svm_block_nmi(v, v->svm.nmi_blocked);
	take_registers(v, l1);
	n->gif = false;
	v->nested.as_given = false;
}

void nsvm_exit(struct vcpu *v, uint64_t code, uint64_t info1, uint64_t info2)
{
	struct svm_nested *n = v->svm.nested;
	struct vmcb *a = vmcb12_to_write(v);

	close_window(v);
	svm_commit(v);
	a->exit_code = code;
	a->exit_info1 = info1;
	a->exit_info2 = info2;
	a->exit_interrupt_info = broken_off(v);
	v->event = 0;
	v->svm.before_iret = false;
	/* The CPU has entered nothing, and what was owed at that entry still is. */
	if (code == UINT64_MAX)
		n->vmcb02->tlb_control = TLB_FLUSH_ALL;
	save_l2(v, a);
	nsvm_written(v, n->vmcb12_gpa);
	resume_l1(v);
}

bool nsvm_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	struct svm_nested *n = v->svm.nested;

	if (!(n->vmcb12->exceptions >> vector & 1))
		return false;
	nsvm_exit(v, SVM_EXIT_EXCEPTION + vector, has_error ? error : 0, vector == X86_PF ? n->vmcb02->cr2 : 0);
	return true;
}

void nsvm_reflect(struct vcpu *v, enum vmmu_reflect reflect, uint64_t code, uint64_t l2_gpa)
{
	(void)reflect; /* NPT knows but one */
	nsvm_exit(v, SVM_EXIT_NPF, code, l2_gpa);
}

bool nsvm_shutdown(struct vcpu *v)
{
	if (!(v->svm.nested->vmcb12->intercept1 & INTERCEPT_SHUTDOWN))
		return false;
	nsvm_exit(v, SVM_EXIT_SHUTDOWN, 0, 0);
	return true;
}
