/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor of a few lines that the tests of nested VMX share: its memory, its VMCS, entries, answers. */
#include "nested_vmx.h"

struct vmx_l1 l1;
struct l2_gpr l2_gpr;

/* ---- memory ----------------------------------------------------------------------------------- */

void *vmx_pages(unsigned n)
{
	static uint8_t *next;

	if (!next)
		next = (uint8_t *)(uintptr_t)take_ram(2 * MIB);
	next += n * PAGE;
	memset(next - n * PAGE, 0, n * PAGE);
	return next - n * PAGE;
}

void vmx_set_up_ept(void)
{
	memset(l1.ept_pml4, 0, PAGE);
	memset(l1.ept_pdpt, 0, PAGE);
	memset(l1.ept_pd, 0, PAGE);
	memset(l1.ept_pt, 0, PAGE);
	l1.ept_pml4[0] = physical(l1.ept_pdpt) | EPT_RWX;
	for (unsigned i = 0; i < 4; i++)
		l1.ept_pdpt[i] = (uint64_t)i << 30 | EPT_RWX | EPT_WB | EPT_LEAF;
	l1.ept_pdpt[WINDOW >> 30] = physical(l1.ept_pd) | EPT_RWX;
	l1.ept_pd[0] = physical(l1.ept_pt) | EPT_RWX;
}

void vmx_set_up(void)
{
	l1.vmxon_region = vmx_pages(1);
	l1.vmcs = vmx_pages(1);
	l1.other = vmx_pages(1);
	l1.msr_map = vmx_pages(1);
	l1.io_map = vmx_pages(2);
	l1.code = vmx_pages(1);
	l1.stack = vmx_pages(1);
	l1.ept_pml4 = vmx_pages(1);
	l1.ept_pdpt = vmx_pages(1);
	l1.ept_pd = vmx_pages(1);
	l1.ept_pt = vmx_pages(1);
	l1.page = vmx_pages(1);
	l1.area = vmx_pages(1);
	l1.idt = vmx_pages(1);
	l1.tables = vmx_pages(1);
	vmx_set_up_ept();
}

void vmx_turn_on(void)
{
	set_cr4((void *)(get_cr4() | CR4_VMXE));
	set_cr0((void *)(get_cr0() | CR0_NE));
	if (!(read_msr(MSR_FEATURE_CONTROL) & 1))
		write_msr(MSR_FEATURE_CONTROL, 5);
	for (unsigned i = 0; i < 3; i++)
		*(uint32_t *)(i == 0 ? l1.vmxon_region : i == 1 ? l1.vmcs
		                                                : l1.other) = (uint32_t)read_msr(MSR_VMX_BASIC);
	check_equal(vmxon(physical(l1.vmxon_region)), SUCCEEDED, "VMXON");
}

void vmx_turn_off(void)
{
	check_equal(vector_of(vmxoff, NULL), -1, "VMXOFF");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() & ~(uint64_t)CR4_VMXE)), -1, "CR4.VMXE cleared again");
}

/* ---- L2 --------------------------------------------------------------------------------------- */

uint32_t vmx_allowed(uint32_t msr, uint32_t wanted)
{
	uint64_t capability = read_msr(msr);

	return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

void vmx_write_host(uint64_t cr0, uint64_t cr3, uint64_t cr4)
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
	vmwrite(VMCS_GUEST_IDTR_BASE, physical(l1.idt));
	vmwrite(VMCS_GUEST_IDTR_LIMIT, 4095);
	vmwrite(VMCS_GUEST_CR0, cr0);
	vmwrite(VMCS_GUEST_CR3, cr3);
	vmwrite(VMCS_GUEST_CR4, cr4);
	vmwrite(VMCS_GUEST_DR7, 0x400);
	vmwrite(VMCS_GUEST_RSP, physical(l1.stack) + STACK_BYTES - 64);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
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
	vmwrite(VMCS_PIN_CONTROLS, vmx_allowed(MSR_TRUE_PIN, pin));
	vmwrite(VMCS_CPU_CONTROLS, vmx_allowed(MSR_TRUE_CPU, cpu | (cpu2 ? (uint32_t)CPU_SECONDARY : 0)) & ~(cpu & CPU_CR3_LOAD ? 0u : (uint32_t)(CPU_CR3_LOAD | CPU_CR3_STORE)));
	vmwrite(VMCS_CPU_CONTROLS2, cpu2);
	vmwrite(VMCS_EXIT_CONTROLS, vmx_allowed(MSR_TRUE_EXIT, EXITING_HOST_64 | EXITING_SAVE_DEBUG | EXITING_SAVE_EFER | EXITING_LOAD_EFER));
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_allowed(MSR_TRUE_ENTRY, ENTRY_IA32E | ENTRY_LOAD_DEBUG | ENTRY_LOAD_EFER));
	vmwrite(VMCS_VPID, 1);
	vmwrite(VMCS_EPT_POINTER, physical(l1.ept_pml4) | 3 << 3 | 6);
	vmwrite(VMCS_MSR_BITMAP, physical(l1.msr_map));
	vmwrite(VMCS_IO_BITMAP_A, physical(l1.io_map));
	vmwrite(VMCS_IO_BITMAP_B, physical(l1.io_map) + PAGE);
}

/* L2 as it begins: 64-bit code at CPL 0 on L1's own page tables. */
void vmx_prepare(uint32_t pin, uint32_t cpu, uint32_t cpu2, const void *bytes, unsigned n)
{
	uint64_t cr0, cr3, cr4;

	__asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2"
	                 : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	memset(&l2_gpr, 0, sizeof(l2_gpr));
	memcpy(l1.code, bytes, n);
	vmclear(physical(l1.vmcs));
	vmptrld(physical(l1.vmcs));
	write_controls(pin, cpu, cpu2);
	vmx_write_host(cr0, cr3, cr4);
	write_guest(cr0, cr3, cr4);
}

unsigned vmx_enter(bool resume)
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
	                 : "S"(&l2_gpr)
	                 : "rbx", "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return (unsigned)r;
}

/* ---- answers ------------------------------------------------------------------------------------ */

/* Of an instruction; for faults it is not defined (28.2.5). */
static unsigned length_of_exit(void)
{
	uint64_t reason = vmread(VMCS_EXIT_REASON);

	return reason == VMX_EXIT_EXCEPTION_NMI || reason == VMX_EXIT_EPT_VIOLATION || reason == VMX_EXIT_EPT_MISCONFIGURATION
	               ? 0
	               : (unsigned)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
}

void vmx_answer_of_instruction(const char *what, unsigned outcome)
{
	print("nested: %s, exit none: outcome %u error %u\n", what, outcome, outcome == FAILED_VALID ? (unsigned)vmread(VMCS_INSTRUCTION_ERROR) : 0);
}

void vmx_answer(const char *what, unsigned outcome)
{
	if (outcome == SUCCEEDED)
		print("nested: %s, exit reason 0x%x qualification 0x%lx at +0x%lx length %u\n", what, (unsigned)vmread(VMCS_EXIT_REASON),
		      vmread(VMCS_QUALIFICATION), vmread(VMCS_GUEST_RIP) - physical(l1.code), length_of_exit());
	else
		vmx_answer_of_instruction(what, outcome);
}

void vmx_refused(const char *what, unsigned outcome, unsigned error)
{
	vmx_answer(what, outcome);
	check(outcome == (error ? FAILED_VALID : FAILED_INVALID), "%s: outcome %u", what, outcome);
	if (error && outcome == FAILED_VALID)
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), error, what);
}

void vmx_expect_entry_error(const char *what, unsigned error)
{
	vmx_refused(what, vmx_enter(false), error);
}

void vmx_expect_exit(const char *what, bool resume, unsigned reason, uint64_t at)
{
	unsigned outcome = vmx_enter(resume);

	vmx_answer(what, outcome);
	check(outcome == SUCCEEDED, "%s: no entry, error %u", what, (unsigned)vmread(VMCS_INSTRUCTION_ERROR));
	check_equal(vmread(VMCS_EXIT_REASON), reason, what);
	check(vmread(VMCS_GUEST_RIP) == physical(l1.code) + at, "%s: exit at +0x%lx instead of +0x%lx", what,
	      vmread(VMCS_GUEST_RIP) - physical(l1.code), at);
}
