/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of the small VMM: waits for orders in its mailbox, carries them out
 * and notes how long each access took. Starts in 64-bit mode with the address of
 * its mailbox in RDI. A flat image, linked for CODE_GPA.
 */
#include "protocol.h"

void guest_main(struct mailbox *box);

static uint64_t now(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc"
	                 : "=a"(low), "=d"(high)
	                 :
	                 : "memory");
	return (uint64_t)high << 32 | low;
}

static void tell(uint16_t port)
{
	__asm__ volatile("outb %b0, %w1"
	                 :
	                 : "a"(0), "Nd"(port)
	                 : "memory");
}

static void access_once(uint64_t order, volatile uint64_t *at, uint64_t value)
{
	uint32_t a = 0, b, c = 0, d;

	switch (order) {
	case ORDER_WRITE:
		*at = value;
		break;
	case ORDER_READ:
		(void)*at;
		break;
	case ORDER_CPUID:
		__asm__ volatile("cpuid"
		                 : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		break;
	case ORDER_RUN:
		*(volatile uint8_t *)at = 0xc3; /* RET */
		((void (*)(void))at)();
		break;
	default:
		break;
	}
}

__attribute__((section(".start"))) void guest_main(struct mailbox *box)
{
	for (;;) {
		volatile uint32_t *results;

		tell(PORT_DONE);
		results = (volatile uint32_t *)box->results;
		for (uint64_t i = 0; i < box->count; i++) {
			volatile uint64_t *at = (volatile uint64_t *)(box->address + i * box->step);
			uint64_t begin = now();

			access_once(box->order, at, i);
			results[i] = (uint32_t)(now() - begin);
		}
	}
}
