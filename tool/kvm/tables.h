/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of one VM as far as its events tell: roots, and what hangs below
 * them. KVM's events name no root, so a write is looked for by what it found: it
 * belongs to the root whose entry holds its old value.
 */
#ifndef TOOL_KVM_TABLES_H
#define TOOL_KVM_TABLES_H

#include <stddef.h>

#include "../fact/fact.h"
#include "entry.h"

struct kvm_table {
	uint64_t gfn;   /* first one it covers */
	uint64_t hpa;   /* 0 = not known */
	uint32_t epoch; /* losses that its entries have been told of */
	uint32_t take;  /* it was unlinked, and by this piece of a thread's work; 0: it is linked, or nobody knows */
	uint16_t there; /* entries that hold something */
	uint8_t level;
	bool born; /* it was made under the trace: what was not written is empty */
	bool dense;
	uint16_t count;  /* slots in use while it is not dense */
	uint16_t *index; /* their entries' numbers, while it is not dense */
	uint64_t *value;
	uint8_t *known;           /* enum fact_known, KVM_STALE */
	struct kvm_table **child; /* NULL at level 1 */
};

enum { KVM_STALE = 0x80 }; /* events were lost since it was known */

struct kvm_root {
	uint16_t id; /* from 1 in its VM */
	uint8_t as_id, level;
	bool valid;    /* vCPUs may walk it */
	bool presumed; /* invalid as far as writes tell, without a zap-all that was recorded */
	bool torn;     /* upper entries were taken from it */
	bool born;     /* made under the trace */
	struct kvm_table *top;
	struct kvm_table **detached; /* unlinked, their entries are being zapped one by one */
	size_t detached_count;
};

struct kvm_tables {
	struct kvm_root **roots; /* the oldest first */
	size_t root_count;
	uint16_t last_id;
	uint32_t epoch; /* losses so far */
	enum kvm_mode mode;
	uint8_t level;  /* of its roots, once one was seen; else 0 */
	uint64_t empty; /* what an empty entry holds, learnt from the first one seen */
};

enum { KVM_ROOTS_MAX = 64,
       KVM_DETACHED_MAX = 64 };

void kvm_tables_free(struct kvm_tables *tables);

/* A root of its own; the oldest is given up when there are too many. */
struct kvm_root *kvm_root_add(struct kvm_tables *tables, unsigned as_id, unsigned level, bool born);
/* The newest root that is valid, or NULL. */
struct kvm_root *kvm_root_newest(const struct kvm_tables *tables, unsigned as_id);
void kvm_roots_invalidate(struct kvm_tables *tables);
/* `newer` is used now, so any older one of its address space is not; NULL: none of them is any more. */
void kvm_roots_presume_invalid(struct kvm_tables *tables, unsigned as_id, const struct kvm_root *newer);
/* Forget roots that are invalid and hold nothing any more. */
void kvm_roots_sweep(struct kvm_tables *tables);

/* How well an old value fits what is known. */
enum kvm_fit {
	KVM_FIT_NONE,
	KVM_FIT_DOUBTFUL, /* nothing is known of the entry, but a table below it was written to */
	KVM_FIT_STALE,    /* not what it held before events were lost; anything may be there now */
	KVM_FIT_OPEN,     /* nothing is known of the entry */
	KVM_FIT_DETACHED, /* it stands so in a table that was unlinked */
	KVM_FIT_EXACT,
};

struct kvm_spot {
	struct kvm_root *root;
	struct kvm_table *table; /* NULL: the path to it is to be made */
	enum kvm_fit fit;
};

struct kvm_spot kvm_root_fit(const struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                             unsigned level, uint64_t old);
/*
 * The same in the tables that one piece of work has unlinked, and whose entries it takes away
 * now. root NULL: there is no such table.
 */
struct kvm_spot kvm_taken_fit(const struct kvm_tables *tables, uint32_t take, unsigned as_id, uint64_t gfn,
                              unsigned level, uint64_t old);

/* The table that holds the entry, with the path made where it is missing. */
struct kvm_table *kvm_root_table(struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                                 unsigned level);
/* Only where it is there. */
struct kvm_table *kvm_root_find(const struct kvm_root *root, uint64_t gfn, unsigned level);

unsigned kvm_index(uint64_t gfn, unsigned level);
/* What the entry holds and how that is known. */
uint64_t kvm_table_get(const struct kvm_tables *tables, struct kvm_table *table, unsigned index,
                       unsigned *known);
/*
 * A write found `old` there: when that is a table of which nothing was seen, it hangs
 * there from now on, and all its entries are unknown. Its zap may name them next.
 */
void kvm_table_uncover(struct kvm_tables *tables, struct kvm_table *table, unsigned index, uint64_t old);
struct kvm_put {
	uint64_t value;
	unsigned known; /* enum fact_known */
	bool fresh;     /* a table that is named now is new */
	uint32_t take;  /* of the work that unlinks the table which hung below; 0: not known */
};
/* Put it there. A table that hung below is detached. */
void kvm_table_set(struct kvm_tables *tables, struct kvm_root *root, struct kvm_table *table, unsigned index,
                   const struct kvm_put *put);

/* The leaf that translates a gfn under a root; its table, index and level. False: there is none known. */
bool kvm_root_leaf(struct kvm_tables *tables, struct kvm_root *root, uint64_t gfn,
                   struct kvm_table **table, unsigned *index);

#endif
