/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions for the guest, the end of an instruction that the visor has carried out, and the end of the VM. */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/lib/format.h"
#include "visor/vm/nested.h"
#include "visor/vm/vm.h"

static bool raise_in_64bit_code(struct vcpu *v)
{
	return v->backend->in_64bit_code(v);
}

void exit_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	uint32_t first = v->event;

	/* Before it makes a double fault of another one (SDM vol. 3, 26.2; APM vol. 2, 15.12). */
	if (unlikely(v->nested.l2) && v->backend->nested->exception(v, vector, has_error, error))
		return;
	v->event = 0;
	switch (event_meets(first, vector)) {
	case EVENT_SHUTDOWN:
		exit_triple_fault(v);
		return;
	case EVENT_DOUBLE_FAULT:
		vector = X86_DF;
		has_error = true;
		error = 0;
		if (unlikely(v->nested.l2) && v->backend->nested->exception(v, vector, has_error, error))
			return;
		break;
	case EVENT_DELIVER_SECOND:
		/* What L1 injects is lost then, as it is on a CPU, and is no event of L1's own. */
		if (event_must_be_kept(first) && !v->nested.as_given)
			v->kept_event = first;
		if (event_is_nmi(first) && !v->nested.as_given)
			v->nmi_pending = true;
		v->nested.as_given = false;
		break;
	}
	/* There are no error codes in real mode (SDM vol. 3, 27.2.1.3). */
	has_error = has_error && v->backend->read_cr0(v) & X86_CR0_PE;
	v->event = EVENT_VALID | EVENT_EXCEPTION | vector | (has_error ? EVENT_HAS_ERROR : 0);
	v->event_error = error;
	if (event_is_fault(v->event))
		v->state.rflags |= X86_FLAG_RF; /* its delivery saves them as they are */
}

/* The visor carried an instruction out: shadows end, and a debugger gets its trap (SDM vol. 3, 18.3.1.4). */
void exit_instruction_done(struct vcpu *v)
{
	v->state.rflags &= ~X86_FLAG_RF;
	v->backend->clear_shadow(v);
	if (v->state.rflags & X86_FLAG_TF) {
		uint64_t dr6 = v->backend->read_special(v, CPU_SPECIAL_DR6);

		v->backend->write_special(v, CPU_SPECIAL_DR6, dr6 | X86_DR6_SINGLE_STEP);
		exit_raise(v, X86_DB, false, 0);
	}
}

void exit_skip_bytes(struct vcpu *v, unsigned length)
{
	v->state.rip += length;
	if (!raise_in_64bit_code(v))
		v->state.rip &= UINT32_MAX;
	exit_instruction_done(v);
}

void exit_skip(struct vcpu *v)
{
	unsigned length = v->backend->instruction_length(v);

	if (length)
		exit_skip_bytes(v, length);
	else /* as LOCK HLT, for which QEMU exits: the prefix makes #UD of what can be none (APM vol. 3, 1.2.5) */
		exit_raise(v, X86_UD, false, 0);
}

void exit_stop(struct vcpu *v, enum vm_end end)
{
	v->vm->end = end;
	v->stop = true;
}

void exit_triple_fault(struct vcpu *v)
{
	exit_count(v, EXIT_TRIPLE_FAULT);
	if (unlikely(v->nested.l2) && v->backend->nested->shutdown(v))
		return;
	exit_stop(v, VM_TRIPLE_FAULT);
}

void exit_give_up(struct vcpu *v, const char *why, ...)
{
	char text[VM_REASON_BYTES];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	if (v->nested.l2 && v->backend->nested->shutdown(v))
		nested_note_end(v, text);
	else
		vm_fail(v, "%s", text);
}
