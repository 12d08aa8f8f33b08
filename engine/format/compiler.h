/* SPDX-License-Identifier: BSD-2-Clause */
/* What C has no word for. */
#ifndef VMMU_COMPILER_H
#define VMMU_COMPILER_H

#define VMMU_LIKELY(x) __builtin_expect(!!(x), 1)
#define VMMU_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Off the common path: kept out of its caller, which then has fewer registers to save. */
#define VMMU_RARE __attribute__((noinline, cold))

/* Must melt into its caller, because an indirect call or a copy would be paid on each fault. */
#define VMMU_INLINE static inline __attribute__((always_inline))

/* Of this library's own: read without a detour over a table of addresses (ELF's GOT). */
#define VMMU_HIDDEN __attribute__((visibility("hidden")))

#endif
