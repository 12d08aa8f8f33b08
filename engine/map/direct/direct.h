/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Direct maps: gpa -> hpa, by no tables but our own. EPT, NPT, and the map of
 * guests without paging where the CPU has neither. Each operation is a visitor
 * over the one walker.
 *
 *   find_leaf.c      what ends a gfn's translation
 *   link.c           steps that several visitors share
 *   direct_map.c     make a gfn translate
 *   mmio.c           entries for gpas without a slot
 *   direct_quick.h   the faults of every day, the short way: watched in direct_quick.c,
 *                    and in direct_watched.c from vmmu_fault on, unwatched in direct_unwatched.c
 *   direct_known.h   a page of a run that the host has named before: without the question
 *   direct_fault.c   any fault, from the access to the entry
 *   direct_ahead.c   many pages at once, before they are touched
 *   direct_range.c   ranges removed, protected, harvested
 *   direct_audit.c   what must be true
 *   direct.c         the map as an object
 */
#ifndef VMMU_DIRECT_H
#define VMMU_DIRECT_H

#include "table/trace.h"
#include "map/map.h"
#include "map/prepare.h"
#include "table/write.h"

/* One mapping: what is wanted, and what came of it. */
struct vmmu_mapping {
	uint64_t gfn;
	unsigned access; /* VMMU_R, W or X that must be allowed afterwards */
	unsigned goal;   /* level of the leaf */
	vmmu_pfn pfn;    /* frame of gfn */
	uint64_t leaf;   /* vmmu_leaf_bits */
	struct vmmu_slot *slot;
	enum vmmu_cause cause;
	/* A leaf that stood here before the host was asked: it is older than the answer. 0: none is known to. */
	uint64_t older;
	/* out */
	enum vmmu_fault_result result; /* 0: `entry` maps another frame, and may be newer */
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

/* For `map`: the table of 2 MiB entries that translates gfn. Good until a table goes. */
static inline struct vmmu_hint vmmu_hint_to(const struct vmmu_map *map, uint64_t gfn, vmmu_hpa table)
{
	return (struct vmmu_hint){
		.retired = map->retired,
		.block = gfn / vmmu_level_pages(VMMU_HINT_LEVEL + 1),
		.table = table,
	};
}

/* Is it for this map and gfn, and has no table gone since? */
static inline bool vmmu_hint_leads_to(const struct vmmu_hint *hint, const struct vmmu_map *map, uint64_t gfn)
{
	return hint->block == gfn / vmmu_level_pages(VMMU_HINT_LEVEL + 1) && hint->retired == map->retired;
}

/*
 * The aligned pages around gfn that an answer speaks for, 2^`most` of them at most. Where frames and
 * gfns are out of step they are fewer.
 */
static inline uint64_t vmmu_run_pages(uint64_t gfn, const struct vmmu_backing *backing, unsigned most)
{
	const uint64_t apart = gfn ^ backing->pfn.v, pages = 1ull << (backing->order < most ? backing->order : most);

	return VMMU_UNLIKELY(apart & (pages - 1)) ? apart & -apart : pages;
}

/* For the actor's next fault nearby. */
static inline void vmmu_remember(const struct vmmu_visit *v)
{
	struct vmmu_hint *hint = &v->op->who->hint;

	if (v->level > VMMU_HINT_LEVEL || (hint->table.v == v->path[VMMU_HINT_LEVEL].v &&
	                                   hint->retired == v->op->map->retired))
		return;
	*hint = vmmu_hint_to(v->op->map, v->gfn.v, v->path[VMMU_HINT_LEVEL]);
}

/* From where to walk to gfn: the actor's hint, or the root. */
static inline struct vmmu_top vmmu_nearest(const struct vmmu_op *op, uint64_t gfn)
{
	const struct vmmu_hint *hint = &op->who->hint;

	if (vmmu_hint_leads_to(hint, op->map, gfn))
		return (struct vmmu_top){hint->table, VMMU_HINT_LEVEL};
	return vmmu_top_of(op->map);
}

/* ---- find_leaf.c: inside the gate or with the management lock ---- */

/* The entry that ends gfn's translation. */
struct vmmu_visit vmmu_find_leaf(struct vmmu_op *op, uint64_t gfn);

/* ---- link.c: by a walker inside the gate ---- */

/* Put a new table where visit->entry is empty (or a stale MMIO entry). */
enum vmmu_next vmmu_link_table(struct vmmu_visit *visit, enum vmmu_cause cause);
/* Replace the huge leaf at visit by a table of leaves that say the same. */
enum vmmu_next vmmu_split_leaf(struct vmmu_visit *visit);

/* ---- direct_map.c ---- */

/*
 * Make gfn translate as `mapping` says, building the missing part of its path.
 * The actor's spares suffice for a whole path.
 */
void vmmu_direct_map(struct vmmu_op *op, struct vmmu_inside inside, struct vmmu_mapping *mapping);

/* ---- mmio.c ---- */

/* Leave an MMIO entry of the present generation at gfn. */
void vmmu_mmio_map(struct vmmu_op *op, struct vmmu_inside inside, struct vmmu_mapping *mapping);
/* A fault met an MMIO entry: HANDLE_MMIO, or CHECK_MMIO when it is of another generation. */
void vmmu_trace_mmio(struct vmmu_op *op, const struct vmmu_fault *f, enum vmmu_trace_event event, uint64_t entry,
                     uint64_t generation);

/* ---- direct_quick.c ---- */

/* What became of the question to the host, beside the backing itself. */
struct vmmu_answer {
	uint64_t sequence; /* from before the question */
	enum vmmu_backing_result result;
	bool given; /* false: not asked yet */
};

/*
 * The short ways, with an operation. 0: nothing has come of it, go on in full, with the answer if
 * one was given. `brief` (direct_quick.h): one record has told the whole fault unless that is so.
 */
enum vmmu_fault_result vmmu_quick_missing(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op, enum vmmu_brief brief,
                                          struct vmmu_answer *answer, struct vmmu_backing *backing);
/* The same with the host's answer, which is VMMU_BACKING_OK. */
enum vmmu_fault_result vmmu_quick_place(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op,
                                        const struct vmmu_answer *answer, const struct vmmu_backing *backing);
enum vmmu_fault_result vmmu_quick_present(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_op *op);

/* ---- direct_fault.c ---- */

/* A violation, unwatched so far, whose question has been answered: go on in full. */
enum vmmu_fault_result vmmu_direct_answered(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, struct vmmu_answer answer,
                                            struct vmmu_backing *backing);

/* A fault that the short way has left, with the answer if one was given: go on in full. */
enum vmmu_fault_result vmmu_direct_go_on(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f,
                                         struct vmmu_answer answer, struct vmmu_backing *backing);

/* ---- direct_watched.c ---- */

/*
 * A violation whose entry is missing, from vmmu_fault, while somebody watches: from begin to
 * end. The slot is that of vcpu->hit, `sequence` has been read before that was seen.
 */
enum vmmu_fault_result vmmu_direct_watched(struct vmmu_vcpu *vcpu, struct vmmu_fault *f, uint64_t sequence);

/* With a trace by the TSC and no test hook: instead of vmmu_direct_quick. */
enum vmmu_fault_result vmmu_direct_traced(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);

/* ---- the operations ---- */

/* direct_unwatched.c */
enum vmmu_fault_result vmmu_direct_quick(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
enum vmmu_fault_result vmmu_direct_quick_known(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);
enum vmmu_fault_result vmmu_direct_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault);
enum vmmu_fault_result vmmu_direct_prefault(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault, uint64_t wanted,
                                            uint64_t *mapped);
void vmmu_mmio_zap(struct vmmu_op *op, struct vmmu_closed closed);
void vmmu_direct_zap_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                           uint64_t end, unsigned keep, enum vmmu_cause cause);
void vmmu_direct_zap_page(struct vmmu_op *op, struct vmmu_closed closed, uint64_t gfn, enum vmmu_cause cause);
void vmmu_direct_protect_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                               uint64_t end, bool forbid);
void vmmu_direct_harvest_range(struct vmmu_op *op, struct vmmu_closed closed, uint64_t first,
                               uint64_t end);
void vmmu_direct_audit(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_audit *audit);

extern VMMU_HIDDEN const struct vmmu_map_ops vmmu_direct_ops;

/* direct.c: add an empty direct map to a VM. False: no memory, nothing is left behind. */
bool vmmu_direct_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout);

#endif
