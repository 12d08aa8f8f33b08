/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Non-maskable interrupts: delivered whatever EFLAGS.IF says, one at a time until
 * IRET, and one more kept meanwhile (SDM vol. 3, 6.7 "Nonmaskable Interrupt").
 */
#include "guest.h"

#define VECTOR_NMI 2
#define ICR_NMI (4u << 8)

static volatile unsigned handled, nested, inside;
static volatile unsigned to_send;

static void send_nmi(void)
{
	apic_write(APIC_ICR, APIC_SELF | ICR_NMI);
}

static void handle_nmi(struct frame *f)
{
	(void)f;
	nested += inside;
	inside = 1;
	handled++;
	/* Each exit is a chance to deliver one too early. */
	for (; to_send; to_send--) {
		send_nmi();
		(void)cpuid(0, 0);
	}
	for (unsigned i = 0; i < 4; i++)
		(void)cpuid(0, 0);
	inside = 0;
}

static void expect(unsigned sent_inside, unsigned want, const char *what)
{
	handled = nested = 0;
	to_send = sent_inside;
	send_nmi();
	for (unsigned i = 0; i < 4; i++)
		(void)cpuid(0, 0);
	check_equal(handled, want, what);
	check_equal(nested, 0, "NMIs inside the handler of one");
}

/* The trap flag that a hypervisor may use to see IRET end must not show. */
static uint64_t flags_now(void)
{
	uint64_t flags;

	__asm__ volatile("pushf; pop %0"
	                 : "=r"(flags));
	return flags;
}

static void note_debug(struct frame *f)
{
	check(false, "#DB at 0x%lx, which nothing has asked for", f->rip);
	f->rflags &= ~(uint64_t)(1u << 8);
}

static void behind_shadow(void)
{
	handled = 0;
	__asm__ volatile("mov %%ss, %%ecx; sti; mov %%ecx, %%ss; nop; cli"
	                 :
	                 :
	                 : "ecx");
	apic_write(APIC_ICR, APIC_SELF | ICR_NMI);
	__asm__ volatile("sti; nop; cli");
	check_equal(handled, 1, "NMIs around STI");
}

/* NMIs that come where they may, and whose handler meets exits and faults of its own, in great number. */
static void many(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < 500; i++) {
		handled = 0;
		to_send = i % 3;
		send_nmi();
		(void)cpuid(0, 0);
		(void)cpuid(0, 0);
		wrong += handled != (i % 3 ? 2 : 1);
	}
	check_equal(wrong, 0, "rounds with a wrong number of NMIs");
	check_equal(nested, 0, "NMIs inside the handler of one, in 500 rounds");
}

void test_nmi(void)
{
	interrupts_off();
	on_interrupt(VECTOR_NMI, handle_nmi);
	on_interrupt(VECTOR_DB, note_debug);
	expect(0, 1, "an NMI with interrupts off");
	expect(1, 2, "an NMI, and one sent by its handler");
	expect(3, 2, "an NMI, and three sent by its handler, of which one is kept");
	behind_shadow();
	many();
	check_equal(flags_now() & 1u << 8, 0, "EFLAGS.TF afterwards");
	on_interrupt(VECTOR_NMI, NULL);
	on_interrupt(VECTOR_DB, NULL);
}
