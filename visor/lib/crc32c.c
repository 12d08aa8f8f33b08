/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/lib/crc32c.h"

#include <stdbool.h>

#include <vmmu/trace.h>

/* CPUID.01H:ECX.SSE4_2 (SDM vol. 2, CRC32). Asked once: under another hypervisor the question is an exit. */
static bool has_instruction(void)
{
	static enum { UNKNOWN,
		      NO,
		      YES } answer;
	uint32_t eax = 1, ebx, ecx = 0, edx;

	if (answer == UNKNOWN) {
		__asm__ volatile("cpuid"
		                 : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		answer = ecx & 1u << 20 ? YES : NO;
	}
	return answer == YES;
}

uint32_t crc32c(uint32_t crc, const uint64_t *data, size_t words)
{
	uint64_t state = (uint32_t)~crc;

	if (!has_instruction())
		return vmmu_trace_crc(crc, data, words * sizeof(*data));
	/* A trace record at a time: the loop would take twice what it carries out. */
	for (; words >= 8; words -= 8, data += 8)
		__asm__("crc32q (%1), %0; crc32q 8(%1), %0; crc32q 16(%1), %0; crc32q 24(%1), %0\n\t"
		        "crc32q 32(%1), %0; crc32q 40(%1), %0; crc32q 48(%1), %0; crc32q 56(%1), %0"
		        : "+r"(state)
		        : "r"(data), "m"(*(const uint64_t(*)[8])data));
	for (; words; words--, data++)
		__asm__("crc32q %1, %0"
		        : "+r"(state)
		        : "m"(*data));
	return ~(uint32_t)state;
}
