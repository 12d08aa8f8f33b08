/* SPDX-License-Identifier: BSD-2-Clause */
/* What management does to a range of gfns, in every map of the VM. */
#include "api/api.h"

void vmmu_zap_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                    unsigned keep, enum vmmu_cause cause)
{
	/* Those beside it first: a shadow map knows of a block for as long as they have leaves there. */
	for (op->map = vm->maps->next; op->map; op->map = op->map->next)
		op->map->ops->zap_range(op, vmmu_managing_of(op), first, end, keep, cause);
	op->map = vm->maps;
	op->map->ops->zap_range(op, vmmu_managing_of(op), first, end, keep, cause);
	vmmu_op_flush(op);
}

void vmmu_protect_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end,
                        bool forbid)
{
	for (op->map = vm->maps; op->map; op->map = op->map->next)
		op->map->ops->protect_range(op, vmmu_managing_of(op), first, end, forbid);
	op->map = vm->maps;
	vmmu_op_flush(op);
}

void vmmu_harvest_range(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed,
                        uint64_t first, uint64_t end)
{
	for (op->map = vm->maps; op->map; op->map = op->map->next)
		op->map->ops->harvest_range(op, closed, first, end);
	op->map = vm->maps;
}

void vmmu_allow_range(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t first, uint64_t end)
{
	for (op->map = vm->maps; op->map; op->map = op->map->next)
		if (op->map->ops->allow_range)
			op->map->ops->allow_range(op, vmmu_managing_of(op), first, end);
	op->map = vm->maps;
	vmmu_op_flush(op);
}

void vmmu_mmio_zap_all(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed)
{
	for (op->map = vm->maps; op->map; op->map = op->map->next)
		if (op->map->ops->zap_mmio && op->map->mmio_cache)
			op->map->ops->zap_mmio(op, closed);
	op->map = vm->maps;
}

void vmmu_each_entry(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed,
                     const struct vmmu_each *each, void *arg)
{
	for (op->map = vm->maps; op->map; op->map = op->map->next)
		op->map->ops->each_entry(op, closed, each, arg);
	op->map = vm->maps;
}
