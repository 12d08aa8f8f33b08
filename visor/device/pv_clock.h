/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's paravirtual clock (Linux documentation, virt/kvm/x86/msr.rst and
 * cpuid.rst): tells the guest how fast its TSC runs and what time it is.
 *
 * Without it Linux measures its TSC against the PIT or the PM timer, and gives
 * the TSC up when a port access takes too long; on an emulated machine, where
 * one exit takes tens of microseconds, it always does.
 */
#ifndef VISOR_DEVICE_PV_CLOCK_H
#define VISOR_DEVICE_PV_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CPUID leaves, from PV_CLOCK_CPUID on: the interface's name, and its features. */
#define PV_CLOCK_CPUID 0x40000100u
#define PV_CLOCK_CPUID_EBX 0x4b4d564bu /* "KVMKVMKVM" */
#define PV_CLOCK_CPUID_ECX 0x564b4d56u
#define PV_CLOCK_CPUID_EDX 0x0000004du
/* EAX of leaf PV_CLOCK_CPUID + 1: the two MSRs below; times of all CPUs agree. */
#define PV_CLOCK_FEATURES (1u << 3 | 1u << 24)

#define MSR_PV_WALL_CLOCK 0x4b564d00u
#define MSR_PV_SYSTEM_TIME 0x4b564d01u

struct pv_clock {
	bool (*write)(void *ctx, uint64_t gpa, const void *bytes, size_t n); /* guest memory */
	void *ctx;
	uint64_t tsc_hz;
	uint64_t started;                 /* seconds since 1970 at guest time 0 */
	uint64_t wall_clock, system_time; /* the MSRs' values */
};

/* `wall` is the time of day in seconds since 1970 at guest time `now`, ns. */
void pv_clock_init(struct pv_clock *c, bool (*write)(void *ctx, uint64_t gpa, const void *bytes, size_t n),
                   uint64_t tsc_hz, uint64_t wall, uint64_t now, void *ctx);
bool pv_clock_owns(uint32_t msr);
uint64_t pv_clock_read(const struct pv_clock *c, uint32_t msr);
/* False: #GP. `tsc` is the guest's TSC at guest time `now`. */
bool pv_clock_write(struct pv_clock *c, uint32_t msr, uint64_t value, uint64_t tsc, uint64_t now);

#endif
