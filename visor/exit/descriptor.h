/* SPDX-License-Identifier: BSD-2-Clause */
/* What the CPU itself writes to the guest's descriptor tables. */
#ifndef VISOR_EXIT_DESCRIPTOR_H
#define VISOR_EXIT_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/*
 * The CPU was kept from writing at gva, which is gpa, and not by an instruction
 * that stores there. If that is a segment descriptor whose accessed bit it wanted
 * to set (SDM vol. 3, 3.4.5.1), set it: the instruction or event, carried out
 * once more, then has nothing to write. False: it is something else. The vCPU's
 * registers have been read.
 */
bool descriptor_mark_accessed(struct vcpu *vcpu, uint64_t gva, uint64_t gpa);

#endif
