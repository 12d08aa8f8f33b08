/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/cpu/leftovers.h"

#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"

#define PLANTED 0x00007ab1e7ab1e00ull /* canonical: some of them hold addresses */
#define PLANTED_HALF 0x7ab1e700u

static const uint32_t syscall_msrs[] = {
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SFMASK,
	MSR_KERNEL_GS_BASE,
	MSR_SYSENTER_CS,
	MSR_SYSENTER_ESP,
	MSR_SYSENTER_EIP,
};

static bool has_xsave(void)
{
	return cpuid(1, 0).ecx & 1u << 26;
}

static bool has_tsc_aux(void)
{
	return cpuid(0x80000001, 0).edx & 1u << 27;
}

static void write_msrs(uint64_t value)
{
	for (unsigned i = 0; i < sizeof(syscall_msrs) / sizeof(syscall_msrs[0]); i++)
		wrmsr(syscall_msrs[i], syscall_msrs[i] == MSR_SFMASK || syscall_msrs[i] == MSR_SYSENTER_CS ? (uint32_t)value : value);
	if (has_tsc_aux())
		wrmsr(MSR_TSC_AUX, (uint32_t)value);
}

static void write_debug(uint64_t value)
{
	write_dr0(value);
	write_dr1(value);
	write_dr2(value);
	write_dr3(value);
}

/* Legacy area and header: FCW and MXCSR as after a reset, and no component that is not in its initial state. */
static const uint8_t initial[512 + 64] __attribute__((aligned(64))) = {0x7f, 0x03, [24] = 0x80, 0x1f};

void leftovers_clear(void)
{
	write_cr0((read_cr0() | X86_CR0_MP) & ~(X86_CR0_TS | X86_CR0_EM)); /* FXRSTOR may run */
	write_cr4(read_cr4() | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | (cpuid_has_pku() ? X86_CR4_PKE : 0));
	__asm__ volatile("fninit; fxrstor %0"
	                 :
	                 : "m"(initial));
	if (has_xsave()) {
		uint32_t low, high;

		write_cr4(read_cr4() | X86_CR4_OSXSAVE);
		low = cpuid(0xd, 0).eax;
		high = cpuid(0xd, 0).edx;
		xsetbv0((uint64_t)high << 32 | low);
		__asm__ volatile("xrstor %0"
		                 :
		                 : "m"(initial), "a"(low), "d"(high)
		                 : "memory");
		xsetbv0(1);
	}
	if (cpuid_has_pku())
		__asm__ volatile("wrpkru"
		                 :
		                 : "a"(0), "c"(0), "d"(0));
	write_debug(0);
	write_dr6(X86_DR6_RESET);
	write_cr2(0);
	write_msrs(0);
}

/* XMM and, where there is AVX, the upper halves of YMM. */
static void plant_vectors(void)
{
	static const uint32_t pattern[8] __attribute__((aligned(32))) = {
		PLANTED_HALF, PLANTED_HALF, PLANTED_HALF, PLANTED_HALF, PLANTED_HALF, PLANTED_HALF, PLANTED_HALF, PLANTED_HALF};

	if (has_xsave() && cpuid(1, 0).ecx & 1u << 28) {
		xsetbv0(7);
		__asm__ volatile("vmovups %0, %%ymm0; vmovups %0, %%ymm5; vmovups %0, %%ymm15"
		                 :
		                 : "m"(pattern));
		xsetbv0(1);
	} else {
		__asm__ volatile("movups %0, %%xmm0; movups %0, %%xmm5; movups %0, %%xmm15"
		                 :
		                 : "m"(pattern));
	}
	__asm__ volatile("fldl %0"
	                 :
	                 : "m"(pattern));
}

void leftovers_plant(void)
{
	leftovers_clear(); /* all that is needed is on */
	plant_vectors();
	if (cpuid_has_pku())
		__asm__ volatile("wrpkru"
		                 :
		                 : "a"(PLANTED_HALF), "c"(0), "d"(0));
	write_debug(PLANTED);
	write_cr2(PLANTED);
	write_msrs(PLANTED);
}
