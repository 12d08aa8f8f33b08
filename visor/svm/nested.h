/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SVM for a guest that runs guests (APM vol. 2, 15). L1's own control block (VMCB01) and L2's
 * (VMCB02) are the visor's; what L1 wrote for its guest (VMCB12) is in L1's memory, is copied once
 * at VMRUN, and only the copy is read. L1's state waits in VMCB01 while L2 runs, and VM_HSAVE_PA's page
 * stays as it is: what a CPU puts there is its own affair (15.30.4).
 */
#ifndef VISOR_SVM_NESTED_H
#define VISOR_SVM_NESTED_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/svm/vmcb.h"
#include "visor/vm/nested.h"

#define NESTED_ASIDS 0x8000u /* L2's: 1 to one less than this */
#define INTERCEPT_WORDS 6u   /* exit code / 32 is the word, % 32 the bit (appendix C, table B-1) */
#define VM_CR_SVMDIS (1ull << 4)
#define SVM_INSTRUCTION_BYTES 3u /* without a prefix, which may make rAX shorter */

#define NSVM_PASSED_WORDS 16u

struct svm_nested {
	struct vmcb *vmcb01, *vmcb02, *vmcb12; /* vmcb12: the copy */
	uint64_t vmcb12_gpa;
	uint64_t msr_bitmap; /* L2's: ones, but for these words of 64 bits */
	uint16_t passed_word[NSVM_PASSED_WORDS];
	unsigned passed_words;
	uint32_t base[INTERCEPT_WORDS]; /* what the visor intercepts of any guest */
	uint32_t asked[INTERCEPT_WORDS];
	uint64_t vm_cr, hsave_pa;
	uint64_t cr4_bits;          /* that L1's CPU has, and ... */
	struct vmmu_cpu cpu;        /* ... its nested paging: neither ever changes, once found */
	uint64_t pat;               /* of VMCB12, that was valid last */
	uint64_t virtual_interrupt; /* VMCB02's as L1 wants it, while the visor has a window there */
	bool gif;
	bool umip01; /* vcpu->svm.umip of L1 */
};

extern const struct cpu_nested nsvm_ops;

/* nested_control.c */
bool nsvm_init(struct vcpu *v);
void nsvm_free(struct vcpu *v);

/* nested_check.c */
/* What L1's CPUID says, once and for all: to ask for it takes longer than all else of a VMRUN. */
void nsvm_find_promises(struct vcpu *v);
/* VMRUN's consistency checks (15.5.1) that the CPU's own VMRUN cannot make on the visor's behalf. */
bool nsvm_consistent(struct vcpu *v, const struct vmcb *b);

/* nested_intercept.c */
/* L1's wishes into VMCB02, whatever the visor has taken away there for itself. */
void nsvm_merge_intercepts(struct vcpu *v);
void nsvm_merge_bitmap(struct vcpu *v);
/* L1 has asked for the exit that VMCB02 tells of; *code: as what. */
bool nsvm_wants_exit(struct vcpu *v, uint64_t *code);
enum nested_gate nsvm_gate(struct vcpu *v, enum nested_event event);

/* nested_run.c */
/* VMRUN, of `length` bytes, of the control block at `gpa`, which `given` points to. */
void nsvm_vmrun(struct vcpu *v, uint64_t gpa, const struct vmcb *given, unsigned length);
/* #VMEXIT: L2's state into VMCB12, and L1 goes on. */
void nsvm_exit(struct vcpu *v, uint64_t code, uint64_t info1, uint64_t info2);
bool nsvm_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
void nsvm_reflect(struct vcpu *v, enum vmmu_reflect reflect, uint64_t code, uint64_t l2_gpa);
bool nsvm_shutdown(struct vcpu *v);

/* nsvm_instruction.c */
/* VMRUN, VMLOAD, VMSAVE, STGI, CLGI, INVLPGA. False: this guest does not have it. */
bool nsvm_instruction(struct vcpu *v, uint64_t exit_code);
/* VMLOAD, VMSAVE, STGI and CLGI of 64-bit code, without what a slow exit does. False: it must be one. */
bool nsvm_quick_instruction(struct vcpu *v, const struct vmcb *b, uint64_t exit_code);
/* The visor has written fields of the control block that lies there. */
void nsvm_written(struct vcpu *v, uint64_t gpa);
/* What VMLOAD loads (15.5.2). */
void nsvm_copy_loaded(struct vmcb *to, const struct vmcb *from);
bool nsvm_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool nsvm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
uint64_t nsvm_efer_bits(struct vcpu *v);
void nsvm_cpuid(struct vcpu *v, uint32_t leaf, struct cpuid *answer);

#endif
