/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CPU offers against side channels by speculation, and what of it a guest gets:
 * SPEC_CTRL, PRED_CMD, FLUSH_CMD and ARCH_CAPABILITIES (SDM vol. 3, "Speculative
 * execution side channel mitigations" of CPUID.7.EDX and vol. 4, 48h, 49h, 10Ah, 10Bh;
 * APM vol. 2, 3.2.9).
 */
#ifndef VISOR_VM_SPECULATION_H
#define VISOR_VM_SPECULATION_H

#include <stdbool.h>
#include <stdint.h>

/* CPUID.7.EDX and 80000008h.EBX, as they are on the CPU: what a guest may see of them. */
#define SPECULATION_7D (1u << 10 /* MD_CLEAR */ | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 31)
#define SPECULATION_88B (1u << 12 /* IBPB */ | 1u << 14 /* IBRS */ | 1u << 15 /* STIBP */ | 1u << 24 /* SSBD */)

struct speculation {
	uint64_t spec_ctrl; /* bits that SPEC_CTRL has; 0: there is none */
	bool ibpb;          /* PRED_CMD */
	bool flush_l1d;     /* FLUSH_CMD */
	bool capabilities;  /* ARCH_CAPABILITIES */
};

static inline struct speculation speculation_of(uint32_t edx7, uint32_t ebx88)
{
	return (struct speculation){
		.spec_ctrl = (edx7 & 1u << 26 || ebx88 & 1u << 14 ? 1u << 0 : 0) |
	                     (edx7 & 1u << 27 || ebx88 & 1u << 15 ? 1u << 1 : 0) |
	                     (edx7 & 1u << 31 || ebx88 & 1u << 24 ? 1u << 2 : 0),
		.ibpb = edx7 & 1u << 26 || ebx88 & 1u << 12,
		.flush_l1d = edx7 & 1u << 28,
		.capabilities = edx7 & 1u << 29,
	};
}

/* Of ARCH_CAPABILITIES, what says that the CPU is not affected; the rest would promise registers that a guest lacks. */
#define ARCH_RDCL_NO (1ull << 0)
#define ARCH_SKIP_L1DFL (1ull << 3)
#define ARCH_MDS_NO (1ull << 5)
#define ARCH_FOR_GUESTS (ARCH_RDCL_NO | 1ull << 1 /* IBRS_ALL */ | 1ull << 2 /* RSBA */ | ARCH_SKIP_L1DFL | \
	                 1ull << 4 /* SSB_NO */ | ARCH_MDS_NO | 1ull << 6 /* PSCHANGE_MC_NO */ | 1ull << 8 /* TAA_NO */)

/*
 * What must be done before a guest runs on an Intel CPU with this CPUID.7.EDX and these
 * ARCH_CAPABILITIES (0: none): L1 terminal fault and microarchitectural data sampling.
 */
static inline bool speculation_needs_l1d_flush(uint32_t edx7, uint64_t arch)
{
	return edx7 & 1u << 28 && !(arch & (ARCH_RDCL_NO | ARCH_SKIP_L1DFL));
}

static inline bool speculation_needs_clear(uint32_t edx7, uint64_t arch)
{
	return edx7 & 1u << 10 && !(arch & ARCH_MDS_NO);
}

#endif
