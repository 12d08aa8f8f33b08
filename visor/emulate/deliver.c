/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/deliver.h"

#include <stddef.h>

#include "visor/emulate/segment.h"

#define FLAG_TF (1ull << 8)
#define FLAG_IF (1ull << 9)
#define FLAG_NT (1ull << 14)
#define FLAG_VM (1ull << 17)

#define PUSHES_MAX 6

struct deliver {
	struct x86_cpu_state *cpu;
	const struct guest_memory *memory;
	const struct delivery *event;
	struct deliver_exception *exception;
	bool long_mode;
	uint32_t ext; /* ERROR_EXT, or 0 for software */
	/* the gate */
	uint16_t selector;
	uint64_t offset;
	bool interrupt_gate;
	uint8_t ist;
	/* where it leads */
	struct x86_segment code, stack;
	uint64_t code_descriptor, stack_descriptor; /* their linear addresses; 0: not loaded anew */
	uint8_t cpl;
	uint64_t rsp;
};

/* Leave the function unless `expression` gives DELIVER_DONE. */
#define TRY(expression) \
	do { \
		enum deliver_result try_result = (expression); \
		if (try_result != DELIVER_DONE) \
			return try_result; \
	} while (0)

static enum deliver_result deliver_raise(struct deliver *d, uint8_t vector, uint32_t error)
{
	*d->exception = (struct deliver_exception){.vector = vector, .error = error};
	return DELIVER_EXCEPTION;
}

static enum deliver_result deliver_raise_for(struct deliver *d, uint8_t vector, uint16_t selector)
{
	return deliver_raise(d, vector, (selector & ~SELECTOR_RPL) | d->ext);
}

/* ---- memory ------------------------------------------------------------------------ */

static enum deliver_result deliver_translate(struct deliver *d, uint64_t linear, unsigned access, uint64_t *gpa)
{
	struct vmmu_guest_walk walk;

	switch (guest_translate(d->cpu, d->memory, linear, access, &walk)) {
	case VMMU_GUEST_OK:
		*gpa = walk.gpa.v;
		return DELIVER_DONE;
	case VMMU_GUEST_FAULT:
	case VMMU_GUEST_NO_MEMORY:
		*d->exception = (struct deliver_exception){VECTOR_PF, walk.error_code, linear};
		return DELIVER_EXCEPTION;
	case VMMU_GUEST_NONCANONICAL:
		return deliver_raise(d, VECTOR_GP, d->ext);
	default: /* busy */
		return DELIVER_UNSUPPORTED;
	}
}

/* Bytes of a table that the CPU reads by itself: a supervisor's access whatever the CPL. */
static enum deliver_result deliver_read_table(struct deliver *d, uint64_t linear, unsigned bytes, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < bytes; i++) {
		uint64_t gpa, byte = 0;

		TRY(deliver_translate(d, linear + i, VMMU_R | VMMU_ACCESS_IMPLICIT, &gpa));
		d->memory->read(d->memory->ctx, gpa, 1, &byte);
		*value |= (byte & 0xff) << 8 * i;
	}
	return DELIVER_DONE;
}

/* ---- the gate (SDM vol. 3, 6.11 and 6.14.1) -------------------------------------------- */

static enum deliver_result read_gate(struct deliver *d)
{
	unsigned bytes = d->long_mode ? 16 : 8;
	uint64_t at = (uint64_t)d->event->vector * bytes, low, high = 0;
	uint32_t error = d->event->vector * 8u | ERROR_IDT | d->ext;
	unsigned type;

	if (at + bytes - 1 > d->cpu->idtr.limit)
		return deliver_raise(d, VECTOR_GP, error);
	TRY(deliver_read_table(d, d->cpu->idtr.base + at, 8, &low));
	if (d->long_mode)
		TRY(deliver_read_table(d, d->cpu->idtr.base + at + 8, 8, &high));
	type = low >> 40 & 0x1f;
	if (!d->long_mode && (type == 5 || type == 6 || type == 7))
		return DELIVER_UNSUPPORTED;
	if (type != 14 && type != 15)
		return deliver_raise(d, VECTOR_GP, error);
	if (d->event->software && (low >> 45 & 3) < d->cpu->cpl)
		return deliver_raise(d, VECTOR_GP, error);
	if (!(low >> 47 & 1))
		return deliver_raise(d, VECTOR_NP, error);
	d->selector = (uint16_t)(low >> 16);
	d->offset = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
	d->interrupt_gate = type == 14;
	d->ist = d->long_mode ? low >> 32 & 7 : 0;
	return DELIVER_DONE;
}

/* ---- segments -------------------------------------------------------------------------- */

/* The descriptor that `selector` names; `vector` is raised when there is none. */
static enum deliver_result deliver_read_descriptor(struct deliver *d, uint8_t vector, uint16_t selector,
                                                   uint64_t *descriptor, uint64_t *where)
{
	const struct x86_cpu_state *s = d->cpu;
	bool local = selector & SELECTOR_LOCAL;
	uint64_t at = selector & ~7u, base = local ? s->ldtr.base : s->gdtr.base;
	uint32_t limit = local ? s->ldtr.limit : s->gdtr.limit;

	if ((local && s->ldtr.access & X86_ACCESS_UNUSABLE) || at + 7 > limit)
		return deliver_raise_for(d, vector, selector);
	*where = base + at;
	return deliver_read_table(d, base + at, 8, descriptor);
}

static enum deliver_result deliver_find_code(struct deliver *d)
{
	uint64_t descriptor;
	uint32_t access;
	uint8_t dpl;

	if (!(d->selector & ~SELECTOR_RPL))
		return deliver_raise(d, VECTOR_GP, d->ext);
	TRY(deliver_read_descriptor(d, VECTOR_GP, d->selector, &descriptor, &d->code_descriptor));
	d->code = segment_of(d->selector, descriptor);
	access = d->code.access;
	dpl = ACCESS_DPL(access);
	if (!(access & ACCESS_CODE_OR_DATA) || !(access & ACCESS_CODE) || dpl > d->cpu->cpl)
		return deliver_raise_for(d, VECTOR_GP, d->selector);
	if (d->long_mode && (access & (X86_ACCESS_LONG | X86_ACCESS_BIG)) != X86_ACCESS_LONG)
		return deliver_raise_for(d, VECTOR_GP, d->selector);
	if (!(access & ACCESS_PRESENT))
		return deliver_raise_for(d, VECTOR_NP, d->selector);
	d->cpl = access & ACCESS_DOWN_OR_CONFORMING ? d->cpu->cpl : dpl;
	d->code.selector = (uint16_t)((d->selector & ~SELECTOR_RPL) | d->cpl);
	return DELIVER_DONE;
}

/* ---- the stack (SDM vol. 3, 6.12.1, 6.14.2 to 6.14.5) ------------------------------------ */

static enum deliver_result read_tss(struct deliver *d, unsigned offset, unsigned bytes, uint64_t *value)
{
	if (offset + bytes - 1 > d->cpu->tr.limit)
		return deliver_raise_for(d, VECTOR_TS, d->cpu->tr.selector);
	return deliver_read_table(d, d->cpu->tr.base + offset, bytes, value);
}

static enum deliver_result find_stack_long(struct deliver *d)
{
	bool inner = d->cpl < d->cpu->cpl;
	unsigned offset = d->ist ? 36 + 8 * (d->ist - 1u) : 4 + 8u * d->cpl;

	d->rsp = d->cpu->gpr[X86_RSP];
	d->stack = d->cpu->segment[X86_SS];
	if (d->ist || inner)
		TRY(read_tss(d, offset, 8, &d->rsp));
	if (inner) /* a null selector with the new level */
		d->stack = (struct x86_segment){
			.selector = d->cpl,
			.access = X86_ACCESS_UNUSABLE | (uint32_t)d->cpl << 5,
		};
	d->rsp &= ~15ull;
	return DELIVER_DONE;
}

static enum deliver_result find_stack_protected(struct deliver *d)
{
	uint64_t selector, descriptor;
	uint32_t access;

	d->rsp = d->cpu->gpr[X86_RSP];
	d->stack = d->cpu->segment[X86_SS];
	if (d->cpl == d->cpu->cpl)
		return DELIVER_DONE;
	if ((d->cpu->tr.access & ACCESS_TYPE) < 9) /* a 16-bit TSS */
		return DELIVER_UNSUPPORTED;
	TRY(read_tss(d, 4 + 8u * d->cpl, 4, &d->rsp));
	TRY(read_tss(d, 8 + 8u * d->cpl, 2, &selector));
	if (!(selector & ~SELECTOR_RPL))
		return deliver_raise(d, VECTOR_TS, d->ext);
	TRY(deliver_read_descriptor(d, VECTOR_TS, (uint16_t)selector, &descriptor, &d->stack_descriptor));
	d->stack = segment_of((uint16_t)selector, descriptor);
	access = d->stack.access;
	if ((selector & SELECTOR_RPL) != d->cpl || ACCESS_DPL(access) != d->cpl || !(access & ACCESS_CODE_OR_DATA) ||
	    access & ACCESS_CODE || !(access & ACCESS_WRITABLE))
		return deliver_raise_for(d, VECTOR_TS, (uint16_t)selector);
	return access & ACCESS_PRESENT ? DELIVER_DONE : deliver_raise_for(d, VECTOR_SS, (uint16_t)selector);
}

static bool deliver_inside_stack(const struct x86_segment *s, uint64_t offset, unsigned bytes)
{
	uint64_t last = offset + bytes - 1, top = s->access & X86_ACCESS_BIG ? UINT32_MAX : UINT16_MAX;

	if (s->access & ACCESS_DOWN_OR_CONFORMING) /* grows down from `top`: all above the limit */
		return offset > s->limit && last <= top;
	return last <= s->limit;
}

/* Linear address of a push of `bytes` that brings the stack pointer to `offset`. */
static enum deliver_result push_address(struct deliver *d, uint64_t offset, unsigned bytes, uint64_t *linear)
{
	if (d->long_mode) {
		*linear = offset;
		return DELIVER_DONE;
	}
	if (!deliver_inside_stack(&d->stack, offset, bytes))
		return deliver_raise(d, VECTOR_SS, (d->cpl == d->cpu->cpl ? 0 : d->stack.selector & ~SELECTOR_RPL) | d->ext);
	*linear = (uint32_t)(d->stack.base + offset);
	return DELIVER_DONE;
}

/* One push, byte by byte where it would cross a page: it is looked up before any is made. */
struct push {
	uint64_t value, gpa[8];
};

static enum deliver_result deliver_locate(struct deliver *d, uint64_t offset, unsigned bytes, struct push *push)
{
	uint64_t linear;

	TRY(push_address(d, offset, bytes, &linear));
	for (unsigned i = 0; i < bytes; i++)
		TRY(deliver_translate(d, linear + i, VMMU_W | VMMU_ACCESS_IMPLICIT * (d->cpl < 3), &push->gpa[i]));
	return DELIVER_DONE;
}

static void deliver_store(const struct guest_memory *memory, const struct push *push, unsigned bytes)
{
	if (push->gpa[bytes - 1] == push->gpa[0] + bytes - 1 && push->gpa[0] % bytes == 0) {
		memory->write(memory->ctx, push->gpa[0], bytes, push->value);
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		memory->write(memory->ctx, push->gpa[i], 1, push->value >> 8 * i & 0xff);
}

static unsigned list_pushes(const struct deliver *d, struct push *push)
{
	const struct x86_cpu_state *s = d->cpu;
	unsigned n = 0;

	if (d->long_mode || d->cpl < s->cpl) {
		push[n++].value = s->segment[X86_SS].selector;
		push[n++].value = s->gpr[X86_RSP];
	}
	push[n++].value = s->rflags | (d->event->fault ? X86_FLAG_RF : 0);
	push[n++].value = s->segment[X86_CS].selector;
	push[n++].value = s->rip;
	if (d->event->has_error)
		push[n++].value = d->event->error;
	return n;
}

static enum deliver_result push_all(struct deliver *d)
{
	bool wide = d->long_mode || d->stack.access & X86_ACCESS_BIG;
	unsigned bytes = d->long_mode ? 8 : 4, count;
	struct push push[PUSHES_MAX];
	uint64_t rsp = d->rsp;

	count = list_pushes(d, push);
	for (unsigned i = 0; i < count; i++) {
		rsp -= bytes;
		if (!d->long_mode)
			rsp = wide ? (uint32_t)rsp : (uint16_t)rsp;
		TRY(deliver_locate(d, rsp, bytes, &push[i]));
	}
	for (unsigned i = 0; i < count; i++)
		deliver_store(d->memory, &push[i], bytes);
	d->rsp = wide ? rsp : (d->rsp & ~0xffffull) | rsp;
	return DELIVER_DONE;
}

/* ---- all of it --------------------------------------------------------------------------- */

/* The CPU sets a segment's accessed bit when it loads it (SDM vol. 3, 3.4.5.1). */
static enum deliver_result deliver_mark_accessed(struct deliver *d, struct x86_segment *s, uint64_t descriptor)
{
	uint64_t gpa;

	if (!descriptor || s->access & ACCESS_ACCESSED)
		return DELIVER_DONE;
	TRY(deliver_translate(d, descriptor + 5, VMMU_W | VMMU_ACCESS_IMPLICIT, &gpa));
	s->access |= ACCESS_ACCESSED;
	d->memory->write(d->memory->ctx, gpa, 1, s->access & 0xff);
	return DELIVER_DONE;
}

static void enter_handler(const struct deliver *d)
{
	struct x86_cpu_state *s = d->cpu;

	s->segment[X86_SS] = d->stack;
	s->segment[X86_CS] = d->code;
	s->gpr[X86_RSP] = d->rsp;
	s->rip = d->offset;
	s->cpl = d->cpl;
	s->rflags &= ~(FLAG_TF | FLAG_NT | X86_FLAG_RF | (d->interrupt_gate ? FLAG_IF : 0));
}

enum deliver_result deliver_event(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                  const struct delivery *event, struct deliver_exception *exception)
{
	struct deliver d = {
		.cpu = cpu,
		.memory = memory,
		.event = event,
		.exception = exception,
		.long_mode = cpu->efer & X86_EFER_LMA,
		.ext = event->software ? 0 : ERROR_EXT,
	};

	if (!(cpu->cr0 & X86_CR0_PE) || cpu->rflags & FLAG_VM)
		return DELIVER_UNSUPPORTED;
	TRY(read_gate(&d));
	TRY(deliver_find_code(&d));
	TRY(d.long_mode ? find_stack_long(&d) : find_stack_protected(&d));
	TRY(deliver_mark_accessed(&d, &d.code, d.code_descriptor));
	TRY(deliver_mark_accessed(&d, &d.stack, d.stack_descriptor));
	TRY(push_all(&d));
	enter_handler(&d);
	return DELIVER_DONE;
}
