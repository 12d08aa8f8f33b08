/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every combination of the rights of two of L1's EPT entries, one below the other, with each access
 * of L2, to memory and to where nothing is, with accessed and dirty flags and without. Each answer
 * is printed: it must be the same on the bare machine and under the visor. What may go through and what is
 * a misconfiguration is held against SDM vol. 3, 29.3.3.
 */
#include "nested_vmx.h"

#define HOLE UINT64_C(0xd0000000) /* between RAM and devices: nothing is there */
#define EPTP_AD (1u << 6)
#define CAP_EXECUTE_ONLY (1u << 0)
#define CAP_AD (1u << 21)

enum access { LOAD,
	      STORE,
	      FETCH,
	      ACCESSES };

static uint64_t large_memory; /* 2 MiB */

static void set_entries(bool large, unsigned above, unsigned below, uint64_t target)
{
	uint64_t leaf = target | below | (below ? EPT_WB : 0);

	l1.ept_pdpt[WINDOW >> 30] = physical(l1.ept_pd) | (large ? above : EPT_RWX);
	l1.ept_pd[0] = large ? leaf | (below ? EPT_LEAF : 0) : physical(l1.ept_pt) | above;
	l1.ept_pt[0] = leaf;
}

static bool is_misconfigured(unsigned rights)
{
	return rights && !(rights & EPT_R) && !(rights == EPT_X && (read_msr(MSR_VMX_EPT_VPID_CAP) & CAP_EXECUTE_ONLY));
}

/* The exit reason that the manual has; an entry above that ends the walk hides the one below. */
static unsigned expected(unsigned above, unsigned below, enum access access)
{
	static const unsigned needs[ACCESSES] = {EPT_R, EPT_W, EPT_X};

	if (!above)
		return VMX_EXIT_EPT_VIOLATION;
	if (is_misconfigured(above) || is_misconfigured(below))
		return VMX_EXIT_EPT_MISCONFIGURATION;
	return above & below & needs[access] ? VMX_EXIT_VMCALL : VMX_EXIT_EPT_VIOLATION;
}

/* Exit reason, and below it the qualification's bits 8:0. */
static uint64_t try_access(unsigned above, unsigned below, enum access access, uint64_t eptp)
{
	static const uint8_t codes[ACCESSES][6] = {
		{0x48, 0x8b, 0x03, VMCALL}, /* mov (%rbx), %rax */
		{0x48, 0x89, 0x03, VMCALL}, /* mov %rax, (%rbx) */
		{0xff, 0xe3},               /* jmp *%rbx */
	};
	static const uint8_t vmcall[] = {VMCALL};
	unsigned reason;

	memcpy(l1.page, vmcall, sizeof(vmcall));
	memcpy((void *)(uintptr_t)large_memory, vmcall, sizeof(vmcall));
	vmx_prepare(0, 0, CPU2_EPT | CPU2_VPID, codes[access], sizeof(codes[access]));
	vmwrite(VMCS_EPT_POINTER, eptp);
	invept(1, eptp, 0);
	l2_gpr.rbx = WINDOW;
	check_equal(vmx_enter(false), SUCCEEDED, "entry");
	reason = (unsigned)vmread(VMCS_EXIT_REASON);
	check(reason == expected(above, below, access), "rights %u below %u, access %u: exit reason %u", below, above, access, reason);
	if (reason != VMX_EXIT_VMCALL)
		check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), WINDOW, "the address that L1 is told");
	return (uint64_t)reason << 12 | (reason == VMX_EXIT_EPT_VIOLATION ? vmread(VMCS_QUALIFICATION) & 0x1ff : 0);
}

static void try_all(bool large, const char *what, uint64_t target, enum access last, uint64_t eptp)
{
	for (unsigned above = 0; above < 8; above++)
		for (unsigned below = 0; below < 8; below++) {
			uint64_t ends[ACCESSES] = {0};

			set_entries(large, above, below, target);
			for (enum access access = LOAD; access <= last; access++)
				ends[access] = try_access(above, below, access, eptp);
			print("nested: %s, %s %u below %u%s, exit 0x%lx 0x%lx 0x%lx\n", what, large ? "2 MiB" : "4 KiB", below, above,
			      eptp & EPTP_AD ? ", flags" : "", ends[LOAD], ends[STORE], ends[FETCH]);
		}
}

void test_nested_vmx_rights(void)
{
	uint64_t eptp;

	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmx_set_up();
	vmx_turn_on();
	eptp = physical(l1.ept_pml4) | 3 << 3 | 6;
	large_memory = (take_ram(4 * MIB) + 2 * MIB - 1) & ~(2 * MIB - 1);
	for (unsigned flags = 0; flags < 2; flags++) {
		if (flags && !(read_msr(MSR_VMX_EPT_VPID_CAP) & CAP_AD)) {
			skip("nested-vmx-rights: no accessed and dirty flags");
			break;
		}
		for (unsigned large = 0; large < 2; large++) {
			try_all(large, "memory", large ? large_memory : physical(l1.page), FETCH, eptp | (flags ? EPTP_AD : 0));
			/* An emulator does not fetch where nothing is. */
			try_all(large, "nothing", HOLE, STORE, eptp | (flags ? EPTP_AD : 0));
		}
	}
	vmx_turn_off();
}
