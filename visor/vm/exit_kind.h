/* SPDX-License-Identifier: BSD-2-Clause */
/* What exits are counted under, and their names in the summary (docs/visor.md). */
#ifndef VISOR_VM_EXIT_KIND_H
#define VISOR_VM_EXIT_KIND_H

enum exit_kind {
	EXIT_MEMORY_FAULT,
	EXIT_MISCONFIGURATION,
	EXIT_CR3_WRITE,
	EXIT_CR3_READ,
	EXIT_INVLPG,
	EXIT_CR_ACCESS,
	EXIT_CR8_ACCESS,
	EXIT_DR_ACCESS,
	EXIT_IO,
	EXIT_CPUID,
	EXIT_MSR_READ,
	EXIT_MSR_WRITE,
	EXIT_HLT,
	EXIT_EXTERNAL_INTERRUPT,
	EXIT_INTERRUPT_WINDOW,
	EXIT_NMI_WINDOW,
	EXIT_NMI,
	EXIT_EXCEPTION,
	EXIT_INIT,
	EXIT_TASK_SWITCH,
	EXIT_XSETBV,
	EXIT_CACHE,     /* INVD, WBINVD */
	EXIT_UNDEFINED, /* an instruction that the guest's CPU does not have */
	EXIT_HYPERCALL, /* VMCALL, VMMCALL */
	EXIT_RDPMC,
	EXIT_TRIPLE_FAULT,
	EXIT_NESTED_ENTRY,       /* VMRUN of L1's */
	EXIT_NESTED_EXIT,        /* L2 does what L1 intercepts; memory faults are counted as such */
	EXIT_NESTED_INSTRUCTION, /* another instruction of L1's for its guest */
	EXIT_OTHER,
	EXIT_KIND_COUNT
};

#endif
