/* SPDX-License-Identifier: BSD-2-Clause */
/* Accesses of the guest to its control registers, the same for all back ends. */
#ifndef VISOR_EXIT_CONTROL_H
#define VISOR_EXIT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* An intercepted access to CR0, CR3 or CR4. */
enum cr_operation { CR_READ,
	            CR_WRITE,
	            CR_CLTS,
	            CR_OTHER /* LMSW, SMSW */ };
struct cr_access {
	enum cr_operation operation;
	uint8_t cr, gpr; /* for CR_READ and CR_WRITE */
	uint8_t length;  /* of the instruction, bytes; not for CR_OTHER */
};
void exit_cr(struct vcpu *vcpu, const struct cr_access *access);

/* The bits that CR4 has for the guest. */
uint64_t control_cr4_bits(struct vcpu *vcpu);

/* INVLPG of this linear address, where the options want to see it. */
void exit_invlpg(struct vcpu *vcpu, uint64_t gva);

/* vcpu->state is that of a new task: make it the guest's, CR0.TS and CR3 with it. False: #GP by its PDPTEs. */
bool control_enter_task(struct vcpu *vcpu);

#endif
