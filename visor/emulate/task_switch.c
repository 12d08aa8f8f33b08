/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/task_switch.h"

#include "visor/emulate/segment.h"

#define PAGE 4096u

#define FLAG_NT (1ull << 14)
#define FLAGS_FIXED 0x2ull
#define FLAGS_KNOWN 0x3f7fd5ull
#define CR0_TS (1ull << 3)

/* Offsets in a task state segment (SDM vol. 3, figures 8-2 and 8-10). */
#define TSS_LINK 0x00
struct layout {
	uint8_t bytes;              /* 104 and 44: what must be there */
	uint8_t width;              /* of a register, bytes */
	uint8_t saved, saved_bytes; /* what a switch stores: instruction pointer to last segment */
	uint8_t cr3, ip, flags, gpr, segments, ldt, trap;
	uint8_t segment_count;
};

static const struct layout tss32 = {
	.bytes = 0x68,
	.width = 4,
	.saved = 0x20,
	.saved_bytes = 0x40,
	.cr3 = 0x1c,
	.ip = 0x20,
	.flags = 0x24,
	.gpr = 0x28,
	.segments = 0x48,
	.ldt = 0x60,
	.trap = 0x64,
	.segment_count = 6,
};
static const struct layout tss16 = {
	.bytes = 0x2c,
	.width = 2,
	.saved = 0x0e,
	.saved_bytes = 0x1c,
	.ip = 0x0e,
	.flags = 0x10,
	.gpr = 0x12,
	.segments = 0x22,
	.ldt = 0x2a,
	.segment_count = 4,
};

/* The TSS has the registers in the order of their numbers, and so it has ES, CS, SS, DS, FS and GS. */

/* Linear memory that lies in one page or in two. */
struct span {
	uint64_t gpa[2];
	unsigned first; /* bytes in the first page */
};

struct switching {
	struct x86_cpu_state *cpu;
	const struct guest_memory *memory;
	const struct task_switch *how;
	struct task_switch_outcome *out;
	uint32_t ext; /* ERROR_EXT, or 0 */
	const struct layout *old, *new;
	uint64_t descriptor; /* of the new TSS */
	struct span save, load, old_type, new_type;
	uint8_t image[0x68]; /* the new TSS */
};

#define TRY(expression) \
	do { \
		enum task_switch_result try_result = (expression); \
		if (try_result != TASK_SWITCH_DONE) \
			return try_result; \
	} while (0)

static enum task_switch_result task_switch_raise(struct switching *s, uint8_t vector, uint32_t error)
{
	s->out->exception = (struct deliver_exception){.vector = vector, .error = error};
	return TASK_SWITCH_EXCEPTION;
}

static enum task_switch_result task_switch_raise_for(struct switching *s, uint8_t vector, uint16_t selector)
{
	return task_switch_raise(s, vector, (selector & ~SELECTOR_RPL) | s->ext);
}

/* ---- memory -------------------------------------------------------------------------- */

static enum task_switch_result task_switch_translate(struct switching *s, uint64_t linear, unsigned access, uint64_t *gpa)
{
	struct vmmu_guest_walk walk;

	switch (guest_translate(s->cpu, s->memory, linear, access, &walk)) {
	case VMMU_GUEST_OK:
		*gpa = walk.gpa.v;
		return TASK_SWITCH_DONE;
	case VMMU_GUEST_FAULT:
	case VMMU_GUEST_NO_MEMORY:
		s->out->exception = (struct deliver_exception){VECTOR_PF, walk.error_code, linear};
		return TASK_SWITCH_EXCEPTION;
	default: /* busy; there is nothing that is not canonical below 4 GiB */
		return TASK_SWITCH_UNSUPPORTED;
	}
}

/* `access` for each page that the range touches; `bytes` at most a page. */
static enum task_switch_result task_switch_locate(struct switching *s, uint64_t linear, unsigned bytes, unsigned access,
                                                  struct span *span)
{
	unsigned room = PAGE - linear % PAGE;

	linear &= UINT32_MAX;
	span->first = bytes < room ? bytes : room;
	TRY(task_switch_translate(s, linear, access, &span->gpa[0]));
	if (bytes > room)
		TRY(task_switch_translate(s, (linear + room) & UINT32_MAX, access, &span->gpa[1]));
	return TASK_SWITCH_DONE;
}

/* The CPU's own accesses to tables are a supervisor's at any CPL. */
static enum task_switch_result locate_table(struct switching *s, uint64_t linear, unsigned bytes, bool write,
                                            struct span *span)
{
	return task_switch_locate(s, linear, bytes, (write ? VMMU_W : VMMU_R) | VMMU_ACCESS_IMPLICIT, span);
}

static uint64_t gpa_in(const struct span *span, unsigned offset)
{
	return offset < span->first ? span->gpa[0] + offset : span->gpa[1] + (offset - span->first);
}

static uint64_t read_span(const struct switching *s, const struct span *span, unsigned offset, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++) {
		uint64_t byte = 0;

		s->memory->read(s->memory->ctx, gpa_in(span, offset + i), 1, &byte);
		value |= (byte & 0xff) << 8 * i;
	}
	return value;
}

static void write_span(const struct switching *s, const struct span *span, unsigned offset, unsigned bytes,
                       uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		s->memory->write(s->memory->ctx, gpa_in(span, offset + i), 1, value >> 8 * i & 0xff);
}

/* ---- before the switch (SDM vol. 3, 8.3, steps 1 to 5, and table 8-1) ------------------------ */

static bool makes_busy(const struct switching *s)
{
	return s->how->source != TASK_SWITCH_IRET;
}

static bool nests(const struct switching *s)
{
	return s->how->source == TASK_SWITCH_CALL || s->how->source == TASK_SWITCH_GATE;
}

static enum task_switch_result find_new_tss(struct switching *s)
{
	bool back = s->how->source == TASK_SWITCH_IRET;
	uint16_t selector = s->how->selector;
	uint32_t at = selector & ~7u, access;
	struct span span;
	unsigned type;

	if (!at || selector & SELECTOR_LOCAL || at + 7 > s->cpu->gdtr.limit)
		return task_switch_raise_for(s, back ? VECTOR_TS : VECTOR_GP, selector);
	TRY(locate_table(s, s->cpu->gdtr.base + at, 8, false, &span));
	s->descriptor = read_span(s, &span, 0, 8);
	access = segment_of(selector, s->descriptor).access;
	type = access & (ACCESS_TYPE | ACCESS_CODE_OR_DATA);
	if ((type & ~(SYSTEM_TSS | SYSTEM_TSS_BUSY)) || !(type & SYSTEM_TSS16) || !(type & SYSTEM_TSS_BUSY) == back)
		return task_switch_raise_for(s, back ? VECTOR_TS : VECTOR_GP, selector);
	if (!(access & ACCESS_PRESENT))
		return task_switch_raise_for(s, VECTOR_NP, selector);
	s->new = type & 8 ? &tss32 : &tss16;
	if (segment_of(selector, s->descriptor).limit < s->new->bytes - 1u)
		return task_switch_raise_for(s, VECTOR_TS, selector);
	return TASK_SWITCH_DONE;
}

/* All that the switch will read and write is there and may be: nothing has changed until it is. */
static enum task_switch_result locate_all(struct switching *s)
{
	const struct x86_cpu_state *cpu = s->cpu;
	uint64_t new_base = segment_of(0, s->descriptor).base;
	unsigned link = nests(s) ? 2 : 0;
	struct span unused;

	s->old = cpu->tr.access & 8 ? &tss32 : &tss16;
	if (cpu->tr.access & X86_ACCESS_UNUSABLE || cpu->tr.limit < s->old->saved + s->old->saved_bytes - 1u)
		return task_switch_raise_for(s, VECTOR_TS, cpu->tr.selector);
	TRY(locate_table(s, cpu->tr.base + s->old->saved, s->old->saved_bytes, true, &s->save));
	TRY(locate_table(s, new_base, s->new->bytes, false, &s->load));
	if (link)
		TRY(locate_table(s, new_base, link, true, &unused));
	if (makes_busy(s))
		TRY(locate_table(s, cpu->gdtr.base + (s->how->selector & ~7u) + 5, 1, true, &s->new_type));
	if (!nests(s))
		TRY(locate_table(s, cpu->gdtr.base + (cpu->tr.selector & ~7u) + 5, 1, true, &s->old_type));
	return TASK_SWITCH_DONE;
}

/* ---- the switch (steps 6 to 12) ---------------------------------------------------------------- */

static void save_old(const struct switching *s)
{
	const struct x86_cpu_state *cpu = s->cpu;
	const struct layout *l = s->old;
	uint64_t flags = cpu->rflags;

	if (s->how->source == TASK_SWITCH_IRET)
		flags &= ~FLAG_NT;
	write_span(s, &s->save, l->ip - l->saved, l->width, cpu->rip);
	write_span(s, &s->save, l->flags - l->saved, l->width, flags);
	for (unsigned i = 0; i < 8; i++)
		write_span(s, &s->save, l->gpr - l->saved + i * l->width, l->width, cpu->gpr[i]);
	for (unsigned i = 0; i < l->segment_count; i++)
		write_span(s, &s->save, l->segments - l->saved + i * l->width, 2, cpu->segment[i].selector);
}

/* A task that may be come back to stays busy; one that is entered becomes so. */
static void mark_busy(const struct switching *s)
{
	if (!nests(s))
		write_span(s, &s->old_type, 0, 1, read_span(s, &s->old_type, 0, 1) & ~(uint64_t)SYSTEM_TSS_BUSY);
	if (makes_busy(s))
		write_span(s, &s->new_type, 0, 1, read_span(s, &s->new_type, 0, 1) | SYSTEM_TSS_BUSY);
}

static uint32_t field(const struct switching *s, unsigned offset, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)s->image[offset + i] << 8 * i;
	return value;
}

/* The new TSS is read before the link is written, and after the old one: they may be the same memory. */
static void enter_new(struct switching *s)
{
	struct x86_cpu_state *cpu = s->cpu;
	const struct layout *l = s->new;

	for (unsigned i = 0; i < l->bytes; i++)
		s->image[i] = (uint8_t)read_span(s, &s->load, i, 1);
	if (nests(s))
		write_span(s, &s->load, TSS_LINK, 2, cpu->tr.selector);
	cpu->tr = segment_of(s->how->selector, s->descriptor);
	cpu->tr.access |= SYSTEM_TSS_BUSY;
	cpu->cr0 |= CR0_TS;
	cpu->rip = field(s, l->ip, l->width);
	cpu->rflags = (field(s, l->flags, l->width) & FLAGS_KNOWN) | FLAGS_FIXED | (nests(s) ? FLAG_NT : 0);
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = field(s, l->gpr + i * l->width, l->width);
	s->out->switched = true;
	s->out->debug_trap = l->trap && field(s, l->trap, 1) & 1;
}

/* ---- in the new task (step 13, and table 8-1's second half) --------------------------------------- */

static enum task_switch_result load_cr3(struct switching *s)
{
	struct x86_cpu_state *cpu = s->cpu;
	uint64_t cr3 = s->new->cr3 ? field(s, s->new->cr3, 4) : 0;

	if (!s->new->cr3 || !(cpu->cr0 & X86_CR0_PG)) /* a 16-bit TSS has none */
		return TASK_SWITCH_DONE;
	if (cpu->cr4 & X86_CR4_PAE &&
	    vmmu_guest_load_pdptes(s->memory->host, s->memory->ctx, &s->memory->cpu, cr3, cpu->pdpte) !=
	            VMMU_GUEST_OK)
		return task_switch_raise(s, VECTOR_GP, s->ext);
	cpu->cr3 = cr3;
	return TASK_SWITCH_DONE;
}

static enum task_switch_result task_switch_read_descriptor(struct switching *s, uint8_t vector, uint16_t selector,
                                                           uint64_t *descriptor, uint64_t *where)
{
	const struct x86_cpu_state *cpu = s->cpu;
	bool local = selector & SELECTOR_LOCAL;
	uint64_t at = selector & ~7u, base = local ? cpu->ldtr.base : cpu->gdtr.base;
	uint32_t limit = local ? cpu->ldtr.limit : cpu->gdtr.limit;
	struct span span;

	if ((local && cpu->ldtr.access & X86_ACCESS_UNUSABLE) || at + 7 > limit)
		return task_switch_raise_for(s, vector, selector);
	*where = base + at;
	TRY(locate_table(s, *where, 8, false, &span));
	*descriptor = read_span(s, &span, 0, 8);
	return TASK_SWITCH_DONE;
}

static enum task_switch_result task_switch_load_ldt(struct switching *s)
{
	uint16_t selector = (uint16_t)field(s, s->new->ldt, 2);
	uint64_t descriptor, where;
	struct x86_segment ldt;

	s->cpu->ldtr = (struct x86_segment){.selector = selector, .access = X86_ACCESS_UNUSABLE};
	if (!(selector & ~SELECTOR_RPL))
		return TASK_SWITCH_DONE;
	if (selector & SELECTOR_LOCAL)
		return task_switch_raise_for(s, VECTOR_TS, selector);
	TRY(task_switch_read_descriptor(s, VECTOR_TS, selector, &descriptor, &where));
	ldt = segment_of(selector, descriptor);
	if ((ldt.access & (ACCESS_TYPE | ACCESS_CODE_OR_DATA)) != SYSTEM_LDT || !(ldt.access & ACCESS_PRESENT))
		return task_switch_raise_for(s, VECTOR_TS, selector);
	s->cpu->ldtr = ldt;
	return TASK_SWITCH_DONE;
}

/* The CPU sets a segment's accessed bit when it loads it (SDM vol. 3, 3.4.5.1). */
static enum task_switch_result task_switch_take(struct switching *s, enum x86_segment_register n, struct x86_segment *segment,
                                                uint64_t where)
{
	struct span type;

	if (!(segment->access & ACCESS_ACCESSED)) {
		TRY(locate_table(s, where + 5, 1, true, &type));
		segment->access |= ACCESS_ACCESSED;
		write_span(s, &type, 0, 1, segment->access & 0xff);
	}
	s->cpu->segment[n] = *segment;
	return TASK_SWITCH_DONE;
}

static enum task_switch_result load_code(struct switching *s, uint16_t selector)
{
	unsigned rpl = selector & SELECTOR_RPL, dpl;
	uint64_t descriptor, where;
	struct x86_segment code;

	if (!(selector & ~SELECTOR_RPL))
		return task_switch_raise_for(s, VECTOR_TS, selector);
	TRY(task_switch_read_descriptor(s, VECTOR_TS, selector, &descriptor, &where));
	code = segment_of(selector, descriptor);
	dpl = ACCESS_DPL(code.access);
	if (!(code.access & ACCESS_CODE_OR_DATA) || !(code.access & ACCESS_CODE) ||
	    (code.access & ACCESS_DOWN_OR_CONFORMING ? dpl > rpl : dpl != rpl))
		return task_switch_raise_for(s, VECTOR_TS, selector);
	if (!(code.access & ACCESS_PRESENT))
		return task_switch_raise_for(s, VECTOR_NP, selector);
	TRY(task_switch_take(s, X86_CS, &code, where));
	s->cpu->cpl = (uint8_t)rpl;
	/* Until SS is loaded, what stands there is of this privilege level and cannot be used. */
	s->cpu->segment[X86_SS] = (struct x86_segment){
		.selector = (uint16_t)rpl,
		.access = X86_ACCESS_UNUSABLE | rpl << 5,
	};
	return TASK_SWITCH_DONE;
}

static enum task_switch_result load_stack(struct switching *s, uint16_t selector)
{
	uint64_t descriptor, where;
	struct x86_segment stack;

	if (!(selector & ~SELECTOR_RPL))
		return task_switch_raise_for(s, VECTOR_TS, selector);
	TRY(task_switch_read_descriptor(s, VECTOR_TS, selector, &descriptor, &where));
	stack = segment_of(selector, descriptor);
	if (!(stack.access & ACCESS_CODE_OR_DATA) || stack.access & ACCESS_CODE || !(stack.access & ACCESS_WRITABLE) ||
	    ACCESS_DPL(stack.access) != s->cpu->cpl || (selector & SELECTOR_RPL) != s->cpu->cpl)
		return task_switch_raise_for(s, VECTOR_TS, selector);
	if (!(stack.access & ACCESS_PRESENT))
		return task_switch_raise_for(s, VECTOR_SS, selector);
	return task_switch_take(s, X86_SS, &stack, where);
}

static enum task_switch_result load_data(struct switching *s, enum x86_segment_register n, uint16_t selector)
{
	unsigned rpl = selector & SELECTOR_RPL, dpl;
	uint64_t descriptor, where;
	struct x86_segment data;
	bool conforming;

	if (!(selector & ~SELECTOR_RPL))
		return TASK_SWITCH_DONE;
	TRY(task_switch_read_descriptor(s, VECTOR_TS, selector, &descriptor, &where));
	data = segment_of(selector, descriptor);
	dpl = ACCESS_DPL(data.access);
	conforming = data.access & ACCESS_CODE && data.access & ACCESS_DOWN_OR_CONFORMING;
	if (!(data.access & ACCESS_CODE_OR_DATA) || (data.access & ACCESS_CODE && !(data.access & ACCESS_WRITABLE)) ||
	    (!conforming && (rpl > dpl || s->cpu->cpl > dpl)))
		return task_switch_raise_for(s, VECTOR_TS, selector);
	if (!(data.access & ACCESS_PRESENT))
		return task_switch_raise_for(s, VECTOR_NP, selector);
	return task_switch_take(s, n, &data, where);
}

static void load_virtual_8086(struct switching *s, const uint16_t *selector)
{
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		s->cpu->segment[i] = (struct x86_segment){
			.selector = selector[i], .access = 0xf3, .limit = 0xffff, .base = (uint64_t)selector[i] << 4};
	s->cpu->cpl = 3;
}

/* The selectors are loaded first, then the descriptors, one after the other. */
static enum task_switch_result load_segments(struct switching *s)
{
	struct x86_cpu_state *cpu = s->cpu;
	const struct layout *l = s->new;
	uint16_t selector[X86_SEGMENT_COUNT] = {0};

	for (unsigned i = 0; i < l->segment_count; i++)
		selector[i] = (uint16_t)field(s, l->segments + i * l->width, 2);
	if (cpu->rflags & X86_FLAG_VM) {
		TRY(task_switch_load_ldt(s));
		load_virtual_8086(s, selector);
		return TASK_SWITCH_DONE;
	}
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++) {
		if (i != X86_CS && i != X86_SS)
			cpu->segment[i] = (struct x86_segment){
				.selector = selector[i],
				.access = X86_ACCESS_UNUSABLE,
			};
	}
	TRY(task_switch_load_ldt(s));
	TRY(load_code(s, selector[X86_CS]));
	TRY(load_stack(s, selector[X86_SS]));
	TRY(load_data(s, X86_ES, selector[X86_ES]));
	TRY(load_data(s, X86_DS, selector[X86_DS]));
	TRY(load_data(s, X86_FS, selector[X86_FS]));
	return load_data(s, X86_GS, selector[X86_GS]);
}

static bool task_switch_inside_stack(const struct x86_segment *stack, uint32_t offset, unsigned bytes)
{
	uint64_t last = (uint64_t)offset + bytes - 1;

	if (stack->access & ACCESS_DOWN_OR_CONFORMING) /* grows down: all above the limit */
		return offset > stack->limit && last <= (stack->access & X86_ACCESS_BIG ? UINT32_MAX : UINT16_MAX);
	return last <= stack->limit;
}

/* An exception's error code goes onto the new task's stack, as wide as its TSS. */
static enum task_switch_result push_error(struct switching *s)
{
	struct x86_cpu_state *cpu = s->cpu;
	const struct x86_segment *stack = &cpu->segment[X86_SS];
	uint64_t mask = stack->access & X86_ACCESS_BIG && !(cpu->rflags & X86_FLAG_VM) ? UINT32_MAX : UINT16_MAX;
	uint32_t offset = (uint32_t)((cpu->gpr[X86_RSP] - s->new->width) & mask);
	struct span to;

	if (!task_switch_inside_stack(stack, offset, s->new->width))
		return task_switch_raise(s, VECTOR_SS, s->ext);
	TRY(task_switch_locate(s, stack->base + offset, s->new->width, VMMU_W, &to));
	write_span(s, &to, 0, s->new->width, s->how->error);
	cpu->gpr[X86_RSP] = (cpu->gpr[X86_RSP] & ~mask) | offset;
	return TASK_SWITCH_DONE;
}

enum task_switch_result switch_task(struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                    const struct task_switch *how, struct task_switch_outcome *out)
{
	struct switching s = {
		.cpu = cpu,
		.memory = memory,
		.how = how,
		.out = out,
		.ext = how->source == TASK_SWITCH_GATE && how->external ? ERROR_EXT : 0,
	};

	*out = (struct task_switch_outcome){0};
	if (!(cpu->cr0 & X86_CR0_PE) || cpu->efer & X86_EFER_LMA)
		return TASK_SWITCH_UNSUPPORTED;
	TRY(find_new_tss(&s));
	TRY(locate_all(&s));
	save_old(&s);
	mark_busy(&s);
	enter_new(&s);
	TRY(load_cr3(&s));
	TRY(load_segments(&s));
	if (how->has_error)
		TRY(push_error(&s));
	if (cpu->rip > cpu->segment[X86_CS].limit)
		return task_switch_raise(&s, VECTOR_GP, s.ext);
	return TASK_SWITCH_DONE;
}
