/* SPDX-License-Identifier: BSD-2-Clause */
/* The model-specific registers that the guest sees. */
#ifndef VISOR_VM_MSR_H
#define VISOR_VM_MSR_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* RDMSR and WRMSR of registers that are intercepted. False: #GP. */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);

/*
 * RDMSR without what a slow exit does, of a register that KVM reads at each entry of its guest. It
 * counts the exit. False: it is another one, or it is time for a slow exit (vm/cpuid.h).
 */
bool msr_read_quickly(struct vcpu *v, uint32_t msr, uint64_t *value);

/*
 * Those that a guest reads and writes without an exit: the CPU switches them with it, or the
 * visor does not use them.
 */
extern const uint32_t msr_passed[];
extern const unsigned msr_passed_count;

/* Each entry has a memory type. */
bool msr_pat_valid(uint64_t value);

#endif
