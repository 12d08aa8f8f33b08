/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX as one of the visor's back ends: with EPT, and with shadow paging. */
#include "visor/exit/shadow.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define VMX_COMMON \
	.intel = true, \
	.present = vmx_present, \
	.allows = vmx_allows, \
	.leak = vmx_leak, \
	.vcpu_init = vmx_vcpu_init, \
	.vcpu_free = vmx_vcpu_free, \
	.run = vmx_run, \
	.read_state = vmx_read_state, \
	.write_state = vmx_write_state, \
	.write_registers = vmx_commit, \
	.read_special = vmx_read_special, \
	.write_special = vmx_write_special, \
	.read_cr0 = vmx_read_cr0, \
	.read_cr4 = vmx_read_cr4, \
	.read_efer = vmx_read_efer, \
	.in_64bit_code = vmx_in_64bit_code, \
	.interrupts_shadowed = vmx_interrupts_shadowed, \
	.clear_shadow = vmx_clear_shadow, \
	.want_window = vmx_want_window, \
	.nmi_blocked = vmx_nmi_blocked, \
	.block_nmi = vmx_block_nmi, \
	.want_nmi_window = vmx_want_nmi_window, \
	.instruction_length = vmx_instruction_length, \
	.flush = vmx_flush, \
	.trace_word = vmx_trace_word, \
	.dump = vmx_dump,

const struct cpu_backend cpu_vmx = {
	.name = "ept",
	.machine = "VMX with EPT",
	.fault_exit = "ept-violation",
	.mode = VMMU_MODE_EPT,
	.enable = vmx_enable,
	.describe = vmx_describe,
	.set_root = vmx_set_root,
	.read_paging = vmx_read_paging,
	.write_paging = vmx_write_paging,
	.nested = &nvmx_ops,
	VMX_COMMON};

const struct cpu_backend cpu_vmx_shadow = {
	.name = "shadow",
	.machine = "VMX with shadow paging",
	.fault_exit = "page-fault",
	.mode = VMMU_MODE_SHADOW,
	.enable = vmx_shadow_enable,
	.describe = vmx_shadow_describe,
	.set_root = vmx_shadow_set_root,
	.read_paging = shadow_read_paging,
	.write_paging = shadow_write_paging,
	VMX_COMMON};
