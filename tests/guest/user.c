/* SPDX-License-Identifier: BSD-2-Clause */
#include "user.h"

#ifdef __x86_64__
enum { KERNEL_CODE = 0x18,
       KERNEL_DATA = 0x10 };
#else
enum { KERNEL_CODE = 0x08 };
#endif

static _Alignas(16) uint8_t interrupt_stack_of_user[16384];
static struct user_registers *running;

void user_enter(const struct user_registers *registers);
extern const char user_left[];

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
		print("FAIL user: an exception of the kernel's own\n");
		guest_exit(GUEST_EXCEPTION);
	}
	f->cs = KERNEL_CODE;
#ifdef __x86_64__
	f->rip = (uintptr_t)user_left;
	f->rflags = 2;
	f->ss = KERNEL_DATA;
#else
	f->eip = (uintptr_t)user_left;
	f->eflags = 2;
#endif
}

void user_run(struct user_registers *registers)
{
	running = registers;
	user_interrupt_stack((uintptr_t)interrupt_stack_of_user + sizeof(interrupt_stack_of_user));
	on_interrupt(VECTOR_UD, leave);
	user_enter(registers);
	on_interrupt(VECTOR_UD, NULL);
	user_interrupt_stack(0);
}

/* ---- One access ------------------------------------------------------------------- */

static bool faulted;

static void leave_with_fault(struct frame *f)
{
	uintptr_t cr2;

	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(cr2));
	leave(f);
	last_trap = (struct trap){f->vector, f->error, running->ip, cr2};
	faulted = true;
}

bool run_as_user(uint64_t code, uint64_t dx, uint32_t *ax)
{
	struct user_registers r = {.ax = *ax, .dx = (uintptr_t)dx, .ip = (uintptr_t)code, .flags = 2};

	faulted = false;
	on_interrupt(VECTOR_PF, leave_with_fault);
	user_run(&r);
	on_interrupt(VECTOR_PF, NULL);
	*ax = (uint32_t)r.ax;
	return !faulted;
}
