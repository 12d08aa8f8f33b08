/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a VM that cannot go on. */
#ifndef VISOR_VM_FAIL_H
#define VISOR_VM_FAIL_H

struct vcpu;

/* Stop the vCPU's VM: `why` in English goes to the log with registers and the exit. */
void vm_fail(struct vcpu *vcpu, const char *why, ...) __attribute__((format(printf, 2, 3)));

#endif
