/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host with next to nothing in it, so that what is counted is the engine.
 * Its functions begin with host_: the counting leaves them out.
 */
#ifndef BENCH_ENGINE_HOST_H
#define BENCH_ENGINE_HOST_H

#include <vmmu/exit.h>
#include <vmmu/guest.h>
#include <vmmu/vmmu.h>

struct host {
	unsigned char *frames; /* for tables: frame n is at hpa n * 4096 */
	uint32_t frames_used, frames_max;
	uint32_t *freed, freed_count;
	unsigned order;     /* of the runs that host.backing names */
	unsigned char *ram; /* the guest's, where its own tables are read; may be NULL */
	uint64_t ram_bytes;
	struct vmmu_host table;
	struct vmmu_config config;   /* what the VM was made with */
	struct vmmu_trace_ring ring; /* of the vCPU; what stands in it is thrown away */
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
};

/* What a VM is made with; zero means the usual. */
struct host_config {
	enum vmmu_mode mode;
	uint32_t table_frames; /* room for tables; 0 = 65536 */
	uint32_t max_vcpus;    /* as in struct vmmu_config */
	unsigned order;        /* of host.backing's runs */
	uint8_t fault_around;  /* as in struct vmmu_config */
	uint8_t max_level;     /* as in struct vmmu_config */
	uint64_t ram_bytes;    /* guest memory that can be read */
};

/* A VM with one vCPU and no slot. Ends the program where that fails. */
void host_start(struct host *host, const struct host_config *config);
/* Everything down again. */
void host_stop(struct host *host);

/* Slot 0, at `base`. */
void host_slot(struct host *host, uint64_t base, uint64_t bytes, uint32_t flags);
/* A fault that must be dealt with by FIXED or SPURIOUS. */
void host_touch(struct host *host, uint64_t gpa, uint32_t access);
/* Would a CPU that runs on these tables of 4 levels, with leaves of 4 KiB, find the address mapped? */
bool host_maps(const struct host *host, const struct vmmu_root *root, uint64_t address);

#endif
