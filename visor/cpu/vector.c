/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/cpu/vector.h"

#define STORE(n) __asm__ volatile("movups %%xmm" #n ", (%0)" : : "r"(value) : "memory")

/* They can be stored: CR4.OSFXSR is set since the guest started (SDM vol. 3, 13.1). */
void vector_read(unsigned number, uint64_t value[2])
{
	switch (number) {
	case 0: STORE(0); break;
	case 1: STORE(1); break;
	case 2: STORE(2); break;
	case 3: STORE(3); break;
	case 4: STORE(4); break;
	case 5: STORE(5); break;
	case 6: STORE(6); break;
	case 7: STORE(7); break;
	case 8: STORE(8); break;
	case 9: STORE(9); break;
	case 10: STORE(10); break;
	case 11: STORE(11); break;
	case 12: STORE(12); break;
	case 13: STORE(13); break;
	case 14: STORE(14); break;
	default: STORE(15); break;
	}
}
