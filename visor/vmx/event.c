/* SPDX-License-Identifier: BSD-2-Clause */
/* Events for the guest: shadows, windows, injection, and what an exit broke off (SDM vol. 3, 25.8.3 and 28.2.4). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"

bool vmx_interrupts_shadowed(struct vcpu *v)
{
	(void)v;
	return vmread(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
}

void vmx_clear_shadow(struct vcpu *v)
{
	uint64_t old = vmread(VMCS_GUEST_INTERRUPTIBILITY);

	(void)v;
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, old & ~(uint64_t)(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

void vmx_want_window(struct vcpu *v, bool on)
{
	if (on)
		v->vmx.cpu_based |= CPU_INTERRUPT_WINDOW;
	else
		v->vmx.cpu_based &= ~(uint32_t)CPU_INTERRUPT_WINDOW | v->vmx.kept_windows;
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
}

/* The shadow of STI need not hold an NMI back, and entries with both may be refused (27.3.1.5): it ends then. */
bool vmx_nmi_blocked(struct vcpu *v)
{
	(void)v;
	return vmread(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_NMI | INTERRUPTIBILITY_MOV_SS);
}

/* An injected NMI blocks others by itself, until IRET (25.3, "virtual NMIs"). */
void vmx_block_nmi(struct vcpu *v, bool on)
{
	uint64_t old = vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPTIBILITY_NMI;

	(void)v;
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, on ? old | INTERRUPTIBILITY_NMI : old);
}

void vmx_want_nmi_window(struct vcpu *v, bool on)
{
	if (on)
		v->vmx.cpu_based |= CPU_NMI_WINDOW;
	else
		v->vmx.cpu_based &= ~(uint32_t)CPU_NMI_WINDOW | v->vmx.kept_windows;
	vmwrite(VMCS_CPU_CONTROLS, v->vmx.cpu_based);
}

/* Events whose delivery this exit broke off, for the next entry (28.2.4). */
void vmx_recover_event(struct vcpu *v)
{
	uint32_t event = (uint32_t)vmread(VMCS_VECTORING_EVENT);

	v->event = 0;
	v->nested.as_given = v->nested.as_given && event & EVENT_VALID;
	if (!(event & EVENT_VALID))
		return;
	v->event = event & (EVENT_VALID | EVENT_HAS_ERROR | EVENT_TYPE_MASK | 0xff);
	v->event_error = event & EVENT_HAS_ERROR ? (uint32_t)vmread(VMCS_VECTORING_ERROR) : 0;
	v->event_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
	/* An NMI blocks others from its delivery on; it is to be delivered now (28.2.3). */
	if ((event & EVENT_TYPE_MASK) == EVENT_NMI)
		vmx_block_nmi(v, false);
}

void vmx_inject_event(struct vcpu *v)
{
	uint32_t type = v->event & EVENT_TYPE_MASK;

	if (!(v->event & EVENT_VALID))
		return; /* the CPU clears the field's valid bit at each exit (25.8.3) */
	if (type == EVENT_NMI)
		vmx_clear_shadow(v);
	vmwrite(VMCS_ENTRY_EVENT, v->event);
	if (v->event & EVENT_HAS_ERROR)
		vmwrite(VMCS_ENTRY_EVENT_ERROR, v->event_error);
	if (type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_PRIVILEGED_SOFTWARE || type == EVENT_SOFTWARE_EXCEPTION)
		vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, v->event_length);
	v->event = 0;
}

/* What the delivery of #DB would have done, and the exit has not (28.1): DR6 and DR7.GD. */
static void note_debug_status(void)
{
	const uint64_t caused = X86_DR6_BREAKPOINTS | X86_DR6_BD | X86_DR6_SINGLE_STEP;

	write_dr6((read_dr6() & ~X86_DR6_BREAKPOINTS) | (vmread(VMCS_QUALIFICATION) & caused));
	vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~X86_DR7_DETECT);
}

/* Give the guest the exception that it has raised. */
void vmx_reflect(struct vcpu *v, uint32_t event)
{
	unsigned vector = event & 0xff;

	if (vector == X86_DB)
		note_debug_status();
	/* INT1: RIP is still its own, and its trap is to return behind it (28.3.3). */
	if ((event & EVENT_TYPE_MASK) == EVENT_PRIVILEGED_SOFTWARE)
		v->state.rip += vmx_instruction_length(v);
	/* The single step that MOV SS has held back comes with it. */
	if ((event & EVENT_TYPE_MASK) == EVENT_PRIVILEGED_SOFTWARE && v->state.rflags & X86_FLAG_TF &&
	    vmread(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_MOV_SS)
		write_dr6(read_dr6() | X86_DR6_SINGLE_STEP);
	vmx_clear_shadow(v); /* the delivery ends it; an entry with TF and a vmx_cpu.shadow would be refused (27.3.1.5) */
	exit_raise(v, vector, event & EVENT_HAS_ERROR, (uint32_t)vmread(VMCS_EXIT_EVENT_ERROR));
}
