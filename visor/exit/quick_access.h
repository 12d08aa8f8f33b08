/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two accesses without the long way of exit/memory.c, for which no guest state is fetched and nothing
 * but registers, flags and RIP changes: the read of a device's register that every driver makes, and the
 * store by which a guest hypervisor writes an entry of a table that is held.
 */
#ifndef VISOR_EXIT_QUICK_ACCESS_H
#define VISOR_EXIT_QUICK_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

struct vcpu;

/* What the back end knows of an access in 64-bit code. */
struct quick_access {
	uint64_t gpa; /* that the CPU reported */
	uint64_t rip, cr3;
	bool five_levels;
};

/* Has a fault that ends so any chance of it? */
static inline bool quick_access_fits(const struct vmmu_fault *fault, enum vmmu_fault_result result)
{
	return (result == VMMU_FAULT_EMULATE_MMIO || result == VMMU_FAULT_WRITE_TABLE) && !(fault->access & VMMU_ACCESS_WALK);
}

/*
 * Carry out the instruction at RIP where it is a plain load of a local APIC's register that
 * changes nothing there (platform_mmio_look), or, with `result` VMMU_FAULT_WRITE_TABLE, a plain store of
 * 64 bits. What it changes is in v->state.gpr, all of which must be the guest's, and in *rflags; the
 * address of the next instruction is returned. 0: nothing is done, exit_memory_rest does all.
 *
 * The caller has seen that the guest is in 64-bit code, that neither a trap nor the end of an
 * interrupt shadow is due behind the instruction (TF, STI, MOV SS), that RF is clear or will
 * be, and that no event was being delivered.
 */
uint64_t quick_access(struct vcpu *v, const struct quick_access *a, enum vmmu_fault_result result, uint64_t *rflags);

#endif
