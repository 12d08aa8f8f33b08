/* SPDX-License-Identifier: BSD-2-Clause */
/* Rebuilding the tables from a trace, as docs/trace-format.md describes it. */
#ifndef TOOL_REPLAY_H
#define TOOL_REPLAY_H

#include <vmmu/vmmu.h>

#include "../base/map.h"
#include "trace_file.h"

enum { TABLE_ENTRIES = 512,
       PART_ENTRIES = 32 };

/* A write that waits for the one it follows (docs/trace-format.md, "Order and loss"). */
struct replay_early;

/* An entry, and the first gfn of what it names: it does not follow from the place under shadow paging. */
struct replay_cell {
	uint64_t entry, gfn;
};

struct replay_table {
	struct replay_table *next, **at; /* among those of its VM */
	uint64_t hpa;
	uint64_t gfn; /* first one it covers */
	uint16_t vm;
	uint16_t root; /* that its record names */
	uint8_t level;
	uint32_t seen;                                          /* by the pass of this number: tables may be reached twice */
	struct replay_early *early, **early_last;               /* writes that wait, in the order of their records */
	struct replay_cell *part[TABLE_ENTRIES / PART_ENTRIES]; /* NULL: all empty */
};

/* What the trace says about one VM. */
struct replay_vm {
	uint16_t id;
	bool described; /* there was a VM record */
	bool nested;    /* by that: tables of a nested map stand among those of gpas */
	struct replay_table *tables;
	struct vmmu_decoder decoder;
	uint64_t cpu_bits; /* accessed and dirty bits that the CPU may set on its own */
	uint16_t map;      /* root of its VM record: with `nested` that of the nested map */
	uint64_t root;     /* top table of the root loaded last, of L1's own map; 0 = none yet */
	uint64_t l2_root;  /* the same of the nested map */
	uint16_t root_id;
};

/* Something in the trace contradicts the tables built so far. */
typedef void (*replay_problem_fn)(void *arg, uint64_t record, const char *text);

/*
 * Memory is a few words for each record that was taken, and each record takes the
 * same time, whatever the trace says.
 */
struct replay {
	struct map tables; /* by hpa */
	struct replay_vm *vms;
	size_t vm_count;
	struct map vm_numbers;              /* id -> place in vms */
	struct replay_early *first, **last; /* in the order of their records */
	struct map early;                   /* entry and what was found there -> those that wait for it */
	uint64_t cpu_set_bits;              /* how many such bits were seen set */
	uint64_t writes;
	uint32_t passes;
	uint64_t seed;
	replay_problem_fn problem;
	void *arg;
};

/* `problem` may be NULL. */
void replay_init(struct replay *replay, replay_problem_fn problem, void *arg);
void replay_free(struct replay *replay);

/* Take record `number` of a sorted trace. Records must come one after another from 0 on. */
void replay_apply(struct replay *replay, const struct trace_file *trace, uint64_t number);
/* Records [from, to). */
void replay_range(struct replay *replay, const struct trace_file *trace, uint64_t from, uint64_t to);
/* What is still set aside will not be explained any more: report it and take it as it is. */
void replay_settle(struct replay *replay, const struct trace_file *trace);

/* Take a DUMP or FOUND record for what its entry holds. */
void replay_note_entry(struct replay *replay, const struct vmmu_trace_record *record);

struct replay_table *replay_table_at(const struct replay *replay, uint64_t hpa);
uint64_t replay_entry(const struct replay_table *table, unsigned index);
/* The first gfn of the page that this leaf maps, or of the guest table that this reference stands for. */
uint64_t replay_entry_gfn(const struct replay_table *table, unsigned index);
/* A number for a pass through tables in which each counts as seen once: replay_see() is true the first time. */
uint32_t replay_pass(struct replay *replay);
bool replay_see(struct replay_table *table, uint32_t pass);
/* NULL when the trace has no VM with this id. */
struct replay_vm *replay_vm_of(const struct replay *replay, uint16_t id);

/* Entry number of an address in a table of this level. */
unsigned replay_index(uint64_t address, unsigned level);

/* Does `seen` equal `recorded`, save for bits that the CPU may have set? Adds them to *bits. */
bool replay_same_entry(const struct replay_vm *vm, uint64_t recorded, uint64_t seen, uint64_t *bits);

/*
 * The entries that translate an address from the table at `root` down: a gpa, or
 * a gva in shadow tables. steps[] holds at least VMMU_LEVEL_MAX.
 */
unsigned replay_walk(const struct replay *replay, const struct replay_vm *vm, uint64_t root,
                     uint64_t address, struct vmmu_path_step *steps);

#endif
