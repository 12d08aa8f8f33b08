/* SPDX-License-Identifier: BSD-2-Clause */
/* SVM as one of the visor's back ends: with NPT, and with shadow paging. */
#include "visor/exit/shadow.h"
#include "visor/svm/internal.h"
#include "visor/svm/nested.h"

#define SVM_COMMON \
	.present = svm_present, \
	.vcpu_init = svm_vcpu_init, \
	.vcpu_free = svm_vcpu_free, \
	.run = svm_run, \
	.read_state = svm_read_state, \
	.write_state = svm_write_state, \
	.write_registers = svm_commit, \
	.read_special = svm_read_special, \
	.write_special = svm_write_special, \
	.read_cr0 = svm_read_cr0, \
	.read_cr4 = svm_read_cr4, \
	.read_efer = svm_read_efer, \
	.in_64bit_code = svm_in_64bit_code, \
	.interrupts_shadowed = svm_interrupts_shadowed, \
	.clear_shadow = svm_clear_shadow, \
	.want_window = svm_want_window, \
	.nmi_blocked = svm_nmi_blocked, \
	.block_nmi = svm_block_nmi, \
	.want_nmi_window = svm_want_nmi_window, \
	.instruction_length = svm_instruction_length, \
	.flush = svm_flush, \
	.trace_word = svm_trace_word, \
	.dump = svm_dump,

const struct cpu_backend cpu_svm = {
	.name = "npt",
	.machine = "SVM with NPT",
	.fault_exit = "npf",
	.mode = VMMU_MODE_NPT,
	.enable = svm_enable,
	.leak = svm_leak,
	.describe = svm_describe,
	.allows = svm_allows,
	.set_root = svm_set_root,
	.walks_pdptes = true,
	.read_paging = svm_read_paging,
	.write_paging = svm_write_paging,
	.nested = &nsvm_ops,
	SVM_COMMON};

const struct cpu_backend cpu_svm_shadow = {
	.name = "shadow",
	.machine = "SVM with shadow paging",
	.fault_exit = "page-fault",
	.mode = VMMU_MODE_SHADOW,
	.enable = svm_shadow_enable,
	.leak = svm_shadow_leak,
	.describe = svm_shadow_describe,
	.allows = svm_shadow_allows,
	.set_root = svm_shadow_set_root,
	.read_paging = shadow_read_paging,
	.write_paging = shadow_write_paging,
	SVM_COMMON};
