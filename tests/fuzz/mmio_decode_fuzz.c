/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction emulator on anything: instruction bytes, registers, paging
 * mode and page tables all come from the input. It must neither crash nor run
 * on for ever, keep to page-sized accesses, and leave the CPU as it was when
 * it does not carry the instruction out.
 */
#include <stdlib.h>
#include <string.h>

#include "visor/emulate/decode.h"
#include "visor/emulate/emulate.h"

#define MAX_ACCESSES 200000u

struct input {
	uint8_t mode;   /* bits 1:0 CPU mode, 2 paging, 3 LA57, 4 user, 5 gpa known */
	uint8_t length; /* of the instruction */
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	uint8_t flags[2];
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t gpa;
	uint64_t base[3];
	uint32_t limit, access;
	uint8_t tables[256]; /* repeated all over guest memory */
} __attribute__((packed));

static struct input in;
static unsigned accesses;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_access(uint64_t gpa, unsigned size)
{
	if ((size != 1 && size != 2 && size != 4 && size != 8) || gpa % 4096 + size > 4096 ||
	    ++accesses > MAX_ACCESSES)
		abort();
}

static bool read(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	(void)ctx;
	check_access(gpa, size);
	*value = 0;
	for (unsigned i = 0; i < size; i++)
		*value |= (uint64_t)in.tables[(gpa + i) % sizeof(in.tables)] << 8 * i;
	return gpa >> 52 == 0;
}

static bool write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	(void)ctx, (void)value;
	check_access(gpa, size);
	return gpa >> 52 == 0;
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	return read(ctx, gpa.v, size, value) ? VMMU_GUEST_READ_OK : VMMU_GUEST_READ_NONE;
}

/* The tables are the input: nothing is ever stored, so that a walk may find them read-only. */
static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	(void)ctx, (void)expected, (void)value;
	check_access(gpa.v, size);
	return VMMU_GUEST_READ_ONLY;
}

static struct x86_cpu_state make_cpu(void)
{
	static const uint32_t code[] = {0x9b, 0x9b, 0xc09b, 0xa09b};
	struct x86_cpu_state cpu = {
		.rflags = 2u | in.flags[0] | in.flags[1] << 8,
		.rip = 0x1000,
		.cr3 = 0x1000,
	};
	unsigned mode = in.mode & 3;

	memcpy(cpu.gpr, in.gpr, sizeof(cpu.gpr));
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu.segment[i] = (struct x86_segment){
			.base = in.base[i % 3],
			.limit = in.limit,
			.access = in.access,
		};
	cpu.segment[X86_CS].access = code[mode];
	cpu.cr0 = (mode ? X86_CR0_PE : 0) | (mode && (in.mode & 4) ? X86_CR0_PG | X86_CR0_WP : 0);
	cpu.cr4 = X86_CR4_PSE | (in.mode & 8 ? X86_CR4_LA57 : 0) | (mode == 3 || in.mode & 0x40 ? X86_CR4_PAE : 0);
	cpu.efer = X86_EFER_NXE | (mode == 3 ? X86_EFER_LME | X86_EFER_LMA : 0);
	cpu.cpl = in.mode & 16 ? 3 : 0;
	return cpu;
}

/* Jcc, JMP, CALL, near and far, RET, IRET, LOOP, JCXZ: RIP need not be that of the next instruction (SDM vol. 2, appendix A). */
static bool is_branch(const struct x86_cpu_state *cpu)
{
	bool has_rex = cpu->segment[X86_CS].access & X86_ACCESS_LONG;
	unsigned i = 0, op, next;

	while (i + 1 < EMULATE_MAX_INSTRUCTION &&
	       (memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", in.bytes[i], 11) ||
	        (has_rex && in.bytes[i] >> 4 == 4)))
		i++;
	op = in.bytes[i];
	next = i + 1 < EMULATE_MAX_INSTRUCTION ? in.bytes[i + 1] : 0;
	if (op == 0x0f)
		return next >> 4 == 8;
	if (op == 0xff)
		return (next >> 3 & 7) >= 2 && (next >> 3 & 7) <= 5;
	return op >> 4 == 7 || op == 0x9a || op == 0xea || (op >= 0xe0 && op <= 0xe3) || op == 0xe8 || op == 0xe9 || op == 0xeb || op == 0xc2 ||
	       op == 0xc3 || op == 0xca || op == 0xcb || op == 0xcf;
}

static void check_result(const struct x86_cpu_state *before, const struct x86_cpu_state *after,
                         enum emulate_result result, unsigned length, const struct emulate_info *info)
{
	switch (result) {
	case EMULATE_DONE:
		if (!length || (after->rip != before->rip + length && !is_branch(before)))
			abort();
		break;
	case EMULATE_AGAIN:
	case EMULATE_PAGE_FAULT:
	case EMULATE_GENERAL_PROTECTION:
	case EMULATE_EXCEPTION:
		if (after->rip != before->rip)
			abort();
		break;
	default:
		if (memcmp(before, after, sizeof(*before)))
			abort();
		if (result != EMULATE_NO_MEMORY && !info->reason[0])
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vmmu_host host = {.guest_read = guest_read, .guest_cmpxchg = guest_cmpxchg};
	struct vmmu_guest_mode paging = {.levels = 0};
	const struct guest_memory memory = {
		.read = read,
		.write = write,
		.host = &host,
		.mode = &paging,
		.cpu = {.maxphyaddr = 52, .pse36 = true, .page_1g = true},
	};
	struct x86_cpu_state cpu, before;
	struct emulate_info info;
	enum emulate_result result;
	unsigned count;

	memset(&in, 0, sizeof(in));
	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	accesses = 0;
	cpu = make_cpu();
	before = cpu;
	count = in.length % (EMULATE_MAX_INSTRUCTION + 1);
	result = emulate_instruction(&cpu, &memory, in.bytes, count, in.mode & 32 ? in.gpa >> 12 : UINT64_MAX, &info);
	check_result(&before, &cpu, result, instruction_length(&before, in.bytes, count), &info);
	return 0;
}
