/* SPDX-License-Identifier: BSD-2-Clause */
/* Events for the guest: shadows, windows, injection, and what an exit broke off (APM vol. 2, 15.20 and 15.21). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/svm/vmcb.h"

bool svm_interrupts_shadowed(struct vcpu *v)
{
	return v->svm.vmcb->interrupt_shadow & 1;
}

void svm_clear_shadow(struct vcpu *v)
{
	v->svm.vmcb->interrupt_shadow &= ~1ull;
}

#define VIRTUAL_INTERRUPT (VIRTUAL_INTERRUPT_REQUEST | VIRTUAL_INTERRUPT_PRIORITY | VIRTUAL_INTERRUPT_IGNORE_TPR)

/* A virtual interrupt that is never delivered: its intercept says when it could be (15.21.4). */
void svm_want_window(struct vcpu *v, bool on)
{
	struct vmcb *b = v->svm.vmcb;

	if (on) {
		if (v->nested.l2) /* L1's own waits as long */
			v->svm.nested->virtual_interrupt = b->virtual_interrupt & VIRTUAL_INTERRUPT;
		b->virtual_interrupt |= VIRTUAL_INTERRUPT;
		b->intercept1 |= INTERCEPT_VINTR;
	} else {
		b->virtual_interrupt &= ~VIRTUAL_INTERRUPT;
		b->intercept1 &= ~(uint32_t)INTERCEPT_VINTR;
		if (v->nested.l2)
			b->virtual_interrupt |= v->svm.nested->virtual_interrupt;
	}
}

/*
 * Where event injection is not to be trusted, an external interrupt is delivered
 * as a virtual one (15.21.4): the guest can take it now, so that the CPU does so
 * before anything else.
 */
static void offer_interrupt(struct vcpu *v, unsigned vector)
{
	struct vmcb *b = v->svm.vmcb;

	/* A window for the next one can wait: this one's handler tells the controller of its end. */
	svm_want_window(v, false);
	v->window_wanted = false;
	b->virtual_interrupt &= ~(0xffull << VIRTUAL_INTERRUPT_VECTOR_SHIFT);
	b->virtual_interrupt |= VIRTUAL_INTERRUPT | (uint64_t)vector << VIRTUAL_INTERRUPT_VECTOR_SHIFT;
}

/* The interrupt that was offered and has not been delivered; or 0. */
static uint32_t withdraw_interrupt(struct vmcb *b)
{
	if (b->intercept1 & INTERCEPT_VINTR || !(b->virtual_interrupt & VIRTUAL_INTERRUPT_REQUEST))
		return 0;
	b->virtual_interrupt &= ~VIRTUAL_INTERRUPT;
	return EVENT_VALID | EVENT_EXTERNAL | (b->virtual_interrupt >> VIRTUAL_INTERRUPT_VECTOR_SHIFT & 0xff);
}

/* Is what this exit broke off the event that the last entry has injected? No exit in between: memory faults are counted. */
static bool was_injected(const struct vcpu *v)
{
	uint64_t exit_code = v->svm.vmcb->exit_code;
	bool counted = exit_code == SVM_EXIT_NPF || exit_code == SVM_EXIT_EXCEPTION + X86_PF;

	return v->svm.injected && v->memory_faults - v->svm.injected_faults == counted;
}

/*
 * Bochs notes injected events and exceptions there, but no software interrupt: what is
 * told for INT n, INT3 or INTO is an earlier event, or vector 0. The instruction is
 * executed again in any case, and raises again what it has raised.
 */
static uint32_t told_event(struct vcpu *v, uint32_t event)
{
	uint32_t software = svm_cpu.is_tcg || was_injected(v) ? 0 : svm_software_interrupt(v);

	return software ? software : event;
}

/* Events whose delivery this exit broke off, for the next entry (15.7.2). */
void svm_recover_event(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	uint32_t offered = v->nested.l2 ? 0 : withdraw_interrupt(b), event = (uint32_t)b->exit_interrupt_info;
	unsigned vector = event & 0xff;

	v->event = event & EVENT_VALID ? 0 : offered;
	v->nested.as_given = v->nested.as_given && event & EVENT_VALID;
	if (!(event & EVENT_VALID))
		return;
	event = told_event(v, event);
	/* INT3 and INTO, which only these instructions raise: as VMX tells of them. */
	if ((event & EVENT_TYPE_MASK) == EVENT_EXCEPTION && (vector == 3 || vector == 4) && !v->nested.as_given)
		event = (event & ~EVENT_TYPE_MASK & ~EVENT_HAS_ERROR) | EVENT_SOFTWARE_EXCEPTION;
	/* QEMU reports an interrupt as an exception; no exception has such a vector. */
	if ((event & EVENT_TYPE_MASK) == EVENT_EXCEPTION && vector >= 32)
		event = (event & ~EVENT_TYPE_MASK) | EVENT_EXTERNAL;
	v->event = event;
	v->event_error = (uint32_t)(b->exit_interrupt_info >> 32);
	if ((event & EVENT_TYPE_MASK) == EVENT_NMI)
		svm_block_nmi(v, false); /* it is to be delivered now */
}

/* INTn, INT3 and INTO: RIP still points at them. */
static bool executes_again(uint32_t event)
{
	uint32_t type = event & EVENT_TYPE_MASK;

	return type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_SOFTWARE_EXCEPTION;
}

static __attribute__((noinline)) void svm_inject(struct vcpu *v)
{
	bool deliver = !executes_again(v->event) || v->nested.as_given;

	v->svm.injected = deliver;
	v->svm.injected_faults = v->memory_faults;
	if (svm_cpu.may_inject_twice && deliver && !v->nested.l2 && (v->event & EVENT_TYPE_MASK) == EVENT_EXTERNAL) {
		offer_interrupt(v, v->event & 0xff);
		deliver = false;
	}
	if (deliver && (v->event & EVENT_TYPE_MASK) == EVENT_NMI && !v->nested.as_given)
		svm_block_nmi(v, true);
	v->svm.vmcb->event_injection = deliver ? v->event | (uint64_t)v->event_error << 32 : 0;
	v->event = 0;
}

void svm_inject_event(struct vcpu *v)
{
	if (unlikely(v->event & EVENT_VALID)) {
		svm_inject(v);
		return;
	}
	v->svm.vmcb->event_injection = 0;
	v->svm.injected = false;
}

/* Give the guest the exception that it has raised; DR6 tells of it already (15.12.2). */
void svm_reflect(struct vcpu *v, unsigned vector)
{
	exit_count(v, EXIT_EXCEPTION);
	if (vector == X86_DB)
		v->svm.vmcb->dr7 &= ~X86_DR7_DETECT;
	exit_raise(v, vector, vector == X86_AC, (uint32_t)v->svm.vmcb->exit_info1);
}
