/* SPDX-License-Identifier: BSD-2-Clause */
/* All that the visor and the engine count about a VM, at one moment or between two. */
#ifndef VISOR_VM_COUNTERS_H
#define VISOR_VM_COUNTERS_H

#include <stdint.h>

#include <vmmu/vmmu.h>

#include "visor/vm/exit_kind.h"

struct vcpu;
struct vm;

struct counters {
	uint64_t tsc;
	uint64_t exits[EXIT_KIND_COUNT];
	uint64_t l2_exits[EXIT_KIND_COUNT];        /* of these: by a guest's guest */
	uint64_t ahead_instructions, ahead_faults; /* exit/ahead.h */
	struct vmmu_stats engine;
};

/* Its name in the summary. */
const char *exit_kind_name(const struct vcpu *vcpu, enum exit_kind kind);
void exit_count(struct vcpu *vcpu, enum exit_kind kind);

/* As they stand now. */
void counters_read(struct vm *vm, struct counters *out);

/* What has been counted from `before` to `after`. */
void counters_difference(const struct counters *after, const struct counters *before, struct counters *out);

/* Members `exits`, `exits_l2` of a guest that may run guests, `faults`, `run_ahead`, `entries` and `zapped` of the event that is being written (docs/visor.md). */
void counters_write(const struct vm *vm, const struct counters *c);

/* A member `key`: level -> count, of those levels that have any. */
void counters_write_by_level(const char *key, const uint64_t *levels);

/* Tables of all levels. */
uint64_t counters_tables_allocated(const struct counters *c);
uint64_t counters_tables_freed(const struct counters *c);

#endif
