/* SPDX-License-Identifier: BSD-2-Clause */
/* What C has no word for. */
#ifndef VMMU_COMPILER_H
#define VMMU_COMPILER_H

#define VMMU_LIKELY(x) __builtin_expect(!!(x), 1)
#define VMMU_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Off the common path: kept out of its caller, which then has fewer registers to save. */
#define VMMU_RARE __attribute__((noinline, cold))
/* In a function of its own, so that its caller saves no registers for it. */
#define VMMU_APART __attribute__((noinline))

/* Must melt into its caller, because an indirect call or a copy would be paid on each fault. */
#define VMMU_INLINE static inline __attribute__((always_inline))

/*
 * What never changes is what it was, also behind a barrier: it need not be loaded again. The compiler
 * believes it; debug builds look.
 */
#ifdef VMMU_DEBUG
#define VMMU_SAME(x) ((x) ? (void)0 : __builtin_trap())
#else
#define VMMU_SAME(x) ((x) ? (void)0 : __builtin_unreachable())
#endif

/*
 * Add to a 64-bit counter that only the caller writes and others read: one instruction
 * where the CPU has one, as each fault counts several times. A compiler makes three of
 * a relaxed load and store. Under a sanitizer it is left to the compiler, who sees it.
 */
#if defined(__x86_64__) && !defined(VMMU_DEBUG)
#define VMMU_ADD(counter, by) \
	__asm__("addq %1, %0" \
	        : "+m"(*(uint64_t *)(counter)) \
	        : "er"((uint64_t)(by)) \
	        : "cc")
#else
#define VMMU_ADD(counter, by) \
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + (by), memory_order_relaxed)
#endif

/*
 * Step a 32-bit number that only the caller writes. Who reads the new one with acquire sees
 * all that was written before: stores keep their order on these CPUs (SDM vol. 3, 9.2.2;
 * APM vol. 2, 7.2), and the compiler moves none across.
 */
#if defined(__x86_64__) && !defined(VMMU_DEBUG)
#define VMMU_STEP(number) \
	__asm__ volatile("incl %0" \
	                 : "+m"(*(number)) \
	                 : \
	                 : "cc", "memory")
#else
#define VMMU_STEP(number) \
	__atomic_store_n(number, __atomic_load_n(number, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE)
#endif

/* Of this library's own: read without a detour over a table of addresses (ELF's GOT). */
#define VMMU_HIDDEN __attribute__((visibility("hidden")))

#endif
