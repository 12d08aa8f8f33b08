/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that the emulator knows nothing of but how they are encoded: they are
 * carried out by the CPU itself, on a copy of their memory operand. The copy is read
 * from where the operand lies before, as far as the instruction reads it, and written
 * back afterwards, as far as it writes it. So all of the arithmetic, x87, MMX, SSE and
 * AVX instructions mean what they mean on this CPU, flags and exceptions included.
 *
 * The guest's vector and x87 registers are in the CPU while the visor runs. They may be
 * used where the guest's CPU has come to the access, for then it had found nothing
 * against the instruction: CR0.TS, EM, CR4.OSFXSR and XCR0 come before.
 *
 * The instruction is encoded anew for 64-bit code, with its operand at a base register
 * that it does not use otherwise. What it may be is told by a list of kinds that touch
 * nothing but registers and their one operand; anything else is refused.
 */
#include "visor/emulate/emulation.h"

#include "visor/cpu/native.h"
#include "visor/emulate/decode.h"
#include "visor/lib/string.h"

#define OPERAND_MAX 108u /* FNSAVE's */
#define ALIGNMENT 64u    /* the copy is aligned as the operand is */
#define NEAR_RETURN 0xc3

#define STATUS_FLAGS (X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF)
#define CR4_OSXMMEXCPT (1ull << 10)

enum { VECTOR_UD = 6,
       VECTOR_GP = 13,
       VECTOR_AC = 17,
       VECTOR_XM = 19 };

/* ---- what may be run -------------------------------------------------------------------- */

/* Registers that an instruction has as operands, as it may be run here: nothing that controls the CPU. */
static bool is_data_register(ZydisRegister name)
{
	switch (ZydisRegisterGetClass(name)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
	case ZYDIS_REGCLASS_X87:
	case ZYDIS_REGCLASS_MMX:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
	case ZYDIS_REGCLASS_MASK:
	case ZYDIS_REGCLASS_FLAGS:
		return true;
	default:
		return name == ZYDIS_REGISTER_MXCSR || name == ZYDIS_REGISTER_X87CONTROL ||
		       name == ZYDIS_REGISTER_X87STATUS || name == ZYDIS_REGISTER_X87TAG;
	}
}

static bool is_fpu(ZydisInstructionCategory category)
{
	return category == ZYDIS_CATEGORY_X87_ALU || category == ZYDIS_CATEGORY_FCMOV;
}

/* Kinds that need nothing but general registers and flags, whatever the CPU's control registers say. */
static bool is_general(ZydisInstructionCategory category)
{
	switch (category) {
	case ZYDIS_CATEGORY_ADOX_ADCX:
	case ZYDIS_CATEGORY_BINARY:
	case ZYDIS_CATEGORY_BITBYTE:
	case ZYDIS_CATEGORY_CMOV:
	case ZYDIS_CATEGORY_DATAXFER:
	case ZYDIS_CATEGORY_LOGICAL:
	case ZYDIS_CATEGORY_LZCNT:
	case ZYDIS_CATEGORY_MOVDIR:
	case ZYDIS_CATEGORY_ROTATE:
	case ZYDIS_CATEGORY_SEMAPHORE:
	case ZYDIS_CATEGORY_SETCC:
	case ZYDIS_CATEGORY_SHIFT:
		return true;
	default:
		return false;
	}
}

static bool is_vector(ZydisInstructionCategory category)
{
	switch (category) {
	case ZYDIS_CATEGORY_AES:
	case ZYDIS_CATEGORY_AVX:
	case ZYDIS_CATEGORY_AVX2:
	case ZYDIS_CATEGORY_AVX512:
	case ZYDIS_CATEGORY_AVX512_BITALG:
	case ZYDIS_CATEGORY_AVX512_VBMI:
	case ZYDIS_CATEGORY_AVX512_VP2INTERSECT:
	case ZYDIS_CATEGORY_BLEND:
	case ZYDIS_CATEGORY_BMI1:
	case ZYDIS_CATEGORY_BMI2:
	case ZYDIS_CATEGORY_BROADCAST:
	case ZYDIS_CATEGORY_CONFLICT:
	case ZYDIS_CATEGORY_CONVERT:
	case ZYDIS_CATEGORY_FMA4:
	case ZYDIS_CATEGORY_FP16:
	case ZYDIS_CATEGORY_GFNI:
	case ZYDIS_CATEGORY_IFMA:
	case ZYDIS_CATEGORY_KMASK:
	case ZYDIS_CATEGORY_LOGICAL_FP:
	case ZYDIS_CATEGORY_MMX:
	case ZYDIS_CATEGORY_PCLMULQDQ:
	case ZYDIS_CATEGORY_SHA:
	case ZYDIS_CATEGORY_SSE:
	case ZYDIS_CATEGORY_STTNI:
	case ZYDIS_CATEGORY_VAES:
	case ZYDIS_CATEGORY_VBMI2:
	case ZYDIS_CATEGORY_VEX:
	case ZYDIS_CATEGORY_XOP:
	case ZYDIS_CATEGORY_VFMA:
	case ZYDIS_CATEGORY_VPCLMULQDQ:
		return true;
	default:
		return is_fpu(category);
	}
}

/* These leave out parts of their operand, by a mask in a register: the rest must not be touched. */
static bool is_masked(const ZydisDecodedInstruction *i)
{
	ZydisMnemonic mnemonic = i->mnemonic;

	if (i->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return i->raw.evex.aaa;
	return mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
	       mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD || mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

/* The x87 environment has another layout in real mode and virtual-8086 mode (SDM vol. 1, 8.1.10). */
static bool is_environment(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_FNSTENV || mnemonic == ZYDIS_MNEMONIC_FLDENV ||
	       mnemonic == ZYDIS_MNEMONIC_FNSAVE || mnemonic == ZYDIS_MNEMONIC_FRSTOR;
}

/* The number of the one memory operand that ModRM names, if registers of data are all else; -1. */
static int memory_operand(const struct decoded *d)
{
	int found = -1;

	for (unsigned i = 0; i < d->instruction.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->operand[i];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && !is_data_register(o->reg.value))
			return -1;
		if (o->type == ZYDIS_OPERAND_TYPE_POINTER)
			return -1;
		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (found >= 0 || o->mem.type != ZYDIS_MEMOP_TYPE_MEM || o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
		    o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || o->size % 8 || !o->size || o->size > 8 * OPERAND_MAX)
			return -1;
		found = (int)i;
	}
	return found;
}

bool native_may_run(const struct decoded *d)
{
	const ZydisDecodedInstruction *i = &d->instruction;

	if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && i->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
	    i->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return false;
	return i->attributes & ZYDIS_ATTRIB_HAS_MODRM && i->raw.modrm.mod != 3 && !is_masked(i) &&
	       (is_general(i->meta.category) || is_vector(i->meta.category)) && memory_operand(d) >= 0;
}

/* ---- encoding it anew --------------------------------------------------------------------- */

struct encoding {
	uint8_t bytes[NATIVE_CODE_BYTES];
	unsigned length;
	enum x86_gpr base; /* holds the copy's address */
	bool moved;        /* `instead` stands for the stack pointer, which is an operand */
	enum x86_gpr instead;
};

static bool gpr_of(ZydisRegister name, enum x86_gpr *gpr)
{
	ZydisRegister widest = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);

	if (widest < ZYDIS_REGISTER_RAX || widest > ZYDIS_REGISTER_R15)
		return false;
	*gpr = X86_RAX + (widest - ZYDIS_REGISTER_RAX);
	return true;
}

static bool uses(const struct emulation *e, enum x86_gpr gpr)
{
	for (unsigned i = 0; i < e->instruction->operand_count; i++) {
		enum x86_gpr used;

		if (e->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(e->operand[i].reg.value, &used) && used == gpr)
			return true;
	}
	return false;
}

/* One that ModRM can name as a base without more, and any operand without REX. */
static enum x86_gpr unused_gpr(const struct emulation *e, int other_than)
{
	static const enum x86_gpr candidates[] = {X86_RSI, X86_RDI, X86_RBX, X86_RDX, X86_RCX, X86_RAX};
	unsigned i = 0;

	while (uses(e, candidates[i]) || (int)candidates[i] == other_than)
		i++; /* no instruction has more than four of them */
	return candidates[i];
}

static void native_emit(struct encoding *c, uint8_t byte)
{
	c->bytes[c->length++] = byte;
}

static bool in_64bit(const struct emulation *e)
{
	return e->instruction->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
}

static bool has_vector(const struct decoded *d)
{
	for (unsigned i = 0; i < d->instruction.operand_count_visible; i++) {
		ZydisRegisterClass class = d->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER
		                                   ? ZydisRegisterGetClass(d->operand[i].reg.value)
		                                   : ZYDIS_REGCLASS_INVALID;

		if (class == ZYDIS_REGCLASS_MMX || class == ZYDIS_REGCLASS_XMM)
			return true;
	}
	return false;
}

/* Does its operand size follow from the mode and the prefix? */
static bool has_size(const struct decoded *d)
{
	const ZydisDecodedInstruction *i = &d->instruction;

	return (is_general(i->meta.category) && i->meta.category != ZYDIS_CATEGORY_MOVDIR && !has_vector(d)) ||
	       is_fpu(i->meta.category) || i->mnemonic == ZYDIS_MNEMONIC_CRC32 || i->mnemonic == ZYDIS_MNEMONIC_POPCNT ||
	       i->mnemonic == ZYDIS_MNEMONIC_TZCNT;
}

/*
 * Prefixes of segment and address size have done their work. That of operand size
 * belongs to the opcode, or says 16 bits, where 16-bit code has none for these.
 */
static void emit_prefixes(struct encoding *c, const struct emulation *e)
{
	const ZydisDecodedInstruction *i = e->instruction;
	bool size_prefix = false, mandatory = false;

	for (unsigned p = 0; p < i->raw.prefix_count; p++) {
		uint8_t value = i->raw.prefixes[p].value;

		if (value == 0x66) {
			size_prefix = true;
			mandatory |= i->raw.prefixes[p].type == ZYDIS_PREFIX_TYPE_MANDATORY;
		} else if (value == 0xf0 || value == 0xf2 || value == 0xf3) {
			native_emit(c, value);
		}
	}
	if (!mandatory && has_size(e->decoded) && i->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 &&
	    i->machine_mode != ZYDIS_MACHINE_MODE_LONG_COMPAT_32 && i->machine_mode != ZYDIS_MACHINE_MODE_LEGACY_32)
		size_prefix = !size_prefix;
	if (size_prefix)
		native_emit(c, 0x66);
}

static void emit_legacy(struct encoding *c, const struct emulation *e, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *i = e->instruction;
	unsigned rex = i->attributes & ZYDIS_ATTRIB_HAS_REX ? 1 : 0;

	emit_prefixes(c, e);
	if (rex) /* W and R as they are; X and B are of the operand's address */
		native_emit(c, bytes[i->raw.rex.offset] & 0x4c);
	for (unsigned at = i->raw.prefix_count + (rex && i->raw.rex.offset == i->raw.prefix_count); at < i->raw.modrm.offset; at++)
		native_emit(c, bytes[at]);
}

/* Outside 64-bit code W has no meaning for general registers, and here it would. */
static bool drops_w(const struct emulation *e)
{
	const ZydisDecodedInstruction *i = e->instruction;

	if (in_64bit(e))
		return false;
	return i->meta.category == ZYDIS_CATEGORY_BMI1 || i->meta.category == ZYDIS_CATEGORY_BMI2 ||
	       i->mnemonic == ZYDIS_MNEMONIC_VMOVD || i->mnemonic == ZYDIS_MNEMONIC_VPINSRD ||
	       i->mnemonic == ZYDIS_MNEMONIC_VPEXTRD || i->mnemonic == ZYDIS_MNEMONIC_VCVTSI2SS ||
	       i->mnemonic == ZYDIS_MNEMONIC_VCVTSI2SD || i->mnemonic == ZYDIS_MNEMONIC_VCVTSS2SI ||
	       i->mnemonic == ZYDIS_MNEMONIC_VCVTSD2SI || i->mnemonic == ZYDIS_MNEMONIC_VCVTTSS2SI ||
	       i->mnemonic == ZYDIS_MNEMONIC_VCVTTSD2SI;
}

/* VEX (SDM vol. 2, 2.3.5): R, X, B and vvvv are stored inverted; C5h has neither X and B nor W. */
static void emit_vex(struct encoding *c, const struct emulation *e, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *i = e->instruction;
	unsigned at = i->raw.vex.offset, last = i->raw.vex.size - 1u;
	uint8_t fields = bytes[at + last];

	native_emit(c, bytes[at]);
	if (i->raw.vex.size == 3)
		native_emit(c, (uint8_t)((in_64bit(e) ? bytes[at + 1] : bytes[at + 1] | 0x80) | 0x60 | (c->moved ? 0x80 : 0)));
	else if (c->moved)
		fields |= 0x80;
	if (drops_w(e) && i->raw.vex.size == 3)
		fields &= 0x7f;
	if (!in_64bit(e))
		fields |= 0x40; /* vvvv names one of eight */
	native_emit(c, fields);
	for (at += last + 1; at < i->raw.modrm.offset; at++)
		native_emit(c, bytes[at]);
}

/* EVEX (SDM vol. 2, 2.7): as VEX, with X and B before, and one more bit for each register. */
static void emit_evex(struct encoding *c, const struct emulation *e, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *i = e->instruction;
	unsigned at = i->raw.evex.offset;
	bool wide = in_64bit(e);

	native_emit(c, bytes[at]);
	native_emit(c, (uint8_t)((wide ? bytes[at + 1] : bytes[at + 1] | 0x90) | 0x60));
	native_emit(c, (uint8_t)((wide ? bytes[at + 2] : bytes[at + 2] | 0x40) & (drops_w(e) ? 0x7f : 0xff)));
	native_emit(c, (uint8_t)(wide ? bytes[at + 3] : bytes[at + 3] | 0x08));
	for (at += 4; at < i->raw.modrm.offset; at++)
		native_emit(c, bytes[at]);
}

/* The stack pointer as an operand is in another register; ModRM or vvvv names it. */
static uint8_t reg_field(const struct encoding *c, const struct emulation *e)
{
	for (unsigned i = 0; c->moved && i < e->instruction->operand_count; i++) {
		enum x86_gpr gpr;

		if (e->operand[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG &&
		    e->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(e->operand[i].reg.value, &gpr) && gpr == X86_RSP)
			return c->instead;
	}
	return e->instruction->raw.modrm.reg;
}

static bool native_encode(struct encoding *c, const struct emulation *e, const uint8_t *bytes)
{
	const ZydisDecodedInstruction *i = e->instruction;
	unsigned after = i->length;

	for (unsigned n = 0; n < 2; n++) {
		if (i->raw.imm[n].size && i->raw.imm[n].offset < after)
			after = i->raw.imm[n].offset;
	}
	c->moved = uses(e, X86_RSP);
	c->base = unused_gpr(e, -1);
	if (c->moved) {
		if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
			return false; /* vvvv would have to be changed as well */
		c->instead = unused_gpr(e, c->base);
	}
	if (i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		emit_vex(c, e, bytes);
	else if (i->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		emit_evex(c, e, bytes);
	else
		emit_legacy(c, e, bytes);
	native_emit(c, (uint8_t)(reg_field(c, e) << 3 | c->base));
	for (unsigned at = after; at < i->length; at++)
		native_emit(c, bytes[at]);
	native_emit(c, NEAR_RETURN);
	return true;
}

/* What has been made is the same instruction, on the same kinds of operand, and its memory is the copy. */
static bool means_the_same(const struct encoding *c, const struct emulation *e)
{
	const struct decoded *was = e->decoded;
	struct decoded is;

	if (!decode_64bit(c->bytes, c->length - 1, &is) || is.instruction.length != c->length - 1 ||
	    is.instruction.mnemonic != was->instruction.mnemonic ||
	    is.instruction.operand_count_visible != was->instruction.operand_count_visible || memory_operand(&is) < 0)
		return false;
	for (unsigned i = 0; i < is.instruction.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &is.operand[i];

		if (o->type != was->operand[i].type || o->size != was->operand[i].size ||
		    o->actions != was->operand[i].actions)
			return false;
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (o->mem.base != (ZydisRegister)(ZYDIS_REGISTER_RAX + c->base) || o->mem.index != ZYDIS_REGISTER_NONE ||
		     o->mem.disp.has_displacement))
			return false;
	}
	return true;
}

/* ---- the operand's copy ---------------------------------------------------------------------- */

/* The part of a located operand that begins `offset` bytes into it. */
static struct location native_part_of(const struct location *at, unsigned offset, unsigned size)
{
	struct location part = {.gpa = at->gpa + offset, .gpa_next_page = at->gpa_next_page};

	if (offset >= at->first_bytes)
		return (struct location){
			.gpa = at->gpa_next_page + (offset - at->first_bytes),
			.first_bytes = size,
		};
	part.first_bytes = at->first_bytes - offset < size ? at->first_bytes - offset : size;
	return part;
}

static unsigned native_access_size(unsigned left)
{
	return left >= 8 ? 8 : left >= 4 ? 4
	               : left >= 2       ? 2
	                                 : 1;
}

static enum emulate_result read_copy(struct emulation *e, const struct location *at, uint8_t *copy, unsigned bytes)
{
	for (unsigned done = 0, size; done < bytes; done += size) {
		struct location part;
		uint64_t value;

		size = native_access_size(bytes - done);
		part = native_part_of(at, done, size);
		TRY(read_location(e, &part, size, &value));
		memcpy(copy + done, &value, size);
	}
	return EMULATE_DONE;
}

static enum emulate_result write_copy(struct emulation *e, const struct location *at, const uint8_t *copy,
                                      unsigned bytes)
{
	for (unsigned done = 0, size; done < bytes; done += size) {
		struct location part;
		uint64_t value = 0;

		size = native_access_size(bytes - done);
		part = native_part_of(at, done, size);
		memcpy(&value, copy + done, size);
		TRY(write_location(e, &part, size, value));
	}
	return EMULATE_DONE;
}

/* ---- running it ---------------------------------------------------------------------------------- */

static enum emulate_result native_raise(struct emulation *e, int vector)
{
	if (vector == VECTOR_XM && !(e->cpu->cr4 & CR4_OSXMMEXCPT))
		vector = VECTOR_UD; /* SDM vol. 3, 2.5 */
	e->info->vector = (uint8_t)vector;
	e->info->has_error = vector == VECTOR_GP || vector == VECTOR_AC;
	e->info->error_code = 0;
	return EMULATE_EXCEPTION;
}

/* Where an x87 instruction leaves its own address and its operand's for the guest to see: the guest's (vol. 1, 8.1.8). */
static void set_fpu_pointers(const struct emulation *e, uint64_t code, uint64_t operand)
{
	uint64_t image[512 / 8] __attribute__((aligned(16)));

	__asm__ volatile("fxsave64 %0"
	                 : "=m"(image));
	if (image[1] - code >= NATIVE_CODE_BYTES)
		return; /* it is one that leaves them alone */
	image[1] = e->cpu->rip;
	image[2] = operand;
	__asm__ volatile("fxrstor64 %0"
	                 :
	                 : "m"(image));
}

static enum emulate_result native_run_copy(struct emulation *e, struct encoding *c, uint8_t *copy, unsigned operand)
{
	struct native_registers r;
	uint64_t code = 0;
	int vector;

	memcpy(r.gpr, e->cpu->gpr, sizeof(r.gpr));
	r.rflags = e->cpu->rflags & STATUS_FLAGS;
	r.gpr[c->base] = (uintptr_t)copy;
	if (c->moved)
		r.gpr[c->instead] = e->cpu->gpr[X86_RSP];
	vector = e->memory->execute(e->memory->ctx, c->bytes, c->length, &r, &code);
	if (vector != NATIVE_DONE)
		return native_raise(e, vector);
	if (c->moved)
		r.gpr[X86_RSP] = r.gpr[c->instead];
	for (unsigned i = 0; i < X86_GPR_COUNT; i++) {
		if (i != c->base && !(c->moved && i == c->instead) && (i != X86_RSP || c->moved))
			e->cpu->gpr[i] = r.gpr[i];
	}
	if (!in_64bit(e)) {
		for (unsigned i = 0; i < X86_GPR_COUNT; i++)
			e->cpu->gpr[i] &= UINT32_MAX;
	}
	e->cpu->rflags = (e->cpu->rflags & ~STATUS_FLAGS) | (r.rflags & STATUS_FLAGS);
	if (is_fpu(e->instruction->meta.category))
		set_fpu_pointers(e, code, effective_address(e, operand));
	return EMULATE_DONE;
}

static bool may_run_here(const struct emulation *e)
{
	const ZydisDecodedInstruction *i = e->instruction;
	bool protected_mode = e->cpu->cr0 & X86_CR0_PE && !(e->cpu->rflags & X86_FLAG_VM);

	if (!e->memory->execute || e->memory->ram_only || (is_environment(i->mnemonic) && !protected_mode))
		return false;
	return is_general(i->meta.category) || e->hint != UINT64_MAX;
}

enum emulate_result emulate_natively(struct emulation *e)
{
	uint8_t room[OPERAND_MAX + 2 * ALIGNMENT] __attribute__((aligned(ALIGNMENT))) = {0}, *copy;
	struct encoding c = {0};
	struct location at;
	unsigned operand, bytes;
	bool writes;

	if (!native_may_run(e->decoded) || !may_run_here(e) || !native_encode(&c, e, e->bytes) ||
	    !means_the_same(&c, e))
		return EMULATE_UNSUPPORTED;
	operand = (unsigned)memory_operand(e->decoded);
	bytes = operand_size(e, operand);
	writes = e->operand[operand].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	TRY(locate(e, operand_segment(e, operand), effective_address(e, operand), bytes, writes, true, &at));
	copy = room + at.gpa % ALIGNMENT;
	if (e->operand[operand].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		TRY(read_copy(e, &at, copy, bytes));
	TRY(native_run_copy(e, &c, copy, operand));
	return writes ? write_copy(e, &at, copy, bytes) : EMULATE_DONE;
}
