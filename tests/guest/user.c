/* SPDX-License-Identifier: BSD-2-Clause */
#include "user.h"

enum { SELECTOR_TSS = 0x20, USER_DATA = 0x33, USER_CODE = 0x3b };
#ifdef __x86_64__
enum { KERNEL_CODE = 0x18 };
#define CODE_DESCRIPTOR 0x00af9b000000ffffull
#else
enum { KERNEL_CODE = 0x08 };
#define CODE_DESCRIPTOR 0x00cf9b000000ffffull
#endif
#define DPL_3 (3ull << 45)

struct table_register {
	uint16_t limit;
	uintptr_t base;
} __attribute__((packed));

/* SDM vol. 3, 8.2.1 and 8.7: what the CPU reads when an interrupt raises the privilege level. */
struct tss {
	uint32_t reserved;
#ifdef __x86_64__
	uint64_t rsp0;
#else
	uint32_t esp0, ss0;
#endif
	uint8_t others[104 - 4 - 8];
} __attribute__((packed));

static _Alignas(16) uint64_t gdt[8] = {
	[1] = 0x00cf9b000000ffff, [2] = 0x00cf93000000ffff, [3] = CODE_DESCRIPTOR,
	[6] = 0x00cf93000000ffff | DPL_3, [7] = CODE_DESCRIPTOR | DPL_3,
};
static _Alignas(16) struct tss tss;
static _Alignas(16) uint8_t interrupt_stack_of_user[16384];
static struct table_register former;
static struct user_registers *running;

void user_enter(const struct user_registers *registers);
extern const char user_left[];

static void load_gdt(const struct table_register *r)
{
	__asm__ volatile("lgdt %0" : : "m"(*r));
}

void user_begin(void)
{
	struct table_register ours = {sizeof(gdt) - 1, (uintptr_t)gdt};
	uint64_t base = (uintptr_t)&tss;

	__asm__ volatile("sgdt %0" : "=m"(former));
#ifdef __x86_64__
	tss.rsp0 = (uintptr_t)interrupt_stack_of_user + sizeof(interrupt_stack_of_user);
#else
	tss.esp0 = (uintptr_t)interrupt_stack_of_user + sizeof(interrupt_stack_of_user);
	tss.ss0 = 0x10;
#endif
	gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	load_gdt(&ours);
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

void user_end(void)
{
	load_gdt(&former);
	interrupts_setup();
}

bool user_registers_in(const struct frame *f, struct user_registers *out)
{
	if ((f->cs & 3) != 3)
		return false;
#ifdef __x86_64__
	*out = (struct user_registers){f->rax, f->rbx, f->rcx, f->rdx, f->rsi, f->rdi, f->rbp, f->rsp, f->rip, f->rflags};
#else
	/* ESP and SS follow what is pushed without a change of privilege. */
	*out = (struct user_registers){f->eax, f->ebx, f->ecx, f->edx, f->esi, f->edi, f->ebp,
	                               (&f->eflags)[1], f->eip, f->eflags};
#endif
	return true;
}

/* The program is over: back to whoever has started it. */
static void leave(struct frame *f)
{
	if (!user_registers_in(f, running)) {
		print("FAIL user: UD2 in the kernel\n");
		guest_exit(GUEST_EXCEPTION);
	}
	f->cs = KERNEL_CODE;
#ifdef __x86_64__
	f->rip = (uintptr_t)user_left;
	f->rflags = 2;
	f->ss = 0x10;
#else
	f->eip = (uintptr_t)user_left;
	f->eflags = 2;
#endif
}

void user_run(struct user_registers *registers)
{
	running = registers;
	on_interrupt(VECTOR_UD, leave);
	user_enter(registers);
	on_interrupt(VECTOR_UD, NULL);
}
