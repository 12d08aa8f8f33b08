/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest on shadow paging: its control registers as it believes them to be
 * (vcpu->paging), kept apart from those that the CPU runs it with.
 */
#ifndef VISOR_EXIT_SHADOW_H
#define VISOR_EXIT_SHADOW_H

#include "visor/exit/exit.h"

/* Take the registers in vcpu->state for the guest's first ones. */
enum vmmu_status shadow_start(struct vcpu *vcpu);

/* What CR0, CR4 and EFER must hold while the guest runs (<vmmu/vmmu.h>, "Shadow paging"). */
uint64_t shadow_real_cr0(const struct vmmu_paging *guest);
uint64_t shadow_real_cr4(const struct vmmu_paging *guest);
uint64_t shadow_real_efer(const struct vmmu_paging *guest);

/* cpu_backend.read_paging and .write_paging. */
void shadow_read_paging(struct vcpu *vcpu, struct vmmu_paging *out);
void shadow_write_paging(struct vcpu *vcpu, const struct vmmu_paging *next);

/* vmmu_fault, with the guest's registers as they are now. */
enum vmmu_fault_result shadow_fault(struct vcpu *vcpu, struct vmmu_fault *fault);
/* A #PF that it gave to the guest. */
void shadow_inject(struct vcpu *vcpu, const struct vmmu_fault *fault);
/* Let the guest write its table at gpa itself. False: that cannot be; its writes must be emulated. */
bool shadow_release(struct vcpu *vcpu, uint64_t gpa);

#endif
