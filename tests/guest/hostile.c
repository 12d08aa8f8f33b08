/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that tries what it should not: addresses where nothing is,
 * instructions and registers of the hypervisor, and ways to end itself.
 */
#include "guest.h"

/* ---- Addresses ---------------------------------------------------------------------------- */

static void see_nothing_at(uint64_t gpa)
{
	check(load(gpa) == nothing_there(8), "0x%lx holds 0x%lx where nothing is", gpa, load(gpa));
	store(gpa, 0x4141414141414141);
	check(load(gpa) == nothing_there(8), "0x%lx holds 0x%lx after a write to nothing", gpa, load(gpa));
}

/* Any size, any alignment, reads and writes: each costs the visor tables, none shows anything. */
static void random_addresses(void)
{
	uint64_t top = physical_end() < 512 * GIB ? physical_end() : 512 * GIB;

	for (unsigned i = 0; i < 500; i++) {
		uint64_t gpa = 4 * GIB + random_below(top - 4 * GIB - 8);

		switch (random_below(4)) {
		case 0:
			check(*(volatile uint8_t *)at(gpa) == 0xff, "a byte at 0x%lx where nothing is", gpa);
			break;
		case 1:
			check(*(volatile uint32_t *)at(gpa) == 0xffffffff, "a double word at 0x%lx where nothing is", gpa);
			break;
		case 2:
			*(volatile uint16_t *)at(gpa) = 0x4141;
			break;
		default:
			see_nothing_at(gpa);
		}
	}
}

static void addresses(void)
{
	uint64_t end = ram_end(), top = physical_end();

	if (!device_present()) {
		skip("hostile: addresses, a bare machine has devices and firmware there");
		return;
	}
	for (uint64_t gpa = (end + 2 * MIB - 1) & ~(2 * MIB - 1); gpa < 4 * GIB; gpa += 64 * MIB + 8 * PAGE)
		if (gpa < APIC_BASE - 64 * MIB)
			see_nothing_at(gpa);
	see_nothing_at(end);
	see_nothing_at(0xfed40000); /* TPM */
	see_nothing_at(APIC_BASE + PAGE);
	see_nothing_at(APIC_BASE - PAGE);
	see_nothing_at(IOAPIC_BASE + PAGE);
	see_nothing_at(0xffe00000); /* where a PC keeps its firmware */
	see_nothing_at(64 * GIB);
	see_nothing_at(256 * GIB);
	see_nothing_at(511 * GIB);
	if (top == 1ull << 40 || top == 1ull << 46 || top == 1ull << 48) {
		see_nothing_at(top - PAGE);
		see_nothing_at(top - 8);
		see_nothing_at(top - GIB);
	} else {
		skip("hostile: top of %lu GiB of physical addresses", top / GIB);
	}
	random_addresses();
	print("EXPECT untouched 0x%lx 0x%lx\n", 64 * GIB, 64 * GIB);
}

/* ---- Instructions ---------------------------------------------------------------------------- */

static uint64_t region; /* 4 KiB aligned operand for VMXON and friends */

#define INSTRUCTION(name, text) \
	static void name(void *unused) \
	{ \
		(void)unused; \
		__asm__ volatile(text \
		                 : \
		                 : "a"(region), "c"(0) \
		                 : "memory", "cc"); \
	}
INSTRUCTION(try_vmxon, "push %%rax; vmxon (%%rsp); pop %%rax")
INSTRUCTION(try_vmxoff, "vmxoff")
INSTRUCTION(try_vmptrld, "push %%rax; vmptrld (%%rsp); pop %%rax")
INSTRUCTION(try_vmclear, "push %%rax; vmclear (%%rsp); pop %%rax")
INSTRUCTION(try_vmread, "vmread %%rax, %%rax")
INSTRUCTION(try_vmwrite, "vmwrite %%rax, %%rax")
INSTRUCTION(try_vmlaunch, "vmlaunch")
INSTRUCTION(try_vmresume, "vmresume")
INSTRUCTION(try_invept, "push %%rax; push %%rax; invept (%%rsp), %%rcx; pop %%rax; pop %%rax")
INSTRUCTION(try_invvpid, "push %%rax; push %%rax; invvpid (%%rsp), %%rcx; pop %%rax; pop %%rax")
INSTRUCTION(try_vmrun, "vmrun")
INSTRUCTION(try_vmload, "vmload")
INSTRUCTION(try_vmsave, "vmsave")
INSTRUCTION(try_stgi, "stgi")
INSTRUCTION(try_clgi, "clgi")
INSTRUCTION(try_skinit, "skinit")
INSTRUCTION(try_invlpga, "invlpga")
INSTRUCTION(try_getsec, "xor %%eax, %%eax; getsec")

static void instructions(void)
{
	static const struct {
		const char *name;
		void (*run)(void *);
	} list[] = {
		{"VMXON", try_vmxon},
		{"VMXOFF", try_vmxoff},
		{"VMPTRLD", try_vmptrld},
		{"VMCLEAR", try_vmclear},
		{"VMREAD", try_vmread},
		{"VMWRITE", try_vmwrite},
		{"VMLAUNCH", try_vmlaunch},
		{"VMRESUME", try_vmresume},
		{"INVEPT", try_invept},
		{"INVVPID", try_invvpid},
		{"VMRUN", try_vmrun},
		{"VMLOAD", try_vmload},
		{"VMSAVE", try_vmsave},
		{"STGI", try_stgi},
		{"CLGI", try_clgi},
		{"SKINIT", try_skinit},
		{"INVLPGA", try_invlpga},
		{"GETSEC", try_getsec},
	};

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int vector = vector_of(list[i].run, NULL);

		check(vector == VECTOR_UD, "%s ends with vector %d instead of #UD", list[i].name, vector);
	}
}

/* ---- Registers ------------------------------------------------------------------------------------ */

struct msr_write {
	uint32_t msr;
	uint64_t value;
};

static void try_read_msr(void *msr)
{
	(void)read_msr((uint32_t)(uintptr_t)msr);
}

static void try_write_msr(void *argument)
{
	const struct msr_write *w = argument;

	write_msr(w->msr, w->value);
}

#define CR4_VMXE (1ull << 13)
#define CR4_RESERVED (1ull << 31)

static void try_cr4(void *bits)
{
	uint64_t v;

	__asm__ volatile("mov %%cr4, %0; or %1, %0; mov %0, %%cr4"
	                 : "=&r"(v)
	                 : "r"(bits)
	                 : "memory");
}

static void try_cr0_without_pe(void *unused)
{
	uint64_t v;

	(void)unused;
	__asm__ volatile("mov %%cr0, %0; and $~1, %0; mov %0, %%cr0"
	                 : "=&r"(v)
	                 :
	                 : "memory");
}

/* Whatever a register is called: it has a value, or the answer is #GP. */
static void random_registers(void)
{
	static const uint32_t bases[] = {0, 0xc0000000, 0xc0010000, 0x40000000, 0x4b564d00, 0x400};

	for (unsigned i = 0; i < 3000; i++) {
		uint32_t msr = (uint32_t)random_next();
		int vector;

		if (i % 4)
			msr = bases[random_below(sizeof(bases) / sizeof(bases[0]))] + (uint32_t)random_below(0x400);
		vector = vector_of(try_read_msr, (void *)(uintptr_t)msr);
		check(vector == -1 || vector == VECTOR_GP, "RDMSR of 0x%x ends with vector %d", msr, vector);
		(void)cpuid(i % 2 ? msr & 0xc00000ff : msr, (uint32_t)random_below(64));
	}
}

static void registers(void)
{
	static const uint32_t unknown[] = {0x7fffffff, 0x40000077, 0xc0019999, 0x4d0 + 0x10000};
	static const uint32_t hypervisor[] = {0x480, 0x481, 0x48c, 0xc0010117 /* VM_HSAVE_PA */};
	struct msr_write svme = {0xc0000080, read_msr(0xc0000080) | 1 << 12};

	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct msr_write w = {unknown[i], 1};

		check(vector_of(try_read_msr, (void *)(uintptr_t)unknown[i]) == VECTOR_GP,
		      "RDMSR of unknown 0x%x does not end with #GP", unknown[i]);
		check(vector_of(try_write_msr, &w) == VECTOR_GP, "WRMSR to unknown 0x%x does not end with #GP",
		      unknown[i]);
	}
	for (unsigned i = 0; i < sizeof(hypervisor) / sizeof(hypervisor[0]); i++)
		check(vector_of(try_read_msr, (void *)(uintptr_t)hypervisor[i]) == VECTOR_GP,
		      "RDMSR of 0x%x, which is the hypervisor's, does not end with #GP", hypervisor[i]);
	check(vector_of(try_write_msr, &svme) == VECTOR_GP, "EFER.SVME can be set");
	/* QEMU's CPU would take each of them; the visor does not let it. */
	check(vector_of(try_cr4, (void *)CR4_VMXE) == VECTOR_GP, "CR4.VMXE can be set");
	check(vector_of(try_cr4, (void *)CR4_RESERVED) == VECTOR_GP, "a reserved bit of CR4 can be set");
	check(vector_of(try_cr0_without_pe, NULL) == VECTOR_GP, "CR0.PE can be cleared with paging on");
}

void test_hostile(void)
{
	region = take_ram(2 * MIB);
	addresses();
	if (device_present()) {
		instructions();
		registers();
		random_registers();
		audit("after hostile accesses");
	} else {
		skip("hostile: instructions and registers, this is a bare machine");
	}
}

/* ---- Ends --------------------------------------------------------------------------------------------- */

void end_by_halt(void)
{
	__asm__ volatile("cli; hlt");
	check(false, "HLT with interrupts off came back");
}

/* It does not end: whoever runs it has to. */
void end_by_nobody(void)
{
	for (;;)
		print("no pause and no end, no pause and no end, no pause and no end\n");
}

/* Interrupts off, and not one exit any more. */
void end_by_no_exit(void)
{
	print("interrupts off, no exit and no end\n");
	__asm__ volatile("cli; 1: jmp 1b");
}

static void fault_again(struct frame *f)
{
	(void)f; /* RIP stays, and so does what is missing */
}

/* Interrupts off, and #PF upon #PF: on shadow tables each is an exit that is settled at once. */
void end_by_faults_for_ever(void)
{
	on_interrupt(VECTOR_PF, fault_again);
	print("interrupts off, faults and no end\n");
	__asm__ volatile("cli; mov (%0), %%al"
	                 :
	                 : "r"(0x400000000000ull)
	                 : "rax", "memory");
}

/* ACPI 6.5, 4.8.3.2.1: SLP_EN with the visor's SLP_TYP for S5. */
void end_by_power_off(void)
{
	out16(0x604, 1 << 13 | 5 << 10);
	check(false, "the ACPI registers do not turn the machine off");
}

void end_by_reset(void)
{
	out8(0xcf9, 2);
	out8(0xcf9, 6);
	out8(0x64, 0xfe);
	for (unsigned i = 0; i < 1000000; i++)
		__asm__ volatile("pause");
	check(false, "neither CF9h nor the keyboard controller resets the machine");
}

void end_by_triple_fault(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	__asm__ volatile("lidt %0; ud2"
	                 :
	                 : "m"(none));
}

/* No page table anywhere: neither the next instruction nor the handler of its fault is to be had. */
void end_by_root_nowhere(void)
{
	__asm__ volatile("mov %0, %%cr3"
	                 :
	                 : "r"(UINT64_C(0xd0000000))
	                 : "memory");
}

enum { CODE_LONG_AND_BIG = 0x40 };

static void try_long_and_big(void *unused)
{
	static uint64_t gdt[CODE_LONG_AND_BIG / 8 + 1];
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr;

	(void)unused;
	__asm__ volatile("sgdt %0"
	                 : "=m"(gdtr));
	memcpy(gdt, (const void *)(uintptr_t)gdtr.base, gdtr.limit + 1u < sizeof(gdt) ? gdtr.limit + 1u : sizeof(gdt));
	gdt[CODE_LONG_AND_BIG / 8] = 0x00ef9b000000ffff;
	gdtr.base = (uintptr_t)gdt;
	gdtr.limit = sizeof(gdt) - 1;
	__asm__ volatile("lgdt %0; push %1; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:"
	                 :
	                 : "m"(gdtr), "i"(CODE_LONG_AND_BIG)
	                 : "rax", "memory");
}

/*
 * QEMU's CPU takes a code segment with both L and D; the next entry into the
 * guest then finds its state invalid. On other CPUs the #GP comes at once.
 */
void end_by_invalid_state(void)
{
	int vector = vector_of(try_long_and_big, NULL);

	(void)cpuid(0, 0); /* an exit, and an entry after it */
	check(vector == VECTOR_GP, "CS may have both L and D, and the guest runs on");
}

/* An instruction fetch where nothing is: ones are no instruction. */
static void fetch_nothing(void *unused)
{
	(void)unused;
	((void (*)(void))0xd8000000)();
}

void end_by_fetching_nothing(void)
{
	int vector = vector_of(fetch_nothing, NULL);

	check(vector == VECTOR_UD, "running where nothing is ends with vector %d instead of #UD", vector);
}

/* The visor is asked to break one of its own rules (which=N, enum test_violation). */
void end_by_violation(void)
{
	uint64_t which = option_number("which", 0);

	device(TEST_VIOLATE, which, take_ram(2 * MIB), 0, 0);
	check(which >= TEST_CHANGE_CODE, "the visor may do what it must not (%lu), and goes on", which);
}
