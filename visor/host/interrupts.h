/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The visor's own interrupts and exceptions. #DF, NMI and #MC come on stacks of
 * their own (host/stacks.h), by the visor's task register, which is loaded whenever
 * it runs.
 */
#ifndef VISOR_HOST_INTERRUPTS_H
#define VISOR_HOST_INTERRUPTS_H

#include <stdint.h>

enum { VECTOR_TIMER = 0x40,
       VECTOR_SPURIOUS = 0xff };

#define HOST_CODE_SELECTOR 0x08
#define HOST_DATA_SELECTOR 0x10
#define HOST_TASK_SELECTOR 0x18

struct host_tables {
	uint64_t gdt_base, idt_base, tss_base;
	unsigned gdt_bytes, idt_bytes, tss_bytes; /* multiples of 8 */
};

/* Load GDT, IDT and task register; silence the PICs. Interrupts stay off. */
void interrupts_init(void);

/* `handler` is called for each interrupt of this vector, 32 to 255, interrupts off. */
void interrupts_handle(unsigned vector, void (*handler)(void));

/* The visor cannot go on: a line that says why, and the `end` event. */
void interrupts_die(const char *why, const void *at) __attribute__((noreturn));

struct host_tables host_tables(void);

/*
 * From now on an exception at [begin, end) that its instruction may raise goes on at `resume` with the vector in
 * RAX, all else as it was. NULL: none does.
 */
void interrupts_recover(const void *begin, const void *end, const void *resume);

static inline void interrupts_on(void)
{
	__asm__ volatile("sti"
	                 :
	                 :
	                 : "memory");
}

static inline void interrupts_off(void)
{
	__asm__ volatile("cli"
	                 :
	                 :
	                 : "memory");
}

/* For handlers: the instruction of the visor's that the interrupt came before. */
uint64_t interrupts_interrupted(void);

/* Sleep until the next interrupt and handle it. Interrupts are off again. */
static inline void interrupts_wait(void)
{
	__asm__ volatile("sti; hlt; cli"
	                 :
	                 :
	                 : "memory");
}

/* Non-maskable interrupts that came to the visor; nothing but a count is made of them. */
extern uint64_t host_nmi_count;
/* Breakpoints of a guest's that the visor met. */
extern uint64_t host_debug_count;

#endif
