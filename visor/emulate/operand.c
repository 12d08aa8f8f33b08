/* SPDX-License-Identifier: BSD-2-Clause */
/* Operands: registers, immediates, and memory by way of segmentation and the guest's paging. */
#include "visor/emulate/emulation.h"

#define PAGE 4096u

#define ACCESS_TYPE_CODE 8u
#define ACCESS_TYPE_EXPAND_DOWN 4u /* of data segments */
#define ACCESS_TYPE_WRITABLE 2u    /* of data segments; readable of code segments */

unsigned operand_size(const struct emulation *e, unsigned i)
{
	return e->operand[i].size / 8;
}

unsigned address_size(const struct emulation *e)
{
	return e->instruction->address_width / 8;
}

bool in_long_mode(const struct emulation *e)
{
	return e->instruction->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
}

/* ---- Registers ----------------------------------------------------------------------- */

uint64_t read_gpr(const struct emulation *e, enum x86_gpr index, unsigned size)
{
	return e->cpu->gpr[index] & value_mask(size);
}

/* SDM vol. 1, 3.4.1.1: 32-bit results clear the upper half, narrower ones leave the rest. */
void write_gpr(struct emulation *e, enum x86_gpr index, unsigned size, uint64_t value)
{
	uint64_t *gpr = &e->cpu->gpr[index];

	if (size >= 4)
		*gpr = value & value_mask(size);
	else
		*gpr = (*gpr & ~value_mask(size)) | (value & value_mask(size));
}

/* A general register by its Zydis name: number, and for AH to BH the shift. False: not one. */
static bool find_gpr(ZydisRegister name, enum x86_gpr *index, unsigned *shift)
{
	*shift = 0;
	if (name >= ZYDIS_REGISTER_RAX && name <= ZYDIS_REGISTER_R15)
		*index = name - ZYDIS_REGISTER_RAX;
	else if (name >= ZYDIS_REGISTER_EAX && name <= ZYDIS_REGISTER_R15D)
		*index = name - ZYDIS_REGISTER_EAX;
	else if (name >= ZYDIS_REGISTER_AX && name <= ZYDIS_REGISTER_R15W)
		*index = name - ZYDIS_REGISTER_AX;
	else if (name >= ZYDIS_REGISTER_SPL && name <= ZYDIS_REGISTER_R15B)
		*index = name - ZYDIS_REGISTER_SPL + X86_RSP;
	else if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH) {
		*index = name - ZYDIS_REGISTER_AH;
		*shift = 8;
	} else if (name >= ZYDIS_REGISTER_AL && name <= ZYDIS_REGISTER_BL)
		*index = name - ZYDIS_REGISTER_AL;
	else
		return false;
	return true;
}

static bool find_segment(ZydisRegister name, enum x86_segment_register *segment)
{
	if (name < ZYDIS_REGISTER_ES || name > ZYDIS_REGISTER_GS)
		return false;
	*segment = X86_ES + (name - ZYDIS_REGISTER_ES);
	return true;
}

static bool operand_read_register(const struct emulation *e, ZydisRegister name, unsigned size, uint64_t *value)
{
	enum x86_segment_register segment;
	enum x86_gpr index;
	unsigned shift;

	if (find_gpr(name, &index, &shift))
		*value = e->cpu->gpr[index] >> shift & value_mask(size);
	else if (find_segment(name, &segment))
		*value = e->cpu->segment[segment].selector;
	else
		return false;
	return true;
}

static bool operand_write_register(struct emulation *e, ZydisRegister name, unsigned size, uint64_t value)
{
	enum x86_gpr index;
	unsigned shift;

	if (!find_gpr(name, &index, &shift))
		return false; /* loading a segment register is not a plain store */
	if (shift)
		e->cpu->gpr[index] = (e->cpu->gpr[index] & ~0xff00ull) | (value & 0xff) << 8;
	else
		write_gpr(e, index, size, value);
	return true;
}

/* ---- Segmentation ---------------------------------------------------------------------- */

/* SDM vol. 3, 6.3 to 6.5: limit and type; in 64-bit mode there is only the canonical form. */
static bool is_canonical(const struct emulation *e, uint64_t gva)
{
	unsigned bits = e->cpu->cr4 & X86_CR4_LA57 ? 57 : 48;

	return (uint64_t)((int64_t)(gva << (64 - bits)) >> (64 - bits)) == gva;
}

static bool within_limit(const struct x86_segment *s, uint64_t offset, uint64_t size)
{
	uint64_t last = offset + size - 1;

	if (!(s->access & ACCESS_TYPE_CODE) && (s->access & ACCESS_TYPE_EXPAND_DOWN))
		return offset > s->limit && last <= (s->access & X86_ACCESS_BIG ? 0xffffffffu : 0xffffu);
	return last <= s->limit;
}

static bool segment_permits(const struct emulation *e, const struct x86_segment *s, uint64_t offset,
                            uint64_t size, bool write)
{
	bool code = s->access & ACCESS_TYPE_CODE;

	if (s->access & X86_ACCESS_UNUSABLE)
		return false;
	if (e->cpu->cr0 & X86_CR0_PE) {
		if (write && (code || !(s->access & ACCESS_TYPE_WRITABLE)))
			return false;
		if (!write && code && !(s->access & ACCESS_TYPE_WRITABLE))
			return false;
	}
	return within_limit(s, offset, size);
}

static enum emulate_result linear_address(const struct emulation *e, enum x86_segment_register segment,
                                          uint64_t offset, uint64_t size, bool write, uint64_t *gva)
{
	const struct x86_segment *s = &e->cpu->segment[segment];

	if (in_long_mode(e)) {
		*gva = offset + (segment == X86_FS || segment == X86_GS ? s->base : 0);
		return is_canonical(e, *gva) && is_canonical(e, *gva + size - 1) ? EMULATE_DONE
		                                                                 : EMULATE_GENERAL_PROTECTION;
	}
	if (!segment_permits(e, s, offset, size, write))
		return EMULATE_GENERAL_PROTECTION;
	*gva = (offset + s->base) & 0xffffffffu;
	return EMULATE_DONE;
}

bool segment_covers(const struct emulation *e, enum x86_segment_register segment, uint64_t offset,
                    uint64_t size, bool write)
{
	uint64_t gva;

	return linear_address(e, segment, offset, size, write, &gva) == EMULATE_DONE;
}

/* ---- Memory ------------------------------------------------------------------------------ */

static enum emulate_result operand_translate(struct emulation *e, uint64_t gva, bool write, uint64_t *gpa)
{
	struct vmmu_guest_walk walk;
	enum vmmu_guest_result result = guest_translate(e->cpu, e->memory, gva, write ? VMMU_W : VMMU_R, &walk);

	*gpa = walk.gpa.v;
	e->info->fault_gva = gva;
	e->info->error_code = walk.error_code;
	switch (result) {
	case VMMU_GUEST_OK:
		return EMULATE_DONE;
	case VMMU_GUEST_FAULT:
		return EMULATE_PAGE_FAULT;
	case VMMU_GUEST_NONCANONICAL:
		return EMULATE_GENERAL_PROTECTION;
	case VMMU_GUEST_BUSY:
		return EMULATE_AGAIN;
	case VMMU_GUEST_NO_MEMORY:
		break;
	}
	e->info->fault_gpa = walk.steps ? walk.step[walk.steps - 1].where.v : 0;
	return EMULATE_NO_MEMORY;
}

/* Where nothing but RAM may be touched: is it RAM? Asked before anything has changed. */
static bool may_touch(const struct emulation *e, uint64_t gpa, bool write)
{
	const struct guest_memory *m = e->memory;

	return !m->ram_only || m->page(m->ctx, gpa & ~(uint64_t)(PAGE - 1), write);
}

static enum emulate_result translate_anew(struct emulation *e, uint64_t gva, bool write, uint64_t *gpa)
{
	TRY(operand_translate(e, gva, write, gpa));
	if (may_touch(e, *gpa, write))
		return EMULATE_DONE;
	e->info->fault_gpa = *gpa;
	return EMULATE_NO_MEMORY;
}

/* Pages that have been written have places of their own: source and destination of a copy never share one. */
static struct guest_recent_page *place_among(struct guest_recent *recent, uint64_t page, bool written)
{
	return &recent->of[page / PAGE % (GUEST_RECENT_PAGES / 2) + (written ? GUEST_RECENT_PAGES / 2 : 0)];
}

/* A page that has been written may be read; one that has been read only may have its D bit to be set yet. */
static enum emulate_result translate_for(struct emulation *e, uint64_t gva, bool write, uint64_t *gpa)
{
	uint64_t offset = gva % PAGE, page = gva - offset;
	struct guest_recent *recent = e->memory->recent ? e->memory->recent : e->recent;
	struct guest_recent_page *known;

	if (!recent)
		return translate_anew(e, gva, write, gpa);
	known = place_among(recent, page, true);
	if (known->page != (page | GUEST_RECENT_KNOWN) && !write)
		known = place_among(recent, page, false);
	if (known->page != (page | GUEST_RECENT_KNOWN)) {
		TRY(translate_anew(e, gva, write, gpa));
		*known = (struct guest_recent_page){.page = page | GUEST_RECENT_KNOWN, .gpa = *gpa - offset};
	}
	*gpa = known->gpa + offset;
	return EMULATE_DONE;
}

enum emulate_result locate(struct emulation *e, enum x86_segment_register segment, uint64_t offset,
                           unsigned size, bool write, bool may_use_hint, struct location *out)
{
	uint64_t gva;
	unsigned room;

	TRY(linear_address(e, segment, offset, size, write, &gva));
	room = PAGE - gva % PAGE;
	out->first_bytes = size < room ? size : room;
	if (may_use_hint && size <= room && e->hint != UINT64_MAX && e->hint % PAGE == gva % PAGE) {
		out->gpa = e->hint;
		return EMULATE_DONE;
	}
	TRY(translate_for(e, gva, write, &out->gpa));
	if (size > room)
		TRY(translate_for(e, gva + room, write, &out->gpa_next_page));
	return EMULATE_DONE;
}

static enum emulate_result read_physical(struct emulation *e, uint64_t gpa, unsigned size, uint64_t *value)
{
	if (!e->memory->read(e->memory->ctx, gpa, size, value)) {
		e->info->fault_gpa = gpa;
		return EMULATE_NO_MEMORY;
	}
	*value &= value_mask(size);
	return EMULATE_DONE;
}

static enum emulate_result write_physical(struct emulation *e, uint64_t gpa, unsigned size, uint64_t value)
{
	if (!e->memory->write(e->memory->ctx, gpa, size, value & value_mask(size))) {
		e->info->fault_gpa = gpa;
		return EMULATE_NO_MEMORY;
	}
	return EMULATE_DONE;
}

static uint64_t byte_gpa(const struct location *at, unsigned i)
{
	return i < at->first_bytes ? at->gpa + i : at->gpa_next_page + (i - at->first_bytes);
}

enum emulate_result read_location(struct emulation *e, const struct location *at, unsigned size,
                                  uint64_t *value)
{
	uint64_t byte, result = 0;

	if (at->first_bytes == size)
		return read_physical(e, at->gpa, size, value);
	for (unsigned i = 0; i < size; i++) {
		TRY(read_physical(e, byte_gpa(at, i), 1, &byte));
		result |= byte << 8 * i;
	}
	*value = result;
	return EMULATE_DONE;
}

enum emulate_result write_location(struct emulation *e, const struct location *at, unsigned size,
                                   uint64_t value)
{
	if (at->first_bytes == size)
		return write_physical(e, at->gpa, size, value);
	for (unsigned i = 0; i < size; i++)
		TRY(write_physical(e, byte_gpa(at, i), 1, value >> 8 * i));
	return EMULATE_DONE;
}

/* ---- Operands ------------------------------------------------------------------------------ */

uint64_t effective_address(const struct emulation *e, unsigned i)
{
	const ZydisDecodedOperandMem *mem = &e->operand[i].mem;
	uint64_t address = mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0, part;

	if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP)
		address += e->next_rip;
	else if (operand_read_register(e, mem->base, address_size(e), &part))
		address += part;
	if (operand_read_register(e, mem->index, address_size(e), &part))
		address += part * mem->scale;
	return address & value_mask(address_size(e));
}

enum x86_segment_register operand_segment(const struct emulation *e, unsigned i)
{
	enum x86_segment_register segment = X86_DS;

	find_segment(e->operand[i].mem.segment, &segment);
	return segment;
}

/* What the operand is written to counts, even when it is read first: the CPU checks that too. */
static enum emulate_result locate_operand(struct emulation *e, unsigned i, struct location *at)
{
	bool write = e->operand[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	if (!e->located)
		TRY(locate(e, operand_segment(e, i), effective_address(e, i), operand_size(e, i), write, true,
		           &e->operand_at));
	e->located = true;
	*at = e->operand_at;
	return EMULATE_DONE;
}

enum emulate_result read_operand(struct emulation *e, unsigned i, uint64_t *value)
{
	const ZydisDecodedOperand *o = &e->operand[i];
	unsigned size = operand_size(e, i);
	struct location at;

	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*value = o->imm.value.u;
		return EMULATE_DONE;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return operand_read_register(e, o->reg.value, size, value) ? EMULATE_DONE : EMULATE_UNSUPPORTED;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		TRY(locate_operand(e, i, &at));
		return read_location(e, &at, size, value);
	default:
		return EMULATE_UNSUPPORTED;
	}
}

enum emulate_result write_operand(struct emulation *e, unsigned i, uint64_t value)
{
	const ZydisDecodedOperand *o = &e->operand[i];
	unsigned size = operand_size(e, i);
	struct location at;

	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return operand_write_register(e, o->reg.value, size, value) ? EMULATE_DONE : EMULATE_UNSUPPORTED;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		TRY(locate_operand(e, i, &at));
		return write_location(e, &at, size, value);
	default:
		return EMULATE_UNSUPPORTED;
	}
}
