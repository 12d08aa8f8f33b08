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

/* A value that the guest writes to EFER, checked already. */
void shadow_write_efer(struct vcpu *vcpu, uint64_t value);

/* An intercepted access to CR0, CR3 or CR4. */
enum cr_operation { CR_READ, CR_WRITE, CR_CLTS, CR_OTHER /* LMSW, SMSW */ };
struct cr_access {
	enum cr_operation operation;
	uint8_t cr, gpr;        /* for CR_READ and CR_WRITE */
	uint8_t length;         /* of the instruction, bytes; not for CR_OTHER */
};
void exit_cr(struct vcpu *vcpu, const struct cr_access *access);

/* vmmu_fault, with the guest's registers as they are now. */
enum vmmu_fault_result shadow_fault(struct vcpu *vcpu, struct vmmu_fault *fault);
/* A #PF that it gave to the guest. */
void shadow_inject(struct vcpu *vcpu, const struct vmmu_fault *fault);
/* Let the guest write its table at gpa itself. False: that cannot be; its writes must be emulated. */
bool shadow_release(struct vcpu *vcpu, uint64_t gpa);

#endif
