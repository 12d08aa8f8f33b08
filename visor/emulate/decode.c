/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/decode.h"

#include "visor/emulate/emulation.h"
#include "visor/emulate/plain_access.h"
#include "visor/lib/string.h"

#define SETS 64u /* a power of two */
#define WAYS 2u  /* instructions of one loop that meet in a set do not drive each other out */

/* Up to 15 bytes of code, as two words; what is not there is zero. */
struct code {
	uint64_t low, high;
};

static struct set {
	struct kept {
		struct code code, mask; /* mask: the bytes that are the instruction's; 0 = nothing kept */
		ZydisMachineMode mode;
		struct decoded decoded;
	} way[WAYS];
	unsigned newest;
} sets[SETS];

static uint64_t misses;

uint64_t decode_misses(void)
{
	return misses;
}

/* SDM vol. 3, 3.4.5: the code segment's L and D, and before them EFER.LMA and CR0.PE. */
static ZydisMachineMode decode_mode_of(const struct x86_cpu_state *cpu)
{
	uint32_t cs = cpu->segment[X86_CS].access;

	if ((cpu->efer & X86_EFER_LMA) && (cs & X86_ACCESS_LONG))
		return ZYDIS_MACHINE_MODE_LONG_64;
	if (cs & X86_ACCESS_BIG)
		return ZYDIS_MACHINE_MODE_LEGACY_32;
	return cpu->cr0 & X86_CR0_PE ? ZYDIS_MACHINE_MODE_LEGACY_16 : ZYDIS_MACHINE_MODE_REAL_16;
}

static ZydisDecoder decoder_for(ZydisMachineMode mode)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, mode,
	                 mode == ZYDIS_MACHINE_MODE_LONG_64     ? ZYDIS_STACK_WIDTH_64
	                 : mode == ZYDIS_MACHINE_MODE_LEGACY_32 ? ZYDIS_STACK_WIDTH_32
	                                                        : ZYDIS_STACK_WIDTH_16);
	return decoder;
}

static struct code code_of(const uint8_t *bytes, unsigned count)
{
	struct code code = {0};

	if (count == EMULATE_MAX_INSTRUCTION) {
		memcpy(&code.low, bytes, 8);
		memcpy(&code.high, bytes + EMULATE_MAX_INSTRUCTION - 8, 8);
		code.high >>= 8; /* the eighth byte is in the other word */
		return code;
	}
	for (unsigned i = 0; i < count; i++)
		*(i < 8 ? &code.low : &code.high) |= (uint64_t)bytes[i] << i % 8 * 8;
	return code;
}

static struct code mask_of(unsigned length)
{
	return (struct code){
		.low = length >= 8 ? UINT64_MAX : (1ull << 8 * length) - 1,
		.high = length > 8 ? (1ull << 8 * (length - 8)) - 1 : 0,
	};
}

/* What an instruction is follows from its own bytes alone: those behind it do not count. */
static bool is_same(const struct kept *k, ZydisMachineMode mode, struct code code, unsigned count)
{
	return k->mask.low && k->mode == mode && !((k->code.low ^ code.low) & k->mask.low) &&
	       !((k->code.high ^ code.high) & k->mask.high) && k->decoded.instruction.length <= count;
}

/* By what stands at one place, which is the same each time: those that follow may take part. */
static struct set *set_of(struct code code)
{
	return &sets[(code.low * 0x9e3779b97f4a7c15ull) >> 58 & (SETS - 1)];
}

static struct kept *decode_find(struct set *set, ZydisMachineMode mode, struct code code, unsigned count)
{
	for (unsigned i = 0; i < WAYS; i++) {
		if (is_same(&set->way[i], mode, code, count)) {
			set->newest = i;
			return &set->way[i];
		}
	}
	return NULL;
}

static enum emulate_result decode_anew(struct kept *k, ZydisMachineMode mode, const uint8_t *bytes, unsigned count)
{
	ZydisDecoder decoder = decoder_for(mode);
	struct decoded *d = &k->decoded;
	ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, count, &d->instruction, d->operand);

	misses++;
	k->mask = (struct code){0};
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return EMULATE_TRUNCATED;
	if (!ZYAN_SUCCESS(status))
		return EMULATE_INVALID;
	k->mask = mask_of(d->instruction.length);
	k->mode = mode;
	d->handler = find_handler(d);
	d->plain = plain_access_of(d);
	return EMULATE_DONE;
}

static enum emulate_result decode_as(ZydisMachineMode mode, const uint8_t *bytes, unsigned count,
                                     const struct decoded **out)
{
	struct code code = code_of(bytes, count);
	struct set *set = set_of(code);
	struct kept *k = decode_find(set, mode, code, count);
	enum emulate_result result = EMULATE_DONE;

	if (!k) {
		set->newest = (set->newest + 1) % WAYS;
		k = &set->way[set->newest];
		result = decode_anew(k, mode, bytes, count);
		k->code = code;
	}
	*out = &k->decoded;
	return result;
}

enum emulate_result decode(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count,
                           const struct decoded **out)
{
	return decode_as(decode_mode_of(cpu), bytes, count < EMULATE_MAX_INSTRUCTION ? count : EMULATE_MAX_INSTRUCTION,
	                 out);
}

const struct decoded *decode_64bit_code(const uint8_t *bytes)
{
	const struct decoded *d;

	return decode_as(ZYDIS_MACHINE_MODE_LONG_64, bytes, EMULATE_MAX_INSTRUCTION, &d) == EMULATE_DONE ? d : NULL;
}

bool decode_64bit(const uint8_t *bytes, unsigned count, struct decoded *out)
{
	ZydisDecoder decoder = decoder_for(ZYDIS_MACHINE_MODE_LONG_64);

	out->handler = NULL;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, count, &out->instruction, out->operand));
}

unsigned instruction_length(const struct x86_cpu_state *cpu, const uint8_t *bytes, unsigned count)
{
	const struct decoded *d;

	return decode(cpu, bytes, count, &d) == EMULATE_DONE ? d->instruction.length : 0;
}
