/* SPDX-License-Identifier: BSD-2-Clause */
/* Privileged instructions, port access and CPUID as C functions; MSR numbers. */
#ifndef VISOR_CPU_X86_H
#define VISOR_CPU_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
	                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
	                 : "a"(leaf), "c"(subleaf));
	return r;
}

/* Five-level paging (SDM vol. 2, CPUID leaf 7). */
static inline bool cpuid_has_la57(void)
{
	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ecx & 1u << 16;
}

static inline bool cpuid_has_pku(void)
{
	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ecx & 1u << 3;
}

/* As four levels of paging have it: bits 63 to 48 repeat bit 47 (SDM vol. 1, 3.3.7.1). */
static inline bool x86_is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr"
	                 : "=a"(low), "=d"(high)
	                 : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 :
	                 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc"
	                 : "=a"(low), "=d"(high)
	                 :
	                 : "memory");
	return (uint64_t)high << 32 | low;
}

#define X86_CONTROL_REGISTER(n) \
	static inline uint64_t read_cr##n(void) \
	{ \
		uint64_t v; \
		__asm__ volatile("mov %%cr" #n ", %0" \
		                 : "=r"(v) \
		                 : \
		                 : "memory"); \
		return v; \
	} \
	static inline void write_cr##n(uint64_t v) \
	{ \
		__asm__ volatile("mov %0, %%cr" #n \
		                 : \
		                 : "r"(v) \
		                 : "memory"); \
	}
X86_CONTROL_REGISTER(0)
X86_CONTROL_REGISTER(2)
X86_CONTROL_REGISTER(3)
X86_CONTROL_REGISTER(4)
#undef X86_CONTROL_REGISTER

#define X86_DEBUG_REGISTER(n) \
	static inline uint64_t read_dr##n(void) \
	{ \
		uint64_t v; \
		__asm__ volatile("mov %%dr" #n ", %0" \
		                 : "=r"(v) \
		                 : \
		                 : "memory"); \
		return v; \
	} \
	static inline void write_dr##n(uint64_t v) \
	{ \
		__asm__ volatile("mov %0, %%dr" #n \
		                 : \
		                 : "r"(v) \
		                 : "memory"); \
	}
X86_DEBUG_REGISTER(0)
X86_DEBUG_REGISTER(1)
X86_DEBUG_REGISTER(2)
X86_DEBUG_REGISTER(3)
X86_DEBUG_REGISTER(6)
X86_DEBUG_REGISTER(7)
#undef X86_DEBUG_REGISTER

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1"
	                 :
	                 : "a"(value), "Nd"(port)
	                 : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0"
	                 : "=a"(value)
	                 : "Nd"(port)
	                 : "memory");
	return value;
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1"
	                 :
	                 : "a"(value), "Nd"(port)
	                 : "memory");
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0"
	                 : "=a"(value)
	                 : "Nd"(port)
	                 : "memory");
	return value;
}

static inline void outsd(uint16_t port, const void *from, size_t dwords)
{
	__asm__ volatile("rep outsl"
	                 : "+S"(from), "+c"(dwords)
	                 : "d"(port)
	                 : "memory");
}

static inline void insd(uint16_t port, void *to, size_t dwords)
{
	__asm__ volatile("rep insl"
	                 : "+D"(to), "+c"(dwords)
	                 : "d"(port)
	                 : "memory");
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause"
	                 :
	                 :
	                 : "memory");
}

/* Protection keys of user pages: the guest's stay in the CPU. Only while CR4.PKE is set. */
static inline uint32_t rdpkru(void)
{
	uint32_t low, high;

	__asm__ volatile("rdpkru"
	                 : "=a"(low), "=d"(high)
	                 : "c"(0));
	return low;
}

static inline uint64_t xgetbv0(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv"
	                 : "=a"(low), "=d"(high)
	                 : "c"(0));
	return (uint64_t)high << 32 | low;
}

static inline void xsetbv0(uint64_t value)
{
	__asm__ volatile("xsetbv"
	                 :
	                 : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

#define X86_CR4_VME (1ull << 0)
#define X86_CR4_PVI (1ull << 1)
#define X86_CR4_TSD (1ull << 2)
#define X86_CR4_DE (1ull << 3)
#define X86_CR4_MCE (1ull << 6)
#define X86_CR4_PGE (1ull << 7)
#define X86_CR4_PCE (1ull << 8)
#define X86_CR4_OSFXSR (1ull << 9)
#define X86_CR4_OSXMMEXCPT (1ull << 10)
#define X86_CR4_UMIP (1ull << 11)
#define X86_CR4_VMXE (1ull << 13)
#define X86_CR4_FSGSBASE (1ull << 16)
#define X86_CR4_PCIDE (1ull << 17)
#define X86_CR4_OSXSAVE (1ull << 18)
#define X86_CR3_NO_FLUSH (1ull << 63)
#define X86_CR3_PCID 0xfffull
#define X86_CR0_MP (1ull << 1)
#define X86_CR0_EM (1ull << 2)
#define X86_CR0_TS (1ull << 3)
#define X86_CR0_AM (1ull << 18)
#define X86_CR0_NW (1ull << 29)
#define X86_CR0_CD (1ull << 30)
#define X86_EFER_SCE (1ull << 0)
#define X86_EFER_SVME (1ull << 12)
#define X86_FLAG_FIXED (1ull << 1)
#define X86_FLAG_TF (1ull << 8)
#define X86_FLAG_IF (1ull << 9)
#define X86_DR6_BREAKPOINTS 0xfull
#define X86_DR6_BD (1ull << 13)
#define X86_DR6_SINGLE_STEP (1ull << 14)
#define X86_DR6_TASK (1ull << 15)
#define X86_DR7_ENABLED 0xffull
#define X86_DR6_RESET 0xffff0ff0ull
#define X86_DR7_DETECT (1ull << 13)
#define X86_DR7_ONES (1ull << 10)               /* always 1 */
#define X86_DR7_ZEROS (3ull << 14 | 1ull << 12) /* always 0 */
#define X86_DR7_RESET X86_DR7_ONES

/* Exceptions (SDM vol. 3, table 6-1). */
enum {
	X86_DE = 0,
	X86_DB = 1,
	X86_NMI = 2,
	X86_BP = 3,
	X86_OF = 4,
	X86_UD = 6,
	X86_DF = 8,
	X86_TS = 10,
	X86_GP = 13,
	X86_PF = 14,
	X86_AC = 17,
	X86_MC = 18,
	X86_CP = 21,
};

/* SDM vol. 4; APM vol. 2, appendix A. */
enum x86_msr {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_FEATURE_CONTROL = 0x3a,
	MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49,
	MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_FLUSH_CMD = 0x10b,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_DEBUGCTL = 0x1d9,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_VMX_BASIC = 0x480,
	MSR_VMX_PINBASED_CTLS = 0x481,
	MSR_VMX_PROCBASED_CTLS = 0x482,
	MSR_VMX_EXIT_CTLS = 0x483,
	MSR_VMX_ENTRY_CTLS = 0x484,
	MSR_VMX_MISC = 0x485,
	MSR_VMX_CR0_FIXED0 = 0x486,
	MSR_VMX_CR0_FIXED1 = 0x487,
	MSR_VMX_CR4_FIXED0 = 0x488,
	MSR_VMX_CR4_FIXED1 = 0x489,
	MSR_VMX_VMCS_ENUM = 0x48a,
	MSR_VMX_PROCBASED_CTLS2 = 0x48b,
	MSR_VMX_EPT_VPID_CAP = 0x48c,
	MSR_VMX_TRUE_PINBASED_CTLS = 0x48d,
	MSR_VMX_TRUE_PROCBASED_CTLS = 0x48e,
	MSR_VMX_TRUE_EXIT_CTLS = 0x48f,
	MSR_VMX_TRUE_ENTRY_CTLS = 0x490,
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_CSTAR = 0xc0000083,
	MSR_SFMASK = 0xc0000084,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
	MSR_TSC_AUX = 0xc0000103,
	MSR_VM_CR = 0xc0010114,
	MSR_VM_HSAVE_PA = 0xc0010117,
};

#endif
