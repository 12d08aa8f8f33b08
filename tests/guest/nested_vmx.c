/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor of a few lines (L1): guests of a few instructions (L2) by VMX, with and without EPT. It
 * runs on the bare machine and under the visor (`vmmu run --nested`); each answer is printed, and must be
 * the same on both. What is checked: SDM vol. 3, 24 to 31.
 */
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

static uint8_t *vmxon_region, *vmcs, *other, *msr_map, *io_map, *code, *stack;
static uint64_t *ept_pml4, *ept_pdpt, *ept_pd, *ept_pt, *page, *area, *idt, *tables;

static uint64_t physical(const volatile void *p)
{
	return (uintptr_t)p;
}

/* ---- instructions --------------------------------------------------------------------------- */

enum outcome { SUCCEEDED,
	       FAILED_INVALID,
	       FAILED_VALID };
#define OUTCOME "; setc %b0; setz %%cl; add %%cl, %%cl; or %%cl, %b0"
#define VMX_BY_ADDRESS(name, instruction) \
	static unsigned name(uint64_t address) \
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

static uint64_t vmptrst(void)
{
	uint64_t address = 0;

	__asm__ volatile("vmptrst %0"
	                 : "=m"(address)
	                 :
	                 : "cc", "memory");
	return address;
}

static unsigned vmwrite(uint64_t field, uint64_t value)
{
	uint64_t r = 0;

	__asm__ volatile("vmwrite %2, %1" OUTCOME
	                 : "+&a"(r)
	                 : "r"(field), "r"(value)
	                 : "rcx", "cc", "memory");
	return (unsigned)r;
}

static unsigned vmread_to(uint64_t field, uint64_t *value)
{
	uint64_t r = 0;

	__asm__ volatile("vmread %2, %1" OUTCOME
	                 : "+&a"(r), "=m"(*value)
	                 : "r"(field)
	                 : "rcx", "cc", "memory");
	return (unsigned)r;
}

static uint64_t vmread(uint64_t field)
{
	uint64_t value = 0;

	vmread_to(field, &value);
	return value;
}

#define VMX_INVALIDATE(name, instruction) \
	static unsigned name(uint64_t type, uint64_t first, uint64_t second) \
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

static void vmxoff(void *unused)
{
	(void)unused;
	__asm__ volatile("vmxoff"
	                 :
	                 :
	                 : "cc", "memory");
}

/* General registers of L2's that the test sets and sees. */
static struct {
	uint64_t rax, rbx, rcx, rdx;
} registers;

static unsigned enter(bool resume)
{
	uint64_t r = resume;

	__asm__ volatile("push %%rbp\n\t"
	                 "mov $0x6c14, %%edx\n\t"
	                 "vmwrite %%rsp, %%rdx\n\t"
	                 "mov $0x6c16, %%edx\n\t"
	                 "lea 1f(%%rip), %%rcx\n\t"
	                 "vmwrite %%rcx, %%rdx\n\t"
	                 "mov 16(%1), %%rcx\n\t"
	                 "mov 24(%1), %%rdx\n\t"
	                 "push %1\n\t"
	                 "test %%eax, %%eax\n\t"
	                 "mov (%1), %%rax\n\t"
	                 "mov 8(%1), %%rbx\n\t"
	                 "jnz 2f\n\t"
	                 "vmlaunch\n\t"
	                 "jmp 3f\n"
	                 "2:\tvmresume\n"
	                 "3:\tpop %%rsi\n\t"
	                 "mov $0, %%eax\n\t"
	                 "setc %%al\n\t"
	                 "setz %%cl\n\t"
	                 "add %%cl, %%cl\n\t"
	                 "or %%cl, %%al\n\t"
	                 "jmp 4f\n"
	                 "1:\tmov -8(%%rsp), %%rsi\n\t" /* HOST_RSP is from before the push */
	                 "mov %%rax, (%%rsi)\n\t"
	                 "mov %%rbx, 8(%%rsi)\n\t"
	                 "mov %%rcx, 16(%%rsi)\n\t"
	                 "mov %%rdx, 24(%%rsi)\n\t"
	                 "xor %%eax, %%eax\n"
	                 "4:\tpop %%rbp"
	                 : "+&a"(r)
	                 : "S"(&registers)
	                 : "rbx", "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return (unsigned)r;
}

/* With the shadow of MOV SS on it. */
static unsigned launch_in_shadow(void)
{
	uint64_t r = 0;

	__asm__ volatile("mov %%ss, %%edx; mov %%edx, %%ss; vmlaunch" OUTCOME
	                 : "+&a"(r)
	                 :
	                 : "rcx", "rdx", "cc", "memory");
	return (unsigned)r;
}

/* ---- L2 --------------------------------------------------------------------------------------- */

static uint32_t allowed(uint32_t msr, uint32_t wanted)
{
	uint64_t capability = read_msr(msr);

	return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static void write_host(uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	struct table_register gdtr, idtr;
	uint64_t tr = 0, low, base;

	__asm__ volatile("sgdt %0; sidt %1; str %2"
	                 : "=m"(gdtr), "=m"(idtr), "=r"(tr));
	low = load(gdtr.base + (tr & 0xfff8));
	base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | load(gdtr.base + (tr & 0xfff8) + 8) << 32;
	vmwrite(VMCS_HOST_CR0, cr0);
	vmwrite(VMCS_HOST_CR3, cr3);
	vmwrite(VMCS_HOST_CR4, cr4);
	for (unsigned i = 0; i < 6; i++)
		vmwrite(VMCS_HOST_ES_SELECTOR + 2 * i, i == 1 ? CODE64 : DATA);
	vmwrite(VMCS_HOST_TR_SELECTOR, tr & 0xffff);
	vmwrite(VMCS_HOST_TR_BASE, base);
	vmwrite(VMCS_HOST_GDTR_BASE, gdtr.base);
	vmwrite(VMCS_HOST_IDTR_BASE, idtr.base);
	for (unsigned field = VMCS_HOST_SYSENTER_ESP; field <= VMCS_HOST_SYSENTER_EIP; field += 2)
		vmwrite(field, 0);
	vmwrite(VMCS_HOST_FS_BASE, 0);
	vmwrite(VMCS_HOST_GS_BASE, 0);
	vmwrite(VMCS_HOST_SYSENTER_CS, 0);
	vmwrite(VMCS_HOST_EFER, read_msr(MSR_EFER));
	vmwrite(VMCS_HOST_PAT, 0x0007040600070406);
}

static void write_guest(uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	struct table_register gdtr;

	__asm__ volatile("sgdt %0"
	                 : "=m"(gdtr));
	for (unsigned i = 0; i < 8; i++) { /* ES CS SS DS FS GS LDTR TR */
		vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * i, i == 1 ? CODE64 : i < 6 ? DATA
		                                                                : 0);
		vmwrite(VMCS_GUEST_ES_BASE + 2 * i, 0);
		vmwrite(VMCS_GUEST_ES_LIMIT + 2 * i, i < 6 ? UINT32_MAX : 0xffff);
		vmwrite(VMCS_GUEST_ES_ACCESS + 2 * i, i == 1 ? 0xa09b : i < 6 ? 0xc093
		                                                : i == 6      ? 0x10000
		                                                              : 0x8b);
	}
	vmwrite(VMCS_GUEST_GDTR_BASE, gdtr.base);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, gdtr.limit);
	vmwrite(VMCS_GUEST_IDTR_BASE, physical(idt));
	vmwrite(VMCS_GUEST_IDTR_LIMIT, 4095);
	vmwrite(VMCS_GUEST_CR0, cr0);
	vmwrite(VMCS_GUEST_CR3, cr3);
	vmwrite(VMCS_GUEST_CR4, cr4);
	vmwrite(VMCS_GUEST_DR7, 0x400);
	vmwrite(VMCS_GUEST_RSP, physical(stack) + STACK_BYTES - 64);
	vmwrite(VMCS_GUEST_RIP, physical(code));
	vmwrite(VMCS_GUEST_RFLAGS, 2);
	for (unsigned field = VMCS_GUEST_INTERRUPTIBILITY; field <= VMCS_GUEST_SYSENTER_CS; field += 2)
		vmwrite(field, 0);
	for (unsigned field = VMCS_GUEST_PENDING_DEBUG; field <= VMCS_GUEST_SYSENTER_EIP; field += 2)
		vmwrite(field, 0);
	vmwrite(VMCS_LINK_POINTER, ALL_ONES);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_EFER, read_msr(MSR_EFER));
	vmwrite(VMCS_GUEST_PAT, 0x0007040600070406);
}

static void write_controls(uint32_t pin, uint32_t cpu, uint32_t cpu2)
{
	static const uint16_t zero[] = {VMCS_EXCEPTION_BITMAP, VMCS_PAGE_FAULT_MASK, VMCS_PAGE_FAULT_MATCH, VMCS_CR3_TARGET_COUNT,
	                                VMCS_EXIT_MSR_STORE_COUNT, VMCS_EXIT_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_COUNT,
	                                VMCS_ENTRY_EVENT, VMCS_ENTRY_EVENT_ERROR, VMCS_ENTRY_INSTRUCTION_LENGTH,
	                                VMCS_CR0_MASK, VMCS_CR4_MASK, VMCS_CR0_SHADOW, VMCS_CR4_SHADOW, VMCS_TSC_OFFSET};

	for (unsigned i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
		vmwrite(zero[i], 0);
	vmwrite(VMCS_PIN_CONTROLS, allowed(MSR_TRUE_PIN, pin));
	vmwrite(VMCS_CPU_CONTROLS, allowed(MSR_TRUE_CPU, cpu | (cpu2 ? (uint32_t)CPU_SECONDARY : 0)) & ~(cpu & CPU_CR3_LOAD ? 0u : (uint32_t)(CPU_CR3_LOAD | CPU_CR3_STORE)));
	vmwrite(VMCS_CPU_CONTROLS2, cpu2);
	vmwrite(VMCS_EXIT_CONTROLS, allowed(MSR_TRUE_EXIT, EXITING_HOST_64 | EXITING_SAVE_DEBUG | EXITING_SAVE_EFER | EXITING_LOAD_EFER));
	vmwrite(VMCS_ENTRY_CONTROLS, allowed(MSR_TRUE_ENTRY, ENTRY_IA32E | ENTRY_LOAD_DEBUG | ENTRY_LOAD_EFER));
	vmwrite(VMCS_VPID, 1);
	vmwrite(VMCS_EPT_POINTER, physical(ept_pml4) | 3 << 3 | 6);
	vmwrite(VMCS_MSR_BITMAP, physical(msr_map));
	vmwrite(VMCS_IO_BITMAP_A, physical(io_map));
	vmwrite(VMCS_IO_BITMAP_B, physical(io_map) + PAGE);
}

/* L2 as it begins: 64-bit code at CPL 0 on L1's own page tables. */
static void prepare(uint32_t pin, uint32_t cpu, uint32_t cpu2, const void *bytes, unsigned n)
{
	uint64_t cr0, cr3, cr4;

	__asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2"
	                 : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	memset(&registers, 0, sizeof(registers));
	memcpy(code, bytes, n);
	vmclear(physical(vmcs));
	vmptrld(physical(vmcs));
	write_controls(pin, cpu, cpu2);
	write_host(cr0, cr3, cr4);
	write_guest(cr0, cr3, cr4);
}

#define PREPARE(pin, cpu, cpu2, ...) \
	do { \
		static const uint8_t bytes_[] = {__VA_ARGS__}; \
		prepare(pin, cpu, cpu2, bytes_, sizeof(bytes_)); \
	} while (0)
#define VMCALL 0x0f, 0x01, 0xc1

/* ---- answers ------------------------------------------------------------------------------------ */

/* Of an instruction; for faults it is not defined (28.2.5). */
static unsigned length_of_exit(void)
{
	uint64_t reason = vmread(VMCS_EXIT_REASON);

	return reason == VMX_EXIT_EXCEPTION_NMI || reason == VMX_EXIT_EPT_VIOLATION || reason == VMX_EXIT_EPT_MISCONFIGURATION
	               ? 0
	               : (unsigned)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
}

static void answer(const char *what, unsigned outcome)
{
	if (outcome == SUCCEEDED)
		print("nested: %s, exit reason 0x%x qualification 0x%lx at +0x%lx length %u\n", what, (unsigned)vmread(VMCS_EXIT_REASON),
		      vmread(VMCS_QUALIFICATION), vmread(VMCS_GUEST_RIP) - physical(code), length_of_exit());
	else
		print("nested: %s, exit none: outcome %u error %u\n", what, outcome,
		      outcome == FAILED_VALID ? (unsigned)vmread(VMCS_INSTRUCTION_ERROR) : 0);
}

static void refused(const char *what, unsigned outcome, unsigned error)
{
	answer(what, outcome);
	check(outcome == (error ? FAILED_VALID : FAILED_INVALID), "%s: outcome %u", what, outcome);
	if (error && outcome == FAILED_VALID)
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), error, what);
}

static void expect_entry_error(const char *what, unsigned error)
{
	refused(what, enter(false), error);
}

static void expect_exit(const char *what, bool resume, unsigned reason, uint64_t at)
{
	unsigned outcome = enter(resume);

	answer(what, outcome);
	check(outcome == SUCCEEDED, "%s: no entry, error %u", what, (unsigned)vmread(VMCS_INSTRUCTION_ERROR));
	check_equal(vmread(VMCS_EXIT_REASON), reason, what);
	check(vmread(VMCS_GUEST_RIP) == physical(code) + at, "%s: exit at +0x%lx instead of +0x%lx", what,
	      vmread(VMCS_GUEST_RIP) - physical(code), at);
}

/* ---- the instructions themselves ------------------------------------------------------------------- */

static void do_vmptrst(void *unused)
{
	(void)unused;
	vmptrst();
}

static void do_vmxon(void *region)
{
	vmxon((uintptr_t)region);
}

static void set_cr4(void *value)
{
	__asm__ volatile("mov %0, %%cr4"
	                 :
	                 : "r"(value)
	                 : "memory");
}

static void set_cr0(void *value)
{
	__asm__ volatile("mov %0, %%cr0"
	                 :
	                 : "r"(value)
	                 : "memory");
}

static uint64_t get_cr0(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr0, %0"
	                 : "=r"(v));
	return v;
}

static uint64_t get_cr4(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr4, %0"
	                 : "=r"(v));
	return v;
}

static void write_feature_control(void *unused)
{
	(void)unused;
	write_msr(MSR_FEATURE_CONTROL, 0);
}

static void begin_vmx(void)
{
	uint32_t revision = (uint32_t)read_msr(MSR_VMX_BASIC);

	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST without CR4.VMXE");
	check_equal(vector_of(do_vmxon, vmxon_region), VECTOR_UD, "VMXON without CR4.VMXE");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() | CR4_VMXE)), -1, "CR4.VMXE set");
	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST before VMXON");
	if (!(read_msr(MSR_FEATURE_CONTROL) & 1))
		write_msr(MSR_FEATURE_CONTROL, 5);
	check_equal(read_msr(MSR_FEATURE_CONTROL) & 5, 5, "IA32_FEATURE_CONTROL");
	check_equal(vector_of(write_feature_control, NULL), VECTOR_GP, "IA32_FEATURE_CONTROL is locked");
	set_cr0((void *)(get_cr0() & ~(uint64_t)CR0_NE));
	check_equal(vector_of(do_vmxon, vmxon_region), VECTOR_GP, "VMXON with CR0.NE clear");
	set_cr0((void *)(get_cr0() | CR0_NE));
	*(uint32_t *)vmxon_region = revision ^ 1;
	refused("VMXON, another revision", vmxon(physical(vmxon_region)), 0);
	*(uint32_t *)vmxon_region = revision;
	refused("VMXON, misaligned", vmxon(physical(vmxon_region) + 8), 0);
	refused("VMXON, beyond memory", vmxon(UINT64_C(1) << 52), 0);
	check_equal(vmxon(physical(vmxon_region)), SUCCEEDED, "VMXON");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() & ~(uint64_t)CR4_VMXE)), VECTOR_GP, "CR4.VMXE cleared in VMX operation");
	check_equal(vector_of(set_cr0, (void *)(get_cr0() & ~(uint64_t)CR0_NE)), VECTOR_GP, "CR0.NE cleared in VMX operation");
}

static void check_pointers(void)
{
	uint32_t revision = (uint32_t)read_msr(MSR_VMX_BASIC);

	check_equal(vmptrst(), ALL_ONES, "no current VMCS");
	refused("VMXON again, no VMCS", vmxon(physical(vmxon_region)), 0);
	refused("VMLAUNCH, no VMCS", enter(false), 0);
	refused("VMCLEAR, misaligned, no VMCS", vmclear(physical(vmcs) + 1), 0);
	*(uint32_t *)vmcs = *(uint32_t *)other = revision;
	check_equal(vmclear(physical(vmcs)), SUCCEEDED, "VMCLEAR");
	check_equal(vmclear(physical(other)), SUCCEEDED, "VMCLEAR of another");
	check_equal(vmptrld(physical(vmcs)), SUCCEEDED, "VMPTRLD");
	check_equal(vmptrst(), physical(vmcs), "the current VMCS");
	refused("VMXON again", vmxon(physical(vmxon_region)), 15);
	refused("VMCLEAR, misaligned", vmclear(physical(other) + 1), 2);
	refused("VMCLEAR, beyond memory", vmclear(UINT64_C(1) << 52), 2);
	refused("VMCLEAR of the VMXON region", vmclear(physical(vmxon_region)), 3);
	refused("VMPTRLD, misaligned", vmptrld(physical(other) + 1), 9);
	refused("VMPTRLD of the VMXON region", vmptrld(physical(vmxon_region)), 10);
	*(uint32_t *)other = revision ^ 1;
	refused("VMPTRLD, another revision", vmptrld(physical(other)), 11);
	*(uint32_t *)other = revision;
	refused("VMRESUME of a clear VMCS", enter(true), 5);
}

static void check_fields(void)
{
	uint64_t value = 0;

	refused("VMREAD of no field", vmread_to(0x6ffe, &value), 12);
	refused("VMWRITE of no field", vmwrite(0x6ffe, 0), 12);
	refused("VMREAD of the upper half of a 32-bit field", vmread_to(VMCS_PIN_CONTROLS | 1, &value), 12);
	if (!(read_msr(MSR_VMX_MISC) & 1u << 29))
		check(vmwrite(VMCS_EXIT_REASON, 1) == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 13, "VMWRITE of a read-only field");
	check_equal(vmwrite(VMCS_TSC_OFFSET, 0x123456789abcdef0), SUCCEEDED, "VMWRITE of 64 bits");
	check_equal(vmread(VMCS_TSC_OFFSET | 1), 0x12345678, "its upper half");
	check_equal(vmwrite(VMCS_TSC_OFFSET | 1, 0xffffffff00000055), SUCCEEDED, "VMWRITE of the upper half");
	check_equal(vmread(VMCS_TSC_OFFSET), 0x559abcdef0, "all of it");
	vmwrite(VMCS_GUEST_ES_SELECTOR, 0x12345);
	check_equal(vmread(VMCS_GUEST_ES_SELECTOR), 0x2345, "16 bits of a selector");
	check_equal(vmptrld(physical(other)), SUCCEEDED, "VMPTRLD of another");
	vmwrite(VMCS_TSC_OFFSET, 7);
	check_equal(vmptrld(physical(vmcs)), SUCCEEDED, "VMPTRLD of the first again");
	check_equal(vmread(VMCS_TSC_OFFSET), 0x559abcdef0, "its field is its own");
	check_equal(vmclear(physical(other)), SUCCEEDED, "VMCLEAR of the other");
	check_equal(vmptrst(), physical(vmcs), "the first stays current");
	refused("INVEPT, type 0", invept(0, 0, 0), 28);
	refused("INVEPT, type 3", invept(3, 0, 0), 28);
	check_equal(invept(2, 0, 0), SUCCEEDED, "INVEPT of all");
	refused("INVVPID, type 4", invvpid(4, 1, 0), 28);
	refused("INVVPID of VPID 0", invvpid(1, 0, 0), 28);
	refused("INVVPID, reserved bits", invvpid(1, 0x10001, 0), 28);
	refused("INVVPID of no canonical address", invvpid(0, 1, UINT64_C(1) << 60), 28);
	check_equal(invvpid(1, 1, 0), SUCCEEDED, "INVVPID of VPID 1");
}

/* ---- refused entries ---------------------------------------------------------------------------------- */

static void check_refused_entries(void)
{
	static const struct {
		const char *what;
		uint32_t field;
		uint64_t value;
		unsigned error;
	} bad[] = {
		{"no default1 bits in the pin-based controls", VMCS_PIN_CONTROLS, 0, 7},
		{"undefined pin-based controls", VMCS_PIN_CONTROLS, ALL_ONES, 7},
		{"five CR3 targets", VMCS_CR3_TARGET_COUNT, 5, 7},
		{"a misaligned MSR area", VMCS_ENTRY_MSR_LOAD_COUNT, 1, 7},
		{"an event of the reserved type", VMCS_ENTRY_EVENT, EVENT_VALID | 1u << 8, 7},
		{"an NMI with another vector", VMCS_ENTRY_EVENT, EVENT_VALID | TYPE_NMI | 3, 7},
		{"#GP without its error code", VMCS_ENTRY_EVENT, EVENT_VALID | TYPE_EXCEPTION | 13, 7},
		{"#UD with an error code", VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_ERROR | TYPE_EXCEPTION | 6, 7},
		{"host CR0 without NE", VMCS_HOST_CR0, 0x80000011, 8},
		{"host CR4 without VMXE", VMCS_HOST_CR4, 0x20, 8},
		{"host CR3 beyond memory", VMCS_HOST_CR3, UINT64_C(1) << 52, 8},
		{"host CS null", VMCS_HOST_CS_SELECTOR, 0, 8},
		{"host TR null", VMCS_HOST_TR_SELECTOR, 0, 8},
		{"host DS with RPL 3", VMCS_HOST_ES_SELECTOR + 6, DATA | 3, 8},
		{"host FS base not canonical", VMCS_HOST_FS_BASE, UINT64_C(1) << 60, 8},
		{"host EFER without LMA", VMCS_HOST_EFER, 0x100, 8},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(VMCS_ENTRY_MSR_LOAD, 8);
		vmwrite(bad[i].field, bad[i].value);
		expect_entry_error(bad[i].what, bad[i].error);
	}
	PREPARE(0, 0, CPU2_EPT, VMCALL);
	vmwrite(VMCS_EPT_POINTER, physical(ept_pml4) | 3 << 3 | 7);
	expect_entry_error("an EPTP of no memory type", 7);
	vmwrite(VMCS_EPT_POINTER, physical(ept_pml4) | 2 << 3 | 6);
	expect_entry_error("an EPTP of three levels", 7);
	PREPARE(0, 0, CPU2_UNRESTRICTED, VMCALL);
	expect_entry_error("unrestricted guest without EPT", 7);
	PREPARE(0, 0, CPU2_VPID, VMCALL);
	vmwrite(VMCS_VPID, 0);
	expect_entry_error("VPID 0", 7);
	PREPARE(0, 0, 0, VMCALL);
	refused("VMLAUNCH behind MOV SS", launch_in_shadow(), 26);
}

static void check_failed_entries(void)
{
	static const struct {
		const char *what;
		uint32_t field;
		uint64_t value;
	} bad[] = {
		{"guest CR0 without PG", VMCS_GUEST_CR0, 0x31},
		{"guest CR4 without VMXE", VMCS_GUEST_CR4, 0x20},
		{"guest CR3 beyond memory", VMCS_GUEST_CR3, UINT64_C(1) << 52},
		{"guest EFER with an undefined bit", VMCS_GUEST_EFER, 0x502},
		{"guest EFER without LMA", VMCS_GUEST_EFER, 0x100},
		{"guest RFLAGS with bit 1 clear", VMCS_GUEST_RFLAGS, 0},
		{"guest CS of a data type", VMCS_GUEST_CS_ACCESS, 0xa091},
		{"guest TR unusable", VMCS_GUEST_TR_ACCESS, 0x10000},
		{"guest activity 9", VMCS_GUEST_ACTIVITY, 9},
		{"guest blocked by STI with IF clear", VMCS_GUEST_INTERRUPTIBILITY, 1},
		{"VMCS link pointer misaligned", VMCS_LINK_POINTER, 8},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(bad[i].field, bad[i].value);
		check_equal(enter(false), SUCCEEDED, bad[i].what);
		print("nested: %s, exit reason 0x%x qualification 0x%lx\n", bad[i].what, (unsigned)vmread(VMCS_EXIT_REASON),
		      vmread(VMCS_QUALIFICATION));
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, bad[i].what);
		check_equal(vmread(bad[i].field), bad[i].value, "a field of a guest that was not entered");
		check_equal(enter(true), FAILED_VALID, "VMRESUME behind a failed VMLAUNCH");
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), 5, "its error");
	}
	PREPARE(0, 0, 0, VMCALL);
	area[0] = MSR_STAR;
	area[1] = 0x1234;
	area[2] = 0xc0000100; /* FS_BASE, which may not stand there */
	area[3] = 0;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 2);
	check_equal(enter(false), SUCCEEDED, "MSR load that fails");
	print("nested: MSR load, exit reason 0x%x qualification 0x%lx\n", (unsigned)vmread(VMCS_EXIT_REASON), vmread(VMCS_QUALIFICATION));
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, "MSR load that fails");
	check_equal(vmread(VMCS_QUALIFICATION), 2, "its number");
	check_equal(read_msr(MSR_STAR), 0x1234, "the MSR before it");
}

/* ---- exits -------------------------------------------------------------------------------------------- */

static void check_exits(void)
{
	PREPARE(0, 0, 0, 0x48, 0xc7, 0xc0, 0x34, 0x12, 0, 0, 0x48, 0xff, 0xc3, 0x0f, 0xa2, VMCALL); /* mov $1234h, %rax; inc %rbx; cpuid */
	registers.rbx = 7;
	expect_exit("CPUID", false, VMX_EXIT_CPUID, 10);
	check_equal(registers.rax, 0x1234, "L2's RAX");
	check_equal(registers.rbx, 8, "L2's RBX");
	refused("VMLAUNCH of a launched VMCS", enter(false), 4);
	vmwrite(VMCS_GUEST_RIP, physical(code) + 12);
	expect_exit("VMCALL, resumed", true, VMX_EXIT_VMCALL, 12);

	PREPARE(0, CPU_HLT, 0, 0xf4);
	expect_exit("HLT", false, VMX_EXIT_HLT, 0);
	PREPARE(0, CPU_RDTSC, 0, 0x0f, 0x31);
	expect_exit("RDTSC", false, VMX_EXIT_RDTSC, 0);
	PREPARE(0, 0, 0, 0x0f, 0x31, VMCALL);
	expect_exit("RDTSC, not intercepted", false, VMX_EXIT_VMCALL, 2);
	PREPARE(0, CPU_INVLPG, 0, 0x0f, 0x01, 0x3b); /* invlpg (%rbx) */
	registers.rbx = 0x123456;
	expect_exit("INVLPG", false, VMX_EXIT_INVLPG, 0);
	PREPARE(0, CPU_MOV_DR, 0, 0x0f, 0x23, 0xd8); /* mov %rax, %dr3 */
	expect_exit("MOV to DR3", false, VMX_EXIT_MOV_DR, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xc4); /* vmxoff */
	expect_exit("VMXOFF of L2's", false, VMX_EXIT_VMXOFF, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xd1, 0x0f, 0x0b);
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_UD);
	vmwrite(VMCS_GUEST_RIP, physical(code) + 3);
	expect_exit("#UD", false, VMX_EXIT_EXCEPTION_NMI, 3);
	check_equal(vmread(VMCS_EXIT_EVENT), EVENT_VALID | TYPE_EXCEPTION | 6, "what it was");
	PREPARE(0, 0, 0, 0x0f, 0x0b);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, 0);
	expect_exit("a triple fault", false, VMX_EXIT_TRIPLE_FAULT, 0);
	PREPARE(PIN_PREEMPTION_TIMER, 0, 0, 0xeb, 0xfe);
	vmwrite(VMCS_PREEMPTION_TIMER, 0);
	expect_exit("the preemption timer at 0", false, VMX_EXIT_PREEMPTION_TIMER, 0);
	vmwrite(VMCS_PREEMPTION_TIMER, 5000);
	expect_exit("the preemption timer in a loop", true, VMX_EXIT_PREEMPTION_TIMER, 0);
}

static void check_control_registers(void)
{
	uint64_t cr0 = get_cr0(), cr4 = get_cr4();

	PREPARE(0, CPU_CR3_LOAD, 0, 0x0f, 0x22, 0xd8, VMCALL); /* mov %rax, %cr3 */
	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(registers.rax));
	expect_exit("MOV to CR3", false, VMX_EXIT_CR_ACCESS, 0);
	vmwrite(VMCS_CR3_TARGET_COUNT, 1);
	vmwrite(VMCS_CR3_TARGET0, registers.rax);
	expect_exit("MOV to CR3, a target", true, VMX_EXIT_VMCALL, 3);
	PREPARE(0, 0, 0, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc3, VMCALL); /* mov %rax, %cr0; mov %cr0, %rbx */
	vmwrite(VMCS_CR0_MASK, 1u << 16 | 1u << 3);
	vmwrite(VMCS_CR0_SHADOW, 1u << 3);
	registers.rax = (cr0 & ~(UINT64_C(1) << 16)) | 1u << 3 | 1u << 1;
	expect_exit("MOV to CR0 as L1 shows it", false, VMX_EXIT_VMCALL, 6);
	check_equal(registers.rbx & (1u << 16 | 1u << 3 | 1u << 1), 1u << 3 | 1u << 1, "CR0 as L2 reads it");
	registers.rax |= 1u << 16;
	vmwrite(VMCS_GUEST_RIP, physical(code));
	expect_exit("MOV to CR0 that changes a bit of L1's", true, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x06); /* clts */
	vmwrite(VMCS_CR0_MASK, 1u << 3);
	vmwrite(VMCS_CR0_SHADOW, 1u << 3);
	expect_exit("CLTS", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xf0); /* lmsw %ax */
	vmwrite(VMCS_CR0_MASK, 1u << 2);
	registers.rax = 5;
	expect_exit("LMSW", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x22, 0xe0, 0x0f, 0x20, 0xe3, VMCALL); /* mov %rax, %cr4; mov %cr4, %rbx */
	registers.rax = cr4 | 1u << 2;
	expect_exit("MOV to CR4", false, VMX_EXIT_VMCALL, 6);
	check_equal(vmread(VMCS_GUEST_CR4), cr4 | 1u << 2, "L2's CR4");
	check_equal(registers.rbx, cr4 | 1u << 2, "CR4 as L2 reads it");
	check_equal(get_cr4(), cr4, "L1's CR4");
	check_equal(get_cr0(), cr0, "L1's CR0");
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_GP);
	vmwrite(VMCS_GUEST_RIP, physical(code));
	registers.rax = cr4 & ~(uint64_t)CR4_VMXE;
	expect_exit("MOV to CR4 without VMXE", true, VMX_EXIT_EXCEPTION_NMI, 0);
}

static void check_ports_and_msrs(void)
{
	uint64_t lstar = read_msr(MSR_LSTAR);

	PREPARE(0, CPU_IO_BITMAPS, 0, 0xe6, 0x80, 0xe4, 0x71, VMCALL); /* out %al, $80h; in $71h, %al */
	memset(io_map, 0, 2 * PAGE);
	io_map[0x71 / 8] = 1u << (0x71 % 8);
	expect_exit("IN, of an intercepted port", false, VMX_EXIT_IO, 2);
	io_map[0x71 / 8] = 0;
	expect_exit("IN of a port that is not intercepted", true, VMX_EXIT_VMCALL, 4);
	PREPARE(0, CPU_UNCONDITIONAL_IO, 0, 0x66, 0xef); /* out %ax, %dx */
	registers.rdx = 0x1234;
	expect_exit("OUT, unconditionally", false, VMX_EXIT_IO, 0);

	PREPARE(0, CPU_MSR_BITMAPS, 0, 0x0f, 0x32, 0x0f, 0x30, VMCALL); /* rdmsr; wrmsr */
	memset(msr_map, 0, PAGE);
	msr_map[0xc00 + (MSR_LSTAR & 0x1fff) / 8] = 1u << (MSR_LSTAR & 7); /* writes */
	registers.rcx = MSR_LSTAR;
	expect_exit("WRMSR, intercepted", false, VMX_EXIT_WRMSR, 2);
	check_equal(registers.rax | registers.rdx << 32, lstar, "LSTAR as L2 reads it");
	memset(msr_map, 0, PAGE);
	registers.rax ^= 0x100;
	expect_exit("WRMSR, not intercepted", true, VMX_EXIT_VMCALL, 4);
	check_equal(read_msr(MSR_LSTAR), lstar ^ 0x100, "LSTAR as L2 wrote it");
	write_msr(MSR_LSTAR, lstar);
	registers.rcx = 0x12345678;
	vmwrite(VMCS_GUEST_RIP, physical(code));
	expect_exit("RDMSR outside of the bitmap", true, VMX_EXIT_RDMSR, 0);

	PREPARE(0, CPU_MSR_BITMAPS, 0, VMCALL);
	area[0] = area[4] = MSR_KERNEL_GS_BASE;
	area[1] = 0x1111000;
	area[5] = 0x2222000;
	area[8] = MSR_KERNEL_GS_BASE;
	area[9] = 0;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
	vmwrite(VMCS_EXIT_MSR_LOAD, physical(area + 4));
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 1);
	vmwrite(VMCS_EXIT_MSR_STORE, physical(area + 8));
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 1);
	expect_exit("MSR areas", false, VMX_EXIT_VMCALL, 0);
	check_equal(read_msr(MSR_KERNEL_GS_BASE), 0x2222000, "an MSR loaded by the exit");
	check_equal(area[9], 0x1111000, "an MSR stored by the exit");
}

/* ---- events ------------------------------------------------------------------------------------------- */

static void set_l2_gate(unsigned vector, uint64_t entry)
{
	idt[2 * vector] = (entry & 0xffff) | CODE64 << 16 | UINT64_C(0x8e) << 40 | (entry >> 16 & 0xffff) << 48;
	idt[2 * vector + 1] = entry >> 32;
}

static void check_events(void)
{
	memset(idt, 0, PAGE);
	PREPARE(0, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x58, VMCALL); /* ...; pop %rax; vmcall */
	set_l2_gate(VECTOR_GP, physical(code) + 4);
	vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_ERROR | TYPE_EXCEPTION | VECTOR_GP);
	vmwrite(VMCS_ENTRY_EVENT_ERROR, 0x5a);
	expect_exit("#GP, injected", false, VMX_EXIT_VMCALL, 5);
	check_equal(registers.rax, 0x5a, "its error code");
	check_equal(vmread(VMCS_ENTRY_EVENT) >> 31, 0, "the event is done with");

	PREPARE(PIN_EXTERNAL_INTERRUPT, 0, 0, 0xeb, 0xfe);
	vmwrite(VMCS_GUEST_RFLAGS, 0x202); /* Bochs keeps interrupts back from a guest that has them off */
	interrupts_off();
	apic_enable();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_ACKNOWLEDGE);
	expect_exit("an interrupt, acknowledged", false, VMX_EXIT_EXTERNAL_INTERRUPT, 0);
	check_equal(vmread(VMCS_EXIT_EVENT), EVENT_VALID | VECTOR, "which");
	apic_write(APIC_EOI, 0);

	PREPARE(0, CPU_INTERRUPT_WINDOW, 0, 0xfb, 0x90, 0x90); /* sti */
	expect_exit("the interrupt window", false, VMX_EXIT_INTERRUPT_WINDOW, 2);

	/* Through a gate whose handler's stack is in a page that L1 has not mapped. */
	PREPARE(0, 0, CPU2_EPT, 0x90);
	set_l2_gate(VECTOR_UD, physical(code));
	vmwrite(VMCS_GUEST_RSP, WINDOW + 64);
	memset(ept_pt, 0, PAGE);
	vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | TYPE_EXCEPTION | VECTOR_UD);
	check_equal(enter(false), SUCCEEDED, "#UD, injected over a missing stack");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_EPT_VIOLATION, "its exit");
	print("nested: #UD over a missing stack, exit vectoring 0x%x qualification 0x%lx gpa 0x%lx\n", (unsigned)vmread(VMCS_VECTORING_EVENT),
	      vmread(VMCS_QUALIFICATION) & 0x1ff, vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	check_equal(vmread(VMCS_VECTORING_EVENT), EVENT_VALID | TYPE_EXCEPTION | VECTOR_UD, "the event that was broken off");
}

/* ---- EPT ---------------------------------------------------------------------------------------------- */

static void set_up_ept(void)
{
	memset(ept_pml4, 0, PAGE);
	memset(ept_pdpt, 0, PAGE);
	memset(ept_pd, 0, PAGE);
	memset(ept_pt, 0, PAGE);
	ept_pml4[0] = physical(ept_pdpt) | EPT_RWX;
	for (unsigned i = 0; i < 4; i++)
		ept_pdpt[i] = (uint64_t)i << 30 | EPT_RWX | EPT_WB | EPT_LEAF;
	ept_pdpt[WINDOW >> 30] = physical(ept_pd) | EPT_RWX;
	ept_pd[0] = physical(ept_pt) | EPT_RWX;
}

/* L2's access to the window: a load, a store, a jump. */
enum access { LOAD,
	      STORE,
	      FETCH };

static void access_window(enum access access)
{
	static const uint8_t codes[3][6] = {
		{0x48, 0x8b, 0x03, VMCALL}, /* mov (%rbx), %rax */
		{0x48, 0x89, 0x03, VMCALL}, /* mov %rax, (%rbx) */
		{0xff, 0xe3},               /* jmp *%rbx */
	};

	prepare(0, 0, CPU2_EPT | CPU2_VPID, codes[access], sizeof(codes[access]));
	registers.rbx = WINDOW + 0x128;
	registers.rax = 0x1122334455667788;
}

/* Every combination of rights of a leaf, in a table with rights of its own, and every access. */
static void check_ept_rights(void)
{
	static const char *const names[] = {"load", "store", "fetch"};
	static const uint8_t vmcall[] = {VMCALL};
	bool execute_only = read_msr(MSR_VMX_EPT_VPID_CAP) & 1;
	uint8_t *bytes = (uint8_t *)page;

	for (unsigned rights = 0; rights < 8; rights++) {
		for (unsigned above = rights == 7 ? 0 : 7; above < 8; above++) {
			if ((rights | above) && !execute_only && (above == EPT_X || rights == EPT_X))
				continue;
			ept_pd[0] = physical(ept_pt) | above;
			ept_pt[0] = physical(page) | rights | (rights ? EPT_WB : 0);
			for (unsigned access = LOAD; access <= FETCH; access++) {
				unsigned reason;

				memcpy(bytes + 0x128, vmcall, sizeof(vmcall)); /* what a fetch finds */
				invept(1, physical(ept_pml4) | 3 << 3 | 6, 0);
				access_window(access);
				check_equal(enter(false), SUCCEEDED, "entry");
				reason = (unsigned)vmread(VMCS_EXIT_REASON);
				print("nested: %s, leaf %u below %u, exit reason %u qualification 0x%lx gpa 0x%lx linear 0x%lx\n", names[access],
				      rights, above, reason, vmread(VMCS_QUALIFICATION) & (reason == VMX_EXIT_EPT_VIOLATION ? 0x1ff : 0),
				      reason == VMX_EXIT_VMCALL ? 0 : vmread(VMCS_GUEST_PHYSICAL_ADDRESS),
				      reason == VMX_EXIT_EPT_VIOLATION ? vmread(VMCS_GUEST_LINEAR_ADDRESS) : 0);
			}
		}
	}
	ept_pd[0] = physical(ept_pt) | EPT_RWX;
}

static void check_ept(void)
{
	page[0x128 / 8] = 0xabcdef;
	memset(ept_pt, 0, PAGE);
	access_window(LOAD);
	expect_exit("a page that is missing", false, VMX_EXIT_EPT_VIOLATION, 0);
	check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), WINDOW + 0x128, "its gpa");
	ept_pt[0] = physical(page) | EPT_R | EPT_WB;
	expect_exit("the same, mapped", true, VMX_EXIT_VMCALL, 3);
	check_equal(registers.rax, 0xabcdef, "what L2 has read");
	access_window(STORE);
	expect_exit("a store to a page for reading", false, VMX_EXIT_EPT_VIOLATION, 0);
	ept_pt[0] |= EPT_W;
	invept(1, physical(ept_pml4) | 3 << 3 | 6, 0);
	expect_exit("the same, for writing", true, VMX_EXIT_VMCALL, 3);
	check_equal(page[0x128 / 8], 0x1122334455667788, "what L2 has written");
	/* The page elsewhere: what the CPU knows of it goes with INVEPT. */
	ept_pt[0] = physical(area) | EPT_RWX | EPT_WB;
	area[0x128 / 8] = 0x77;
	invept(1, physical(ept_pml4) | 3 << 3 | 6, 0);
	access_window(LOAD);
	expect_exit("the page moved", false, VMX_EXIT_VMCALL, 3);
	check_equal(registers.rax, 0x77, "what L2 has read of it");
	ept_pt[0] = physical(page) | EPT_RWX | 2 << 3;
	invept(2, 0, 0);
	access_window(LOAD);
	expect_exit("a leaf of no memory type", false, VMX_EXIT_EPT_MISCONFIGURATION, 0);
	ept_pt[0] = UINT64_C(1) << 51 | EPT_RWX | EPT_WB;
	expect_exit("a leaf beyond memory", true, VMX_EXIT_EPT_MISCONFIGURATION, 0);
	ept_pt[0] = physical(page) | EPT_RWX | EPT_WB;
	expect_exit("the leaf mended", true, VMX_EXIT_VMCALL, 3);
}

/* L2's own tables in the window: the walk of them is an access, too (28.2.1, table 28-7). */
static void check_ept_walk(void)
{
	uint64_t root = physical(tables);

	memset(tables, 0, PAGE);
	memset(ept_pt, 0, PAGE);
	ept_pt[1] = physical(page) | EPT_RWX | EPT_WB;
	PREPARE(0, 0, CPU2_EPT, 0x48, 0x8b, 0x03, VMCALL);
	memcpy(tables, (void *)(uintptr_t)vmread(VMCS_GUEST_CR3), PAGE); /* the boot code's top table */
	tables[1] = (WINDOW + PAGE) | 3;                                 /* a PDPT at the window's second page */
	memset(page, 0, PAGE);
	page[0] = 0 | 0x83; /* the first GiB */
	vmwrite(VMCS_GUEST_CR3, root);
	registers.rbx = (UINT64_C(1) << 39) + physical(code);
	expect_exit("a walk over tables in the window", false, VMX_EXIT_VMCALL, 3);
	ept_pt[1] = 0;
	invept(2, 0, 0);
	vmwrite(VMCS_GUEST_RIP, physical(code));
	expect_exit("a walk over a table that is missing", true, VMX_EXIT_EPT_VIOLATION, 0);
	print("nested: it, exit gpa 0x%lx linear 0x%lx\n", vmread(VMCS_GUEST_PHYSICAL_ADDRESS), vmread(VMCS_GUEST_LINEAR_ADDRESS) - physical(code));
	ept_pt[1] = physical(page) | EPT_RWX | EPT_WB;
}

static void check_accessed_and_dirty(void)
{
	uint64_t eptp = physical(ept_pml4) | 1 << 6 | 3 << 3 | 6;

	if (!(read_msr(MSR_VMX_EPT_VPID_CAP) & 1u << 21)) {
		skip("nested-vmx: no accessed and dirty flags");
		return;
	}
	ept_pt[0] = physical(page) | EPT_RWX | EPT_WB;
	ept_pd[0] &= ~(uint64_t)EPT_ACCESSED;
	invept(2, 0, 0);
	access_window(LOAD);
	vmwrite(VMCS_EPT_POINTER, eptp);
	expect_exit("a load with flags", false, VMX_EXIT_VMCALL, 3);
	print("nested: flags after a load, exit 0x%lx 0x%lx\n", ept_pt[0] & 0x300, ept_pd[0] & 0x300);
	check_equal(ept_pt[0] & 0x300, EPT_ACCESSED, "accessed by a load");
	access_window(STORE);
	vmwrite(VMCS_EPT_POINTER, eptp);
	expect_exit("a store with flags", false, VMX_EXIT_VMCALL, 3);
	check_equal(ept_pt[0] & 0x300, EPT_ACCESSED | EPT_DIRTY, "dirty by a store");
}

/* Real mode and protected mode without paging: what unrestricted guest is for. */
static void check_unrestricted(void)
{
	PREPARE(0, 0, CPU2_EPT | CPU2_UNRESTRICTED, 0x90, VMCALL); /* the same bytes in 32-bit code */
	vmwrite(VMCS_GUEST_CR0, 0x31);
	vmwrite(VMCS_GUEST_CR4, CR4_VMXE);
	vmwrite(VMCS_GUEST_EFER, 0);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E);
	vmwrite(VMCS_GUEST_CS_ACCESS, 0xc09b);
	expect_exit("L2 without paging", false, VMX_EXIT_VMCALL, 1);
	check_equal(vmread(VMCS_GUEST_CR0) & 0x80000001, 1, "its CR0");
	check(get_cr0() >> 31 & 1 && read_msr(MSR_EFER) >> 10 & 1, "L1 is in long mode again");
}

static uint8_t *take_pages(unsigned n)
{
	static uint8_t *next;

	if (!next)
		next = (uint8_t *)(uintptr_t)take_ram(2 * MIB);
	next += n * PAGE;
	memset(next - n * PAGE, 0, n * PAGE);
	return next - n * PAGE;
}

void test_nested_vmx(void)
{
	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmxon_region = take_pages(1);
	vmcs = take_pages(1);
	other = take_pages(1);
	msr_map = take_pages(1);
	io_map = take_pages(2);
	code = take_pages(1);
	stack = take_pages(1);
	ept_pml4 = (uint64_t *)take_pages(1);
	ept_pdpt = (uint64_t *)take_pages(1);
	ept_pd = (uint64_t *)take_pages(1);
	ept_pt = (uint64_t *)take_pages(1);
	page = (uint64_t *)take_pages(1);
	area = (uint64_t *)take_pages(1);
	idt = (uint64_t *)take_pages(1);
	tables = (uint64_t *)take_pages(1);
	begin_vmx();
	check_pointers();
	check_fields();
	set_up_ept();
	check_exits();
	check_refused_entries();
	check_failed_entries();
	check_control_registers();
	check_ports_and_msrs();
	check_events();
	check_ept();
	check_ept_rights();
	check_ept_walk();
	check_accessed_and_dirty();
	check_unrestricted();
	check_equal(vector_of(vmxoff, NULL), -1, "VMXOFF");
	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST behind VMXOFF");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() & ~(uint64_t)CR4_VMXE)), -1, "CR4.VMXE cleared again");
}
