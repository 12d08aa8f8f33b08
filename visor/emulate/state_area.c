/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FXSAVE, FXRSTOR and the XSAVE family (SDM vol. 1, 10.5 and chapter 13) on memory that
 * the CPU cannot reach: it carries them out on an area of the visor's, which the guest's
 * vector and x87 registers are saved to and restored from.
 *
 * How much is accessed depends on control registers, on the mask in EDX:EAX and on what
 * the registers hold. Which bytes a save has written is found by saving twice, over zeros
 * and over ones: what is the same in both was written. A restore reads what its mask and the
 * area's header name.
 */
#include "visor/emulate/emulation.h"

#include "visor/cpu/native.h"
#include "visor/cpu/x86.h"
#include "visor/lib/string.h"

#define LEGACY_BYTES 512u
#define HEADER_BYTES 64u
#define XSTATE_BV LEGACY_BYTES /* offsets in the area */
#define XCOMP_BV (LEGACY_BYTES + 8)
#define COMPACTED (1ull << 63)
#define COMPONENTS 10u /* x87, SSE, AVX, MPX, AVX-512, PKRU: numbers 0 to 9 */
#define AREA_BYTES 4096u

/* Of the legacy area: x87, eight XMM registers, sixteen; nothing accesses what is behind them. */
#define X87_END 160u
#define XMM_8_END 288u
#define XMM_16_END 416u

#define CR4_OSFXSR (1ull << 9)
#define NEAR_RETURN 0xc3
#define REX_W 0x48
#define AT_RSI 6 /* ModRM, with its register field 0 */

enum { VECTOR_GP = 13 };

static uint8_t areas[2][AREA_BYTES] __attribute__((aligned(64))); /* one vCPU, one instruction at a time */

/* How the manual numbers them: 0F AE or 0F C7, and a digit in ModRM. */
static const struct kind {
	ZydisMnemonic mnemonic;
	uint8_t opcode, digit;
	bool wide, saves, extended;
} kinds[] = {
	{ZYDIS_MNEMONIC_FXSAVE, 0xae, 0, false, true, false},
	{ZYDIS_MNEMONIC_FXSAVE64, 0xae, 0, true, true, false},
	{ZYDIS_MNEMONIC_FXRSTOR, 0xae, 1, false, false, false},
	{ZYDIS_MNEMONIC_FXRSTOR64, 0xae, 1, true, false, false},
	{ZYDIS_MNEMONIC_XSAVE, 0xae, 4, false, true, true},
	{ZYDIS_MNEMONIC_XSAVE64, 0xae, 4, true, true, true},
	{ZYDIS_MNEMONIC_XRSTOR, 0xae, 5, false, false, true},
	{ZYDIS_MNEMONIC_XRSTOR64, 0xae, 5, true, false, true},
	{ZYDIS_MNEMONIC_XSAVEOPT, 0xae, 6, false, true, true},
	{ZYDIS_MNEMONIC_XSAVEOPT64, 0xae, 6, true, true, true},
	{ZYDIS_MNEMONIC_XSAVEC, 0xc7, 4, false, true, true},
	{ZYDIS_MNEMONIC_XSAVEC64, 0xc7, 4, true, true, true},
};

static const struct kind *area_kind_of(ZydisMnemonic mnemonic)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].mnemonic == mnemonic)
			return &kinds[i];
	}
	return NULL;
}

/* ---- the guest's memory ------------------------------------------------------------------- */

/* `bytes` from `offset` of the operand on, in accesses of 8 bytes and less. */
static enum emulate_result copy_part(struct emulation *e, uint8_t *area, unsigned offset, unsigned bytes, bool write)
{
	for (unsigned size; bytes; offset += size, bytes -= size) {
		uint64_t value = 0, at = (effective_address(e, 0) + offset) & value_mask(address_size(e));
		struct location where;

		size = offset % 8 == 0 && bytes >= 8 ? 8 : 1;
		TRY(locate(e, operand_segment(e, 0), at, size, write, false, &where));
		if (write)
			memcpy(&value, area + offset, size);
		TRY(write ? write_location(e, &where, size, value) : read_location(e, &where, size, &value));
		if (!write)
			memcpy(area + offset, &value, size);
	}
	return EMULATE_DONE;
}

static enum emulate_result read_area(struct emulation *e, uint8_t *area, unsigned offset, unsigned bytes)
{
	return copy_part(e, area, offset, bytes, false);
}

static enum emulate_result check_alignment(struct emulation *e, const struct kind *k)
{
	struct location at;

	TRY(locate(e, operand_segment(e, 0), effective_address(e, 0), 1, k->saves, false, &at));
	return at.gpa % (k->extended ? 64 : 16) ? EMULATE_GENERAL_PROTECTION : EMULATE_DONE;
}

/* ---- the CPU's part ----------------------------------------------------------------------- */

/* The same instruction, its operand at RSI. */
static enum emulate_result run_on(struct emulation *e, const struct kind *k, uint8_t *area)
{
	uint8_t code[5];
	unsigned n = 0;
	struct native_registers r;
	uint64_t where;
	int vector;

	if (k->wide)
		code[n++] = REX_W;
	code[n++] = 0x0f;
	code[n++] = k->opcode;
	code[n++] = (uint8_t)(k->digit << 3 | AT_RSI);
	code[n++] = NEAR_RETURN;
	memcpy(r.gpr, e->cpu->gpr, sizeof(r.gpr));
	r.gpr[X86_RSI] = (uintptr_t)area;
	r.rflags = 0;
	vector = e->memory->execute(e->memory->ctx, code, n, &r, &where);
	if (vector == NATIVE_DONE)
		return EMULATE_DONE;
	e->info->vector = (uint8_t)vector;
	e->info->has_error = vector == VECTOR_GP;
	e->info->error_code = 0;
	return EMULATE_EXCEPTION;
}

/* What of the legacy area FXSAVE and FXRSTOR access in the guest's mode. */
static unsigned legacy_end(const struct emulation *e)
{
	if (!(e->cpu->cr4 & CR4_OSFXSR))
		return X87_END;
	return in_long_mode(e) ? XMM_16_END : XMM_8_END;
}

static enum emulate_result save_to(struct emulation *e, const struct kind *k)
{
	unsigned end = k->extended ? AREA_BYTES : legacy_end(e), from = 0;

	memset(areas[0], 0, AREA_BYTES);
	memset(areas[1], 0xff, AREA_BYTES);
	if (k->extended) { /* bits of components that the mask leaves out stay as they are */
		TRY(read_area(e, areas[0], XSTATE_BV, 8));
		memcpy(areas[1] + XSTATE_BV, areas[0] + XSTATE_BV, 8);
	}
	TRY(run_on(e, k, areas[0]));
	TRY(run_on(e, k, areas[1]));
	while (from < end) {
		unsigned to = from;

		while (to < end && areas[0][to] == areas[1][to])
			to++;
		TRY(copy_part(e, areas[0], from, to - from, true));
		from = to == from ? from + 1 : to;
	}
	return EMULATE_DONE;
}

/* What the mask asks for and the header says is there (13.8, 13.4.2, 13.4.3). */
static enum emulate_result read_components(struct emulation *e, uint64_t wanted)
{
	uint64_t there, layout;
	unsigned offset = LEGACY_BYTES + HEADER_BYTES;

	TRY(read_area(e, areas[0], LEGACY_BYTES, HEADER_BYTES));
	memcpy(&there, areas[0] + XSTATE_BV, 8);
	memcpy(&layout, areas[0] + XCOMP_BV, 8);
	if (wanted & 7)
		TRY(read_area(e, areas[0], 0, XMM_16_END));
	for (unsigned i = 2; i < COMPONENTS; i++) {
		struct cpuid part;

		if (!((layout & COMPACTED ? layout : wanted) >> i & 1))
			continue;
		part = cpuid(0xd, i);
		if (!(layout & COMPACTED))
			offset = part.ebx;
		else if (part.ecx & 1u << 1)
			offset = (offset + 63) & ~63u;
		if (offset + part.eax > AREA_BYTES)
			break; /* a header that the CPU will refuse */
		if (wanted & there & 1ull << i)
			TRY(read_area(e, areas[0], offset, part.eax));
		offset += part.eax;
	}
	return EMULATE_DONE;
}

/* FXRSTOR leaves registers alone that its mode does not have: they are read back as they are. */
static enum emulate_result read_legacy(struct emulation *e, const struct kind *k)
{
	const struct kind *save = area_kind_of(k->wide ? ZYDIS_MNEMONIC_FXSAVE64 : ZYDIS_MNEMONIC_FXSAVE);

	TRY(run_on(e, save, areas[0]));
	return read_area(e, areas[0], 0, legacy_end(e));
}

static enum emulate_result restore_from(struct emulation *e, const struct kind *k, uint64_t wanted)
{
	memset(areas[0], 0, AREA_BYTES);
	TRY(k->extended ? read_components(e, wanted) : read_legacy(e, k));
	return run_on(e, k, areas[0]);
}

/* The registers may be used where the guest's CPU has come to the access: it had found nothing against it. */
enum emulate_result emulate_state_area(struct emulation *e)
{
	const struct kind *k = area_kind_of(e->instruction->mnemonic);
	uint64_t wanted = 0;

	if (!e->memory->execute || e->memory->ram_only || e->hint == UINT64_MAX)
		return EMULATE_UNSUPPORTED;
	if (k->extended) {
		wanted = xgetbv0() & ((uint32_t)e->cpu->gpr[X86_RAX] | e->cpu->gpr[X86_RDX] << 32);
		/* 32-bit code has half of the vector registers. */
		if (!in_long_mode(e) || wanted >> COMPONENTS)
			return EMULATE_UNSUPPORTED;
	}
	TRY(check_alignment(e, k));
	return k->saves ? save_to(e, k) : restore_from(e, k, wanted);
}
