/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/delivery.h"

#include "visor/cpu/x86.h"
#include "visor/emulate/deliver.h"
#include "visor/exit/exit.h"
#include "visor/vm/vm.h"

bool delivery_carry_out(struct vcpu *v)
{
	uint32_t type = v->event & EVENT_TYPE_MASK;
	struct x86_cpu_state *s = &v->state;
	struct delivery event = {
		.vector = (uint8_t)v->event,
		.software = type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_SOFTWARE_EXCEPTION,
		.fault = event_is_fault(v->event),
		.has_error = v->event & EVENT_HAS_ERROR,
		.error = v->event_error,
	};
	struct deliver_exception exception;
	uint64_t rip = s->rip;
	enum deliver_result result;

	if (event.software || type == EVENT_PRIVILEGED_SOFTWARE) {
		unsigned length = v->backend->instruction_length(v);

		if (!length)
			return false;
		s->rip += length;
	}
	result = deliver_event(s, &v->vm->bus, &event, &exception);
	if (result == DELIVER_DONE) {
		if (event_is_nmi(v->event))
			v->backend->block_nmi(v, true);
		v->event = 0;
		v->backend->write_state(v);
		v->backend->clear_shadow(v);
		return true;
	}
	s->rip = rip;
	if (result != DELIVER_EXCEPTION)
		return false;
	if (exception.vector == X86_PF)
		v->backend->write_special(v, CPU_SPECIAL_CR2, exception.address);
	exit_raise(v, exception.vector, true, exception.error);
	return true;
}
