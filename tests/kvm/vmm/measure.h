/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest does and times: the one loop that both sides of `make compare` run, the
 * guest of the small VMM under KVM and the test guest under the visor.
 */
#ifndef TESTS_KVM_MEASURE_H
#define TESTS_KVM_MEASURE_H

#include "protocol.h"

static inline uint64_t measure_now(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc"
	                 : "=a"(low), "=d"(high)
	                 :
	                 : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void access_once(uint64_t order, volatile uint64_t *at, uint64_t value)
{
	uint32_t a = 0, b, c = 0, d;

	switch (order) {
	case ORDER_WRITE:
		*at = value;
		break;
	case ORDER_READ:
		(void)*at;
		break;
	case ORDER_READ_DEVICE:
		(void)*(volatile uint32_t *)at;
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

/* `count` accesses, `step` bytes apart; of each the TSC ticks to results[]. Never inlined: it is the same code for every order. */
static __attribute__((noinline, noclone)) void measure(uint64_t order, uint64_t address, uint64_t step, uint64_t count, volatile uint32_t *results)
{
	for (uint64_t i = 0; i < count; i++) {
		volatile uint64_t *at = (volatile uint64_t *)(address + i * step);
		uint64_t begin = measure_now();

		access_once(order, at, i);
		results[i] = (uint32_t)(measure_now() - begin);
	}
}

#endif
