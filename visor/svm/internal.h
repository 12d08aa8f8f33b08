/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the SVM back end share. */
#ifndef VISOR_SVM_INTERNAL_H
#define VISOR_SVM_INTERNAL_H

#include "visor/cpu/x86.h"
#include "visor/svm/svm.h"
#include "visor/svm/vmcb.h"

#define MSR_BITMAP_ORDER 1 /* 8 KiB (APM vol. 2, 15.11) */

struct cr_access;
struct io_access;

extern struct svm_cpu {
	uint64_t host_state; /* of VMSAVE: a VMCB's address */
	uint64_t save_area;  /* where the CPU keeps the visor's own state while a guest runs (15.30.4) */
	bool has_next_rip;
	bool umip_by_exits;      /* the CPU has no UMIP: exits take its place (svm/state.c) */
	bool is_tcg;             /* QEMU's emulation, as its CPUID says. What it does otherwise than a CPU: */
	bool leaves_debug_armed; /* svm/debug.c */
	/*
	 * Once, on a busy machine, a guest test saw an injected interrupt twice. Offered
	 * as a virtual interrupt it takes another way there. (Bochs, for its part, never
	 * takes a virtual interrupt for delivered.)
	 */
	bool may_inject_twice;
} svm_cpu;

static inline bool svm_is_shadow(const struct vcpu *v)
{
	return v->backend->mode == VMMU_MODE_SHADOW;
}

static inline bool svm_is_64bit_code(const struct vmcb *b)
{
	return b->efer & X86_EFER_LMA && b->cs.attributes & X86_ACCESS_LONG >> 4;
}

/* enable.c */
bool svm_present(void);
bool svm_shadow_enable(const char **reason);
bool svm_enable(const char **reason);
const char *svm_leak(void);
const char *svm_shadow_leak(void);
void svm_describe(struct vmmu_cpu *out);
void svm_shadow_describe(struct vmmu_cpu *out);
bool svm_allows(enum cpu_feature feature);
bool svm_shadow_allows(enum cpu_feature feature);

/* control.c */
void svm_vcpu_free(struct vcpu *v);
bool svm_vcpu_init(struct vcpu *v);
/* Registers that need no exit, and their two bits in a permission map: 1 read, 2 write. */
void svm_set_msr_bits(uint8_t *bitmap, uint32_t msr, unsigned bits);
void svm_set_root(struct vcpu *v, const struct vmmu_root *root);

/* state.c */
void svm_load_state(struct vcpu *v, struct x86_cpu_state *s);
void svm_read_state(struct vcpu *v);
void svm_commit(struct vcpu *v);
/* `real` is what the CPU gets of the guest's `value`. */
void svm_set_cr4(struct vcpu *v, uint64_t value, uint64_t real);
void svm_write_state(struct vcpu *v);
uint64_t svm_read_special(struct vcpu *v, enum cpu_special which);
void svm_write_special(struct vcpu *v, enum cpu_special which, uint64_t value);
uint64_t svm_read_cr0(struct vcpu *v);
uint64_t svm_read_cr4(struct vcpu *v);
uint64_t svm_read_efer(struct vcpu *v);
void svm_read_paging(struct vcpu *v, struct vmmu_paging *out);
void svm_write_paging(struct vcpu *v, const struct vmmu_paging *next);
bool svm_in_64bit_code(struct vcpu *v);
void svm_shadow_set_root(struct vcpu *v, const struct vmmu_root *root);
void svm_flush(struct vcpu *v);
uint64_t svm_trace_word(struct vcpu *v);

/* event.c */
bool svm_interrupts_shadowed(struct vcpu *v);
void svm_clear_shadow(struct vcpu *v);
void svm_want_window(struct vcpu *v, bool on);
void svm_recover_event(struct vcpu *v);
void svm_inject_event(struct vcpu *v);
void svm_reflect(struct vcpu *v, unsigned vector);

/* debug.c */
void svm_intercept_debug(struct vmcb *b);
/* Note which of the guest's breakpoints svm/entry.S may arm. */
void svm_arm_breakpoints(struct vcpu *v);
void svm_handle_dr_write(struct vcpu *v, unsigned number);

/* nmi.c */
bool svm_nmi_blocked(struct vcpu *v);
void svm_block_nmi(struct vcpu *v, bool on);
void svm_want_nmi_window(struct vcpu *v, bool on);
void svm_handle_iret(struct vcpu *v);
void svm_end_step(struct vcpu *v);

/* decode.c */
/* Bytes of the MOV to a debug register at CS:RIP, and its source; 0: it cannot be read. */
unsigned svm_decode_dr_write(struct vcpu *v, unsigned *gpr);
/* The linear address that the INVLPG at CS:RIP names; 0: it cannot be read. */
uint64_t svm_decode_invlpg(struct vcpu *v);
unsigned svm_instruction_length(struct vcpu *v);
/* The same where it costs little: the usual form, in 64-bit code; 0: it must be looked at properly. */
unsigned svm_quick_length(struct vcpu *v);
/* Of INT n, INT3 or INTO at CS:RIP, as VMX would tell of it; 0: none is there. */
uint32_t svm_software_interrupt(struct vcpu *v);
void svm_read_string_prefixes(struct vcpu *v, struct io_access *io);
/* Bytes of the addresses of the instruction at CS:RIP. */
unsigned svm_address_size(struct vcpu *v);
/* What the instruction at CS:RIP writes to CR0, of which it is a MOV or an LMSW with a register. */
bool svm_decode_cr0_write(struct vcpu *v, uint64_t *value);
bool svm_decode_cr_access(struct vcpu *v, bool write, unsigned cr, struct cr_access *out);

/* dump.c */
const char *svm_exit_name(uint64_t code);
void svm_dump(struct vcpu *v);

/* exit.c */
void svm_handle(struct vcpu *v);

/* loop.c */
enum svm_next { SVM_ENTER,
	        SVM_LEAVE,         /* the loop */
	        SVM_ENTER_ARMED }; /* with the guest's breakpoints: svm/debug.c */
/* Called by svm/entry.S after each exit, with what the VMCB tells of it. */
enum svm_next svm_exit(struct vcpu *v, struct vmcb *b, uint64_t code, uint64_t info1, uint64_t info2, uint64_t rip);
void svm_run(struct vcpu *v);

/* entry.S */
extern const uint8_t svm_armed_start[], svm_armed_end[]; /* what runs while breakpoints are armed */
void svm_loop(struct vcpu *vcpu, uint64_t vmcb);

#endif
