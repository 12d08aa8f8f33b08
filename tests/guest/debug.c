/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * #DB and #AC. A hypervisor must intercept both, since their delivery can raise them
 * again for ever with no exit in between; so each reaches the guest by way of the
 * visor, with DR6 and DR7, return address and error code as a CPU gives them (SDM
 * vol. 3, 18.2 "Debug Registers", 18.3 "Debug Exceptions", 6.15 "Interrupt 17").
 */
#include "space.h"

#define VECTOR_AC 17
#define RFLAGS_TF (1u << 8)
#define RFLAGS_AC (1u << 18)
#define RFLAGS_RF (1u << 16)
#define CR0_AM (1u << 18)

enum { DR6_B0 = 1 << 0,
       DR6_B1 = 1 << 1,
       DR6_BD = 1 << 13,
       DR6_BS = 1 << 14 };
enum { DR7_L0 = 1 << 0,
       DR7_L1 = 1 << 2,
       DR7_GD = 1 << 13,
       DR7_FIXED = 1 << 10 };
#define DR7_WRITE_4_AT_1 (0xdull << 20) /* breakpoint 1: on writes, 4 bytes */

#define DEBUG_REGISTER(n) \
	static uint64_t read_dr##n(void) \
	{ \
		uint64_t v; \
		__asm__ volatile("mov %%dr" #n ", %0" \
		                 : "=r"(v)); \
		return v; \
	} \
	static void write_dr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n \
		                                               : \
		                                               : "r"(v) \
		                                               : "memory"); }
DEBUG_REGISTER(6)
DEBUG_REGISTER(7)
static void write_dr0(uint64_t v) { __asm__ volatile("mov %0, %%dr0"
	                                             :
	                                             : "r"(v)); }
static void write_dr1(uint64_t v) { __asm__ volatile("mov %0, %%dr1"
	                                             :
	                                             : "r"(v)); }

#define DR6_CLEAR 0xffff0ff0

/* QEMU's CPU, bare: no #AC, DR7.GD without effect, #UD by INT1, no trap right behind STI. */
static bool lacks_parts;

static volatile unsigned traps;
static uint64_t trap_rip[16], trap_dr6[16], trap_dr7;

static void note_trap(struct frame *f)
{
	if (traps < 16) {
		trap_rip[traps] = f->rip;
		trap_dr6[traps] = read_dr6();
	}
	trap_dr7 = read_dr7();
	traps++;
	write_dr6(DR6_CLEAR);
	f->rflags |= RFLAGS_RF; /* an instruction breakpoint is not to come again */
}

static void check_trap(unsigned i, uint64_t rip, uint64_t dr6, const char *what)
{
	check(trap_rip[i] == rip, "%s: #DB returns to 0x%lx instead of 0x%lx", what, trap_rip[i], rip);
	check((trap_dr6[i] & (DR6_B0 | DR6_B1 | DR6_BD | DR6_BS)) == dr6, "%s: DR6 is 0x%lx", what, trap_dr6[i]);
}

/* A trap after each instruction, be it one that the visor carries out (CPUID) or not. */
static void single_step(void)
{
	uint64_t rip[4];

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; lea 2f(%%rip), %%rax; mov %%rax, %1\n\t"
	                 "lea 3f(%%rip), %%rax; mov %%rax, %2; lea 4f(%%rip), %%rax; mov %%rax, %3\n\t"
	                 "pushf; orl %4, (%%rsp); popf\n\t"
	                 "nop\n"
	                 "1:	xor %%eax, %%eax\n"
	                 "2:	cpuid\n"
	                 "3:	pushf; 4: andl %5, (%%rsp); popf\n\t"
	                 : "=m"(rip[0]), "=m"(rip[1]), "=m"(rip[2]), "=m"(rip[3])
	                 : "i"(RFLAGS_TF), "i"(~RFLAGS_TF)
	                 : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	check(traps >= 6 && traps <= 7, "%u traps while stepping over six instructions", traps);
	for (unsigned i = 0; i < 4 && i < traps; i++)
		check_trap(i, rip[i], DR6_BS, "a single step");
}

/* Reads of a device, which the visor carries out the short way (visor/exit/quick_access.h) but for this. */
static void single_step_over_reads(void)
{
	uint64_t behind[2];

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; lea 2f(%%rip), %%rax; mov %%rax, %1\n\t"
	                 "pushf; orl %2, (%%rsp); popf\n\t"
	                 "movl (%4), %%eax\n"
	                 "1:	movl (%4), %%eax\n"
	                 "2:	pushf; andl %3, (%%rsp); popf\n\t"
	                 : "=m"(behind[0]), "=m"(behind[1])
	                 : "i"(RFLAGS_TF), "i"(~RFLAGS_TF), "r"(APIC_BASE + APIC_VERSION)
	                 : "rax", "memory", "cc");
	check(traps >= 4 && traps <= 5, "%u traps while stepping over two reads and four instructions", traps);
	for (unsigned i = 0; i < 2 && i < traps; i++)
		check_trap(i, behind[i], DR6_BS, "a step over a device's read");
}

/* STI holds interrupts back for one instruction, but no trap: here both come together. */
static void single_step_behind_sti(void)
{
	uint64_t behind;

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0\n\t"
	                 "pushf; orl %1, (%%rsp); popf\n\t"
	                 "sti\n"
	                 "1:	cli; pushf; andl %2, (%%rsp); popf\n\t"
	                 : "=m"(behind)
	                 : "i"(RFLAGS_TF), "i"(~RFLAGS_TF)
	                 : "rax", "memory", "cc");
	check(traps >= 4, "%u traps while stepping over STI", traps);
	check_trap(0, behind, DR6_BS, "a step over STI");
}

static void breakpoints(void)
{
	static volatile uint32_t word;
	uint64_t at, behind;

	__asm__ volatile("lea 1f(%%rip), %0; lea 2f(%%rip), %1; jmp 3f; 1: nop; 2: ret; 3:"
	                 : "=r"(at), "=r"(behind));
	write_dr0(at);
	write_dr1((uintptr_t)&word);
	write_dr7(DR7_FIXED | DR7_L0 | DR7_L1 | DR7_WRITE_4_AT_1);
	traps = 0;
	((void (*)(void))(uintptr_t)at)();
	check_equal(traps, 1, "traps at an instruction breakpoint");
	check_trap(0, at, DR6_B0, "an instruction breakpoint");
	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %0; movl $7, %1; 1:"
	                 : "=&r"(behind), "=m"(word));
	check_equal(traps, 1, "traps by a watched word");
	check_trap(0, behind, DR6_B1, "a watched word");
	write_dr7(DR7_FIXED);
}

/* Delivery clears GD, so that the handler may use the registers. */
static void debug_register_access(void)
{
	uint64_t at;

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %0; mov %1, %%dr7; 1: mov %%dr0, %%rax"
	                 : "=&r"(at)
	                 : "r"((uint64_t)DR7_FIXED | DR7_GD)
	                 : "rax");
	check_equal(traps, 1, "traps by an access to a guarded debug register");
	check_trap(0, at, DR6_BD, "a guarded debug register");
	check_equal(trap_dr7 & DR7_GD, 0, "DR7.GD in the handler");
	write_dr7(DR7_FIXED);
}

static void int1(void)
{
	uint64_t behind;

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %0; .byte 0xf1; 1:"
	                 : "=&r"(behind));
	check_equal(traps, 1, "traps by INT1");
	check(trap_rip[0] == behind, "INT1 returns to 0x%lx instead of 0x%lx", trap_rip[0], behind);
}

/* MOV SS holds the single step back; it comes with the #DB of INT1 (SDM vol. 3, 6.8.3, 18.3.1.4). */
static void int1_behind_mov_ss(void)
{
	uint64_t behind;

	traps = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov %%ss, %%ecx\n\t"
	                 "pushf; orl %1, (%%rsp); popf\n\t"
	                 "mov %%ecx, %%ss\n\t"
	                 ".byte 0xf1\n"
	                 "1:	pushf; andl %2, (%%rsp); popf\n\t"
	                 : "=m"(behind)
	                 : "i"(RFLAGS_TF), "i"(~RFLAGS_TF)
	                 : "rax", "rcx", "memory", "cc");
	check(traps >= 1, "no trap by INT1 behind MOV SS");
	check_trap(0, behind, DR6_BS, "INT1 behind MOV SS with TF set");
}

/* ---- #AC: only at CPL 3 ------------------------------------------------------------------- */

static volatile unsigned faults;
static uint64_t fault_resume;

static void note_fault(struct frame *f)
{
	faults++;
	f->rflags &= ~(uint64_t)0x100; /* TF */
	f->rip = fault_resume;
}

/* Under TF, in the shadow of MOV SS: the step is held back, and then there is a fault instead. */
#define FAULT_BEHIND_MOV_SS(vector, instruction) \
	do { \
		on_interrupt(vector, note_fault); \
		traps = faults = 0; \
		__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov %%ss, %%edx; pushfq; orq $0x100, (%%rsp)\n\t" \
		                 "mov $0x7fffffff, %%ecx; popfq; mov %%edx, %%ss; " instruction "; 1:" \
		                 : "=m"(fault_resume) \
		                 : "S"(0x400000000000ull) \
		                 : "rax", "rcx", "rdx", "memory", "cc"); \
		check_equal(faults, 1, "faults behind MOV SS: " instruction); \
		check_equal(traps, 0, "single steps with " instruction); \
		on_interrupt(vector, NULL); \
	} while (0)

static void faults_behind_mov_ss(void)
{
	FAULT_BEHIND_MOV_SS(VECTOR_UD, "ud2");
	FAULT_BEHIND_MOV_SS(VECTOR_UD, "vmxon (%%rsp)");
	FAULT_BEHIND_MOV_SS(VECTOR_PF, "mov (%%rsi), %%eax");
	if (!device_present()) /* a bare machine may have them */
		return;
	FAULT_BEHIND_MOV_SS(VECTOR_GP, "rdmsr");
	FAULT_BEHIND_MOV_SS(VECTOR_GP, "rdpmc");
}

enum { USER_DATA = 0x33,
       USER_CODE = 0x3b,
       KERNEL_CODE = 0x18,
       KERNEL_DATA = 0x10 };

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static uint64_t kernel_rsp, kernel_rip, user_vector, user_error, user_rip;

/* What ends the stay at CPL 3, #AC or #UD. */
static void leave_user_mode(struct frame *f)
{
	user_vector = f->vector;
	user_error = f->error;
	user_rip = f->rip;
	f->rip = kernel_rip;
	f->rsp = kernel_rsp;
	f->cs = KERNEL_CODE;
	f->ss = KERNEL_DATA;
	f->rflags &= ~(uint64_t)RFLAGS_AC;
}

static void enter_user_mode(uint64_t rip, uint64_t rsp, uint64_t rflags)
{
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov %%rsp, %1\n\t"
	                 "push %2; push %3; push %4; push %5; push %6; iretq\n"
	                 "1:"
	                 : "=m"(kernel_rip), "=m"(kernel_rsp)
	                 : "i"(USER_DATA), "r"(rsp), "r"(rflags), "i"(USER_CODE), "r"(rip)
	                 : "rax", "memory", "cc");
}

/* Two more descriptors behind those that the guest has. */
static void add_user_segments(struct table_register gdtr)
{
	uint64_t *gdt;

	gdt = (uint64_t *)(uintptr_t)gdtr.base;
	gdt[USER_DATA / 8] = 0x00cff3000000ffff;
	gdt[USER_CODE / 8] = 0x00affb000000ffff;
	gdtr.limit = USER_CODE / 8 * 8 + 7;
	__asm__ volatile("lgdt %0"
	                 :
	                 : "m"(gdtr));
}

static void alignment(void)
{
	/* mov -7(%rsp), %eax; ud2 */
	static const uint8_t code[] = {0x8b, 0x44, 0x24, 0xf9, 0x0f, 0x0b};
	uint64_t frame = frame_take(), stack = frame_take(), linear = paging->window;
	struct table_register gdtr;

	memcpy((void *)(uintptr_t)frame, code, sizeof(code));
	space_map(read_cr3(), linear, frame | ENTRY_P | ENTRY_W | ENTRY_U, 1);
	__asm__ volatile("sgdt %0"
	                 : "=m"(gdtr));
	add_user_segments(gdtr);
	interrupt_stack(VECTOR_AC, stack + PAGE);
	interrupt_stack(VECTOR_UD, stack + PAGE);
	on_interrupt(VECTOR_AC, leave_user_mode);
	on_interrupt(VECTOR_UD, leave_user_mode);
	write_cr0(read_cr0() | CR0_AM);
	enter_user_mode(linear, linear + PAGE, 2);
	check_equal(user_vector, VECTOR_UD, "vector of a misaligned access with EFLAGS.AC clear");
	enter_user_mode(linear, linear + PAGE, 2 | RFLAGS_AC);
	if (!lacks_parts) {
		check_equal(user_vector, VECTOR_AC, "vector of a misaligned access");
		check_equal(user_error, 0, "error code of #AC");
		check_equal(user_rip, linear, "return address of #AC");
	}
	write_cr0(read_cr0() & ~(uintptr_t)CR0_AM);
	__asm__ volatile("lgdt %0"
	                 :
	                 : "m"(gdtr));
	on_interrupt(VECTOR_AC, NULL);
	on_interrupt(VECTOR_UD, NULL);
	interrupt_stack(VECTOR_AC, 0);
	interrupt_stack(VECTOR_UD, 0);
}

void test_debug(void)
{
	on_interrupt(VECTOR_DB, note_trap);
	lacks_parts = cpuid(0, 0).b != 0x756e6547; /* "Genu": what QEMU runs here calls itself AMD */
	if (lacks_parts)
		skip("debug: #AC, DR7.GD, INT1 and steps over STI, which QEMU does not have");
	write_dr6(DR6_CLEAR);
	single_step();
	single_step_over_reads();
	breakpoints();
	if (!lacks_parts) {
		single_step_behind_sti();
		debug_register_access();
		int1();
		int1_behind_mov_ss();
		faults_behind_mov_ss();
	}
	on_interrupt(VECTOR_DB, NULL);
	in_each_mode(alignment);
}
