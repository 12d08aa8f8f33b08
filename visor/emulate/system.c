/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segment registers and the tables behind them: loads by MOV and LDS to LGS, far jumps
 * and calls, LGDT to STR, LAR to VERW. What an operand in memory tells is checked and
 * loaded as the CPU does it (SDM vol. 3, 5; the instruction pages of vol. 2). Gates, and
 * what switches tasks, are left alone.
 */
#include "visor/emulate/emulation.h"

#include "visor/emulate/segment.h"

#define PAGE 4096u
#define CR4_UMIP (1ull << 11)

enum emulate_result emulate_raise(struct emulation *e, uint8_t vector, uint32_t error)
{
	e->info->vector = vector;
	e->info->has_error = true;
	e->info->error_code = error;
	return EMULATE_EXCEPTION;
}

static enum emulate_result system_raise_for(struct emulation *e, uint8_t vector, uint16_t selector)
{
	return emulate_raise(e, vector, selector & ~SELECTOR_RPL);
}

static enum emulate_result raise_undefined(struct emulation *e)
{
	(void)e;
	return EMULATE_INVALID;
}

static bool in_protected_mode(const struct emulation *e)
{
	return e->cpu->cr0 & X86_CR0_PE && !(e->cpu->rflags & X86_FLAG_VM);
}

static bool in_ia32e_mode(const struct emulation *e)
{
	return e->cpu->efer & X86_EFER_LMA;
}

static bool is_null(uint16_t selector)
{
	return !(selector & ~SELECTOR_RPL);
}

/* ---- descriptors ------------------------------------------------------------------------ */

/* The CPU's own accesses to tables are a supervisor's at any CPL. */
static enum emulate_result translate_table(struct emulation *e, uint64_t linear, bool write, uint64_t *gpa)
{
	struct vmmu_guest_walk walk;
	enum vmmu_guest_result result =
		guest_translate(e->cpu, e->memory, linear, (write ? VMMU_W : VMMU_R) | VMMU_ACCESS_IMPLICIT, &walk);

	*gpa = walk.gpa.v;
	e->info->fault_gva = linear;
	e->info->error_code = walk.error_code;
	switch (result) {
	case VMMU_GUEST_OK:
		return EMULATE_DONE;
	case VMMU_GUEST_BUSY:
		return EMULATE_AGAIN;
	case VMMU_GUEST_NONCANONICAL:
		return EMULATE_GENERAL_PROTECTION;
	default:
		return EMULATE_PAGE_FAULT;
	}
}

static enum emulate_result system_read_table(struct emulation *e, uint64_t linear, unsigned bytes, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < bytes; i++) {
		uint64_t gpa, byte = 0;

		TRY(translate_table(e, linear + i, false, &gpa));
		e->memory->read(e->memory->ctx, gpa, 1, &byte);
		*value |= (byte & 0xff) << 8 * i;
	}
	return EMULATE_DONE;
}

static enum emulate_result write_table_byte(struct emulation *e, uint64_t linear, uint8_t value)
{
	uint64_t gpa;

	TRY(translate_table(e, linear, true, &gpa));
	e->memory->write(e->memory->ctx, gpa, 1, value);
	return EMULATE_DONE;
}

struct descriptor {
	struct x86_segment segment;
	uint64_t where;
};

/* False: the selector is beyond its table. */
static bool find_descriptor(const struct emulation *e, uint16_t selector, unsigned bytes, uint64_t *where)
{
	const struct x86_cpu_state *cpu = e->cpu;
	bool local = selector & SELECTOR_LOCAL;
	uint64_t at = selector & ~7u;

	*where = (local ? cpu->ldtr.base : cpu->gdtr.base) + at;
	return !(local && cpu->ldtr.access & X86_ACCESS_UNUSABLE) &&
	       at + bytes - 1 <= (local ? cpu->ldtr.limit : cpu->gdtr.limit);
}

static enum emulate_result system_read_descriptor(struct emulation *e, uint16_t selector, struct descriptor *d)
{
	uint64_t value;

	if (!find_descriptor(e, selector, 8, &d->where))
		return system_raise_for(e, VECTOR_GP, selector);
	TRY(system_read_table(e, d->where, 8, &value));
	d->segment = segment_of(selector, value);
	return EMULATE_DONE;
}

/* The CPU sets a segment's accessed bit when it loads it (SDM vol. 3, 3.4.5.1). */
static enum emulate_result system_mark_accessed(struct emulation *e, struct descriptor *d)
{
	if (d->segment.access & ACCESS_ACCESSED)
		return EMULATE_DONE;
	d->segment.access |= ACCESS_ACCESSED;
	return write_table_byte(e, d->where + 5, d->segment.access & 0xff);
}

static bool is_code(uint32_t access)
{
	return access & ACCESS_CODE_OR_DATA && access & ACCESS_CODE;
}

static bool is_conforming(uint32_t access)
{
	return is_code(access) && access & ACCESS_DOWN_OR_CONFORMING;
}

/* ---- loading data segments ------------------------------------------------------------------ */

/* Real mode and virtual-8086 mode: the base follows from the selector, and limit and rights stay. */
static struct x86_segment real_segment(const struct emulation *e, enum x86_segment_register n, uint16_t selector)
{
	struct x86_segment s = e->cpu->segment[n];

	s.selector = selector;
	s.base = (uint64_t)selector << 4;
	return s;
}

static enum emulate_result check_stack_segment(struct emulation *e, uint16_t selector, struct descriptor *d)
{
	uint32_t access = d->segment.access;

	if ((selector & SELECTOR_RPL) != e->cpu->cpl || ACCESS_DPL(access) != e->cpu->cpl ||
	    !(access & ACCESS_CODE_OR_DATA) || is_code(access) || !(access & ACCESS_WRITABLE))
		return system_raise_for(e, VECTOR_GP, selector);
	return access & ACCESS_PRESENT ? EMULATE_DONE : system_raise_for(e, VECTOR_SS, selector);
}

static enum emulate_result check_data_segment(struct emulation *e, uint16_t selector, struct descriptor *d)
{
	uint32_t access = d->segment.access;
	unsigned dpl = ACCESS_DPL(access);

	if (!(access & ACCESS_CODE_OR_DATA) || (is_code(access) && !(access & ACCESS_WRITABLE)) ||
	    (!is_conforming(access) && ((selector & SELECTOR_RPL) > dpl || e->cpu->cpl > dpl)))
		return system_raise_for(e, VECTOR_GP, selector);
	return access & ACCESS_PRESENT ? EMULATE_DONE : system_raise_for(e, VECTOR_NP, selector);
}

static enum emulate_result load_null(struct emulation *e, enum x86_segment_register n, uint16_t selector)
{
	if (n == X86_SS && (!in_long_mode(e) || e->cpu->cpl == 3 || (selector & SELECTOR_RPL) != e->cpu->cpl))
		return EMULATE_GENERAL_PROTECTION;
	e->cpu->segment[n] = (struct x86_segment){
		.selector = selector, .access = X86_ACCESS_UNUSABLE | (n == X86_SS ? (uint32_t)e->cpu->cpl << 5 : 0)};
	return EMULATE_DONE;
}

/* The last thing that an instruction does: nothing has changed when it is refused. */
static enum emulate_result system_load_segment(struct emulation *e, enum x86_segment_register n, uint16_t selector)
{
	struct descriptor d;

	if (!in_protected_mode(e)) {
		e->cpu->segment[n] = real_segment(e, n, selector);
		return EMULATE_DONE;
	}
	if (is_null(selector))
		return load_null(e, n, selector);
	TRY(system_read_descriptor(e, selector, &d));
	TRY(n == X86_SS ? check_stack_segment(e, selector, &d) : check_data_segment(e, selector, &d));
	TRY(system_mark_accessed(e, &d));
	e->cpu->segment[n] = d.segment;
	return EMULATE_DONE;
}

static bool segment_to_load(const struct emulation *e, enum x86_segment_register *n)
{
	ZydisRegister name = e->operand[0].reg.value;

	if (name < ZYDIS_REGISTER_ES || name > ZYDIS_REGISTER_GS || name == ZYDIS_REGISTER_CS)
		return false; /* MOV CS, m16 */
	*n = X86_ES + (name - ZYDIS_REGISTER_ES);
	return true;
}

enum emulate_result emulate_load_segment(struct emulation *e)
{
	enum x86_segment_register n;
	uint64_t selector;

	if (!segment_to_load(e, &n))
		return EMULATE_INVALID;
	TRY(read_operand(e, 1, &selector));
	return system_load_segment(e, n, (uint16_t)selector);
}

enum emulate_result emulate_pop_segment(struct emulation *e)
{
	enum x86_segment_register n;
	uint64_t selector;

	if (!segment_to_load(e, &n))
		return EMULATE_INVALID;
	TRY(pop_value(e, e->instruction->operand_width / 8, &selector));
	return system_load_segment(e, n, (uint16_t)selector);
}

/* A far pointer in memory: offset, then selector. */
static enum emulate_result read_far_pointer(struct emulation *e, unsigned operand, uint64_t *offset, uint16_t *selector)
{
	unsigned bytes = operand_size(e, operand) - 2;
	uint64_t address = effective_address(e, operand), value;
	struct location low, high;

	TRY(locate(e, operand_segment(e, operand), address, bytes, false, true, &low));
	TRY(locate(e, operand_segment(e, operand), (address + bytes) & value_mask(address_size(e)), 2, false, false, &high));
	TRY(read_location(e, &low, bytes, offset));
	TRY(read_location(e, &high, 2, &value));
	*selector = (uint16_t)value;
	return EMULATE_DONE;
}

enum emulate_result emulate_load_far_pointer(struct emulation *e)
{
	enum x86_segment_register n;
	uint16_t selector;
	uint64_t offset;

	switch (e->instruction->mnemonic) {
	case ZYDIS_MNEMONIC_LDS: n = X86_DS; break;
	case ZYDIS_MNEMONIC_LES: n = X86_ES; break;
	case ZYDIS_MNEMONIC_LFS: n = X86_FS; break;
	case ZYDIS_MNEMONIC_LGS: n = X86_GS; break;
	default: n = X86_SS;
	}
	for (unsigned i = 0; i < e->instruction->operand_count_visible; i++) {
		if (e->operand[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		TRY(read_far_pointer(e, i, &offset, &selector));
		TRY(system_load_segment(e, n, selector));
		return write_operand(e, 0, offset);
	}
	return EMULATE_UNSUPPORTED;
}

/* ---- far jumps and calls ---------------------------------------------------------------------- */

static enum emulate_result check_code_segment(struct emulation *e, uint16_t selector, struct descriptor *d)
{
	uint32_t access;
	unsigned dpl;

	if (is_null(selector))
		return EMULATE_GENERAL_PROTECTION;
	TRY(system_read_descriptor(e, selector, d));
	access = d->segment.access;
	dpl = ACCESS_DPL(access);
	if (!(access & ACCESS_CODE_OR_DATA))
		return EMULATE_UNSUPPORTED; /* a gate, or a task */
	if (!is_code(access) || (is_conforming(access) ? dpl > e->cpu->cpl
	                                               : (selector & SELECTOR_RPL) > e->cpu->cpl || dpl != e->cpu->cpl))
		return system_raise_for(e, VECTOR_GP, selector);
	if (in_ia32e_mode(e) && access & X86_ACCESS_LONG && access & X86_ACCESS_BIG)
		return system_raise_for(e, VECTOR_GP, selector);
	return access & ACCESS_PRESENT ? EMULATE_DONE : system_raise_for(e, VECTOR_NP, selector);
}

static enum emulate_result system_find_code(struct emulation *e, uint16_t selector, uint64_t offset, struct descriptor *d)
{
	if (!in_protected_mode(e)) {
		d->segment = real_segment(e, X86_CS, selector);
		return offset <= 0xffff ? EMULATE_DONE : EMULATE_GENERAL_PROTECTION;
	}
	TRY(check_code_segment(e, selector, d));
	if (in_ia32e_mode(e) && d->segment.access & X86_ACCESS_LONG) {
		if (sign_extend(offset & value_mask(6), 6) != offset) /* 48 bits, at any depth of paging */
			return EMULATE_GENERAL_PROTECTION;
	} else if (offset > d->segment.limit) {
		return EMULATE_GENERAL_PROTECTION;
	}
	TRY(system_mark_accessed(e, d));
	d->segment.selector = (uint16_t)((selector & ~SELECTOR_RPL) | e->cpu->cpl);
	return EMULATE_DONE;
}

static enum emulate_result far_target(struct emulation *e, uint64_t *offset, uint16_t *selector)
{
	if (e->memory->ram_only)
		return EMULATE_UNSUPPORTED;
	if (e->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
		return read_far_pointer(e, 0, offset, selector);
	if (e->operand[0].type != ZYDIS_OPERAND_TYPE_POINTER)
		return EMULATE_UNSUPPORTED;
	*offset = e->operand[0].ptr.offset & value_mask(e->instruction->operand_width / 8);
	*selector = e->operand[0].ptr.segment;
	return EMULATE_DONE;
}

enum emulate_result emulate_far_jump(struct emulation *e)
{
	struct descriptor code;
	uint16_t selector;
	uint64_t offset;

	TRY(far_target(e, &offset, &selector));
	TRY(system_find_code(e, selector, offset, &code));
	e->cpu->segment[X86_CS] = code.segment;
	e->next_rip = offset;
	return EMULATE_DONE;
}

enum emulate_result emulate_far_call(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	struct descriptor code;
	uint16_t selector;
	uint64_t offset;

	TRY(far_target(e, &offset, &selector));
	TRY(system_find_code(e, selector, offset, &code));
	TRY(push_value(e, size, e->cpu->segment[X86_CS].selector));
	TRY(push_value(e, size, e->next_rip));
	e->cpu->segment[X86_CS] = code.segment;
	e->next_rip = offset;
	return EMULATE_DONE;
}

/* A return that is not carried out, since the stack changes with it; but to where no descriptor is it would be refused first. */
static enum emulate_result refuse_selector(struct emulation *e, uint16_t selector)
{
	struct descriptor code;

	TRY(system_read_descriptor(e, selector, &code));
	return EMULATE_UNSUPPORTED;
}

#define FLAGS_RETURNED 0x257fd5ull /* all but VM, VIF and VIP (SDM vol. 2, "IRET") */
#define FLAG_IOPL (3ull << 12)

/* Where no descriptor is asked for: real mode, and virtual-8086 mode with IOPL 3, where IOPL stays. */
static enum emulate_result return_to_real_segment(struct emulation *e)
{
	uint64_t offset, selector, flags, may = FLAGS_RETURNED;
	unsigned size = e->instruction->operand_width / 8;

	if (e->cpu->rflags & X86_FLAG_VM)
		may &= ~FLAG_IOPL;
	if (e->cpu->rflags & X86_FLAG_VM && (e->cpu->rflags & FLAG_IOPL) != FLAG_IOPL)
		return EMULATE_UNSUPPORTED; /* what VME makes of it */
	TRY(pop_value(e, size, &offset));
	TRY(pop_value(e, size, &selector));
	TRY(pop_value(e, size, &flags));
	if (offset > 0xffff)
		return EMULATE_GENERAL_PROTECTION;
	may &= value_mask(size);
	e->cpu->rflags = (e->cpu->rflags & ~may) | (flags & may);
	e->cpu->segment[X86_CS] = real_segment(e, X86_CS, (uint16_t)selector);
	e->next_rip = offset;
	return EMULATE_DONE;
}

/* What a device has on its pages leads nowhere: ones, zeros. An IRET to somewhere is not carried out. */
enum emulate_result emulate_interrupt_return(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t offset, selector, flags;

	if (e->memory->ram_only)
		return EMULATE_UNSUPPORTED;
	if (!in_protected_mode(e))
		return return_to_real_segment(e);
	if (e->cpu->rflags & X86_FLAG_NT)
		return EMULATE_UNSUPPORTED;
	TRY(pop_value(e, size, &offset));
	TRY(pop_value(e, size, &selector));
	TRY(pop_value(e, size, &flags));
	if (!in_ia32e_mode(e) && flags & X86_FLAG_VM && !e->cpu->cpl)
		return EMULATE_UNSUPPORTED;
	if (is_null((uint16_t)selector))
		return EMULATE_GENERAL_PROTECTION;
	return refuse_selector(e, (uint16_t)selector);
}

/* To the same privilege level; RET n drops its caller's arguments. */
enum emulate_result emulate_far_return(struct emulation *e)
{
	unsigned size = e->instruction->operand_width / 8;
	uint64_t offset, selector, dropped = 0;
	struct descriptor code;

	if (e->memory->ram_only)
		return EMULATE_UNSUPPORTED;
	if (e->operand[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		dropped = e->operand[0].imm.value.u;
	TRY(pop_value(e, size, &offset));
	TRY(pop_value(e, size, &selector));
	selector &= 0xffff;
	if (in_protected_mode(e)) {
		if ((selector & SELECTOR_RPL) < e->cpu->cpl)
			return system_raise_for(e, VECTOR_GP, (uint16_t)selector);
		if ((selector & SELECTOR_RPL) > e->cpu->cpl)
			return refuse_selector(e, (uint16_t)selector);
	}
	TRY(system_find_code(e, (uint16_t)selector, offset, &code));
	write_gpr(e, X86_RSP, e->instruction->stack_width / 8, e->cpu->gpr[X86_RSP] + dropped);
	e->cpu->segment[X86_CS] = code.segment;
	e->next_rip = offset;
	return EMULATE_DONE;
}

/* ---- descriptor tables ------------------------------------------------------------------------- */

/* Limit and base lie side by side, and each is an access of its own. */
static enum emulate_result locate_table_register(struct emulation *e, unsigned base_bytes, bool write,
                                                 struct location *limit, struct location *base)
{
	uint64_t address = effective_address(e, 0);

	TRY(locate(e, operand_segment(e, 0), address, 2, write, true, limit));
	return locate(e, operand_segment(e, 0), (address + 2) & value_mask(address_size(e)), base_bytes, write, false, base);
}

enum emulate_result emulate_load_table(struct emulation *e)
{
	bool gdt = e->instruction->mnemonic == ZYDIS_MNEMONIC_LGDT;
	unsigned bytes = in_long_mode(e) ? 8 : 4;
	struct location limit_at, base_at;
	uint64_t limit, base;

	if (e->cpu->cpl)
		return EMULATE_GENERAL_PROTECTION;
	TRY(locate_table_register(e, bytes, false, &limit_at, &base_at));
	TRY(read_location(e, &limit_at, 2, &limit));
	TRY(read_location(e, &base_at, bytes, &base));
	if (in_long_mode(e) && sign_extend(base & value_mask(6), 6) != base)
		return EMULATE_GENERAL_PROTECTION;
	if (!in_long_mode(e) && e->instruction->operand_width == 16)
		base &= 0xffffff; /* a 286's base */
	*(gdt ? &e->cpu->gdtr : &e->cpu->idtr) = (struct x86_table_register){
		.limit = (uint16_t)limit,
		.base = base,
	};
	return EMULATE_DONE;
}

/* User-mode instruction prevention (SDM vol. 3, 2.5): these tell user code nothing then. */
static bool prevented(const struct emulation *e)
{
	return e->cpu->cr4 & CR4_UMIP && e->cpu->cpl && in_protected_mode(e);
}

enum emulate_result emulate_store_table(struct emulation *e)
{
	const struct x86_table_register *table =
		e->instruction->mnemonic == ZYDIS_MNEMONIC_SGDT ? &e->cpu->gdtr : &e->cpu->idtr;
	unsigned bytes = in_long_mode(e) ? 8 : 4;
	struct location limit_at, base_at;

	if (prevented(e))
		return EMULATE_GENERAL_PROTECTION;
	TRY(locate_table_register(e, bytes, true, &limit_at, &base_at));
	TRY(write_location(e, &limit_at, 2, table->limit));
	return write_location(e, &base_at, bytes, table->base);
}

/* SLDT, STR: in memory always 16 bits. */
enum emulate_result emulate_store_selector(struct emulation *e)
{
	if (!in_protected_mode(e))
		return raise_undefined(e);
	if (prevented(e))
		return EMULATE_GENERAL_PROTECTION;
	return write_operand(e, 0, e->instruction->mnemonic == ZYDIS_MNEMONIC_SLDT ? e->cpu->ldtr.selector : e->cpu->tr.selector);
}

enum emulate_result emulate_store_status_word(struct emulation *e)
{
	if (prevented(e))
		return EMULATE_GENERAL_PROTECTION;
	return write_operand(e, 0, e->cpu->cr0 & value_mask(operand_size(e, 0)));
}

/* A system descriptor, of 16 bytes in IA-32e mode. */
static enum emulate_result read_system(struct emulation *e, uint16_t selector, struct descriptor *d)
{
	unsigned bytes = in_ia32e_mode(e) ? 16 : 8;
	uint64_t low, high = 0;

	if (selector & SELECTOR_LOCAL || !find_descriptor(e, selector, bytes, &d->where))
		return system_raise_for(e, VECTOR_GP, selector);
	TRY(system_read_table(e, d->where, 8, &low));
	if (in_ia32e_mode(e))
		TRY(system_read_table(e, d->where + 8, 8, &high));
	d->segment = segment_of(selector, low);
	d->segment.base |= high << 32;
	if (in_ia32e_mode(e) && (high >> 40 & 0x1f || sign_extend(d->segment.base & value_mask(6), 6) != d->segment.base))
		return system_raise_for(e, VECTOR_GP, selector);
	return EMULATE_DONE;
}

static unsigned system_type(const struct descriptor *d)
{
	return d->segment.access & (ACCESS_TYPE | ACCESS_CODE_OR_DATA);
}

static enum emulate_result system_load_ldt(struct emulation *e, uint16_t selector)
{
	struct descriptor d;

	if (is_null(selector)) {
		e->cpu->ldtr = (struct x86_segment){.selector = selector, .access = X86_ACCESS_UNUSABLE};
		return EMULATE_DONE;
	}
	TRY(read_system(e, selector, &d));
	if (system_type(&d) != SYSTEM_LDT)
		return system_raise_for(e, VECTOR_GP, selector);
	if (!(d.segment.access & ACCESS_PRESENT))
		return system_raise_for(e, VECTOR_NP, selector);
	e->cpu->ldtr = d.segment;
	return EMULATE_DONE;
}

/* The TSS must be an available one; it becomes busy. 16-bit ones are gone in IA-32e mode. */
static enum emulate_result load_task(struct emulation *e, uint16_t selector)
{
	struct descriptor d;

	if (is_null(selector))
		return EMULATE_GENERAL_PROTECTION;
	TRY(read_system(e, selector, &d));
	if (system_type(&d) != SYSTEM_TSS && (in_ia32e_mode(e) || system_type(&d) != SYSTEM_TSS16))
		return system_raise_for(e, VECTOR_GP, selector);
	if (!(d.segment.access & ACCESS_PRESENT))
		return system_raise_for(e, VECTOR_NP, selector);
	d.segment.access |= SYSTEM_TSS_BUSY;
	TRY(write_table_byte(e, d.where + 5, d.segment.access & 0xff));
	e->cpu->tr = d.segment;
	return EMULATE_DONE;
}

enum emulate_result emulate_load_system(struct emulation *e)
{
	uint64_t selector;

	if (!in_protected_mode(e))
		return raise_undefined(e);
	if (e->cpu->cpl)
		return EMULATE_GENERAL_PROTECTION;
	TRY(read_operand(e, 0, &selector));
	return e->instruction->mnemonic == ZYDIS_MNEMONIC_LLDT ? system_load_ldt(e, (uint16_t)selector)
	                                                       : load_task(e, (uint16_t)selector);
}

/* ---- looking at descriptors: LAR, LSL, VERR, VERW -------------------------------------------------- */

/* Types of system descriptors that LAR and LSL know (SDM vol. 2, their tables). */
static bool is_known_system(const struct emulation *e, unsigned type, bool limit)
{
	const uint16_t legacy = limit ? 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11
	                              : 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
	const uint16_t ia32e = limit ? 1u << 2 | 1u << 9 | 1u << 11 : 1u << 2 | 1u << 9 | 1u << 11 | 1u << 12;

	return (in_ia32e_mode(e) ? ia32e : legacy) >> type & 1;
}

static bool is_visible(const struct emulation *e, const struct descriptor *d, uint16_t selector)
{
	unsigned dpl = ACCESS_DPL(d->segment.access);

	return is_conforming(d->segment.access) || (e->cpu->cpl <= dpl && (selector & SELECTOR_RPL) <= dpl);
}

static bool passes(const struct emulation *e, const struct descriptor *d, uint16_t selector)
{
	uint32_t access = d->segment.access;

	if (!is_visible(e, d, selector))
		return false;
	switch (e->instruction->mnemonic) {
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
		return access & ACCESS_CODE_OR_DATA ||
		       is_known_system(e, access & ACCESS_TYPE, e->instruction->mnemonic == ZYDIS_MNEMONIC_LSL);
	case ZYDIS_MNEMONIC_VERR:
		return access & ACCESS_CODE_OR_DATA && (!is_code(access) || access & ACCESS_WRITABLE);
	default:
		return access & ACCESS_CODE_OR_DATA && !is_code(access) && access & ACCESS_WRITABLE;
	}
}

/* ZF says whether the descriptor may be seen; if not, nothing else changes. */
enum emulate_result emulate_look_at_descriptor(struct emulation *e)
{
	bool gives_value = e->instruction->mnemonic == ZYDIS_MNEMONIC_LAR || e->instruction->mnemonic == ZYDIS_MNEMONIC_LSL;
	uint64_t selector, low;
	struct descriptor d;

	if (!in_protected_mode(e))
		return raise_undefined(e);
	TRY(read_operand(e, gives_value ? 1 : 0, &selector));
	selector &= 0xffff;
	e->cpu->rflags &= ~X86_FLAG_ZF;
	if (is_null((uint16_t)selector) || !find_descriptor(e, (uint16_t)selector, 8, &d.where))
		return EMULATE_DONE;
	TRY(system_read_table(e, d.where, 8, &low));
	d.segment = segment_of((uint16_t)selector, low);
	if (!passes(e, &d, (uint16_t)selector))
		return EMULATE_DONE;
	e->cpu->rflags |= X86_FLAG_ZF;
	if (!gives_value)
		return EMULATE_DONE;
	return write_operand(e, 0, e->instruction->mnemonic == ZYDIS_MNEMONIC_LAR ? low >> 32 & 0x00ffff00 : d.segment.limit);
}

/* ARPL: the lower of the two privileges. */
enum emulate_result emulate_adjust_rpl(struct emulation *e)
{
	uint64_t selector, other;

	if (!in_protected_mode(e))
		return raise_undefined(e);
	TRY(read_operand(e, 0, &selector));
	TRY(read_operand(e, 1, &other));
	e->cpu->rflags &= ~X86_FLAG_ZF;
	if ((selector & SELECTOR_RPL) >= (other & SELECTOR_RPL))
		return write_operand(e, 0, selector);
	e->cpu->rflags |= X86_FLAG_ZF;
	return write_operand(e, 0, (selector & ~(uint64_t)SELECTOR_RPL) | (other & SELECTOR_RPL));
}
