/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers. Those that belong to the guest and cost the visor
 * nothing are not intercepted (vmx/exit.c, svm/exit.c); everything else comes
 * here, and what is not listed is a #GP. No access reaches the machine's own
 * register but for TSC_AUX, which the visor does not use.
 */
#include "visor/vm/msr.h"

#include "visor/cpu/x86.h"
#include "visor/vm/vm.h"

#define EFER_ALLOWED (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE)
#define MTRR_DEFAULT_ENABLED_WB (1u << 11 | VMMU_MEMTYPE_WB)
/* Fast strings on; no branch trace, no PEBS (SDM vol. 4, IA32_MISC_ENABLE). */
#define MISC_ENABLE_VALUE (1u << 0 | 1u << 11 | 1u << 12)

/* SDM vol. 3, table 12-10: the types a PAT entry may hold. */
static bool pat_valid(uint64_t value)
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
	struct vmmu_paging next;

	/* LME cannot change while paging is on; LMA is the CPU's own (SDM vol. 3, 2.2.1). */
	if (value & ~EFER_ALLOWED || (paging && (old ^ value) & X86_EFER_LME))
		return false;
	v->backend->read_paging(v, &next);
	next.efer = (value & ~X86_EFER_LMA) | (old & X86_EFER_LMA);
	v->backend->write_paging(v, &next);
	return true;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
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
	case MSR_DEBUGCTL:
	case MSR_MTRRCAP:  /* no variable and no fixed ranges: the default type covers all */
	case MSR_BIOS_SIGN_ID:
	case MSR_MCG_CAP:
	case MSR_MCG_STATUS:
		*value = 0;
		return true;
	case MSR_MTRR_DEF_TYPE:
		*value = MTRR_DEFAULT_ENABLED_WB;
		return true;
	case MSR_MISC_ENABLE:
		*value = MISC_ENABLE_VALUE;
		return v->backend->intel;
	case MSR_NB_CFG:
		*value = 0;
		return !v->backend->intel;
	default:
		return false;
	}
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if (platform_msr_owned(msr))
		return platform_msr_write(v->vm->platform, msr, value);
	switch (msr) {
	case MSR_TSC:
		v->backend->write_special(v, CPU_SPECIAL_TSC_OFFSET, value - rdtsc());
		return true;
	case MSR_EFER:
		return write_efer(v, value);
	case MSR_PAT:
		if (!pat_valid(value))
			return false;
		v->backend->write_special(v, CPU_SPECIAL_PAT, value);
		return true;
	case MSR_TSC_AUX:
		if (value >> 32 || !(cpuid(0x80000001, 0).edx & 1u << 27))
			return false;
		wrmsr(MSR_TSC_AUX, value);
		return true;
	case MSR_DEBUGCTL:
		return value == 0; /* no branch records */
	case MSR_BIOS_SIGN_ID:
	case MSR_MCG_STATUS:
		return true; /* written with 0 before it is read */
	case MSR_MTRR_DEF_TYPE:
		return (value & 0xff) <= 7; /* taken and ignored: all guest memory is RAM, write-back */
	case MSR_MISC_ENABLE:
		return v->backend->intel;
	case MSR_NB_CFG: /* AMD: extended PCI configuration, where there is no PCI; Linux switches it on */
		return !v->backend->intel;
	default:
		return false;
	}
}
