/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nested map: a guest's gpas, as its hypervisor's own EPT or NPT translates them, to
 * frames. It is shadow paging with another input: tables, holding, parking, links and roots
 * are those of map/shadow; what differs is a format of the guest's tables, and what becomes
 * of a fault that the guest hypervisor is to know.
 *
 *   nested_mode.c    what L1 has given, as a mode for the walk
 *   nested_fault.c   a fault of L1, or of L2
 *   nested_map.c     the map as an object
 */
#ifndef VMMU_MAP_NESTED_H
#define VMMU_MAP_NESTED_H

#include <vmmu/nested.h>

#include "map/shadow/shadow.h"

struct vmmu_nested_vcpu {
	struct vmmu_shadow_vcpu shadow; /* first */
	uint16_t tag;                   /* of L1's, that L2 ran with last; 0: none that says anything */
	struct vmmu_nested asked;       /* what L1 said last, if ... */
	struct vmmu_guest_mode mode;    /* ... it makes this mode: levels 0, none */
};

/* Is L2 what runs? */
static inline bool vmmu_in_l2(const struct vmmu_vcpu *vcpu)
{
	return ((const struct vmmu_shadow_vcpu *)vcpu)->mode.levels;
}

/* ---- nested_mode.c ---- */

/*
 * The mode of a walk through L1's tables, kept until L1 asks for another: most of it are tables of what is
 * refused, which take longer to make than all else of a switch. *status: OK, INVALID or UNSUPPORTED as
 * vmmu_vcpu_set_nested. No lock.
 */
const struct vmmu_guest_mode *vmmu_nested_mode(struct vmmu_vcpu *vcpu, const struct vmmu_nested *nested,
                                               enum vmmu_status *status);

/* What a walk of L1's tables that was refused makes L1 see; `code`: what the CPU has reported. */
enum vmmu_reflect vmmu_nested_exit(const struct vmmu_guest_mode *mode, const struct vmmu_guest_walk *walk,
                                   uint64_t *code);

/* ---- nested_fault.c: no lock held ---- */

enum vmmu_fault_result vmmu_nested_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *fault);

/* ---- nested_map.c ---- */

/* Add an empty nested map, and L1's own, to a VM. False: no memory, nothing is left behind. */
bool vmmu_nested_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout);

#endif
