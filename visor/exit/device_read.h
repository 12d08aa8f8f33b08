/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The read of a device's register that every driver makes, without the long way of
 * exit/memory.c: no guest state is fetched, nothing but a register and RIP changes.
 */
#ifndef VISOR_EXIT_DEVICE_READ_H
#define VISOR_EXIT_DEVICE_READ_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* What the back end knows of a guest that has met device memory in 64-bit code. */
struct device_read {
	uint64_t gpa; /* that the CPU reported */
	uint64_t rip, cr3;
	bool five_levels;
};

/*
 * Carry out the instruction at RIP where it is a plain load of a local APIC's register that
 * changes nothing there (platform_mmio_look): the result is in v->state.gpr, all of which must
 * be the guest's, and the address of the next instruction is returned. 0: nothing is done,
 * exit_memory_rest does all.
 *
 * The caller has seen that the guest is in 64-bit code, that neither a trap nor the end of an
 * interrupt shadow is due behind the instruction (TF, STI, MOV SS), that RF is clear or will
 * be, and that no event was being delivered.
 */
uint64_t device_read_quickly(struct vcpu *v, const struct device_read *r);

#endif
