/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest finds in registers that it has not written: what a reset leaves there,
 * and nothing of the firmware's, the visor's or another guest's (SDM vol. 3, table 10-1).
 * With its test device on, the visor plants values there before it clears them.
 */
#include "guest.h"

struct fxsave_area {
	uint8_t bytes[512];
} __attribute__((aligned(16)));

static void vector_registers(void)
{
	static struct fxsave_area area;
	static uint64_t upper[4] __attribute__((aligned(32)));
	uint64_t sum = 0;

	__asm__ volatile("mov %%cr4, %%rax; or $0x200, %%rax; mov %%rax, %%cr4"
	                 :
	                 :
	                 : "rax", "memory");
	__asm__ volatile("fxsave %0"
	                 : "=m"(area));
	check_equal(area.bytes[0] | area.bytes[1] << 8, 0x37f, "FCW");
	check_equal(area.bytes[24] | area.bytes[25] << 8, 0x1f80, "MXCSR");
	for (unsigned i = 32; i < 160 + 256; i++)
		sum += area.bytes[i];
	check_equal(sum, 0, "bytes in x87 and XMM registers");
	if (!(cpuid(1, 0).c & 1u << 28)) {
		skip("fresh: the upper halves of YMM, this CPU has no AVX");
		return;
	}
	__asm__ volatile("mov %%cr4, %%rax; or $0x40000, %%rax; mov %%rax, %%cr4; xor %%ecx, %%ecx; xor %%edx, %%edx\n\t"
	                 "mov $7, %%eax; xsetbv"
	                 :
	                 :
	                 : "rax", "rcx", "rdx", "memory");
	for (unsigned i = 0; i < 3; i++) {
		if (i == 0)
			__asm__ volatile("vmovups %%ymm0, %0"
			                 : "=m"(upper));
		else if (i == 1)
			__asm__ volatile("vmovups %%ymm5, %0"
			                 : "=m"(upper));
		else
			__asm__ volatile("vmovups %%ymm15, %0"
			                 : "=m"(upper));
		check_equal(upper[0] | upper[1] | upper[2] | upper[3], 0, "a YMM register");
	}
}

static void debug_registers(void)
{
	uint64_t v;

	__asm__ volatile("mov %%dr0, %0"
	                 : "=r"(v));
	check_equal(v, 0, "DR0");
	__asm__ volatile("mov %%dr3, %0"
	                 : "=r"(v));
	check_equal(v, 0, "DR3");
	__asm__ volatile("mov %%dr6, %0"
	                 : "=r"(v));
	check_equal(v, 0xffff0ff0, "DR6");
	__asm__ volatile("mov %%dr7, %0"
	                 : "=r"(v));
	check_equal(v, 0x400, "DR7");
	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(v));
	check_equal(v, 0, "CR2");
}

void test_fresh(void)
{
	static const uint32_t msrs[] = {0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0x174, 0x175, 0x176};

	if (!device_present()) {
		skip("fresh: a bare machine's registers are its firmware's");
		return;
	}
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		check(read_msr(msrs[i]) == 0, "MSR 0x%x holds 0x%lx", msrs[i], read_msr(msrs[i]));
	if (cpuid(0x80000001, 0).d & 1u << 27)
		check_equal(read_msr(0xc0000103), 0, "TSC_AUX");
	debug_registers();
	vector_registers();
}
