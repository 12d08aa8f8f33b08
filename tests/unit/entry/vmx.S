/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX's entry code with a guest in place of VMLAUNCH and VMRESUME; an exit leaves RAX the guest's. */
#include "tests/unit/entry/guest.inc"

	.macro vmwrite value, field
	mov \value, host_stack(%rip)
	.endm
	.macro vmread field, value
	xor \value, \value
	.endm
	.macro vmlaunch
	guest_runs
	mov %rcx, %rax
	mov host_stack(%rip), %rsp
	jmp vmx_exit_entry
	.endm
	.macro vmresume
	vmlaunch
	.endm

#include "visor/vmx/entry.S"

	.text
	.globl vmx_exit
vmx_exit:
	keep_registers
	mov $1, %eax
	ret

	.bss
host_stack:
	.quad 0
