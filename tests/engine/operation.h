/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One operation of a sequence, as data: what the random sequences (random.c) and
 * the fuzzer (tests/fuzz/api_fuzz.c) are made of.
 */
#ifndef TESTS_OPERATION_H
#define TESTS_OPERATION_H

#include "random.h"
#include "sim.h"
#include "units.h"

enum kind {
	CREATE,
	DELETE,
	MOVE,
	FLAGS,
	RESTRICT,
	SWAP,
	BEGIN,
	END,
	DIRTY,
	MARK,
	ACCESS,
	WALK,
	PREFAULT,
	STARVE,
	KINDS
};

struct op {
	enum kind kind;
	uint32_t id;
	uint64_t base;
	uint64_t bytes;
	uint32_t flags;   /* slot flags, rights of an access, level of a cap ... */
	uint32_t backing; /* kind and order of a new backing */
	unsigned vcpu;
};

/* Of a sequence. */
#define OPS_MAX 4000

static inline struct sim_backing_config backing_of(uint32_t choice)
{
	static const uint8_t orders[] = {0, 0, 4, 9, 9, 12, 18, 18};
	struct sim_backing_config config = {.order = orders[choice % 8]};

	switch (choice / 8 % 8) {
	case 0:
	case 1:
	case 2:
		config.demand = true;
		break;
	case 3:
		config.copy_on_write = true;
		config.busy_then = choice / 64 % 2;
		break;
	case 4:
		config.rights = VMMU_R | VMMU_X;
		break;
	case 5:
		config.skew = 1;
		break;
	}
	config.pages = 4 * G / K;
	return config;
}

static inline struct sim_config config_of(enum vmmu_mode mode, uint64_t seed)
{
	struct sim_config config = sim_config_default(mode);
	uint64_t r = seed;

	config.seed = seed;
	config.vcpus = 1 + (unsigned)sim_random_below(&r, 3);
	config.max_level = (uint8_t)sim_random_below(&r, 4);
	config.max_slots = 4 + (uint32_t)sim_random_below(&r, 2);
	config.cpu.page_1g = sim_random_below(&r, 4);
	config.cpu.exec_only = sim_random_below(&r, 2);
	config.cpu.ad = mode == VMMU_MODE_NPT || sim_random_below(&r, 4);
	config.no_mmio_cache = sim_random_below(&r, 8) == 0;
	config.evict_percent = (unsigned)(sim_random_below(&r, 3) * 20);
	config.cpu.levels5 = sim_random_below(&r, 4) == 0;
	if (config.cpu.levels5)
		config.levels = 5;
	/* Half of them, and then up to 64 pages. */
	if (sim_random_below(&r, 2))
		config.fault_around = (uint8_t)sim_random_below(&r, 7);
	config.silent = true;
	config.unhooked = seed % 4 == 3;
	config.tsc = seed % 8 == 7;
	return config;
}

struct open_ranges {
	struct {
		uint64_t base, bytes;
	} range[OPS_MAX];
	unsigned count;
};

static inline void end_one(struct sim *sim, struct open_ranges *open)
{
	if (open->count) {
		open->count--;
		sim_invalidate_end(sim, open->range[open->count].base, open->range[open->count].bytes);
	}
}

static inline void perform(struct sim *sim, const struct op *op, struct open_ranges *open)
{
	struct sim_backing_config config = backing_of(op->backing);

	switch (op->kind) {
	case CREATE:
		sim_slot_create(sim, op->id, op->base, op->bytes, op->flags,
		                sim_backing_new(sim, op->base, &config));
		break;
	case DELETE: sim_slot_delete(sim, op->id); break;
	case MOVE: sim_slot_move(sim, op->id, op->base); break;
	case FLAGS: sim_slot_set_flags(sim, op->id, op->flags); break;
	case RESTRICT: sim_restrict(sim, op->base, op->bytes, op->flags); break;
	case SWAP: sim_swap_out(sim, op->base, op->bytes); break;
	case BEGIN:
		if (sim_invalidate_begin(sim, op->base, op->bytes) == VMMU_OK) {
			open->range[open->count].base = op->base;
			open->range[open->count++].bytes = op->bytes;
		}
		break;
	case END: end_one(sim, open); break;
	case DIRTY: sim_dirty_log(sim, op->id, NULL); break;
	case MARK: sim_mark_dirty(sim, op->vcpu % 2 ? -1 : 0, op->base); break;
	case ACCESS: sim_access(sim, op->vcpu % sim->vcpus, op->base, op->flags); break;
	case WALK: sim_access_walk(sim, op->vcpu % sim->vcpus, op->base); break;
	case PREFAULT:
		sim_prefault(sim, op->vcpu % sim->vcpus, op->base, op->bytes, 1u << op->backing % 3, NULL);
		break;
	case STARVE: /* one of the next allocations is refused */
		sim->memory.plan.at[0] = sim->memory.attempts + 1 + op->backing % 6;
		break;
	default:
		break;
	}
}

#endif
