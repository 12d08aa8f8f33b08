/* SPDX-License-Identifier: BSD-2-Clause */
/* What the API's files share. */
#ifndef VMMU_API_H
#define VMMU_API_H

#include "map/map.h"
#include "table/locks.h"
#include "table/trace.h"

/* ---- mode.c ---- */

/* What a host names when it makes a VM: which hardware walks the tables, and by which maps. */
struct vmmu_mode_ops {
	enum vmmu_mode number;
	const char *name;
	const struct vmmu_format *format;
	/* Table levels when the config leaves the choice. */
	unsigned (*levels)(const struct vmmu_cpu *cpu);
	bool levels_fixed;  /* the config has no choice */
	bool follows_guest; /* by the guest's own tables: the host reads them, the CPU can withhold X */
	/* Add the mode's maps to a VM. False: no memory, none is left behind. */
	bool (*create_maps)(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
	                    const struct vmmu_layout *layout);
	/* The same for a guest that may have guests. NULL: it cannot. */
	bool (*create_nested)(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
	                      const struct vmmu_layout *layout);
};

/* NULL for a number that is no mode. */
const struct vmmu_mode_ops *vmmu_mode_ops(enum vmmu_mode number);

/* Can records go there? NULL is fine: the records are counted as dropped. */
static inline bool vmmu_ring_is_usable(const struct vmmu_trace_ring *ring)
{
	return !ring || (ring->records && ring->size && !(ring->size & (ring->size - 1)));
}

/* ---- slot_calls.c ---- */

/* For vmmu_vm_destroy. */
void vmmu_slots_free_all(struct vmmu_vm *vm);
/* One record that says where a slot is, and where it was. */
void vmmu_trace_slot(struct vmmu_op *op, const struct vmmu_slot *slot, enum vmmu_cause cause,
                     uint64_t old_first);

/* ---- invalidate.c ---- */

/* What ranges that are or were open took. */
void vmmu_invalidations_free_all(struct vmmu_vm *vm);

/* vcpu.c: what is kept of vCPUs that are gone. */
void vmmu_streams_free_all(struct vmmu_vm *vm);

/* ---- stats.c ---- */

/* vmmu_stats_read for a caller that has the management lock. */
void vmmu_stats_add(struct vmmu_vm *vm, struct vmmu_stats *out);

/* ---- range.c: the operations of struct vmmu_map_ops, on every map of the VM ---- */

/* Remove what maps [first, end), then flush. */
void vmmu_zap_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                    unsigned keep, enum vmmu_cause cause);
/*
 * Remove what maps one gfn, with the gate closed already; the caller flushes. False: it
 * takes vmmu_zap_range, and nothing has happened. Several maps go one after the other, each as
 * it must: only a VM of one has the short way.
 */
static inline bool vmmu_zap_page(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, uint64_t gfn,
                                 enum vmmu_cause cause)
{
	struct vmmu_map *map = vm->maps;

	if (map->next || !map->ops->zap_page)
		return false;
	op->map = map;
	map->ops->zap_page(op, closed, gfn, cause);
	return true;
}
/* Take W from leaves in [first, end), then flush, as above. */
void vmmu_protect_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                        bool forbid);
/* The caller flushes. */
void vmmu_harvest_range(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, uint64_t first, uint64_t end);
/* Guest CPUs may write [first, end) from now on; flushes. */
void vmmu_allow_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end);
/* Remove every MMIO entry. */
void vmmu_mmio_zap_all(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed);
/* Every entry of every map. */
void vmmu_each_entry(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed,
                     const struct vmmu_each *each, void *arg);

#endif
