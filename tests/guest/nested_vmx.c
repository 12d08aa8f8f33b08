/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor of a few lines (L1): guests of a few instructions (L2) by VMX, with and without EPT. It
 * runs on the bare machine and under the visor (`vmmu run --nested`); each answer is printed, and must be
 * the same on both. What is checked: SDM vol. 3, 24 to 31.
 */
#include "nested_vmx.h"

#include "nested_stores.h"

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

static void write_feature_control(void *unused)
{
	(void)unused;
	write_msr(MSR_FEATURE_CONTROL, 0);
}

static void begin_vmx(void)
{
	uint32_t revision = (uint32_t)read_msr(MSR_VMX_BASIC);

	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST without CR4.VMXE");
	check_equal(vector_of(do_vmxon, l1.vmxon_region), VECTOR_UD, "VMXON without CR4.VMXE");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() | CR4_VMXE)), -1, "CR4.VMXE set");
	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST before VMXON");
	if (!(read_msr(MSR_FEATURE_CONTROL) & 1))
		write_msr(MSR_FEATURE_CONTROL, 5);
	check_equal(read_msr(MSR_FEATURE_CONTROL) & 5, 5, "IA32_FEATURE_CONTROL");
	check_equal(vector_of(write_feature_control, NULL), VECTOR_GP, "IA32_FEATURE_CONTROL is locked");
	set_cr0((void *)(get_cr0() & ~(uint64_t)CR0_NE));
	check_equal(vector_of(do_vmxon, l1.vmxon_region), VECTOR_GP, "VMXON with CR0.NE clear");
	set_cr0((void *)(get_cr0() | CR0_NE));
	*(uint32_t *)l1.vmxon_region = revision ^ 1;
	vmx_refused("VMXON, another revision", vmxon(physical(l1.vmxon_region)), 0);
	*(uint32_t *)l1.vmxon_region = revision;
	vmx_refused("VMXON, misaligned", vmxon(physical(l1.vmxon_region) + 8), 0);
	vmx_refused("VMXON, beyond memory", vmxon(UINT64_C(1) << 52), 0);
	check_equal(vmxon(physical(l1.vmxon_region)), SUCCEEDED, "VMXON");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() & ~(uint64_t)CR4_VMXE)), VECTOR_GP, "CR4.VMXE cleared in VMX operation");
	check_equal(vector_of(set_cr0, (void *)(get_cr0() & ~(uint64_t)CR0_NE)), VECTOR_GP, "CR0.NE cleared in VMX operation");
}

static void check_pointers(void)
{
	uint32_t revision = (uint32_t)read_msr(MSR_VMX_BASIC);

	check_equal(vmptrst(), ALL_ONES, "no current VMCS");
	vmx_refused("VMXON again, no VMCS", vmxon(physical(l1.vmxon_region)), 0);
	vmx_refused("VMLAUNCH, no VMCS", vmx_enter(false), 0);
	vmx_refused("VMCLEAR, misaligned, no VMCS", vmclear(physical(l1.vmcs) + 1), 0);
	*(uint32_t *)l1.vmcs = *(uint32_t *)l1.other = revision;
	check_equal(vmclear(physical(l1.vmcs)), SUCCEEDED, "VMCLEAR");
	check_equal(vmclear(physical(l1.other)), SUCCEEDED, "VMCLEAR of another");
	check_equal(vmptrld(physical(l1.vmcs)), SUCCEEDED, "VMPTRLD");
	check_equal(vmptrst(), physical(l1.vmcs), "the current VMCS");
	vmx_refused("VMXON again", vmxon(physical(l1.vmxon_region)), 15);
	vmx_refused("VMCLEAR, misaligned", vmclear(physical(l1.other) + 1), 2);
	vmx_refused("VMCLEAR, beyond memory", vmclear(UINT64_C(1) << 52), 2);
	vmx_refused("VMCLEAR of the VMXON region", vmclear(physical(l1.vmxon_region)), 3);
	vmx_refused("VMPTRLD, misaligned", vmptrld(physical(l1.other) + 1), 9);
	vmx_refused("VMPTRLD of the VMXON region", vmptrld(physical(l1.vmxon_region)), 10);
	*(uint32_t *)l1.other = revision ^ 1;
	vmx_refused("VMPTRLD, another revision", vmptrld(physical(l1.other)), 11);
	*(uint32_t *)l1.other = revision;
	vmx_refused("VMRESUME of a clear VMCS", vmx_enter(true), 5);
}

static void check_fields(void)
{
	uint64_t value = 0;

	vmx_refused("VMREAD of no field", vmread_to(0x6ffe, &value), 12);
	vmx_refused("VMWRITE of no field", vmwrite(0x6ffe, 0), 12);
	vmx_refused("VMREAD of the upper half of a 32-bit field", vmread_to(VMCS_PIN_CONTROLS | 1, &value), 12);
	if (!(read_msr(MSR_VMX_MISC) & 1u << 29))
		check(vmwrite(VMCS_EXIT_REASON, 1) == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 13, "VMWRITE of a read-only field");
	check_equal(vmwrite(VMCS_TSC_OFFSET, 0x123456789abcdef0), SUCCEEDED, "VMWRITE of 64 bits");
	check_equal(vmread(VMCS_TSC_OFFSET | 1), 0x12345678, "its upper half");
	check_equal(vmwrite(VMCS_TSC_OFFSET | 1, 0xffffffff00000055), SUCCEEDED, "VMWRITE of the upper half");
	check_equal(vmread(VMCS_TSC_OFFSET), 0x559abcdef0, "all of it");
	vmwrite(VMCS_GUEST_ES_SELECTOR, 0x12345);
	check_equal(vmread(VMCS_GUEST_ES_SELECTOR), 0x2345, "16 bits of a selector");
	check_equal(vmptrld(physical(l1.other)), SUCCEEDED, "VMPTRLD of another");
	vmwrite(VMCS_TSC_OFFSET, 7);
	check_equal(vmptrld(physical(l1.vmcs)), SUCCEEDED, "VMPTRLD of the first again");
	check_equal(vmread(VMCS_TSC_OFFSET), 0x559abcdef0, "its field is its own");
	check_equal(vmclear(physical(l1.other)), SUCCEEDED, "VMCLEAR of the other");
	check_equal(vmptrst(), physical(l1.vmcs), "the first stays current");
	vmx_refused("INVEPT, type 0", invept(0, 0, 0), 28);
	vmx_refused("INVEPT, type 3", invept(3, 0, 0), 28);
	check_equal(invept(2, 0, 0), SUCCEEDED, "INVEPT of all");
	vmx_refused("INVVPID, type 4", invvpid(4, 1, 0), 28);
	vmx_refused("INVVPID of VPID 0", invvpid(1, 0, 0), 28);
	vmx_refused("INVVPID, reserved bits", invvpid(1, 0x10001, 0), 28);
	vmx_refused("INVVPID of no canonical address", invvpid(0, 1, UINT64_C(1) << 60), 28);
	check_equal(invvpid(1, 1, 0), SUCCEEDED, "INVVPID of VPID 1");
}

/* ---- refused entries ---------------------------------------------------------------------------------- */

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
		vmx_expect_entry_error(bad[i].what, bad[i].error);
	}
	PREPARE(0, 0, CPU2_EPT, VMCALL);
	vmwrite(VMCS_EPT_POINTER, physical(l1.ept_pml4) | 3 << 3 | 7);
	vmx_expect_entry_error("an EPTP of no memory type", 7);
	vmwrite(VMCS_EPT_POINTER, physical(l1.ept_pml4) | 2 << 3 | 6);
	vmx_expect_entry_error("an EPTP of three levels", 7);
	PREPARE(0, 0, CPU2_UNRESTRICTED, VMCALL);
	vmx_expect_entry_error("unrestricted guest without EPT", 7);
	PREPARE(0, 0, CPU2_VPID, VMCALL);
	vmwrite(VMCS_VPID, 0);
	vmx_expect_entry_error("VPID 0", 7);
	PREPARE(0, 0, 0, VMCALL);
	vmx_refused("VMLAUNCH behind MOV SS", launch_in_shadow(), 26);
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
		check_equal(vmx_enter(false), SUCCEEDED, bad[i].what);
		print("nested: %s, exit reason 0x%x qualification 0x%lx\n", bad[i].what, (unsigned)vmread(VMCS_EXIT_REASON),
		      vmread(VMCS_QUALIFICATION));
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, bad[i].what);
		check_equal(vmread(bad[i].field), bad[i].value, "a field of a guest that was not entered");
		check_equal(vmx_enter(true), FAILED_VALID, "VMRESUME behind a failed VMLAUNCH");
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), 5, "its error");
	}
	PREPARE(0, 0, 0, VMCALL);
	l1.area[0] = MSR_STAR;
	l1.area[1] = 0x1234;
	l1.area[2] = 0xc0000100; /* FS_BASE, which may not stand there */
	l1.area[3] = 0;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(l1.area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 2);
	check_equal(vmx_enter(false), SUCCEEDED, "MSR load that fails");
	print("nested: MSR load, exit reason 0x%x qualification 0x%lx\n", (unsigned)vmread(VMCS_EXIT_REASON), vmread(VMCS_QUALIFICATION));
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, "MSR load that fails");
	check_equal(vmread(VMCS_QUALIFICATION), 2, "its number");
	check_equal(read_msr(MSR_STAR), 0x1234, "the MSR before it");
}

/* ---- exits -------------------------------------------------------------------------------------------- */

static void check_exits(void)
{
	PREPARE(0, 0, 0, 0x48, 0xc7, 0xc0, 0x34, 0x12, 0, 0, 0x48, 0xff, 0xc3, 0x0f, 0xa2, VMCALL); /* mov $1234h, %rax; inc %rbx; cpuid */
	l2_gpr.rbx = 7;
	vmx_expect_exit("CPUID", false, VMX_EXIT_CPUID, 10);
	check_equal(l2_gpr.rax, 0x1234, "L2's RAX");
	check_equal(l2_gpr.rbx, 8, "L2's RBX");
	vmx_refused("VMLAUNCH of a launched VMCS", vmx_enter(false), 4);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code) + 12);
	vmx_expect_exit("VMCALL, resumed", true, VMX_EXIT_VMCALL, 12);

	PREPARE(0, CPU_HLT, 0, 0xf4);
	vmx_expect_exit("HLT", false, VMX_EXIT_HLT, 0);
	PREPARE(0, CPU_RDTSC, 0, 0x0f, 0x31);
	vmx_expect_exit("RDTSC", false, VMX_EXIT_RDTSC, 0);
	PREPARE(0, 0, 0, 0x0f, 0x31, VMCALL);
	vmx_expect_exit("RDTSC, not intercepted", false, VMX_EXIT_VMCALL, 2);
	PREPARE(0, CPU_INVLPG, 0, 0x0f, 0x01, 0x3b); /* invlpg (%rbx) */
	l2_gpr.rbx = 0x123456;
	vmx_expect_exit("INVLPG", false, VMX_EXIT_INVLPG, 0);
	PREPARE(0, CPU_MOV_DR, 0, 0x0f, 0x23, 0xd8); /* mov %rax, %dr3 */
	vmx_expect_exit("MOV to DR3", false, VMX_EXIT_MOV_DR, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xc4); /* vmxoff */
	vmx_expect_exit("VMXOFF of L2's", false, VMX_EXIT_VMXOFF, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xd1, 0x0f, 0x0b);
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_UD);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code) + 3);
	vmx_expect_exit("#UD", false, VMX_EXIT_EXCEPTION_NMI, 3);
	check_equal(vmread(VMCS_EXIT_EVENT), EVENT_VALID | TYPE_EXCEPTION | 6, "what it was");
	PREPARE(0, 0, 0, 0x0f, 0x0b);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, 0);
	vmx_expect_exit("a triple fault", false, VMX_EXIT_TRIPLE_FAULT, 0);
	PREPARE(PIN_PREEMPTION_TIMER, 0, 0, 0xeb, 0xfe);
	vmwrite(VMCS_PREEMPTION_TIMER, 0);
	vmx_expect_exit("the preemption timer at 0", false, VMX_EXIT_PREEMPTION_TIMER, 0);
	vmwrite(VMCS_PREEMPTION_TIMER, 5000);
	vmx_expect_exit("the preemption timer in a loop", true, VMX_EXIT_PREEMPTION_TIMER, 0);
}

static void check_control_registers(void)
{
	uint64_t cr0 = get_cr0(), cr4 = get_cr4();

	PREPARE(0, CPU_CR3_LOAD, 0, 0x0f, 0x22, 0xd8, VMCALL); /* mov %rax, %cr3 */
	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(l2_gpr.rax));
	vmx_expect_exit("MOV to CR3", false, VMX_EXIT_CR_ACCESS, 0);
	vmwrite(VMCS_CR3_TARGET_COUNT, 1);
	vmwrite(VMCS_CR3_TARGET0, l2_gpr.rax);
	vmx_expect_exit("MOV to CR3, a target", true, VMX_EXIT_VMCALL, 3);
	PREPARE(0, 0, 0, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc3, VMCALL); /* mov %rax, %cr0; mov %cr0, %rbx */
	vmwrite(VMCS_CR0_MASK, 1u << 16 | 1u << 3);
	vmwrite(VMCS_CR0_SHADOW, 1u << 3);
	l2_gpr.rax = (cr0 & ~(UINT64_C(1) << 16)) | 1u << 3 | 1u << 1;
	vmx_expect_exit("MOV to CR0 as L1 shows it", false, VMX_EXIT_VMCALL, 6);
	check_equal(l2_gpr.rbx & (1u << 16 | 1u << 3 | 1u << 1), 1u << 3 | 1u << 1, "CR0 as L2 reads it");
	l2_gpr.rax |= 1u << 16;
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
	vmx_expect_exit("MOV to CR0 that changes a bit of L1's", true, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x06); /* clts */
	vmwrite(VMCS_CR0_MASK, 1u << 3);
	vmwrite(VMCS_CR0_SHADOW, 1u << 3);
	vmx_expect_exit("CLTS", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x01, 0xf0); /* lmsw %ax */
	vmwrite(VMCS_CR0_MASK, 1u << 2);
	l2_gpr.rax = 5;
	vmx_expect_exit("LMSW", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, 0, 0, 0x0f, 0x22, 0xe0, 0x0f, 0x20, 0xe3, VMCALL); /* mov %rax, %cr4; mov %cr4, %rbx */
	l2_gpr.rax = cr4 | 1u << 2;
	vmx_expect_exit("MOV to CR4", false, VMX_EXIT_VMCALL, 6);
	check_equal(vmread(VMCS_GUEST_CR4), cr4 | 1u << 2, "L2's CR4");
	check_equal(l2_gpr.rbx, cr4 | 1u << 2, "CR4 as L2 reads it");
	check_equal(get_cr4(), cr4, "L1's CR4");
	check_equal(get_cr0(), cr0, "L1's CR0");
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_GP);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
	l2_gpr.rax = cr4 & ~(uint64_t)CR4_VMXE;
	vmx_expect_exit("MOV to CR4 without VMXE", true, VMX_EXIT_EXCEPTION_NMI, 0);
}

static void check_ports_and_msrs(void)
{
	uint64_t lstar = read_msr(MSR_LSTAR);

	PREPARE(0, CPU_IO_BITMAPS, 0, 0xe6, 0x80, 0xe4, 0x71, VMCALL); /* out %al, $80h; in $71h, %al */
	memset(l1.io_map, 0, 2 * PAGE);
	l1.io_map[0x71 / 8] = 1u << (0x71 % 8);
	vmx_expect_exit("IN, of an intercepted port", false, VMX_EXIT_IO, 2);
	l1.io_map[0x71 / 8] = 0;
	vmx_expect_exit("IN of a port that is not intercepted", true, VMX_EXIT_VMCALL, 4);
	PREPARE(0, CPU_UNCONDITIONAL_IO, 0, 0x66, 0xef); /* out %ax, %dx */
	l2_gpr.rdx = 0x1234;
	vmx_expect_exit("OUT, unconditionally", false, VMX_EXIT_IO, 0);

	PREPARE(0, CPU_MSR_BITMAPS, 0, 0x0f, 0x32, 0x0f, 0x30, VMCALL); /* rdmsr; wrmsr */
	memset(l1.msr_map, 0, PAGE);
	l1.msr_map[0xc00 + (MSR_LSTAR & 0x1fff) / 8] = 1u << (MSR_LSTAR & 7); /* writes */
	l2_gpr.rcx = MSR_LSTAR;
	vmx_expect_exit("WRMSR, intercepted", false, VMX_EXIT_WRMSR, 2);
	check_equal(l2_gpr.rax | l2_gpr.rdx << 32, lstar, "LSTAR as L2 reads it");
	memset(l1.msr_map, 0, PAGE);
	l2_gpr.rax ^= 0x100;
	vmx_expect_exit("WRMSR, not intercepted", true, VMX_EXIT_VMCALL, 4);
	check_equal(read_msr(MSR_LSTAR), lstar ^ 0x100, "LSTAR as L2 wrote it");
	write_msr(MSR_LSTAR, lstar);
	l2_gpr.rcx = 0x12345678;
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
	vmx_expect_exit("RDMSR outside of the bitmap", true, VMX_EXIT_RDMSR, 0);

	PREPARE(0, CPU_MSR_BITMAPS, 0, VMCALL);
	l1.area[0] = l1.area[4] = MSR_KERNEL_GS_BASE;
	l1.area[1] = 0x1111000;
	l1.area[5] = 0x2222000;
	l1.area[8] = MSR_KERNEL_GS_BASE;
	l1.area[9] = 0;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(l1.area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
	vmwrite(VMCS_EXIT_MSR_LOAD, physical(l1.area + 4));
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 1);
	vmwrite(VMCS_EXIT_MSR_STORE, physical(l1.area + 8));
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 1);
	vmx_expect_exit("MSR areas", false, VMX_EXIT_VMCALL, 0);
	check_equal(read_msr(MSR_KERNEL_GS_BASE), 0x2222000, "an MSR loaded by the exit");
	check_equal(l1.area[9], 0x1111000, "an MSR stored by the exit");
}

/* ---- events ------------------------------------------------------------------------------------------- */

static void set_l2_gate(unsigned vector, uint64_t entry)
{
	l1.idt[2 * vector] = (entry & 0xffff) | CODE64 << 16 | UINT64_C(0x8e) << 40 | (entry >> 16 & 0xffff) << 48;
	l1.idt[2 * vector + 1] = entry >> 32;
}

static void check_events(void)
{
	memset(l1.idt, 0, PAGE);
	PREPARE(0, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x58, VMCALL); /* ...; pop %rax; vmcall */
	set_l2_gate(VECTOR_GP, physical(l1.code) + 4);
	vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_ERROR | TYPE_EXCEPTION | VECTOR_GP);
	vmwrite(VMCS_ENTRY_EVENT_ERROR, 0x5a);
	vmx_expect_exit("#GP, injected", false, VMX_EXIT_VMCALL, 5);
	check_equal(l2_gpr.rax, 0x5a, "its error code");
	check_equal(vmread(VMCS_ENTRY_EVENT) >> 31, 0, "the event is done with");

	PREPARE(PIN_EXTERNAL_INTERRUPT, 0, 0, 0xeb, 0xfe);
	vmwrite(VMCS_GUEST_RFLAGS, 0x202); /* Bochs keeps interrupts back from a guest that has them off */
	interrupts_off();
	apic_enable();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_ACKNOWLEDGE);
	vmx_expect_exit("an interrupt, acknowledged", false, VMX_EXIT_EXTERNAL_INTERRUPT, 0);
	check_equal(vmread(VMCS_EXIT_EVENT), EVENT_VALID | VECTOR, "which");
	apic_write(APIC_EOI, 0);

	PREPARE(0, CPU_INTERRUPT_WINDOW, 0, 0xfb, 0x90, 0x90); /* sti */
	vmx_expect_exit("the interrupt window", false, VMX_EXIT_INTERRUPT_WINDOW, 2);

	/* Through a gate whose handler's stack is in a page that L1 has not mapped. */
	PREPARE(0, 0, CPU2_EPT, 0x90);
	set_l2_gate(VECTOR_UD, physical(l1.code));
	vmwrite(VMCS_GUEST_RSP, WINDOW + 64);
	memset(l1.ept_pt, 0, PAGE);
	vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | TYPE_EXCEPTION | VECTOR_UD);
	check_equal(vmx_enter(false), SUCCEEDED, "#UD, injected over a missing stack");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_EPT_VIOLATION, "its exit");
	print("nested: #UD over a missing stack, exit vectoring 0x%x qualification 0x%lx gpa 0x%lx\n", (unsigned)vmread(VMCS_VECTORING_EVENT),
	      vmread(VMCS_QUALIFICATION) & 0x1ff, vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	check_equal(vmread(VMCS_VECTORING_EVENT), EVENT_VALID | TYPE_EXCEPTION | VECTOR_UD, "the event that was broken off");
}

/* ---- a CPU that waits ------------------------------------------------------------------------------- */

#define ACTIVITY_HLT 1u

static void enter_halted(const char *what)
{
	check_equal(vmx_enter(false), SUCCEEDED, what);
}

static void halted_answer(const char *what)
{
	enter_halted(what);
	print("nested: halted, %s, exit reason 0x%x activity %u at +0x%lx\n", what, (unsigned)vmread(VMCS_EXIT_REASON),
	      (unsigned)vmread(VMCS_GUEST_ACTIVITY), vmread(VMCS_GUEST_RIP) - physical(l1.code));
}

#define PREPARE_HALTED(pin, ...) \
	do { \
		PREPARE(pin, 0, 0, __VA_ARGS__); \
		vmwrite(VMCS_GUEST_ACTIVITY, ACTIVITY_HLT); \
		vmwrite(VMCS_GUEST_RFLAGS, 0x202); \
	} while (0)

/* What may not be entered in that state, and what is delivered there (27.3.1.5, 27.7.2). */
static void check_halted_entries(void)
{
	static const struct {
		const char *what;
		uint32_t event;
		bool good;
	} events[] = {
		{"an interrupt injected", EVENT_VALID | VECTOR, true},
		{"an NMI injected", EVENT_VALID | 2u << 8 | 2, true},
		{"#DB injected", EVENT_VALID | TYPE_EXCEPTION | 1, true},
		{"#UD injected", EVENT_VALID | TYPE_EXCEPTION | VECTOR_UD, false},
		{"INT n injected", EVENT_VALID | 4u << 8 | VECTOR, false},
	};

	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		PREPARE_HALTED(0, 0x90, 0x90, VMCALL);
		set_l2_gate(events[i].event & 0xff, physical(l1.code) + 1);
		vmwrite(VMCS_ENTRY_EVENT, events[i].event);
		vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, 2);
		if (!events[i].good && !device_present()) /* bare Bochs delivers these, too */
			continue;
		halted_answer(events[i].what);
		check_equal(vmread(VMCS_EXIT_REASON), events[i].good ? VMX_EXIT_VMCALL : 0x80000021, events[i].what);
		if (events[i].good)
			check_equal(vmread(VMCS_GUEST_ACTIVITY), 0, "the activity state behind its delivery");
	}
	PREPARE_HALTED(0, VMCALL);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 1);
	halted_answer("in the shadow of STI");
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, "HLT and the shadow of STI");
}

/* What ends it. */
static void check_halted(void)
{
	if (!(read_msr(MSR_VMX_MISC) & 1u << 6)) {
		skip("nested-vmx: entries into HLT, which the CPU does not have");
		return;
	}
	pic_setup(0xffff); /* the BIOS leaves the PIT running, and L2 has interrupts on */
	memset(l1.idt, 0, PAGE);
	check_halted_entries();

	PREPARE_HALTED(PIN_PREEMPTION_TIMER, VMCALL);
	vmwrite(VMCS_PREEMPTION_TIMER, 100);
	halted_answer("the timer");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_PREEMPTION_TIMER, "exit of the timer in HLT");
	check_equal(vmread(VMCS_GUEST_ACTIVITY), ACTIVITY_HLT, "the activity state behind it");

	interrupts_off();
	apic_enable();
	PREPARE_HALTED(PIN_EXTERNAL_INTERRUPT, VMCALL);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_ACKNOWLEDGE);
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	enter_halted("an interrupt for L1");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_EXTERNAL_INTERRUPT, "exit of an interrupt in HLT");
	if (device_present()) /* bare Bochs says that it was active */
		check_equal(vmread(VMCS_GUEST_ACTIVITY), ACTIVITY_HLT, "the activity state behind it");
	apic_write(APIC_EOI, 0);

	PREPARE_HALTED(0, 0x90, 0x90, VMCALL);
	set_l2_gate(VECTOR, physical(l1.code) + 1);
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	halted_answer("an interrupt for L2");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_VMCALL, "exit behind an interrupt that has ended HLT");
	apic_write(APIC_EOI, 0);

	/* L2's own HLT, which L1 leaves to it. */
	PREPARE(PIN_PREEMPTION_TIMER, 0, 0, 0x90, 0xf4, VMCALL);
	vmwrite(VMCS_GUEST_RFLAGS, 0x202);
	vmwrite(VMCS_PREEMPTION_TIMER, 1000000); /* the visor's timer comes in between, and L2 sleeps on */
	halted_answer("L2's own HLT");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_PREEMPTION_TIMER, "exit of the timer behind HLT of L2's");
	check_equal(vmread(VMCS_GUEST_ACTIVITY), ACTIVITY_HLT, "the activity state behind HLT of L2's");
}

/* ---- EPT ---------------------------------------------------------------------------------------------- */

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

	vmx_prepare(0, 0, CPU2_EPT | CPU2_VPID, codes[access], sizeof(codes[access]));
	l2_gpr.rbx = WINDOW + 0x128;
	l2_gpr.rax = 0x1122334455667788;
}

/* Every combination of rights of a leaf, in a table with rights of its own, and every access. */
static void check_ept_rights(void)
{
	static const char *const names[] = {"load", "store", "fetch"};
	static const uint8_t vmcall[] = {VMCALL};
	bool execute_only = read_msr(MSR_VMX_EPT_VPID_CAP) & 1;
	uint8_t *bytes = (uint8_t *)l1.page;

	for (unsigned rights = 0; rights < 8; rights++) {
		for (unsigned above = rights == 7 ? 0 : 7; above < 8; above++) {
			if ((rights | above) && !execute_only && (above == EPT_X || rights == EPT_X))
				continue;
			l1.ept_pd[0] = physical(l1.ept_pt) | above;
			l1.ept_pt[0] = physical(l1.page) | rights | (rights ? EPT_WB : 0);
			for (unsigned access = LOAD; access <= FETCH; access++) {
				unsigned reason;

				memcpy(bytes + 0x128, vmcall, sizeof(vmcall)); /* what a fetch finds */
				invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
				access_window(access);
				check_equal(vmx_enter(false), SUCCEEDED, "entry");
				reason = (unsigned)vmread(VMCS_EXIT_REASON);
				print("nested: %s, leaf %u below %u, exit reason %u qualification 0x%lx gpa 0x%lx linear 0x%lx\n", names[access],
				      rights, above, reason, vmread(VMCS_QUALIFICATION) & (reason == VMX_EXIT_EPT_VIOLATION ? 0x1ff : 0),
				      reason == VMX_EXIT_VMCALL ? 0 : vmread(VMCS_GUEST_PHYSICAL_ADDRESS),
				      reason == VMX_EXIT_EPT_VIOLATION ? vmread(VMCS_GUEST_LINEAR_ADDRESS) : 0);
			}
		}
	}
	l1.ept_pd[0] = physical(l1.ept_pt) | EPT_RWX;
}

static void check_ept(void)
{
	l1.page[0x128 / 8] = 0xabcdef;
	memset(l1.ept_pt, 0, PAGE);
	access_window(LOAD);
	vmx_expect_exit("a page that is missing", false, VMX_EXIT_EPT_VIOLATION, 0);
	check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), WINDOW + 0x128, "its gpa");
	l1.ept_pt[0] = physical(l1.page) | EPT_R | EPT_WB;
	vmx_expect_exit("the same, mapped", true, VMX_EXIT_VMCALL, 3);
	check_equal(l2_gpr.rax, 0xabcdef, "what L2 has read");
	access_window(STORE);
	vmx_expect_exit("a store to a page for reading", false, VMX_EXIT_EPT_VIOLATION, 0);
	l1.ept_pt[0] |= EPT_W;
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	vmx_expect_exit("the same, for writing", true, VMX_EXIT_VMCALL, 3);
	check_equal(l1.page[0x128 / 8], 0x1122334455667788, "what L2 has written");
	/* The page elsewhere: what the CPU knows of it goes with INVEPT. */
	l1.ept_pt[0] = physical(l1.area) | EPT_RWX | EPT_WB;
	l1.area[0x128 / 8] = 0x77;
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	access_window(LOAD);
	vmx_expect_exit("the page moved", false, VMX_EXIT_VMCALL, 3);
	check_equal(l2_gpr.rax, 0x77, "what L2 has read of it");
	l1.ept_pt[0] = physical(l1.page) | EPT_RWX | 2 << 3;
	invept(2, 0, 0);
	access_window(LOAD);
	vmx_expect_exit("a leaf of no memory type", false, VMX_EXIT_EPT_MISCONFIGURATION, 0);
	l1.ept_pt[0] = UINT64_C(1) << 51 | EPT_RWX | EPT_WB;
	vmx_expect_exit("a leaf beyond memory", true, VMX_EXIT_EPT_MISCONFIGURATION, 0);
	l1.ept_pt[0] = physical(l1.page) | EPT_RWX | EPT_WB;
	vmx_expect_exit("the leaf mended", true, VMX_EXIT_VMCALL, 3);
}

/* L1 mends one entry for each fault of L2, in each way often enough that the visor expects the next one; then it takes the page away again. */
static void check_handler(void)
{
	enum { FIRST = 8,
	       OFTEN = 5 };

	for (unsigned n = 0; n < OFTEN * entry_stores(); n++) {
		uint64_t gpa = WINDOW + (FIRST + n) * PAGE;

		l1.page[0] = 0x4000 + n;
		access_window(LOAD);
		l2_gpr.rbx = gpa;
		vmx_expect_exit("a page that L1 has not mapped yet", false, VMX_EXIT_EPT_VIOLATION, 0);
		check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), gpa, "its gpa");
		entry_store(n / OFTEN, &l1.ept_pt[FIRST + n], physical(l1.page) | EPT_RWX | EPT_WB | EPT_ACCESSED | EPT_DIRTY);
		vmx_expect_exit("the same behind L1's store", true, VMX_EXIT_VMCALL, 3);
		check_equal(l2_gpr.rax, 0x4000 + n, "what L2 has read behind L1's store");
	}
	for (unsigned n = 0; n < OFTEN * entry_stores(); n++) {
		access_window(LOAD);
		l2_gpr.rbx = WINDOW + (FIRST + n) * PAGE;
		l1.ept_pt[FIRST + n] = 0;
		invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
		vmx_expect_exit("a page that L1 has taken away", false, VMX_EXIT_EPT_VIOLATION, 0);
	}
}

/* L2's own tables in the window: the walk of them is an access, too (28.2.1, table 28-7). */
static void check_ept_walk(void)
{
	uint64_t root = physical(l1.tables);

	memset(l1.tables, 0, PAGE);
	memset(l1.ept_pt, 0, PAGE);
	l1.ept_pt[1] = physical(l1.page) | EPT_RWX | EPT_WB;
	PREPARE(0, 0, CPU2_EPT, 0x48, 0x8b, 0x03, VMCALL);
	memcpy(l1.tables, (void *)(uintptr_t)vmread(VMCS_GUEST_CR3), PAGE); /* the boot code's top table */
	l1.tables[1] = (WINDOW + PAGE) | 3;                                 /* a PDPT at the window's second page */
	memset(l1.page, 0, PAGE);
	l1.page[0] = 0 | 0x83; /* the first GiB */
	vmwrite(VMCS_GUEST_CR3, root);
	l2_gpr.rbx = (UINT64_C(1) << 39) + physical(l1.code);
	vmx_expect_exit("a walk over tables in the window", false, VMX_EXIT_VMCALL, 3);
	l1.ept_pt[1] = 0;
	invept(2, 0, 0);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
	vmx_expect_exit("a walk over a table that is missing", true, VMX_EXIT_EPT_VIOLATION, 0);
	print("nested: it, exit gpa 0x%lx linear 0x%lx\n", vmread(VMCS_GUEST_PHYSICAL_ADDRESS), vmread(VMCS_GUEST_LINEAR_ADDRESS) - physical(l1.code));
	l1.ept_pt[1] = physical(l1.page) | EPT_RWX | EPT_WB;
}

static void check_accessed_and_dirty(void)
{
	uint64_t eptp = physical(l1.ept_pml4) | 1 << 6 | 3 << 3 | 6;

	if (!(read_msr(MSR_VMX_EPT_VPID_CAP) & 1u << 21)) {
		skip("nested-vmx: no accessed and dirty flags");
		return;
	}
	l1.ept_pt[0] = physical(l1.page) | EPT_RWX | EPT_WB;
	l1.ept_pd[0] &= ~(uint64_t)EPT_ACCESSED;
	invept(2, 0, 0);
	access_window(LOAD);
	vmwrite(VMCS_EPT_POINTER, eptp);
	vmx_expect_exit("a load with flags", false, VMX_EXIT_VMCALL, 3);
	print("nested: flags after a load, exit 0x%lx 0x%lx\n", l1.ept_pt[0] & 0x300, l1.ept_pd[0] & 0x300);
	check_equal(l1.ept_pt[0] & 0x300, EPT_ACCESSED, "accessed by a load");
	access_window(STORE);
	vmwrite(VMCS_EPT_POINTER, eptp);
	vmx_expect_exit("a store with flags", false, VMX_EXIT_VMCALL, 3);
	check_equal(l1.ept_pt[0] & 0x300, EPT_ACCESSED | EPT_DIRTY, "dirty by a store");
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
	vmx_expect_exit("L2 without paging", false, VMX_EXIT_VMCALL, 1);
	check_equal(vmread(VMCS_GUEST_CR0) & 0x80000001, 1, "its CR0");
	check(get_cr0() >> 31 & 1 && read_msr(MSR_EFER) >> 10 & 1, "L1 is in long mode again");
}

#define LOW_WINDOW 0x80000000u /* for CR3 without long mode: a GiB that has no memory of L1's */
#define PAE_RWX 0x63
#define PAE_LARGE (1u << 7)
#define CR4_PAE (1u << 5)

/* L2 turns PAE paging on: its PDPTEs come from where L1's EPT leads, and L1 is told where that refuses them. */
static void check_pae(void)
{
	static const uint8_t bytes[] = {0x0f, 0x22, 0xd8, 0x0f, 0x22, 0xe3, 0x0f, 0x22, 0xc1, VMCALL, 0x0f, 0x22, 0xc2, VMCALL}; /* mov to CR3, CR4 and CR0 */
	uint64_t *directory = vmx_pages(1), pdpte = (LOW_WINDOW + PAGE) | 1;

	for (unsigned i = 0; i < 512; i++)
		directory[i] = (uint64_t)i << 21 | PAE_RWX | PAE_LARGE;
	memset(l1.page, 0, PAGE);
	l1.page[0] = pdpte;
	l1.ept_pdpt[LOW_WINDOW >> 30] = physical(l1.ept_pd) | EPT_RWX;
	l1.ept_pd[0] = physical(l1.ept_pt) | EPT_RWX;
	l1.ept_pt[0] = 0;
	l1.ept_pt[1] = physical(directory) | EPT_RWX | EPT_WB;
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	vmx_prepare(0, 0, CPU2_EPT | CPU2_UNRESTRICTED, bytes, sizeof(bytes));
	vmwrite(VMCS_GUEST_CR0, 0x31);
	vmwrite(VMCS_GUEST_CR4, CR4_VMXE);
	vmwrite(VMCS_GUEST_EFER, 0);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E);
	vmwrite(VMCS_GUEST_CS_ACCESS, 0xc09b);
	l2_gpr.rax = LOW_WINDOW;
	l2_gpr.rbx = CR4_VMXE | CR4_PAE;
	l2_gpr.rcx = 0x80000031;
	l2_gpr.rdx = 0xc0000031; /* CD, which loads them again (SDM vol. 3, 4.4.1), and is the visor's to change */
	vmx_expect_exit("PDPTEs that the EPT refuses", false, VMX_EXIT_EPT_VIOLATION, 6);
	check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), LOW_WINDOW, "their address");
	check_equal(vmread(VMCS_QUALIFICATION) & 0x87, EPT_R, "a read, of no linear address");
	l1.ept_pt[0] = physical(l1.page) | EPT_R | EPT_WB;
	vmx_expect_exit("PDPTEs by way of the EPT", true, VMX_EXIT_VMCALL, 9);
	check_equal(vmread(VMCS_GUEST_PDPTE0), pdpte, "the PDPTE that L2 has loaded");
	l1.ept_pt[0] = 0;
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code) + 12);
	vmx_expect_exit("PDPTEs that the EPT refuses to CR0.CD", true, VMX_EXIT_EPT_VIOLATION, 12);
	check_equal(vmread(VMCS_GUEST_PHYSICAL_ADDRESS), LOW_WINDOW, "their address");
	check_equal(vmread(VMCS_QUALIFICATION) & 0x87, EPT_R, "a read, of no linear address");
	l1.ept_pt[0] = physical(l1.page) | EPT_R | EPT_WB;
	l1.page[0] = pdpte | 1u << 3; /* PWT */
	vmx_expect_exit("PDPTEs anew, by CR0.CD", true, VMX_EXIT_VMCALL, 15);
	check_equal(vmread(VMCS_GUEST_PDPTE0), pdpte | 1u << 3, "the PDPTE that L2 has loaded then");
	l1.page[0] = pdpte | 1u << 5; /* reserved */
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_GP);
	vmwrite(VMCS_GUEST_CR0, 0x31);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code));
	vmx_expect_exit("a PDPTE with a reserved bit", true, VMX_EXIT_EXCEPTION_NMI, 6);
	vmx_set_up_ept();
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
}

void test_nested_vmx(void)
{
	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmx_set_up();
	begin_vmx();
	check_pointers();
	check_fields();
	check_exits();
	check_refused_entries();
	check_failed_entries();
	check_control_registers();
	check_ports_and_msrs();
	check_events();
	check_halted();
	check_ept();
	check_handler();
	check_ept_rights();
	check_ept_walk();
	check_accessed_and_dirty();
	check_unrestricted();
	check_pae();
	check_equal(vector_of(vmxoff, NULL), -1, "VMXOFF");
	check_equal(vector_of(do_vmptrst, NULL), VECTOR_UD, "VMPTRST behind VMXOFF");
	check_equal(vector_of(set_cr4, (void *)(get_cr4() & ~(uint64_t)CR4_VMXE)), -1, "CR4.VMXE cleared again");
}
