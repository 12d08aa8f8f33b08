/* SPDX-License-Identifier: BSD-2-Clause */
/* What management does to a range of gfns, in every map of the VM. */
#include "api/api.h"
#include "map/shadow/shadow.h"

void vmmu_zap_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                    unsigned keep, enum vmmu_cause cause)
{
	if (vm->shadow)
		vmmu_shadow_zap_range(vm, op, first, end, keep, cause);
	vmmu_direct_zap_range(vm, op, first, end, keep, cause);
}

void vmmu_protect_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                        bool forbid)
{
	if (vm->shadow)
		vmmu_shadow_protect_range(vm, op, first, end, forbid);
	vmmu_direct_protect_range(vm, op, first, end, forbid);
}

void vmmu_protect_closed(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end)
{
	for (uint64_t gfn = first; vm->shadow && gfn < end; gfn++)
		vmmu_shadow_protect(vm, op, gfn, false);
	if (!vm->shadow)
		vmmu_direct_protect_closed(vm, op, first, end);
}
