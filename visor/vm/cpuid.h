/* SPDX-License-Identifier: BSD-2-Clause */
/* Which CPU the guest sees. */
#ifndef VISOR_VM_CPUID_H
#define VISOR_VM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/guest.h>

struct cpuid;
struct vcpu;

/* XCR0 bits a guest may have: x87, SSE, AVX, AVX-512, PKRU (SDM vol. 1, 13.3). */
#define CPUID_XCR0_ALLOWED 0x2e7u

/* What CPUID answers in the guest. */
struct cpuid cpuid_for_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf);
/*
 * Answer CPUID at an exit that needs no more than that: RBX, RCX and RDX in v->state, *eax. The
 * back end sees to RIP. False, and nothing is done: the answer is none of those that are kept, or
 * it is time for a slow exit. One in QUICK_EXITS_MAX is, so that devices and the console have
 * their turn also where a guest that does nothing but this lets no interrupt out (vmx/control.c).
 */
#define QUICK_EXITS_MAX 64u
bool cpuid_answer_quickly(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint64_t *eax);
/* What of it concerns paging. */
struct vmmu_guest_cpu cpuid_paging(struct vcpu *v);

/* Does its leaf 0 name Intel? Not every CPU with VMX is one of theirs. */
bool cpuid_shows_intel(struct vcpu *v);

#endif
