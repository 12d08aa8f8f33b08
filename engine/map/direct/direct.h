/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on a VM's maps. Each is a visitor over the one walker. */
#ifndef VMMU_DIRECT_H
#define VMMU_DIRECT_H

#include "map/vm.h"
#include "table/write.h"

static inline struct vmmu_top vmmu_root_of(const struct vmmu_vm *vm)
{
	return (struct vmmu_top){vm->root->hpa, vm->root->level};
}

/*
 * direct_fault.c: gpa -> hpa, on a fault. The handler of every mode in which the guest's
 * own paging plays no part.
 */
enum vmmu_fault_result vmmu_direct_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault);

/* What one mapping is to become. */
struct vmmu_mapping {
	uint64_t gfn;
	unsigned access;             /* VMMU_R, W or X that must be allowed afterwards */
	unsigned goal;               /* level of the leaf */
	vmmu_pfn pfn;                /* frame of gfn */
	uint64_t leaf;               /* vmmu_leaf_bits */
	struct vmmu_slot *slot;
	enum vmmu_cause cause;
	/* out */
	enum vmmu_fault_result result;
	uint64_t entry;
	uint8_t level;
};

/* What a visitor that maps says at its end. */
static inline enum vmmu_next vmmu_mapped(const struct vmmu_visit *v, struct vmmu_mapping *m,
                                         enum vmmu_fault_result result)
{
	m->result = result;
	m->entry = v->entry;
	m->level = v->level;
	return VMMU_STOP;
}

/*
 * direct_map.c: make gfn translate as `mapping` says, building the missing part
 * of its path. Inside the gate; the actor's spares suffice for a whole path.
 */
void vmmu_direct_map(struct vmmu_op *op, struct vmmu_top root, struct vmmu_mapping *mapping);

/* mmio.c: leave an MMIO entry of the present generation at gfn. Inside the gate. */
void vmmu_mmio_map(struct vmmu_op *op, const struct vmmu_vm *vm, struct vmmu_mapping *mapping);
/* Remove every MMIO entry. Gate closed. */
void vmmu_mmio_zap(struct vmmu_op *op, const struct vmmu_vm *vm);

/* link.c: steps that several visitors share. All inside the gate. */

/* Put a new table where visit->entry is empty (or a stale MMIO entry). */
enum vmmu_next vmmu_link_table(struct vmmu_visit *visit, enum vmmu_cause cause);
/* Replace the huge leaf at visit by a table of leaves that say the same. */
enum vmmu_next vmmu_split_leaf(struct vmmu_visit *visit);

/*
 * direct_range.c: remove what maps [first, end), in bounded steps with the gate closed
 * for each, then settle. Leaves up to level `keep` stay (0: none does). Needs
 * the turn, gate open.
 */
void vmmu_direct_zap_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                           unsigned keep, enum vmmu_cause cause);

/*
 * Take W from leaves in [first, end); with `forbid` also the software
 * bits that let a fault give it back. Bounded steps, then settle, as above.
 */
void vmmu_direct_protect_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                               bool forbid);
/* One step of it, for a caller that has the gate closed and settles itself. */
void vmmu_direct_protect_closed(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end);

/* look.c: the entry that ends gfn's translation. Inside the gate or with the turn. */
struct vmmu_visit vmmu_look(struct vmmu_op *op, struct vmmu_top root, uint64_t gfn);

#endif
