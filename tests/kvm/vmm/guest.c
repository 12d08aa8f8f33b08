/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of the small VMM: waits for orders in its mailbox, carries them out
 * and notes how long each access took. Starts in 64-bit mode with the address of
 * its mailbox in RDI. A flat image, linked for CODE_GPA.
 */
#include "measure_paged.h"

void guest_main(struct mailbox *box);

static void tell(uint16_t port)
{
	__asm__ volatile("outb %b0, %w1"
	                 :
	                 : "a"(0), "Nd"(port)
	                 : "memory");
}

__attribute__((section(".start"))) void guest_main(struct mailbox *box)
{
	for (;;) {
		tell(PORT_DONE);
		if (box->order >= ORDER_SWITCH)
			measure_paged(box->order, box->address, box->count, (volatile uint32_t *)box->results);
		else
			measure(box->order, box->address, box->step, box->count, (volatile uint32_t *)box->results);
	}
}
