/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits but for memory faults: what each says, in the terms of exit/exit.h (APM vol. 2, 15.9 to 15.14). */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"
#include "visor/svm/vmcb.h"

#define ULL(x) ((unsigned long long)(x))

/* EXITINFO1: 15.10.2, figure 15-3. */
static void svm_handle_io(struct vcpu *v)
{
	uint64_t info = v->svm.vmcb->exit_info1;
	struct io_access io = {
		.port = (uint16_t)(info >> 16),
		.in = info & 1,
		.string = info & 4,
		.rep = info & 8,
		.size = info >> 4 & 7,
	};

	if (io.string)
		svm_read_string_prefixes(v, &io);
	exit_io(v, &io);
}

static void svm_handle_cr(struct vcpu *v, uint64_t exit_code)
{
	bool write = exit_code >= SVM_EXIT_CR_WRITE;
	struct cr_access access;

	if (!svm_decode_cr_access(v, write, exit_code & 15, &access))
		exit_give_up(v, "the instruction that accessed CR%u cannot be read", (unsigned)exit_code & 15);
	else if (access.cr == 8)
		exit_cr8(v, write, access.gpr);
	else
		exit_cr(v, &access);
}

/* EXITINFO1 and 2: 15.14.1. */
static void handle_task_switch(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	enum task_switch_source source = b->exit_info2 & TASK_SWITCH_BY_IRET ? TASK_SWITCH_IRET : b->exit_info2 & TASK_SWITCH_BY_JUMP ? TASK_SWITCH_JUMP
	                                                                                  : v->event & EVENT_VALID                    ? TASK_SWITCH_GATE
	                                                                                                                              : TASK_SWITCH_CALL;

	exit_task_switch(v, (uint16_t)b->exit_info1, source);
}

static void svm_undefined_instruction(struct vcpu *v)
{
	if (nsvm_instruction(v, v->svm.vmcb->exit_code))
		return;
	exit_count(v, EXIT_UNDEFINED);
	exit_raise(v, X86_UD, false, 0);
}

void svm_handle(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	uint64_t code;

	/* It reads and writes whatever it likes by now; all that is left is to stop it and say so. */
	if (svm_is_shadow(v) && b->cr3 != v->svm.root) {
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "the guest has loaded %llx into CR3 with no exit: it has switched tasks, which QEMU does not "
		           "intercept; the visor's memory may have been changed",
		        ULL(b->cr3));
		return;
	}
	if (v->nested.l2 && nsvm_wants_exit(v, &code)) {
		exit_count(v, EXIT_NESTED_EXIT);
		nsvm_exit(v, code, b->exit_info1, b->exit_info2);
		return;
	}
	switch (b->exit_code) {
	case SVM_EXIT_CR_READ ... SVM_EXIT_CR_LAST:
		svm_handle_cr(v, b->exit_code);
		break;
	case SVM_EXIT_CR0_SELECTIVE:
		svm_handle_cr(v, SVM_EXIT_CR_WRITE + 0);
		break;
	case SVM_EXIT_DR_WRITE ... SVM_EXIT_DR_WRITE_LAST:
		svm_handle_dr_write(v, (unsigned)b->exit_code & 15);
		break;
	case SVM_EXIT_IRET:
		svm_handle_iret(v);
		break;
	case SVM_EXIT_EXCEPTION + X86_DB:
		if (v->svm.step_done) {
			exit_count(v, EXIT_NMI_WINDOW);
			break;
		}
		/* fall through */
	case SVM_EXIT_EXCEPTION + X86_AC:
		svm_reflect(v, (unsigned)(b->exit_code - SVM_EXIT_EXCEPTION));
		break;
	case SVM_EXIT_EXCEPTION + X86_UD:
		if (v->nested.l2)
			svm_undefined_instruction(v);
		else
			exit_invalid_opcode(v);
		break;
	case SVM_EXIT_TASK_SWITCH:
		handle_task_switch(v);
		break;
	case SVM_EXIT_INTR:
		exit_external_interrupt(v);
		break;
	case SVM_EXIT_NMI: /* taken by the visor's own handler when global interrupts came on */
		exit_count(v, EXIT_NMI);
		break;
	case SVM_EXIT_INIT:
		exit_count(v, EXIT_INIT);
		break;
	case SVM_EXIT_VINTR:
		exit_count(v, EXIT_INTERRUPT_WINDOW);
		break;
	case SVM_EXIT_IDTR_READ ... SVM_EXIT_TR_READ:
		exit_count(v, EXIT_OTHER);
		svm_read_state(v);
		exit_emulate(v, UINT64_MAX);
		break;
	case SVM_EXIT_RDPMC:
		exit_count(v, EXIT_RDPMC);
		exit_raise(v, X86_GP, true, 0);
		break;
	case SVM_EXIT_CPUID:
		exit_cpuid(v);
		break;
	case SVM_EXIT_INVD: /* all guest memory is coherent: nothing to do */
	case SVM_EXIT_WBINVD:
		exit_count(v, EXIT_CACHE);
		exit_skip(v);
		break;
	case SVM_EXIT_HLT:
		exit_hlt(v);
		break;
	case SVM_EXIT_IO:
		svm_handle_io(v);
		break;
	case SVM_EXIT_MSR:
		exit_msr(v, b->exit_info1 & 1);
		break;
	case SVM_EXIT_VMMCALL:
		/* Not intercepted, it is #UD (APM vol. 3, VMMCALL). */
		if (v->nested.l2)
			svm_undefined_instruction(v);
		else
			exit_hypercall(v);
		break;
	case SVM_EXIT_SHUTDOWN:
		exit_triple_fault(v);
		break;
	case SVM_EXIT_XSETBV:
		exit_xsetbv(v);
		break;
	case SVM_EXIT_INVLPG:
		exit_invlpg(v, svm_decode_invlpg(v));
		break;
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_RDPRU:
	case SVM_EXIT_INVLPGB:
	case SVM_EXIT_INVLPGB_ILLEGAL:
	case SVM_EXIT_TLBSYNC:
		svm_undefined_instruction(v);
		break;
	default:
		exit_count(v, EXIT_OTHER);
		exit_give_up(v, "unexpected exit %llx (%s)", ULL(b->exit_code), svm_exit_name(b->exit_code));
	}
}
