/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMX controls and what a CPU lets them be: bits that must be 1 stand in the low half
 * of a capability MSR, bits that may be 1 in its high half (SDM vol. 3, appendix A.2 to A.5).
 */
#ifndef VISOR_VMX_CONTROLS_H
#define VISOR_VMX_CONTROLS_H

#include <stdbool.h>
#include <stdint.h>

/* `wanted`, as near as the CPU allows. */
static inline uint32_t vmx_controls_of(uint64_t capability, uint32_t wanted)
{
	return (wanted | (uint32_t)capability) & (uint32_t)(capability >> 32);
}

/* May all of `required` be 1, and all of `switched` be 1 and 0? */
static inline bool vmx_controls_fit(uint64_t capability, uint32_t required, uint32_t switched)
{
	uint32_t always = (uint32_t)capability, may = (uint32_t)(capability >> 32);

	return !((required | switched) & ~may) && !(switched & always);
}

#endif
