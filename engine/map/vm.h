/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM and its vCPUs: tables and memory under one mode. */
#ifndef VMMU_MAP_VM_H
#define VMMU_MAP_VM_H

#include "memory/memory.h"
#include "table/tables.h"

struct vmmu_vm;
struct vmmu_vcpu;
struct vmmu_shadows;
struct vmmu_shadow_vcpu;

/* How a mode differs from the others. */
struct vmmu_mode_ops {
	const char *name;
	const struct vmmu_format *format;
	/* Table levels when the config leaves the choice. */
	unsigned (*levels)(const struct vmmu_cpu *cpu);
	bool levels_fixed;   /* the config has no choice */
	bool shadow;         /* the guest's own tables decide: struct vmmu_shadows */
	/* What the CPU's root register holds. */
	uint64_t (*root_pointer)(const struct vmmu_layout *layout, vmmu_hpa root);
	/* Handle one fault; op->cause goes into the entries it writes. */
	enum vmmu_fault_result (*fault)(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
	                                struct vmmu_fault *fault);
};

/* NULL for a number that is no mode. */
const struct vmmu_mode_ops *vmmu_mode_ops(enum vmmu_mode mode);

struct vmmu_vm {
	struct vmmu_tables tables;
	struct vmmu_memory memory;
	const struct vmmu_mode_ops *mode;
	enum vmmu_mode mode_number;
	struct vmmu_table *root;
	uint16_t root_id;
	uint8_t leaf_level_max;
	uint8_t path_tables;         /* below the root: what one fault may need */
	bool mmio_cache;
	uint32_t vcpus;
	struct vmmu_shadows *shadow; /* NULL: a direct map is all there is */
};

struct vmmu_vcpu {
	struct vmmu_actor actor;
	struct vmmu_vm *vm;
	struct vmmu_slot_hit hit;
	struct vmmu_shadow_vcpu *shadow;
};

/* The operation of a management call. */
static inline struct vmmu_op vmmu_manage_op(struct vmmu_vm *vm)
{
	struct vmmu_op op = {.fault = 0};

	vmmu_op_init(&op, &vm->tables, &vm->tables.manager, vm->root_id);
	return op;
}

#endif
