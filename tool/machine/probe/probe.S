/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A multiboot image that looks at its CPU and leaves through the debug-exit
 * port: has it SVM with nested paging, or VMX with EPT and unrestricted guest?
 */
#include "probe.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define DEBUG_EXIT_PORT 0xf4
#define IA32_VMX_PROCBASED_CTLS 0x482
#define IA32_VMX_PROCBASED_CTLS2 0x48b

	.text
	.align 4
	.long MULTIBOOT_MAGIC
	.long 0
	.long -MULTIBOOT_MAGIC

	.globl _start
_start:
	/* SVM: CPUID 80000001H:ECX[2]; nested paging: CPUID 8000000AH:EDX[0] (APM vol. 2, 15.4, 15.25.2). */
	mov $0x80000000, %eax
	cpuid
	cmp $0x8000000a, %eax
	jb no_svm
	mov $0x80000001, %eax
	cpuid
	bt $2, %ecx
	jnc no_svm
	mov $0x8000000a, %eax
	cpuid
	bt $0, %edx
	jnc no_svm
	mov $PROBE_NPT, %al
	jmp leave_vm
no_svm:
	/* VMX: CPUID 1:ECX[5]; "enable EPT" and "unrestricted guest" may be 1 (SDM vol. 3, A.3.3). */
	mov $1, %eax
	cpuid
	bt $5, %ecx
	jnc nothing
	mov $IA32_VMX_PROCBASED_CTLS, %ecx
	rdmsr
	bt $31, %edx
	jnc nothing
	mov $IA32_VMX_PROCBASED_CTLS2, %ecx
	rdmsr
	and $0x82, %edx
	cmp $0x82, %edx
	jne nothing
	mov $PROBE_EPT, %al
	jmp leave_vm
nothing:
	mov $PROBE_NOTHING, %al
leave_vm:
	out %al, $DEBUG_EXIT_PORT
stop:
	hlt
	jmp stop
