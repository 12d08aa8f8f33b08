/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the VMX back end share. */
#ifndef VISOR_VMX_INTERNAL_H
#define VISOR_VMX_INTERNAL_H

#include "visor/vmx/vmx.h"

/* CR0: NE is fixed to 1 in VMX operation, the caching bits stay the visor's. */
#define CR0_OWNED (X86_CR0_NE | X86_CR0_CD | X86_CR0_NW)
/* CR4: what the guest may change by itself; everything else is hidden from it or fixed. */
#define CR4_GUEST \
	(0x7full /* VME PVI TSD DE PSE PAE MCE */ | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | \
	 X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE | \
	 X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE)

#define CPUID_7C_UMIP (1u << 2)

/* What may be owed before an entry. */
enum { ENTRY_FLUSH_EPT = 1 << 0,
       ENTRY_FLUSH_L1D = 1 << 1,
       ENTRY_CLEAR_BUFFERS = 1 << 2,
       ENTRY_SPEC_CTRL = 1 << 3 };

/* This CPU's VMX, and how it is used: chosen once, for the visor's whole life. */
extern struct vmx_cpu {
	uint64_t basic, ept_cap; /* IA32_VMX_BASIC, IA32_VMX_EPT_VPID_CAP */
	uint32_t secondary;      /* secondary controls, as written */
	bool shadow;             /* shadow paging */
	bool umip_by_exits;      /* it has no UMIP, but descriptor-table exiting in its place */
	uint32_t preemption;     /* what VMCS_PREEMPTION_TIMER counts down from; 0: there is none */
	uint32_t each_entry;     /* work that each entry finds to do */
} vmx_cpu;

/* enable.c */
void vmx_invept(uint64_t eptp);
void vmx_invept_all(void);
bool vmx_present(void);
uint32_t vmx_adjusted(uint32_t msr, uint32_t wanted);
uint32_t vmx_control_msr(uint32_t plain, uint32_t true_form);
uint32_t vmx_pin_controls(void);
uint32_t vmx_cpu_controls(void);
uint32_t vmx_exit_controls(void);
uint32_t vmx_entry_controls(void);
bool vmx_enable(const char **reason);
bool vmx_shadow_enable(const char **reason);
const char *vmx_leak(void);
void vmx_shadow_describe(struct vmmu_cpu *out);
void vmx_describe(struct vmmu_cpu *out);
bool vmx_allows(enum cpu_feature feature);

/* control.c */
void vmx_write_host_state(void);
/* All controls of the current VMCS, as for a guest that has just been made. */
void vmx_write_controls(struct vcpu *v);
uint32_t vmx_exception_bitmap(void);
/* MSRs that a guest may have without an exit. */
void vmx_pass_msr(uint8_t *bitmap, uint32_t msr, bool read, bool write);
void vmx_vcpu_free(struct vcpu *v);
bool vmx_vcpu_init(struct vcpu *v);
void vmx_set_root(struct vcpu *v, const struct vmmu_root *root);
/* From now on the guest runs so long at most: vmx/control.c. */
void vmx_arm_preemption(void);

/* state.c */
uint64_t vmx_read_cr0(struct vcpu *v);
uint64_t vmx_read_cr4(struct vcpu *v);
uint64_t vmx_read_efer(struct vcpu *v);
void vmx_read_paging(struct vcpu *v, struct vmmu_paging *out);
void vmx_write_paging(struct vcpu *v, const struct vmmu_paging *next);
/* The same, and no translation is stale by it. */
void vmx_load_paging(struct vcpu *v, const struct vmmu_paging *next);
void vmx_shadow_set_root(struct vcpu *v, const struct vmmu_root *root);
void vmx_read_state(struct vcpu *v);
void vmx_commit(struct vcpu *v);
void vmx_write_state(struct vcpu *v);
uint64_t vmx_read_special(struct vcpu *v, enum cpu_special which);
void vmx_write_special(struct vcpu *v, enum cpu_special which, uint64_t value);
bool vmx_in_64bit_code(struct vcpu *v);
unsigned vmx_instruction_length(struct vcpu *v);
void vmx_flush(struct vcpu *v);
uint64_t vmx_trace_word(struct vcpu *v);

/* event.c */
bool vmx_interrupts_shadowed(struct vcpu *v);
void vmx_clear_shadow(struct vcpu *v);
void vmx_want_window(struct vcpu *v, bool on);
bool vmx_nmi_blocked(struct vcpu *v);
void vmx_block_nmi(struct vcpu *v, bool on);
void vmx_want_nmi_window(struct vcpu *v, bool on);
void vmx_recover_event(struct vcpu *v);
void vmx_inject_event(struct vcpu *v);
void vmx_reflect(struct vcpu *v, uint32_t event);

/* dump.c */
const char *vmx_exit_name(uint32_t reason);
void vmx_dump(struct vcpu *v);

/* exit.c */
void vmx_handle(struct vcpu *v, uint32_t reason);

/* loop.c */
/*
 * Called by vmx/entry.S after each exit, with these fields of the VMCS: EXIT_REASON, GUEST_RIP,
 * VECTORING_EVENT, GUEST_PHYSICAL_ADDRESS, QUALIFICATION. True: leave the loop.
 */
bool vmx_exit(struct vcpu *v, uint64_t reason, uint64_t rip, uint64_t vectoring, uint64_t gpa, uint64_t qualification);
void vmx_run(struct vcpu *v);

/* entry.S */
/* `launched`: the current VMCS has been entered before. */
bool vmx_loop(struct vcpu *vcpu, bool launched);
void vmx_exit_entry(void);

#endif
