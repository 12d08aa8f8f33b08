/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment descriptors and selectors (SDM vol. 3, 3.4). Private to visor/emulate. */
#ifndef VISOR_EMULATE_SEGMENT_H
#define VISOR_EMULATE_SEGMENT_H

#include <stdint.h>

#include "visor/cpu/state.h"

/* `access` as in struct x86_segment (bits 7:0 and 15:12 of a descriptor's second word, 15:8 and 23:20). */
#define ACCESS_TYPE 0xfu
#define ACCESS_ACCESSED (1u << 0)
#define ACCESS_WRITABLE (1u << 1) /* of data; of code: readable */
#define ACCESS_DOWN_OR_CONFORMING (1u << 2)
#define ACCESS_CODE (1u << 3)
#define ACCESS_CODE_OR_DATA (1u << 4)
#define ACCESS_DPL(access) ((access) >> 5 & 3)
#define ACCESS_PRESENT (1u << 7)
#define ACCESS_PAGES (1u << 15)

/* Types of system segments (table 3-2). */
enum { SYSTEM_TSS16 = 1,
       SYSTEM_LDT = 2,
       SYSTEM_TSS = 9,
       SYSTEM_TSS_BUSY = 2 /* a bit of both */ };

#define SELECTOR_RPL 3u
#define SELECTOR_LOCAL 4u

/* Error codes of segment faults (SDM vol. 3, 6.13). */
#define ERROR_EXT 1u
#define ERROR_IDT 2u

enum { VECTOR_TS = 10,
       VECTOR_NP = 11,
       VECTOR_SS = 12,
       VECTOR_GP = 13,
       VECTOR_PF = 14 };

static inline struct x86_segment segment_of(uint16_t selector, uint64_t descriptor)
{
	struct x86_segment s = {
		.selector = selector,
		.access = (uint32_t)(descriptor >> 40 & 0xff) | (uint32_t)(descriptor >> 40 & 0xf000),
		.limit = (uint32_t)(descriptor & 0xffff) | (uint32_t)(descriptor >> 32 & 0xf0000),
		.base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000),
	};

	if (s.access & ACCESS_PAGES)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

#endif
