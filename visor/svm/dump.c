/* SPDX-License-Identifier: BSD-2-Clause */
/* What the log is told of a VMCB and its last exit (APM vol. 2, appendix C). */
#include "visor/cpu/x86.h"
#include "visor/host/log.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"

#define ULL(x) ((unsigned long long)(x))

const char *svm_exit_name(uint64_t code)
{
	static const struct {
		uint64_t code;
		const char *name;
	} names[] = {
		{SVM_EXIT_EXCEPTION + X86_PF, "page fault"},
		{SVM_EXIT_TASK_SWITCH, "task switch"},
		{SVM_EXIT_EXCEPTION + X86_MC, "machine check"},
		{SVM_EXIT_INTR, "physical interrupt"},
		{SVM_EXIT_NMI, "NMI"},
		{SVM_EXIT_INIT, "INIT"},
		{SVM_EXIT_VINTR, "virtual interrupt"},
		{SVM_EXIT_IDTR_READ, "SIDT"},
		{SVM_EXIT_GDTR_READ, "SGDT"},
		{SVM_EXIT_LDTR_READ, "SLDT"},
		{SVM_EXIT_TR_READ, "STR"},
		{SVM_EXIT_RDPMC, "RDPMC"},
		{SVM_EXIT_CPUID, "CPUID"},
		{SVM_EXIT_INVD, "INVD"},
		{SVM_EXIT_HLT, "HLT"},
		{SVM_EXIT_INVLPG, "INVLPG"},
		{SVM_EXIT_INVLPGA, "INVLPGA"},
		{SVM_EXIT_IO, "I/O"},
		{SVM_EXIT_MSR, "MSR"},
		{SVM_EXIT_FERR, "FERR freeze"},
		{SVM_EXIT_SHUTDOWN, "shutdown"},
		{SVM_EXIT_VMRUN, "VMRUN"},
		{SVM_EXIT_VMMCALL, "VMMCALL"},
		{SVM_EXIT_VMLOAD, "VMLOAD"},
		{SVM_EXIT_VMSAVE, "VMSAVE"},
		{SVM_EXIT_STGI, "STGI"},
		{SVM_EXIT_CLGI, "CLGI"},
		{SVM_EXIT_SKINIT, "SKINIT"},
		{SVM_EXIT_WBINVD, "WBINVD"},
		{SVM_EXIT_MONITOR, "MONITOR"},
		{SVM_EXIT_MWAIT, "MWAIT"},
		{SVM_EXIT_XSETBV, "XSETBV"},
		{SVM_EXIT_RDPRU, "RDPRU"},
		{SVM_EXIT_NPF, "nested page fault"},
	};

	if ((uint32_t)code == SVM_EXIT_INVALID)
		return "invalid guest state";
	if (code <= SVM_EXIT_CR_LAST)
		return code >= SVM_EXIT_CR_WRITE ? "CR write" : "CR read";
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].code == code)
			return names[i].name;
	}
	return "unknown";
}

void svm_dump(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;

	log_line("  exit %llx (%s) info1 %llx info2 %llx event %llx", ULL(b->exit_code), svm_exit_name(b->exit_code),
	         ULL(b->exit_info1), ULL(b->exit_info2), ULL(b->exit_interrupt_info));
	log_line("  vmcb %llx ncr3 %llx asid %u vintr %llx shadow %llx cr2 %llx dr6 %llx dr7 %llx", ULL((uintptr_t)b),
	         ULL(b->nested_cr3), b->asid, ULL(b->virtual_interrupt), ULL(b->interrupt_shadow), ULL(b->cr2),
	         ULL(b->dr6), ULL(b->dr7));
}
