/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of the test guest's own, by SVM: what the tests of nested guests share. */
#ifndef NESTED_SVM_H
#define NESTED_SVM_H

#include "guest.h"

#include "visor/svm/vmcb.h"

/* L2's control block, what it runs, and its descriptors. */
extern struct vmcb *l2_vmcb;
extern uint8_t *l2_io_map, *l2_msr_map, *l2_code, *l2_stack;

/* General registers that VMRUN does not switch. */
struct l2_registers {
	uint64_t rbx, rcx, rdx, rsi;
};
extern struct l2_registers l2_registers;

/* False: the CPU has no SVM. Turns it on, and takes memory. */
bool l2_setup(void);
void l2_turn_off(void);
/* Zeroed. */
void *l2_pages(unsigned n);
/* L2 as it begins: these bytes as 64-bit code at CPL 0, on L1's own page tables. */
void l2_prepare(const void *bytes, unsigned n);
/* Until #VMEXIT, and then what is pending for L1. */
void l2_run(void);

#endif
