/* SPDX-License-Identifier: BSD-2-Clause */
/* What the compiler's stack protector wants: a value of this boot's own, and where to go when it is gone. */
#include "visor/host/canary.h"

#include "visor/cpu/x86.h"
#include "visor/host/interrupts.h"

void __stack_chk_fail(void);
extern uint64_t __stack_chk_guard;
uint64_t __stack_chk_guard;

void __stack_chk_fail(void)
{
	interrupts_die("a buffer on the visor's stack has overflowed", __builtin_return_address(0));
}

/* Functions that are left after this must not have been entered with the old value. */
__attribute__((no_stack_protector)) void canary_init(void)
{
	uint64_t value = rdtsc() * 0x9e3779b97f4a7c15ull;

	if (cpuid(1, 0).ecx & 1u << 30) {
		uint64_t random = 0;

		__asm__ volatile("rdrand %0"
		                 : "+r"(random)
		                 :
		                 : "cc");
		value ^= random;
	}
	__stack_chk_guard = value & ~0xffull; /* its first byte ends a string */
}
