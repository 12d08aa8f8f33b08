/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM with its memory and its vCPUs, each with a thread of its own. */
#ifndef TESTS_KVM_MACHINE_H
#define TESTS_KVM_MACHINE_H

#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

struct vcpu {
	struct machine *machine;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	sem_t go, done;
};

struct machine {
	int kvm, fd;
	uint8_t *low, *window;
	size_t window_bytes;
	unsigned vcpus;
	_Atomic uint64_t endure; /* so often KVM_RUN may fail for memory that the host denies; then it is allowed */
	struct vcpu vcpu[VCPUS_MAX];
};

/* The window's memory may be used by the host, and so by the guest, or not. */
void machine_allow(struct machine *m, size_t first, size_t bytes, bool allowed);

/* `offset`: the window begins so many bytes behind an address that is a multiple of 2 MiB. `irqchip`: KVM has the interrupt controllers. Create all, start the guest and wait until each vCPU asks for orders. Ends the program on failure. */
void machine_start(struct machine *m, size_t window_bytes, size_t offset, bool huge, bool irqchip, unsigned vcpus);

/* Slot 1 with these KVM_MEM_ flags; bytes 0 deletes it. */
void machine_set_window(struct machine *m, bool there, uint32_t flags);

/* KVM_GET_DIRTY_LOG of slot 1: how many pages it names. */
uint64_t machine_dirty_pages(struct machine *m);

/* Give the order to the vCPUs in `mask` at once and wait for all of them. */
void machine_order(struct machine *m, unsigned mask, enum order order, uint64_t address, uint64_t step,
                   uint64_t count);
/* The durations that this vCPU's last order left. */
const uint32_t *machine_results(const struct machine *m, unsigned vcpu);

#endif
