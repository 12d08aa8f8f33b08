/* SPDX-License-Identifier: BSD-2-Clause */
/* What the API's files share. */
#ifndef VMMU_API_H
#define VMMU_API_H

#include "map/direct/direct.h"
#include "table/locks.h"
#include "table/trace.h"

static inline void *vmmu_object_alloc(struct vmmu_vm *vm, size_t size)
{
	return vm->tables.host->object_alloc(vm->tables.ctx, size);
}

static inline void vmmu_object_free(struct vmmu_vm *vm, void *object, size_t size)
{
	if (object)
		vm->tables.host->object_free(vm->tables.ctx, object, size);
}

/* slots.c: for vmmu_vm_destroy. */
void vmmu_slots_free_all(struct vmmu_vm *vm);
/* invalidate.c: those that were begun and never ended. */
void vmmu_pending_free_all(struct vmmu_vm *vm);
/* slots.c: one record that says where a slot is, and where it was. */
void vmmu_trace_slot(struct vmmu_op *op, const struct vmmu_slot *slot, enum vmmu_cause cause,
                     uint64_t old_first);
/* inspect.c: vmmu_stats_read for a caller that has the turn. */
void vmmu_stats_add(struct vmmu_vm *vm, struct vmmu_stats *out);

/*
 * range.c: remove what maps [first, end) in any map, in bounded steps, then settle.
 * Leaves up to level `keep` stay (0: none does). Needs the turn, gate open.
 */
void vmmu_zap_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                    unsigned keep, enum vmmu_cause cause);
/*
 * Take W from leaves in [first, end); with `forbid` also the software bits that
 * let a fault give it back. Bounded steps, then settle, as above.
 */
void vmmu_protect_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                        bool forbid);
/* One step of it, for a caller that has the gate closed and settles itself. */
void vmmu_protect_closed(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end);

#endif
