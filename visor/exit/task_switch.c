/* SPDX-License-Identifier: BSD-2-Clause */
/* Task switches by hardware, which VMX always leaves to the hypervisor (SDM vol. 3, 26.4.2, 28.4.2). */
#include "visor/emulate/task_switch.h"

#include "visor/cpu/x86.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/vm/vm.h"

#define DR7_LOCAL 0x155ull /* L0 to L3 and LE: they end with the task (SDM vol. 3, 18.2.4) */

/* INT n, INT3, INTO, INT1: the old task goes on behind it. */
static bool event_is_software(uint32_t event)
{
	uint32_t type = event & EVENT_TYPE_MASK;

	return type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_SOFTWARE_EXCEPTION ||
	       type == EVENT_PRIVILEGED_SOFTWARE;
}

/* Where and how the old task goes on. False: the instruction that switches cannot be read. */
static bool save_point(struct vcpu *v, const struct task_switch *how)
{
	struct x86_cpu_state *s = &v->state;
	unsigned length;

	if (how->source == TASK_SWITCH_GATE && !event_is_software(v->event)) {
		if (event_is_fault(v->event))
			s->rflags |= X86_FLAG_RF;
		return true;
	}
	length = v->backend->instruction_length(v);
	s->rip = (uint32_t)(s->rip + length);
	return length;
}

/* What goes with the new task beside its registers. */
static void enter_task(struct vcpu *v, const struct task_switch *how, const struct task_switch_outcome *out)
{
	uint64_t dr7 = v->backend->read_special(v, CPU_SPECIAL_DR7);

	if (event_is_nmi(v->event))
		v->backend->block_nmi(v, true);
	else if (how->source == TASK_SWITCH_IRET)
		v->backend->block_nmi(v, false);
	v->event = 0;
	v->backend->write_special(v, CPU_SPECIAL_DR7, dr7 & ~DR7_LOCAL);
	if (!control_enter_task(v))
		exit_raise(v, X86_GP, true, 0);
	else if (out->debug_trap) {
		v->backend->write_special(v, CPU_SPECIAL_DR6,
		                          v->backend->read_special(v, CPU_SPECIAL_DR6) | X86_DR6_TASK);
		exit_raise(v, X86_DB, false, 0);
	}
}

void exit_task_switch(struct vcpu *v, uint16_t selector, enum task_switch_source source)
{
	struct task_switch how = {.selector = selector, .source = source};
	struct task_switch_outcome out = {0};
	enum task_switch_result result;
	uint64_t rip, rflags;

	exit_count(v, EXIT_TASK_SWITCH);
	v->backend->read_state(v);
	rip = v->state.rip;
	rflags = v->state.rflags;
	if (source == TASK_SWITCH_GATE) {
		how.external = !event_is_software(v->event);
		how.has_error = v->event & EVENT_HAS_ERROR;
		how.error = how.has_error ? v->event_error : 0;
	}
	if (!save_point(v, &how)) {
		exit_give_up(v, "the instruction that switches tasks cannot be read");
		return;
	}
	result = switch_task(&v->state, &v->vm->bus, &how, &out);
	if (result == TASK_SWITCH_UNSUPPORTED) {
		exit_give_up(v, "the guest switches to task %x in a way that the visor does not know", selector);
		return;
	}
	v->backend->clear_shadow(v);
	if (out.switched) {
		enter_task(v, &how, &out);
	} else {
		v->state.rip = rip;
		v->state.rflags = rflags;
	}
	if (result != TASK_SWITCH_EXCEPTION)
		return;
	if (out.exception.vector == X86_PF)
		v->backend->write_special(v, CPU_SPECIAL_CR2, out.exception.address);
	exit_raise(v, out.exception.vector, true, out.exception.error);
}
