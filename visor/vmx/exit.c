/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits but for memory faults: what each says, in the terms of exit/exit.h (SDM vol. 3, 28.2). */
#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define ULL(x) ((unsigned long long)(x))

/* Qualification of I/O instructions: table 28-5. Address size and segment: table 28-8. */
static void vmx_handle_io(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	struct io_access io = {
		.port = (uint16_t)(q >> 16),
		.size = (q & 7) + 1,
		.in = q & 8,
		.string = q & 16,
		.rep = q & 32,
	};

	if (io.string) {
		uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);

		io.address_size = (uint8_t)(2u << (info >> 7 & 7));
		io.segment = info >> 15 & 7;
	}
	exit_io(v, &io);
}

/* Qualification of control-register accesses: table 28-3. */
static void vmx_handle_cr(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	unsigned number = q & 15, type = q >> 4 & 3, gpr = q >> 8 & 15;
	static const enum cr_operation operation[] = {CR_WRITE, CR_READ, CR_CLTS, CR_OTHER};
	struct cr_access access;

	if (number == 8) {
		exit_cr8(v, operation[type] == CR_WRITE, gpr);
		return;
	}
	access = (struct cr_access){
		.operation = operation[type],
		.cr = (uint8_t)number,
		.gpr = (uint8_t)gpr,
		.length = (uint8_t)vmx_instruction_length(v),
	};
	exit_cr(v, &access);
}

static void handle_exception(struct vcpu *v)
{
	uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT);

	if ((event & EVENT_TYPE_MASK) == EVENT_NMI) {
		exit_count(v, EXIT_NMI);
		/* It was meant for the visor. The handler's IRET unblocks the next one. */
		__asm__ volatile("int $2"
		                 :
		                 :
		                 : "memory");
		return;
	}
	if ((event & 0xff) == X86_UD) {
		exit_invalid_opcode(v);
		return;
	}
	exit_count(v, EXIT_EXCEPTION);
	if (1u << (event & 31) & ENDLESS_EXCEPTIONS)
		vmx_reflect(v, event);
	else
		exit_give_up(v, "exception %u in the guest ends it", event & 0xff);
}

static void vmx_undefined_instruction(struct vcpu *v)
{
	exit_count(v, EXIT_UNDEFINED);
	exit_raise(v, X86_UD, false, 0);
}

void vmx_handle(struct vcpu *v, uint32_t reason)
{
	if (reason & VMX_EXIT_ENTRY_FAILURE) {
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "VM entry failed: %s", vmx_exit_name(reason));
		return;
	}
	switch (reason) {
	case VMX_EXIT_EXCEPTION_NMI:
		handle_exception(v);
		break;
	case VMX_EXIT_EXTERNAL_INTERRUPT:
	case VMX_EXIT_PREEMPTION_TIMER:
		if (v->nested.l2) {
			nvmx_stop_timer(v);
			nvmx_arm_timer(v);
		} else {
			vmx_arm_preemption();
		}
		exit_external_interrupt(v);
		break;
	case VMX_EXIT_TRIPLE_FAULT:
		exit_triple_fault(v);
		break;
	case VMX_EXIT_INIT:
	case VMX_EXIT_SIPI:
		exit_count(v, EXIT_INIT);
		break;
	case VMX_EXIT_INTERRUPT_WINDOW:
		exit_count(v, EXIT_INTERRUPT_WINDOW);
		break;
	case VMX_EXIT_NMI_WINDOW:
		exit_count(v, EXIT_NMI_WINDOW);
		break;
	case VMX_EXIT_TASK_SWITCH:
		exit_task_switch(v, (uint16_t)vmread(VMCS_QUALIFICATION), vmread(VMCS_QUALIFICATION) >> 30 & 3);
		break;
	case VMX_EXIT_CPUID:
		exit_cpuid(v);
		break;
	case VMX_EXIT_HLT:
		if (!(v->nested.l2 && nvmx_halt(v)))
			exit_hlt(v);
		break;
	case VMX_EXIT_INVD: /* all guest memory is coherent: nothing to do */
	case VMX_EXIT_WBINVD:
		exit_count(v, EXIT_CACHE);
		exit_skip(v);
		break;
	case VMX_EXIT_RDPMC:
		exit_count(v, EXIT_RDPMC);
		exit_raise(v, X86_GP, true, 0);
		break;
	case VMX_EXIT_INVLPG: /* the qualification is the linear address (28.2.1) */
		exit_invlpg(v, vmread(VMCS_QUALIFICATION));
		break;
	case VMX_EXIT_CR_ACCESS:
		vmx_handle_cr(v);
		break;
	case VMX_EXIT_IO:
		vmx_handle_io(v);
		break;
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		exit_msr(v, reason == VMX_EXIT_WRMSR);
		break;
	case VMX_EXIT_GDTR_IDTR:
	case VMX_EXIT_LDTR_TR:
		exit_count(v, EXIT_OTHER);
		vmx_read_state(v);
		exit_emulate(v, UINT64_MAX);
		break;
	case VMX_EXIT_XSETBV:
		exit_xsetbv(v);
		break;
	case VMX_EXIT_VMCALL:
		exit_hypercall(v);
		break;
	case VMX_EXIT_VMCLEAR ... VMX_EXIT_VMXON:
	case VMX_EXIT_INVEPT:
	case VMX_EXIT_INVVPID:
		if (v->vmx.nested)
			nvmx_instruction(v, reason);
		else
			vmx_undefined_instruction(v);
		break;
	case VMX_EXIT_GETSEC:
	case VMX_EXIT_MWAIT:
	case VMX_EXIT_MONITOR:
	case VMX_EXIT_VMFUNC:
	case VMX_EXIT_ENCLS:
		vmx_undefined_instruction(v);
		break;
	default:
		exit_count(v, EXIT_OTHER);
		exit_give_up(v, "unexpected exit %u (%s)", reason, vmx_exit_name(reason));
	}
}
