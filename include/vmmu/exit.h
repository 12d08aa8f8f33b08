/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what the CPU reports at an exit to a struct vmmu_fault.
 */
#ifndef VMMU_EXIT_H
#define VMMU_EXIT_H

#include <vmmu/vmmu.h>

/*
 * EPT violation. `qualification` as in SDM vol. 3, 28.2.1, table 28-7: bits 0-2
 * read/write/fetch, 3-5 the AND of the entries' rights, bit 7 linear address
 * valid, bit 8 set when the access was the final one and not the guest's walk.
 */
static inline struct vmmu_fault vmmu_fault_from_ept_violation(uint64_t qualification, vmmu_gpa gpa,
                                                              uint64_t rip)
{
	uint32_t access = qualification & VMMU_RWX;

	if (qualification & 0x38)
		access |= VMMU_ACCESS_PRESENT;
	if ((qualification & 0x180) == 0x80)
		access |= VMMU_ACCESS_WALK;
	return (struct vmmu_fault){.gpa = gpa, .access = access, .error_code = qualification, .rip = rip};
}

/* EPT misconfiguration: no qualification is given (SDM vol. 3, 28.2.1 and 29.3.3.1). */
static inline struct vmmu_fault vmmu_fault_from_ept_misconfig(vmmu_gpa gpa, uint64_t rip)
{
	return (struct vmmu_fault){
		.gpa = gpa, .access = VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED, .rip = rip};
}

/*
 * Nested page fault. EXITINFO1 as in APM vol. 2, 15.25.6: bit 0 present, 1
 * write, 2 user, 3 reserved bit, 4 fetch, 32 final access, 33 guest's walk.
 */
static inline struct vmmu_fault vmmu_fault_from_npf(uint64_t exitinfo1, vmmu_gpa gpa, uint64_t rip)
{
	uint32_t access = exitinfo1 & 0x10 ? VMMU_X : exitinfo1 & 2 ? VMMU_W : VMMU_R;

	if (exitinfo1 & 1)
		access |= VMMU_ACCESS_PRESENT;
	if (exitinfo1 & 4)
		access |= VMMU_ACCESS_USER;
	if (exitinfo1 & 8)
		access |= VMMU_ACCESS_RESERVED;
	if (exitinfo1 & (1ull << 33))
		access |= VMMU_ACCESS_WALK;
	return (struct vmmu_fault){.gpa = gpa, .access = access, .error_code = exitinfo1, .rip = rip};
}

#endif
