/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what the CPU reports at an exit to a struct vmmu_fault.
 *
 * C and C++ inline these. For languages that cannot, the library has each of
 * them under the same name as well; -DVMMU_EXIT_INLINE= shows their declarations
 * to a generator of bindings.
 */
#ifndef VMMU_EXIT_H
#define VMMU_EXIT_H

#include <vmmu/vmmu.h>

#ifndef VMMU_EXIT_INLINE
#define VMMU_EXIT_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Field by field: for an initializer gcc clears the whole struct by a string
 * instruction, which on the path of every fault costs more than it saves.
 */
VMMU_EXIT_INLINE struct vmmu_fault vmmu_fault_of(vmmu_gpa gpa, uint32_t access, uint64_t error_code,
                                                 uint64_t rip)
{
	struct vmmu_fault f;

	f.gpa = gpa;
	f.gva.v = 0;
	f.access = access;
	f.error_code = error_code;
	f.rip = rip;
	f.word = 0;
	f.id = 0;
	f.slot = 0;
	f.pfn.v = 0;
	f.entry = 0;
	f.level = 0;
	f.dirtied = false;
	f.reflect = 0;
	f.l2_gpa.v = 0;
	return f;
}

/*
 * EPT violation. `qualification` as in SDM vol. 3, 28.2.1, table 28-7: bits 0-2
 * read/write/fetch, 3-5 the AND of the entries' rights, bit 7 linear address
 * valid, bit 8 set when the access was the final one and not the guest's walk.
 */
VMMU_EXIT_INLINE struct vmmu_fault vmmu_fault_from_ept_violation(uint64_t qualification, vmmu_gpa gpa,
                                                                 uint64_t rip)
{
	/* What bits 0 to 5 say, for each value of them. */
#define VMMU_EPT_ACCESS(q) ((q) < 8 ? (q)&VMMU_RWX : ((q)&VMMU_RWX) | VMMU_ACCESS_PRESENT)
#define VMMU_EPT_ACCESS_8(q) \
	VMMU_EPT_ACCESS(q), VMMU_EPT_ACCESS((q) + 1), VMMU_EPT_ACCESS((q) + 2), VMMU_EPT_ACCESS((q) + 3), \
		VMMU_EPT_ACCESS((q) + 4), VMMU_EPT_ACCESS((q) + 5), VMMU_EPT_ACCESS((q) + 6), \
		VMMU_EPT_ACCESS((q) + 7)
	static const uint8_t says[64] = {
		VMMU_EPT_ACCESS_8(0),
		VMMU_EPT_ACCESS_8(8),
		VMMU_EPT_ACCESS_8(16),
		VMMU_EPT_ACCESS_8(24),
		VMMU_EPT_ACCESS_8(32),
		VMMU_EPT_ACCESS_8(40),
		VMMU_EPT_ACCESS_8(48),
		VMMU_EPT_ACCESS_8(56),
	};
#undef VMMU_EPT_ACCESS_8
#undef VMMU_EPT_ACCESS
	uint32_t access = says[qualification & 63];

	if (__builtin_expect(!(qualification & 0x100), 0) && qualification & 0x80)
		access |= VMMU_ACCESS_WALK;
	return vmmu_fault_of(gpa, access, qualification, rip);
}

/* EPT misconfiguration: no qualification is given (SDM vol. 3, 28.2.1 and 29.3.3.1). */
VMMU_EXIT_INLINE struct vmmu_fault vmmu_fault_from_ept_misconfig(vmmu_gpa gpa, uint64_t rip)
{
	return vmmu_fault_of(gpa, VMMU_R | VMMU_ACCESS_PRESENT | VMMU_ACCESS_RESERVED, 0, rip);
}

/*
 * Nested page fault. EXITINFO1 as in APM vol. 2, 15.25.6: bit 0 present, 1
 * write, 2 user, 3 reserved bit, 4 fetch, 32 final access, 33 guest's walk.
 */
VMMU_EXIT_INLINE struct vmmu_fault vmmu_fault_from_npf(uint64_t exitinfo1, vmmu_gpa gpa, uint64_t rip)
{
	/* What bits 0 to 4 say, for each value of them: a look instead of a dozen shifts and masks. */
#define VMMU_NPF_ACCESS(e) \
	(((e)&0x10   ? VMMU_X \
	  : (e)&0x02 ? VMMU_W \
	             : VMMU_R) | \
	 ((e)&0x01 ? VMMU_ACCESS_PRESENT : 0) | ((e)&0x08 ? VMMU_ACCESS_RESERVED : 0) | \
	 ((e)&0x04 ? VMMU_ACCESS_USER : 0))
#define VMMU_NPF_ACCESS_4(e) \
	VMMU_NPF_ACCESS(e), VMMU_NPF_ACCESS((e) + 1), VMMU_NPF_ACCESS((e) + 2), VMMU_NPF_ACCESS((e) + 3)
	static const uint8_t says[32] = {
		VMMU_NPF_ACCESS_4(0),
		VMMU_NPF_ACCESS_4(4),
		VMMU_NPF_ACCESS_4(8),
		VMMU_NPF_ACCESS_4(12),
		VMMU_NPF_ACCESS_4(16),
		VMMU_NPF_ACCESS_4(20),
		VMMU_NPF_ACCESS_4(24),
		VMMU_NPF_ACCESS_4(28),
	};
#undef VMMU_NPF_ACCESS_4
#undef VMMU_NPF_ACCESS
	uint32_t access = says[exitinfo1 & 31];

	access |= exitinfo1 >> 27 & VMMU_ACCESS_WALK;
	return vmmu_fault_of(gpa, access, exitinfo1, rip);
}

/*
 * #PF intercepted under shadow paging: error code as in SDM vol. 3, 4.7. The CPU
 * runs with other tables than the guest has; only write, user and fetch are the
 * access's own. `implicit` supervisor accesses at CPL 3 come with U clear.
 */
VMMU_EXIT_INLINE struct vmmu_fault vmmu_fault_from_pf(uint64_t error_code, vmmu_gva cr2, unsigned cpl,
                                                      uint64_t rflags, uint64_t rip)
{
	uint32_t access = error_code & 0x10 ? VMMU_X : error_code & 2 ? VMMU_W
	                                                              : VMMU_R;
	struct vmmu_fault f;

	access |= (error_code << 4 & VMMU_ACCESS_PRESENT) | (error_code << 2 & VMMU_ACCESS_RESERVED) |
	          (error_code << 5 & VMMU_ACCESS_USER);
	if (cpl == 3 && !(error_code & 4))
		access |= VMMU_ACCESS_IMPLICIT;
	if (rflags & 1u << 18)
		access |= VMMU_ACCESS_AC;
	f = vmmu_fault_of(vmmu_gpa_of(0), access, error_code, rip);
	f.gva = cr2;
	return f;
}

#ifdef __cplusplus
}
#endif

#endif
