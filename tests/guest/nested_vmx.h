/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of the test guest's own, by VMX: what the tests of nested guests share. */
#ifndef NESTED_VMX_H
#define NESTED_VMX_H

#include "guest.h"

#include "visor/vmx/vmcs.h"

#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_BASIC 0x480
#define MSR_VMX_MISC 0x485
#define MSR_VMX_EPT_VPID_CAP 0x48c
#define MSR_TRUE_PIN 0x48d
#define MSR_TRUE_CPU 0x48e
#define MSR_TRUE_EXIT 0x48f
#define MSR_TRUE_ENTRY 0x490
#define MSR_EFER 0xc0000080
#define MSR_LSTAR 0xc0000082
#define MSR_STAR 0xc0000081
#define MSR_KERNEL_GS_BASE 0xc0000102
#define CR0_NE (1u << 5)
#define CR4_VMXE (1u << 13)
#define CODE64 0x18
#define DATA 0x10

#define EVENT_VALID (1u << 31)
#define EVENT_ERROR (1u << 11)
#define TYPE_NMI (2u << 8)
#define TYPE_EXCEPTION (3u << 8)
#define VECTOR 0x61
#define WINDOW (UINT64_C(128) << 30) /* L2's page under test: a GiB that has nothing else in it */
#define STACK_BYTES 4096

enum { EPT_R = 1,
       EPT_W = 2,
       EPT_X = 4,
       EPT_RWX = 7,
       EPT_WB = 6 << 3,
       EPT_LEAF = 1 << 7,
       EPT_ACCESSED = 1 << 8,
       EPT_DIRTY = 1 << 9 };

/* What L1 has in memory: a page each, io_map two. WINDOW is mapped by ept_pd and ept_pt. */
struct vmx_l1 {
	uint8_t *vmxon_region, *vmcs, *other, *msr_map, *io_map, *code, *stack;
	uint64_t *ept_pml4, *ept_pdpt, *ept_pd, *ept_pt, *page, *area, *idt, *tables;
};
extern struct vmx_l1 l1;

/* General registers of L2's that the test sets and sees. */
struct l2_gpr {
	uint64_t rax, rbx, rcx, rdx;
};
extern struct l2_gpr l2_gpr;

static inline uint64_t physical(const volatile void *p)
{
	return (uintptr_t)p;
}

/* ---- instructions --------------------------------------------------------------------------- */

enum outcome { SUCCEEDED,
	       FAILED_INVALID,
	       FAILED_VALID };
#define OUTCOME "; setc %b0; setz %%cl; add %%cl, %%cl; or %%cl, %b0"
#define VMX_BY_ADDRESS(name, instruction) \
	static inline unsigned name(uint64_t address) \
	{ \
		uint64_t r = 0; \
		__asm__ volatile(instruction " %1" OUTCOME \
		                 : "+&a"(r) \
		                 : "m"(address) \
		                 : "rcx", "cc", "memory"); \
		return (unsigned)r; \
	}
VMX_BY_ADDRESS(vmxon, "vmxon")
VMX_BY_ADDRESS(vmclear, "vmclear")
VMX_BY_ADDRESS(vmptrld, "vmptrld")

static inline uint64_t vmptrst(void)
{
	uint64_t address = 0;

	__asm__ volatile("vmptrst %0"
	                 : "=m"(address)
	                 :
	                 : "cc", "memory");
	return address;
}

static inline unsigned vmwrite(uint64_t field, uint64_t value)
{
	uint64_t r = 0;

	__asm__ volatile("vmwrite %2, %1" OUTCOME
	                 : "+&a"(r)
	                 : "r"(field), "r"(value)
	                 : "rcx", "cc", "memory");
	return (unsigned)r;
}

static inline unsigned vmread_to(uint64_t field, uint64_t *value)
{
	uint64_t r = 0;

	__asm__ volatile("vmread %2, %1" OUTCOME
	                 : "+&a"(r), "=m"(*value)
	                 : "r"(field)
	                 : "rcx", "cc", "memory");
	return (unsigned)r;
}

static inline uint64_t vmread(uint64_t field)
{
	uint64_t value = 0;

	vmread_to(field, &value);
	return value;
}

#define VMX_INVALIDATE(name, instruction) \
	static inline unsigned name(uint64_t type, uint64_t first, uint64_t second) \
	{ \
		uint64_t r = 0, descriptor[2] = {first, second}; \
		__asm__ volatile(instruction " %1, %2" OUTCOME \
		                 : "+&a"(r) \
		                 : "m"(descriptor), "r"(type) \
		                 : "rcx", "cc", "memory"); \
		return (unsigned)r; \
	}
VMX_INVALIDATE(invept, "invept")
VMX_INVALIDATE(invvpid, "invvpid")

/* For vector_of. */
static inline void vmxoff(void *unused)
{
	(void)unused;
	__asm__ volatile("vmxoff"
	                 :
	                 :
	                 : "cc", "memory");
}

/* L1's own registers, two of them for vector_of. */
static inline void set_cr4(void *value)
{
	__asm__ volatile("mov %0, %%cr4"
	                 :
	                 : "r"(value)
	                 : "memory");
}

static inline void set_cr0(void *value)
{
	__asm__ volatile("mov %0, %%cr0"
	                 :
	                 : "r"(value)
	                 : "memory");
}

static inline uint64_t get_cr0(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr0, %0"
	                 : "=r"(v));
	return v;
}

static inline uint64_t get_cr4(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr4, %0"
	                 : "=r"(v));
	return v;
}

static inline uint64_t get_cr3(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(v));
	return v;
}

/* ---- L1 and L2 -------------------------------------------------------------------------------- */

/* Zeroed. */
void *vmx_pages(unsigned n);
/* Memory for all of l1, and EPT that maps each gpa below 4 GiB to itself but for WINDOW's GiB. */
void vmx_set_up(void);
void vmx_set_up_ept(void);
/* CR4.VMXE, IA32_FEATURE_CONTROL, VMXON. */
void vmx_turn_on(void);
void vmx_turn_off(void);
/* Of the current VMCS: L1 as it is to go on, with these control registers. */
void vmx_write_host(uint64_t cr0, uint64_t cr3, uint64_t cr4);
/* `wanted`, as near as a capability register allows. */
uint32_t vmx_allowed(uint32_t msr, uint32_t wanted);
/* l1.vmcs becomes current, and in it L2 as it begins: these bytes as 64-bit code at CPL 0 on L1's own page tables. */
void vmx_prepare(uint32_t pin, uint32_t cpu, uint32_t cpu2, const void *bytes, unsigned n);
#define PREPARE(pin, cpu, cpu2, ...) \
	do { \
		static const uint8_t bytes_[] = {__VA_ARGS__}; \
		vmx_prepare(pin, cpu, cpu2, bytes_, sizeof(bytes_)); \
	} while (0)
#define VMCALL 0x0f, 0x01, 0xc1
/* Run L2 until it exits. FAILED_...: it was not entered. */
unsigned vmx_enter(bool resume);

/* Print what came of an entry or another instruction, for the comparison of machines; all but the first two check it, too. */
void vmx_answer(const char *what, unsigned outcome);
void vmx_answer_of_instruction(const char *what, unsigned outcome);
void vmx_refused(const char *what, unsigned outcome, unsigned error);
void vmx_expect_entry_error(const char *what, unsigned error);
void vmx_expect_exit(const char *what, bool resume, unsigned reason, uint64_t at);

#endif
