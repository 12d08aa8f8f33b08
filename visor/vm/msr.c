/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers. Those that belong to the guest and cost the visor
 * nothing are not intercepted (msr_passed); everything else comes
 * here, and what is listed neither here nor in msr_list.c is a #GP. No access reaches the machine's own
 * register but for TSC_AUX, which the visor does not use.
 */
#include "visor/vm/msr.h"

#include "visor/cpu/x86.h"
#include "visor/host/log.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/msr_list.h"
#include "visor/vm/nested.h"
#include "visor/vm/speculation.h"
#include "visor/vm/vm.h"

const uint32_t msr_passed[] = {
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SFMASK,
	MSR_SYSENTER_CS,
	MSR_SYSENTER_ESP,
	MSR_SYSENTER_EIP,
};
const unsigned msr_passed_count = sizeof(msr_passed) / sizeof(msr_passed[0]);

#define EFER_ALLOWED (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE)
#define MTRR_DEFAULT_ENABLED_WB (1u << 11 | VMMU_MEMTYPE_WB)

/* SDM vol. 3, table 12-10: the types a PAT entry may hold. */
bool msr_pat_valid(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8) {
		uint8_t type = value & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool write_efer(struct vcpu *v, uint64_t value)
{
	uint64_t old = v->backend->read_efer(v), paging = v->backend->read_cr0(v) & X86_CR0_PG;
	uint64_t allowed = EFER_ALLOWED | (v->vm->options->nested ? v->backend->nested->efer_bits(v) : 0);
	struct vmmu_paging next;

	/* LME cannot change while paging is on; LMA is the CPU's own (SDM vol. 3, 2.2.1). */
	if (value & ~allowed || (paging && (old ^ value) & X86_EFER_LME))
		return false;
	v->backend->read_paging(v, &next);
	next.efer = (value & ~X86_EFER_LMA) | (old & X86_EFER_LMA);
	v->backend->write_paging(v, &next);
	return true;
}

static struct speculation guest_speculation(struct vcpu *v)
{
	return speculation_of(cpuid_for_guest(v, 7, 0).edx, cpuid_for_guest(v, 0x80000008, 0).ebx);
}

static bool msr_read_register(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	if (v->vm->options->nested && v->backend->nested->msr_read(v, msr, value))
		return true;
	if (platform_msr_owned(msr))
		return platform_msr_read(v->vm->platform, msr, value);
	switch (msr) {
	case MSR_TSC:
		*value = rdtsc() + v->backend->read_special(v, CPU_SPECIAL_TSC_OFFSET);
		return true;
	case MSR_EFER:
		*value = v->backend->read_efer(v);
		return true;
	case MSR_PAT:
		*value = v->backend->read_special(v, CPU_SPECIAL_PAT);
		return true;
	case MSR_TSC_AUX:
		if (!(cpuid(0x80000001, 0).edx & 1u << 27))
			return false;
		*value = rdmsr(MSR_TSC_AUX);
		return true;
	case MSR_SPEC_CTRL:
		*value = v->spec_ctrl;
		return guest_speculation(v).spec_ctrl;
	case MSR_ARCH_CAPABILITIES:
		if (!guest_speculation(v).capabilities)
			return false;
		*value = rdmsr(MSR_ARCH_CAPABILITIES) & ARCH_FOR_GUESTS;
		return true;
	case MSR_DEBUGCTL:
	case MSR_MTRRCAP: /* no variable and no fixed ranges: the default type covers all */
		*value = 0;
		return true;
	case MSR_MTRR_DEF_TYPE:
		*value = MTRR_DEFAULT_ENABLED_WB;
		return true;
	default:
		return msr_list_read(&v->vm->msrs, cpuid_shows_intel(v), msr, value) == MSR_LIST_DONE;
	}
}

static bool msr_write_register(struct vcpu *v, uint32_t msr, uint64_t value)
{
	/* No CPU has more address bits (11.4.4). */
	if (msr == MSR_APIC_BASE && value >> v->vm->bus.cpu.maxphyaddr)
		return false;
	if (v->vm->options->nested && v->backend->nested->msr_write(v, msr, value))
		return true;
	if (platform_msr_owned(msr))
		return platform_msr_write(v->vm->platform, msr, value);
	switch (msr) {
	case MSR_TSC:
		/* The register is L1's; L2 goes on to see what L1 adds to it. */
		v->backend->write_special(v, CPU_SPECIAL_TSC_OFFSET, value - rdtsc() + v->nested.tsc_offset);
		return true;
	case MSR_EFER:
		return write_efer(v, value);
	case MSR_PAT:
		if (!msr_pat_valid(value))
			return false;
		v->backend->write_special(v, CPU_SPECIAL_PAT, value);
		return true;
	case MSR_TSC_AUX:
		if (value >> 32 || !(cpuid(0x80000001, 0).edx & 1u << 27))
			return false;
		wrmsr(MSR_TSC_AUX, value);
		return true;
	case MSR_SPEC_CTRL:
		if (!guest_speculation(v).spec_ctrl || value & ~guest_speculation(v).spec_ctrl)
			return false;
		v->spec_ctrl = value;
		return true;
	case MSR_PRED_CMD: /* write-only, and so is the next */
		if (!guest_speculation(v).ibpb || value & ~1ull)
			return false;
		wrmsr(MSR_PRED_CMD, value);
		return true;
	case MSR_FLUSH_CMD:
		if (!guest_speculation(v).flush_l1d || value & ~1ull)
			return false;
		wrmsr(MSR_FLUSH_CMD, value);
		return true;
	case MSR_DEBUGCTL:
		return value == 0; /* no branch records */
	case MSR_MTRR_DEF_TYPE:
		return (value & 0xff) <= 7; /* taken and ignored: all guest memory is RAM, write-back */
	default:
		return msr_list_write(&v->vm->msrs, cpuid_shows_intel(v), msr, value) == MSR_LIST_DONE;
	}
}

/* The first refusal of each register is told: a kernel that dies of one leaves no better trace. */
static void note_refusal(struct vm *vm, uint32_t msr, bool write)
{
	struct msr_refusals *r = &vm->refusals;
	unsigned seen = 0;

	while (seen < r->count && (r->msr[seen] != msr || r->write[seen] != write))
		seen++;
	if (seen < r->count || seen == MSR_REFUSALS)
		return;
	r->msr[seen] = msr;
	r->write[seen] = write;
	r->count++;
	log_line("visor: #GP to the guest: %s of MSR %x refused%s", write ? "WRMSR" : "RDMSR", msr,
	         r->count == MSR_REFUSALS ? "; further ones are not told" : "");
}

bool msr_read_quickly(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	if (msr != MSR_DEBUGCTL || ++v->quick_exits % QUICK_EXITS_MAX == 0)
		return false;
	*value = 0;
	v->vm->exits[EXIT_MSR_READ]++;
	return true;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	bool done = msr_read_register(v, msr, value);

	if (!done)
		note_refusal(v->vm, msr, false);
	return done;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	bool done = msr_write_register(v, msr, value);

	if (!done)
		note_refusal(v->vm, msr, true);
	return done;
}
