/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of one VM and those who act on them.
 *
 *   struct vmmu_tables  every paging structure of a VM, its locks and its host
 *   struct vmmu_map     one tree of them: its format, its root, what can be done with it
 *   struct vmmu_table   what the engine knows of one paging structure
 *   struct vmmu_actor   a vCPU, or the VM's management: its ring, spares, counters
 *   struct vmmu_op      one operation under way: who, why, and the flush it needs
 */
#ifndef VMMU_TABLES_H
#define VMMU_TABLES_H

#include <stdatomic.h>

#include "format/format.h"
#include "table/proof.h"

/* As many frames as 52 bits of address can name. */
#define VMMU_GFNS (1ull << 40)

struct vmmu_table {
	struct vmmu_table *next;  /* spares, or tables that wait for a flush */
	struct vmmu_table *chain; /* bucket */
	vmmu_hpa hpa;
	vmmu_gfn gfn; /* first gfn it translates */
	uint8_t level;
	uint8_t generation; /* of the array of the hash that it is in */
	bool for_hole;      /* linked for an MMIO entry: its map counts it */
};

/* Tables by their frames (table_hash.c): one array in the VM, and longer ones as tables become many. */
enum { VMMU_HASH_FIRST_BITS = 10,
       VMMU_HASH_STEP_BITS = 3,
       VMMU_HASH_LATER = 5 };
struct vmmu_table_hash {
	struct vmmu_table *_Atomic first[1 << VMMU_HASH_FIRST_BITS];
	struct vmmu_table *_Atomic *later[VMMU_HASH_LATER];
	_Atomic uint32_t newest; /* which array takes what comes: 0 is `first` */
	_Atomic uint32_t tables;
	_Atomic bool growing;
};

/* Single writer each, so plain relaxed stores; read by anybody for statistics. */
struct vmmu_counters {
	_Atomic uint64_t entries[VMMU_CAUSE_COUNT][VMMU_LEVEL_MAX + 1];
	_Atomic uint64_t zapped[VMMU_CAUSE_COUNT];
	_Atomic uint64_t faults[VMMU_FAULT_RESULT_COUNT];
	_Atomic uint64_t tables_allocated[VMMU_LEVEL_MAX + 1];
	_Atomic uint64_t tables_freed[VMMU_LEVEL_MAX + 1];
	_Atomic uint64_t tables_nested[VMMU_LEVEL_MAX + 1];
	_Atomic uint64_t pages[VMMU_LEVEL_MAX + 1]; /* modulo 2^64: one actor maps, another unmaps */
	_Atomic uint64_t mmio_hits;
	_Atomic uint64_t flushes;
	_Atomic uint64_t dropped;
};

static inline void vmmu_count(_Atomic uint64_t *counter, uint64_t by)
{
	VMMU_ADD(counter, by);
}

/*
 * The table of this level that an actor's last mapping went through. The next
 * fault is most often in the same 1 GiB and starts there, two levels down.
 * Good for that map alone, and while nothing of it was retired.
 */
enum { VMMU_HINT_LEVEL = VMMU_LEVEL_2M };
struct vmmu_hint {
	uint64_t retired; /* map->retired at that time; 0: no hint */
	uint64_t block;   /* gfn / vmmu_level_pages(VMMU_LEVEL_1G) */
	vmmu_hpa table;
};

struct vmmu_actor {
	_Alignas(64) _Atomic bool inside; /* the gate; on a cache line of its own */
	_Alignas(64) uint16_t vm;         /* and id: side by side, as records have them */
	uint16_t id;
	uint32_t seq;
	uint32_t faults;
	uint32_t room; /* records known to fit into the ring from `at` on, up to the ring's end at most */
	struct vmmu_trace_record *at;
	struct vmmu_trace_ring *ring;
	uint64_t untold;          /* drops not yet told in the ring */
	struct vmmu_table *spare; /* frames zero, ready to be linked */
	unsigned spares;
	struct vmmu_table *low_spare; /* one whose frame CR3 can name outside long mode, or none */
	struct vmmu_hint hint;
	struct vmmu_counters count;
};

struct vmmu_tables {
	const struct vmmu_host *host;
	void *ctx;
	uintptr_t read_base; /* host->table_read_base */
	uint64_t frame_mask; /* address bits that a frame for a table can have */
	uint16_t vm_id;
	_Atomic bool tracing;
	_Atomic bool managed; /* the management lock */
	_Alignas(64) _Atomic bool closed;
	_Atomic bool watched; /* tracing, or the host has a test hook; changed with the gate closed */
	/* Flushes pending, those of either epoch in a half of their own. Beside `closed`, which all read. */
	_Atomic uint64_t flushes_pending;
	_Atomic uint32_t epoch; /* 0 or 1; management steps it when it waits (locks.h) */
	_Alignas(64) struct vmmu_actor manager;
	struct vmmu_actor **actors; /* vCPUs; the management lock guards it */
	uint32_t actors_max;
	uint32_t actors_end;   /* past the last seat that is taken */
	uint32_t header_bytes; /* of a struct vmmu_table and what a map has behind it */
	bool ending;           /* the VM goes, with all that it counts */
	_Atomic bool locked;   /* the shadow lock */
	_Atomic uint32_t next_flush;
	struct vmmu_table_hash hash;
};

/* What the CPU translates through a map. */
enum vmmu_input { VMMU_INPUT_GPA,
	          VMMU_INPUT_GVA,
	          VMMU_INPUT_NESTED_GPA };

/* Pages around a violation's that are mapped with it, at most 2^6 of them. */
enum { VMMU_AROUND_MAX = 6 };

/*
 * One way from a VM's addresses to its frames: an object with operations. What
 * differs between kinds of maps is behind `ops` (map/map.h); what the writer, the
 * walker and a fault need at once stands here.
 */
struct vmmu_map {
	const struct vmmu_map_ops *ops;
	struct vmmu_layout layout;
	struct vmmu_vm *vm;
	struct vmmu_map *next;   /* the VM's next map */
	struct vmmu_table *root; /* NULL: it has as many as its vCPUs ask for */
	/*
	 * Steps when a table is unlinked; written with the gate closed. It begins with
	 * the map's id in its high bits, so that no two maps ever have the same number,
	 * and a hint tells by it the map and the moment at once.
	 */
	uint64_t retired;
	/* Of a vCPU's: what vmmu_fault does. ops->quick or ops->traced (vmmu_map_watch), or all in full; a vCPU may find a better one. */
	enum vmmu_fault_result (*_Atomic handle)(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
	uint16_t id;         /* not 0; `root` of trace records */
	uint8_t input;       /* enum vmmu_input */
	uint8_t root_levels; /* that every root of it has; 0: as many as its top table says */
	uint8_t leaf_level_max;
	uint8_t whole_level_max;      /* of an entry whose table may be unlinked as a whole */
	uint8_t around;               /* log2 of the pages that a violation maps at most: config.fault_around */
	uint8_t path_tables;          /* below the root: what one fault may need */
	bool mmio_cache;              /* accesses without a slot leave an entry behind */
	_Atomic uint32_t hole_tables; /* linked for such entries: those that are there */
	bool flush_all;               /* its TLBs cannot be flushed by gfns */
};

enum { VMMU_MAP_ID_SHIFT = 48 };

/* The flush that an operation needs, as data: done by vmmu_op_flush when no lock is held. */
struct vmmu_needed_flush {
	uint64_t pending; /* what it adds to tables->flushes_pending; 0: it is not counted yet */
	bool needed;
	bool all;                 /* of a map whose TLBs know no gfns */
	bool tables;              /* a non-leaf entry went away */
	enum vmmu_cause cause;    /* of the last write that needed one */
	uint64_t start, end;      /* gfns */
	struct vmmu_table *freed; /* unlinked; go back to the host after the flush */
	unsigned freed_count;
};

struct vmmu_op {
	struct vmmu_tables *tables;
	struct vmmu_actor *who;
	struct vmmu_map *map; /* whose entries are read and written; management goes over all */
	bool tracing;         /* as of the last time it entered the gate (locks.h) */
	uint32_t fault;
	enum vmmu_cause cause; /* of a fault: why it maps */
	struct vmmu_needed_flush flush;
};

/* Nothing is needed so far. */
static inline void vmmu_flush_begin(struct vmmu_needed_flush *flush)
{
	flush->pending = 0;
	flush->needed = false;
	flush->freed = NULL;
}

/* Only what must be: faults start one each. flush's other fields mean nothing until `needed`, and freed_count until `freed`. */
static inline void vmmu_op_init(struct vmmu_op *op, struct vmmu_tables *t, struct vmmu_actor *who,
                                struct vmmu_map *map)
{
	op->tables = t;
	op->who = who;
	op->tracing = atomic_load_explicit(&t->tracing, memory_order_relaxed);
	op->map = map;
	op->fault = 0;
	vmmu_flush_begin(&op->flush);
}

/* Go on with another map of the VM; returns the one before, to be put back. */
static inline struct vmmu_map *vmmu_op_on(struct vmmu_op *op, struct vmmu_map *map)
{
	struct vmmu_map *before = op->map;

	op->map = map;
	return before;
}

/* An entry, as any reader sees it. */
static inline uint64_t vmmu_entry_read(const struct vmmu_tables *t, vmmu_hpa table, unsigned index)
{
	const _Atomic uint64_t *entries = (const _Atomic uint64_t *)(t->read_base + table.v);

	return atomic_load_explicit(&entries[index], memory_order_acquire);
}

/*
 * Fill the actor's spares up to `count`. Calls the host: never inside the gate,
 * never with it closed. False when the host has no more; what was got is kept.
 */
bool vmmu_spares_fill(struct vmmu_tables *t, struct vmmu_actor *who, unsigned count);
/*
 * The same for one table below 4 GiB: outside long mode the CPU takes bits 31:5 of
 * CR3 alone (SDM vol. 3, 4.4.1; APM vol. 2, 5.2.1).
 */
bool vmmu_low_spare_fill(struct vmmu_tables *t, struct vmmu_actor *who);
void vmmu_spares_drain(struct vmmu_tables *t, struct vmmu_actor *who);

/* The actor has one: it is a spare no more. */
static inline struct vmmu_table *vmmu_spare_pop(struct vmmu_actor *who)
{
	struct vmmu_table *table = who->spare;

	VMMU_ASSERT(table != NULL);
	who->spare = table->next;
	who->spares--;
	return table;
}

/* Give a table's frame and header back to the host. Nothing may reach it any more. */
void vmmu_table_delete(struct vmmu_tables *t, struct vmmu_table *table);

/* From here on `table`, a spare so far, is one for (level, gfn). Counted; not told in the trace. */
static inline void vmmu_table_begin(struct vmmu_actor *who, struct vmmu_table *table, unsigned level, vmmu_gfn gfn)
{
	table->next = NULL;
	table->level = (uint8_t)level;
	table->for_hole = false;
	table->gfn = gfn;
	vmmu_count(&who->count.tables_allocated[level], 1);
}

/*
 * Take a spare for (level, gfn): from here on it counts as a table of this VM.
 * Hand it back, all zero, when another vCPU has linked one in its place.
 */
struct vmmu_table *vmmu_table_take(struct vmmu_op *op, unsigned level, vmmu_gfn gfn);
/* The one below 4 GiB. */
struct vmmu_table *vmmu_table_take_low(struct vmmu_op *op, unsigned level, vmmu_gfn gfn);
/* `op`: NULL when nobody watches. */
void vmmu_table_return(struct vmmu_actor *who, struct vmmu_op *op, struct vmmu_table *table);
/*
 * Make a table found by its hpa, after it has been linked and before the gate
 * is left: only those who close the gate look tables up.
 */
void vmmu_table_publish(struct vmmu_op *op, struct vmmu_table *table);
/* NULL if there is none. */
struct vmmu_table *vmmu_table_find(struct vmmu_tables *t, struct vmmu_closed closed, vmmu_hpa hpa);
/*
 * `table` has been unlinked: forget it and everything below it, and let the
 * frames wait for the flush that `op` needs.
 */
void vmmu_table_retire(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_table *table,
                       enum vmmu_cause cause);

/* Does it hold nothing at all? Nobody writes it meanwhile. */
bool vmmu_table_is_empty(const struct vmmu_tables *t, vmmu_hpa table);

/* The same for this one alone: it is empty, and nothing references it. */
void vmmu_table_retire_one(struct vmmu_exclusive x, struct vmmu_table *table, enum vmmu_cause cause);

/* One record about a table: taken into use, unlinked, or given back. */
void vmmu_trace_table(struct vmmu_op *op, enum vmmu_trace_event event,
                      const struct vmmu_table *table, enum vmmu_cause cause, bool created);

/* One flush, as `flushes_pending` counts it. */
static inline uint64_t vmmu_flush_unit(uint32_t epoch)
{
	return 1ull << 32 * (epoch & 1);
}

/* Has an entry been changed and its flush not been done yet? For those who find an entry empty. */
static inline bool vmmu_is_flush_pending(const struct vmmu_op *op)
{
	return __builtin_expect(
		atomic_load_explicit(&op->tables->flushes_pending, memory_order_acquire) != 0, 0);
}

/*
 * Do the flush that `op` needs, then free what waits for it. Management also waits
 * for the flushes of faults that were pending. No lock is held but the management
 * lock.
 */
void vmmu_op_flush(struct vmmu_op *op);
/* Outside the gate: wait for the flushes of others. They may need this CPU, so there is an end to it: false. */
bool vmmu_flushes_wait(struct vmmu_op *op);

#endif
