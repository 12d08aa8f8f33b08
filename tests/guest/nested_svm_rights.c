/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every combination of the rights of two of L1's entries, one below the other, with each access of
 * L2, to memory and to where nothing is. Each answer is held against APM vol. 2, 15.25.5 and 15.25.6,
 * and printed: it must be the same on the bare machine and under the visor.
 */
#include "nested_svm.h"

#define MSR_EFER 0xc0000080
#define MSR_VM_HSAVE_PA 0xc0010117
#define EFER_SVME (1u << 12)
#define EFER_NXE (1u << 11)
#define VMMCALL 0x0f, 0x01, 0xd9
#define FAR (1ull << 37)          /* linear, and in L2 physical: the GiB of the pages under test */
#define HOLE UINT64_C(0xd0000000) /* between RAM and devices: nothing is there */

#define P 1ull
#define W 2ull
#define U 4ull
#define PS (1ull << 7)
#define NX (1ull << 63)

enum access { READ,
	      WRITE,
	      FETCH,
	      ACCESSES };

static uint64_t *pml4, *pdpt, *low, *far_pd, *far_pt;
static uint64_t memory; /* 2 MiB of it */

static uint64_t physical_of(const volatile void *p)
{
	return (uintptr_t)p;
}

/* Bits 2:0 of a number as P, W and U, and bit 3 as NX. */
static uint64_t rights_of(unsigned bits)
{
	return (bits & 7) | (bits & 8 ? NX : 0);
}

static void make_tables_of_l1(void)
{
	pml4 = l2_pages(1);
	pdpt = l2_pages(1);
	low = l2_pages(1);
	far_pd = l2_pages(1);
	far_pt = l2_pages(1);
	pml4[0] = physical_of(pdpt) | P | W | U;
	pdpt[0] = physical_of(low) | P | W | U;
	for (unsigned i = 0; i < 512; i++)
		low[i] = (uint64_t)i << 21 | P | W | U | PS;
}

/* The upper entry and the leaf: of 4 KiB below a page directory, or of 2 MiB below the table above it. */
static void set_entries(bool large, unsigned above, unsigned below, uint64_t target)
{
	pdpt[FAR >> 30] = physical_of(far_pd) | (large ? rights_of(above) : P | W | U);
	far_pd[0] = large ? target | rights_of(below) | PS : physical_of(far_pt) | rights_of(above);
	far_pt[0] = target | rights_of(below);
}

static void run_access(enum access access)
{
	static const uint8_t code[ACCESSES][6] = {
		{0x48, 0x8b, 0x03, VMMCALL}, /* mov (%rbx), %rax */
		{0x48, 0x89, 0x03, VMMCALL}, /* mov %rax, (%rbx) */
		{0xff, 0xe3},                /* jmp *%rbx */
	};

	memcpy((void *)(uintptr_t)memory, (uint8_t[]){VMMCALL}, 3);
	l2_prepare(code[access], sizeof(code[access]));
	l2_vmcb->nested_control = NESTED_PAGING;
	l2_vmcb->nested_cr3 = physical_of(pml4);
	l2_vmcb->rax = 0x5555;
	l2_registers.rbx = FAR;
	l2_run();
}

/* Every access is a user's; a fetch is told as one, since L1 has EFER.NXE. */
static bool is_allowed(unsigned above, unsigned below, enum access access, uint64_t *told)
{
	unsigned both = above & below;
	bool present = both & P, nx = (above | below) & 8;

	*told = (present ? 1 : 0) | (access == WRITE ? 2 : 0) | 4 | (access == FETCH ? 0x10 : 0) | 1ull << 32;
	return present && (both & U) && !(access == WRITE && !(both & W)) && !(access == FETCH && nx);
}

/* What L1 has been told: 0, nothing. */
static uint64_t try_access(unsigned above, unsigned below, enum access access)
{
	uint64_t told;

	run_access(access);
	if (is_allowed(above, below, access, &told)) {
		check((uint32_t)l2_vmcb->exit_code == SVM_EXIT_VMMCALL, "rights 0x%x below 0x%x, access %u: exit 0x%lx 0x%lx of what L1 allows", below,
		      above, access, l2_vmcb->exit_code, l2_vmcb->exit_info1);
		return 0;
	}
	check((uint32_t)l2_vmcb->exit_code == SVM_EXIT_NPF && l2_vmcb->exit_info1 == told && l2_vmcb->exit_info2 == FAR,
	      "rights 0x%x below 0x%x, access %u: exit 0x%lx 0x%lx 0x%lx", below, above, access, l2_vmcb->exit_code, l2_vmcb->exit_info1,
	      l2_vmcb->exit_info2);
	return l2_vmcb->exit_info1;
}

static void try_all(bool large, const char *what, uint64_t target, enum access last)
{
	for (unsigned above = 0; above < 16; above++)
		for (unsigned below = 0; below < 16; below++) {
			uint64_t told[ACCESSES] = {0};

			set_entries(large, above, below, target);
			for (enum access access = READ; access <= last; access++)
				told[access] = try_access(above, below, access);
			print("nested: %s, %s 0x%x below 0x%x, exit 0x%lx 0x%lx 0x%lx\n", what, large ? "2 MiB" : "4 KiB", below, above, told[READ], told[WRITE],
			      told[FETCH]);
		}
}

void test_nested_svm_rights(void)
{
	if (!l2_setup()) {
		skip("nested-svm-rights: the CPU has no SVM");
		return;
	}
	make_tables_of_l1();
	memory = (take_ram(4 * MIB) + 2 * MIB - 1) & ~(2 * MIB - 1);
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME | EFER_NXE);
	write_msr(MSR_VM_HSAVE_PA, physical_of(l2_pages(1)));
	for (unsigned large = 0; large < 2; large++) {
		try_all(large, "memory", memory, FETCH);
		/* An emulator does not fetch where nothing is. */
		try_all(large, "nothing", HOLE, WRITE);
	}
	l2_turn_off();
}
