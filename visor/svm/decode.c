/* SPDX-License-Identifier: BSD-2-Clause */
/* What the exiting instruction itself must say, on CPUs without decode assists and next-RIP save (APM vol. 2, 15.7.1, 15.8.4). */
#include "visor/cpu/x86.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/control.h"
#include "visor/exit/exit.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/code.h"
#include "visor/vm/vm.h"

/* The usual form, without prefixes, of the instructions that exit. */
static const struct plain_instruction {
	uint16_t exit_code;
	uint8_t length, bytes[3];
} plain_instructions[] = {
	{SVM_EXIT_CPUID, 2, {0x0f, 0xa2}},
	{SVM_EXIT_MSR, 2, {0x0f, 0x30}},
	{SVM_EXIT_MSR, 2, {0x0f, 0x32}},
	{SVM_EXIT_HLT, 1, {0xf4}},
	{SVM_EXIT_WBINVD, 2, {0x0f, 0x09}},
	{SVM_EXIT_INVD, 2, {0x0f, 0x08}},
	{SVM_EXIT_INVLPGA, 3, {0x0f, 0x01, 0xdf}},
};

#define SVM_OPCODE 0xd8010fu /* VMRUN's, from its first byte on */

/*
 * 0F 01 D8 to DD: VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI and CLGI, as their exit codes are in order (APM
 * vol. 3). At the end of a page they are read as all others are.
 */
static inline unsigned length_of_svm_instruction(uint64_t exit_code, const uint8_t *bytes, unsigned count)
{
	uint32_t word;

	if (count < sizeof(word))
		return 0;
	word = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
	return (word & 0xffffff) == SVM_OPCODE + ((uint32_t)(exit_code - SVM_EXIT_VMRUN) << 16) ? 3 : 0;
}

static inline unsigned length_of_plain(uint64_t exit_code, const uint8_t *bytes, unsigned count)
{
	if (exit_code >= SVM_EXIT_VMRUN && exit_code <= SVM_EXIT_CLGI)
		return length_of_svm_instruction(exit_code, bytes, count);
	for (unsigned i = 0; i < sizeof(plain_instructions) / sizeof(plain_instructions[0]); i++) {
		const struct plain_instruction *p = &plain_instructions[i];

		/* Byte by byte: a call of memcmp takes as long as all else here. */
		if (p->exit_code == exit_code && count >= p->length && bytes[0] == p->bytes[0] &&
		    (p->length < 2 || bytes[1] == p->bytes[1]) && (p->length < 3 || bytes[2] == p->bytes[2]))
			return p->length;
	}
	return 0;
}

/* Of 64-bit code: code_just_fetched for the guest as it stands. */
static inline const uint8_t *just_fetched(struct vcpu *v, uint64_t gva)
{
	if (unlikely(v->nested.l2)) /* its tables lie where L1's say */
		return NULL;
	if (unlikely(svm_is_shadow(v)))
		return code_just_fetched(v->vm, v->paging.cr3, v->paging.cr4 & X86_CR4_LA57, gva);
	return code_just_fetched(v->vm, v->svm.vmcb->cr3, v->svm.vmcb->cr4 & X86_CR4_LA57, gva);
}

unsigned svm_quick_length(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	const uint8_t *bytes;

	if (svm_cpu.has_next_rip && b->next_rip)
		return (unsigned)(b->next_rip - b->rip);
	if (!svm_is_64bit_code(v->svm.vmcb))
		return 0;
	bytes = just_fetched(v, b->rip);
	return bytes ? length_of_plain(b->exit_code, bytes, (unsigned)(VMMU_PAGE_SIZE - b->rip % VMMU_PAGE_SIZE)) : 0;
}

/* Without next-RIP save: look at what is at CS:RIP, and decode it when it is nothing usual. */
unsigned svm_instruction_length(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	struct x86_cpu_state s;
	unsigned length, count;

	if (b->exit_code == SVM_EXIT_IO)
		return (unsigned)(b->exit_info2 - b->rip); /* 15.10.2: EXITINFO2 is the next RIP */
	length = svm_quick_length(v);
	if (length)
		return length;
	svm_load_state(v, &s);
	count = guest_fetch(&s, &v->vm->bus, bytes, sizeof(bytes));
	length = length_of_plain(b->exit_code, bytes, count);
	return length ? length : instruction_length(&s, bytes, count);
}

static unsigned svm_fetch(struct vcpu *v, uint8_t *bytes)
{
	struct x86_cpu_state s = {0};

	svm_load_state(v, &s);
	return guest_fetch(&s, &v->vm->bus, bytes, EMULATE_MAX_INSTRUCTION);
}

/* What INT n, INT3 or INTO at CS:RIP raises; 0: something else is there. */
uint32_t svm_software_interrupt(struct vcpu *v)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes);

	if (count >= 1 && (bytes[0] == 0xcc || bytes[0] == 0xce))
		return EVENT_VALID | EVENT_SOFTWARE_EXCEPTION | (bytes[0] == 0xcc ? 3 : 4);
	return count >= 2 && bytes[0] == 0xcd ? EVENT_VALID | EVENT_SOFTWARE_INTERRUPT | bytes[1] : 0;
}

/*
 * What the prefixes of INS or OUTS say: the segment (DS without one) and the
 * address size. Decode assists are not on every CPU, and QEMU leaves the
 * address size out of EXITINFO1.
 */
void svm_read_string_prefixes(struct vcpu *v, struct io_access *io)
{
	const struct vmcb *b = v->svm.vmcb;
	bool big = b->cs.attributes & X86_ACCESS_BIG >> 4, other = false;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes);

	io->segment = X86_DS;
	for (unsigned i = 0; i < count && (bytes[i] & 0xfc) != 0x6c; i++) {
		switch (bytes[i]) {
		case 0x26: io->segment = X86_ES; break;
		case 0x2e: io->segment = X86_CS; break;
		case 0x36: io->segment = X86_SS; break;
		case 0x3e: io->segment = X86_DS; break;
		case 0x64: io->segment = X86_FS; break;
		case 0x65: io->segment = X86_GS; break;
		case 0x67: other = true; break;
		}
	}
	if (svm_is_64bit_code(v->svm.vmcb))
		io->address_size = other ? 4 : 8;
	else
		io->address_size = big != other ? 4 : 2;
}

/*
 * What is at CS:RIP, for CPUs without decode assists: prefixes (REX last), then
 * 0F 20 or 22 with the general register in ModRM.rm, 0F 06, or something else
 * that is left to the emulator. False: it cannot be read.
 */
bool svm_decode_cr_access(struct vcpu *v, bool write, unsigned cr, struct cr_access *out)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes), at = 0, high = 0;

	for (; at < count && bytes[at] != 0x0f; at++)
		high = (bytes[at] & 0xf1) == 0x41 ? 8 : 0;
	if (at + 2 > count)
		return false;
	*out = (struct cr_access){.operation = CR_OTHER, .cr = (uint8_t)cr, .length = (uint8_t)(at + 3)};
	if (bytes[at + 1] == 0x06) {
		out->operation = CR_CLTS;
		out->length--;
	} else if ((bytes[at + 1] & 0xfd) == 0x20) {
		if (at + 2 == count)
			return false;
		out->operation = write ? CR_WRITE : CR_READ;
		out->gpr = (uint8_t)((bytes[at + 2] & 7u) | high);
	}
	return true;
}

uint64_t svm_decode_invlpg(struct vcpu *v)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes);
	struct x86_cpu_state s = v->state;
	uint64_t gva = 0;

	svm_load_state(v, &s);
	instruction_address(&s, bytes, count, &gva);
	return gva;
}

unsigned svm_decode_dr_write(struct vcpu *v, unsigned *gpr)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes), at = 0, high = 0;

	for (; at < count && bytes[at] != 0x0f; at++)
		high = (bytes[at] & 0xf1) == 0x41 ? 8 : 0;
	if (at + 3 > count || bytes[at + 1] != 0x23)
		return 0;
	*gpr = (bytes[at + 2] & 7u) | high;
	return at + 3;
}

unsigned svm_address_size(struct vcpu *v)
{
	bool wide = svm_is_64bit_code(v->svm.vmcb), big = v->svm.vmcb->cs.attributes & X86_ACCESS_BIG >> 4, other = false;
	const uint8_t *quick = wide ? just_fetched(v, v->svm.vmcb->rip) : NULL;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = quick && *quick == 0x0f ? 0 : svm_fetch(v, bytes);

	for (unsigned at = 0; at < count && bytes[at] != 0x0f; at++)
		other |= bytes[at] == 0x67;
	if (wide)
		return other ? 4 : 8;
	return big != other ? 4 : 2;
}

bool svm_decode_cr0_write(struct vcpu *v, uint64_t *value)
{
	uint64_t cr0 = svm_read_cr0(v), msw = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = svm_fetch(v, bytes), at = 0, high = 0;

	for (; at < count && bytes[at] != 0x0f; at++)
		high = (bytes[at] & 0xf1) == 0x41 ? 8 : 0;
	if (at + 3 > count)
		return false;
	*value = v->state.gpr[(bytes[at + 2] & 7u) | high];
	if (bytes[at + 1] == 0x22)
		return true;
	/* LMSW sets PE, and does not clear it (APM vol. 3). */
	*value = (cr0 & ~(msw & ~X86_CR0_PE)) | (*value & msw);
	return bytes[at + 1] == 0x01 && (bytes[at + 2] & 0xf8) == 0xf0;
}
