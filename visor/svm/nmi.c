/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Non-maskable interrupts on SVM without virtual NMIs: an injected one blocks the
 * next until IRET has been executed (APM vol. 2, 8.3.2 and 15.20), and it is the
 * hypervisor that must see to that. While NMIs are blocked IRET is intercepted.
 * When one waits, the IRET, or the instruction in the shadow of STI or MOV SS, is
 * then executed by a single step, behind which the NMI can be delivered.
 */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"

bool svm_nmi_blocked(struct vcpu *v)
{
	return v->svm.nmi_blocked || v->svm.before_iret || svm_interrupts_shadowed(v);
}

void svm_block_nmi(struct vcpu *v, bool on)
{
	v->svm.nmi_blocked = on;
	if (on)
		v->svm.vmcb->intercept1 |= INTERCEPT_IRET;
	else
		v->svm.vmcb->intercept1 &= ~(uint32_t)INTERCEPT_IRET;
}

/* The exit by IRET is a window of its own; all else takes a step. */
void svm_want_nmi_window(struct vcpu *v, bool on)
{
	if (!on || v->svm.nmi_blocked)
		return;
	v->svm.guest_tf = v->state.rflags & X86_FLAG_TF;
	v->svm.stepping = true;
	v->state.rflags |= X86_FLAG_TF;
}

/* It has not been executed yet: NMIs come behind it. */
void svm_handle_iret(struct vcpu *v)
{
	exit_count(v, EXIT_NMI_WINDOW);
	svm_block_nmi(v, false);
	v->svm.before_iret = true;
	v->svm.iret_rip = v->state.rip;
}

/*
 * At each exit: is a step over, and what of it may the guest see? IRET has loaded
 * the flags anew; the TF that any other instruction leaves is the visor's.
 */
void svm_end_step(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	bool stepped = v->svm.stepping && b->exit_code == SVM_EXIT_EXCEPTION + X86_DB, iret = false;

	v->svm.step_done = false;
	if (v->svm.before_iret && (stepped || v->state.rip != v->svm.iret_rip)) {
		v->svm.before_iret = false;
		iret = true;
	}
	if (!v->svm.stepping)
		return;
	v->svm.stepping = false;
	if (v->svm.guest_tf)
		return;
	if (!iret)
		b->rflags = v->state.rflags &= ~X86_FLAG_TF; /* in both: what this exit does may read the VMCB anew */
	if (stepped && !(b->dr6 & X86_DR6_BREAKPOINTS)) {
		v->svm.step_done = true;
		b->dr6 &= ~X86_DR6_SINGLE_STEP;
	}
}
