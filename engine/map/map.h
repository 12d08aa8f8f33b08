/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMs, vCPUs and what can be done with a map.
 *
 * A VM has memory and one map or several. A fault goes to the vCPU's map;
 * every management call goes over all maps of the VM. The kind of a map is never
 * tested: what differs is an operation here, or a field of struct vmmu_map.
 */
#ifndef VMMU_MAP_H
#define VMMU_MAP_H

#include "memory/memory.h"
#include "table/locks.h"
#include "table/walk.h"

struct vmmu_vm;
struct vmmu_vcpu;
struct vmmu_audit;
struct vmmu_mode_ops;

/* What vmmu_map_ops.each_entry reports. */
struct vmmu_each {
	/* Every entry that is not zero, a table's before those of the tables that it references. */
	void (*entry)(struct vmmu_visit *visit, void *arg);
	/* Every table, before its entries. May be NULL. */
	void (*table)(struct vmmu_op *op, const struct vmmu_table *table, void *arg);
};

/* All but `fault` and those on vCPUs find the map in op->map. */
struct vmmu_map_ops {
	/* Handle one fault; op->cause goes into the entries it writes. */
	enum vmmu_fault_result (*fault)(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
	                                struct vmmu_fault *fault);
	/*
	 * Handle a violation from begin to end: the usual ones at once, all others, and all
	 * while somebody watches, by vmmu_handle. NULL: it has no shorter way than that.
	 */
	enum vmmu_fault_result (*quick)(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
	/* The same, once a vCPU has learned of a run of frames (struct vmmu_known). */
	enum vmmu_fault_result (*quick_known)(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
	/* The same while there is a trace by the TSC and no test hook, if there is `quick`. */
	enum vmmu_fault_result (*traced)(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
	/*
	 * Map the fault's page from begin to end before it is touched, and pages behind it: no
	 * more than `wanted` (not 0) in all, but for the rest of a large page. FIXED or SPURIOUS:
	 * *mapped says how many are mapped now, from the fault's on. NULL: one by one.
	 */
	enum vmmu_fault_result (*prefault)(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, uint64_t wanted,
	                                   uint64_t *mapped);

	/*
	 * Remove what maps gfns [first, end), in bounded steps with the gate closed for
	 * each; leaves up to level `keep` stay (0: none does). The flush that this needs is left in
	 * op->flush.
	 */
	void (*zap_range)(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first, uint64_t end,
	                  unsigned keep, enum vmmu_cause cause);
	/*
	 * The same for one gfn, with the gate closed already. What the host said before that is
	 * old when it opens: the caller sees to that. NULL: only by zap_range.
	 */
	void (*zap_page)(struct vmmu_op *op, struct vmmu_closed closed, uint64_t gfn, enum vmmu_cause cause);
	/*
	 * Take W from leaves in [first, end); with `forbid` also the software bits that
	 * let a fault give it back. Bounded steps, as above.
	 */
	void (*protect_range)(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
	                      uint64_t end, bool forbid);
	/* What was written in [first, end) has been noted: make the next write seen again. */
	void (*harvest_range)(struct vmmu_op *op, struct vmmu_closed closed, uint64_t first, uint64_t end);
	/* Guest CPUs may write [first, end) from now on. NULL: no matter. */
	void (*allow_range)(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
	                    uint64_t end);
	/* Remove every MMIO entry. NULL: it has none. */
	void (*zap_mmio)(struct vmmu_op *op, struct vmmu_closed closed);

	void (*each_entry)(struct vmmu_op *op, struct vmmu_closed closed, const struct vmmu_each *each, void *arg);
	/* Report what must not be, and count what is there. */
	void (*audit)(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_audit *audit);

	/*
	 * A map that follows the guest's own tables; NULL in others. Guest memory was written,
	 * and not by a guest's CPU: drop what followed from the old words, ...
	 */
	void (*written)(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes);
	/* ... map what the new ones say, now that the flush for the old ones is done, ... */
	void (*refill)(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes);
	/* ... or let the guest write the page by itself. False: it holds a root in use. */
	bool (*release)(struct vmmu_exclusive x, uint64_t gfn);

	/* Who handles this vCPU's faults in the guest's present mode; for the trace. */
	enum vmmu_handler (*handler)(const struct vmmu_vcpu *vcpu);
	/* What the CPU's root register holds while this vCPU runs. */
	enum vmmu_status (*root_pointer)(const struct vmmu_vcpu *vcpu, struct vmmu_root *out);
	/* The gpas below this can be mapped before they are accessed; 0: the guest's tables decide. */
	uint64_t (*prefault_limit)(const struct vmmu_vcpu *vcpu);

	/* Of a struct vmmu_vcpu and what the map has behind it. */
	size_t vcpu_bytes;
	/* A vCPU comes, or leaves. NULL: no matter. */
	void (*join)(struct vmmu_vcpu *vcpu, struct vmmu_managing managing);
	void (*leave)(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_managing managing);
	/* Take everything down, flush, and free the map. No vCPU is left. */
	void (*fini)(struct vmmu_op *op, struct vmmu_managing managing);
};

/*
 * How far a vCPU's records have come. It outlives a vCPU that was traced: another one
 * under the same id goes on in the same stream of the trace.
 */
struct vmmu_stream {
	struct vmmu_stream *next; /* of the vCPUs that are gone */
	uint64_t untold;
	uint32_t seq;
	uint32_t faults;
	uint16_t id;
};

struct vmmu_vm {
	struct vmmu_tables tables;
	struct vmmu_memory memory;
	struct vmmu_map *maps; /* the first is that of vCPUs */
	uint16_t map_ids;      /* given so far: none is given twice */
	const struct vmmu_mode_ops *mode;
	uint32_t vcpus;
	struct vmmu_stream *streams; /* of traced vCPUs that are gone; under the management lock */
};

enum { VMMU_SLOT_FLAGS_COUNT = 4 };

struct vmmu_vcpu {
	struct vmmu_actor actor;
	struct vmmu_vm *vm;
	struct vmmu_map *map;
	struct vmmu_stream *stream; /* room for what is kept of it */
	struct vmmu_slot_hit hit;
	struct vmmu_known known[VMMU_KNOWN_RUNS]; /* in the order in which they were learned, and round again */
	struct vmmu_known *known_last;            /* the one that was used last */
	unsigned known_next;                      /* to be forgotten next */
	struct vmmu_slot_range tables;            /* shadow paging: where a guest table was found last that was not in hit's slot */
	/* By the slot's flags and VMMU_RWX of the access. */
	struct vmmu_grant grants[VMMU_SLOT_FLAGS_COUNT][VMMU_RWX + 1];
};

static inline struct vmmu_top vmmu_top_of(const struct vmmu_map *map)
{
	return (struct vmmu_top){map->root->hpa, map->root->level};
}

/* The first of the VM's maps that translates gpas: each VM has one. */
static inline struct vmmu_map *vmmu_map_of_gpas(const struct vmmu_vm *vm)
{
	struct vmmu_map *map = vm->maps;

	while (map->input != VMMU_INPUT_GPA)
		map = map->next;
	return map;
}

/* First gfn past what the map's root can translate. */
static inline uint64_t vmmu_map_end(const struct vmmu_map *map)
{
	return vmmu_level_pages(map->root->level + 1u);
}

/* An operation of a vCPU, on the vCPU's map. */
static inline void vmmu_vcpu_op(struct vmmu_op *op, struct vmmu_vcpu *vcpu)
{
	vmmu_op_init(op, &vcpu->vm->tables, &vcpu->actor, vcpu->map);
}

/* The operation of a management call, on the first map until it goes over all. */
static inline struct vmmu_op vmmu_manage_op(struct vmmu_vm *vm)
{
	struct vmmu_op op;

	vmmu_op_init(&op, &vm->tables, &vm->tables.manager, vm->maps);
	op.cause = VMMU_CAUSE_NONE;
	return op;
}

/*
 * The same leaf with W given, or taken. With W goes the dirty bit, where the CPU has
 * one. The operation says on whose behalf: a map may come to keep accessed and dirty
 * bits otherwise.
 */
static inline uint64_t vmmu_leaf_writable(const struct vmmu_op *op, uint64_t leaf)
{
	return vmmu_grant_write(&op->map->layout, leaf);
}

static inline uint64_t vmmu_leaf_protected(const struct vmmu_op *op, uint64_t leaf)
{
	return vmmu_revoke_write(&op->map->layout, leaf);
}

static inline void *vmmu_object_alloc(struct vmmu_vm *vm, size_t size)
{
	return vm->tables.host->object_alloc(vm->tables.ctx, size);
}

static inline void vmmu_object_free(struct vmmu_vm *vm, void *object, size_t size)
{
	if (object)
		vm->tables.host->object_free(vm->tables.ctx, object, size);
}

/* ---- handle.c ---- */

/* A fault from begin to end: told, handled by the vCPU's map, counted, told. */
enum vmmu_fault_result vmmu_handle(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause);
/* The same for a violation: what map->handle is without a shorter way. */
VMMU_HIDDEN enum vmmu_fault_result vmmu_handle_violation(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
/* Where it begins: number, operation, and what the host is told when nothing comes of it. */
void vmmu_fault_begin(struct vmmu_op *op, struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, enum vmmu_cause cause);

/* map.c: what every map of `vm` begins with; it becomes the VM's last. */
void vmmu_map_init(struct vmmu_map *map, const struct vmmu_map_ops *ops, struct vmmu_vm *vm,
                   const struct vmmu_config *config, const struct vmmu_layout *layout);
/*
 * Which of its ways a violation takes from now on. With the gate closed; who is on the other way by then
 * sees that memory.sequence has stepped.
 */
void vmmu_map_watch(struct vmmu_map *map, bool traced);
/* It is none of the VM's any more. */
void vmmu_map_remove(struct vmmu_map *map);

#endif
