/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow paging: tables that say, for the CPU, what the guest's own tables say
 * for its addresses.
 *
 * A shadow table stands for one guest table as seen under one role, and it is
 * in one of two states. While CPUs can reach it, it is held: no CPU can write
 * the guest table's frame, so it always says what the guest's says, and neither
 * INVLPG nor a load of CR3 has anything to bring up to date. When the guest
 * writes the frame, the table is parked: unlinked and flushed, its contents
 * kept, the frame the guest's own to write, without exits. The next fault that
 * needs the table holds the frame again, compares it with what the table was
 * made from, and links it.
 *
 * A guest page that is larger than the host's runs is mapped through direct
 * tables, which stand for no guest table at all.
 *
 * Each file stands on those above it:
 *
 *   shadow_table.c    tables: found, linked, made, taken down
 *   shadow_unpaged.c  the map beside it for guests without paging
 *   shadow_hold.c     tables held
 *   shadow_pin.c      roots that vCPUs remember, and what they keep
 *   shadow_reclaim.c  too many tables
 *   shadow_park.c     tables parked
 *   shadow_sync.c     entries made to follow the guest's without a fault for each
 *   shadow_write.c    writes to guest tables that do not come from a guest CPU
 *   shadow_root.c     what CR3 names
 *   shadow_agree.c    one frame for a gfn, on every way to it
 *   shadow_build.c    under the shadow lock: the missing part of a path
 *   shadow_quick.c    a #PF that needs nothing built
 *   shadow_fault.c    a #PF: walk the guest's tables, ask the host, have it built
 *   shadow_range.c    the host takes frames back, or protects them
 *   shadow_audit.c    what must be true
 *   shadow_map.c      the map as an object
 */
#ifndef VMMU_SHADOW_H
#define VMMU_SHADOW_H

#include <vmmu/guest.h>

#include "format/guest.h"
#include "map/prepare.h"
#include "map/direct/direct.h"
#include "memory/frames.h"
#include "table/locks.h"

/*
 * Everything that changes what an entry of the table has to say. Two tables for
 * one frame are the same only if the whole of it is equal (CVE-2026-53359).
 */
union vmmu_role {
	uint32_t word;
	struct {
		uint32_t level : 3;        /* of the shadow table */
		uint32_t direct : 1;       /* stands for part of a large page */
		uint32_t access : 4;       /* VMMU_PAGE_* of the entries above */
		uint32_t quadrant : 2;     /* which part of the guest table, where it takes several of ours */
		uint32_t format : 5;       /* of the guest's tables: enum vmmu_guest_format_number */
		uint32_t no_exec : 1;      /* EFER.NXE */
		uint32_t pse : 1;          /* CR4.PSE */
		uint32_t wp : 1;           /* CR0.WP */
		uint32_t smep_no_wp : 1;   /* CR4.SMEP while CR0.WP is clear */
		uint32_t strict_no_wp : 1; /* CR4.SMAP or CR4.PKE while CR0.WP is clear */
		uint32_t key : 4;          /* direct: the large page's protection key, or memory type */
		uint32_t registers : 1;    /* four entries out of registers: PAE's top table */
	};
};

/* In this order, and round again. */
enum vmmu_shadow_state {
	VMMU_SHADOW_PARKED,  /* guest CPUs may write the frame; no CPU reaches the table */
	VMMU_SHADOW_HELD,    /* none can write it; not yet compared, so that no CPU may reach the table */
	VMMU_SHADOW_CURRENT, /* held, and it says what the guest's table says */
};

/* By this it is told whether parking the table is worth its exits. */
struct vmmu_shadow_history {
	enum {
		VMMU_PARKED_NEVER, /* it is new: never compared yet */
		VMMU_PARKED_FOR_MUCH,
		VMMU_PARKED_FOR_LITTLE, /* last time hardly anything had been written */
		VMMU_PARKED_IN_VAIN,    /* nothing had been */
	} worth;
	enum {
		VMMU_WRITE_NOT_AWAITED,
		VMMU_WRITE_AWAITED, /* the guest's own #PF has come to it, and it has not been parked */
		VMMU_WRITE_CAME,    /* one write since then, which was emulated */
	} handler;
	bool announced;   /* parked by the guest's own #PF: its handler will write */
	bool released;    /* the host does not emulate what is awaited */
	bool changes;     /* what is awaited, or came, is a change of a present entry */
	uint16_t at;      /* ... and in which byte of the page the entry begins */
	uint16_t singles; /* handlers in a row that have written one word */
	unsigned writes;  /* emulated since a fault last came through */
	uint64_t synced;  /* the map's `faults` when it was last compared */
};

/* How much of a guest's large page was mapped when an entry of it last was missing. */
enum vmmu_shadow_filled {
	VMMU_FILLED_NONE,
	VMMU_FILLED_PART,
	VMMU_FILLED_WHOLE,
};

struct vmmu_shadow {
	struct vmmu_table table; /* first: the header of every table */
	struct vmmu_shadow *bucket_next;
	struct vmmu_shadow *older, *newer;
	union vmmu_role role;
	const struct vmmu_guest_format *format; /* by the role's number */
	uint64_t gfn;                           /* of the guest table; direct: first one mapped */
	struct vmmu_link *parents;              /* entries that reference it: none while parked */
	unsigned pins;                          /* roots of vCPUs it belongs to: not to be taken down */
	enum vmmu_shadow_state state;
	struct vmmu_shadow_history history;
	enum vmmu_shadow_filled filled; /* direct */
	uint64_t placed;                /* memory.generation when its frame was last found to be in a slot */
	struct vmmu_link link[VMMU_ENTRIES];
	uint64_t was[VMMU_ENTRIES]; /* the guest's entry that ours, if any, was made from */
};

enum {
	VMMU_SHADOW_BUCKETS = 1024,
	/* A root in use, and what one instruction may need besides. */
	VMMU_SHADOW_PER_VCPU = 32,
};

struct vmmu_shadow_map {
	struct vmmu_map map; /* first */
	const struct vmmu_shadow_kind *kind;
	struct vmmu_map *unpaged;                        /* beside it: what a vCPU runs on while no guest table is in use */
	struct vmmu_shadow *bucket[VMMU_SHADOW_BUCKETS]; /* by gfn */
	/* Tables held in the 2 MiB blocks that share a bucket: 0 says surely none. */
	uint32_t held[VMMU_SHADOW_BUCKETS];
	struct vmmu_shadow *oldest, *newest;
	uint32_t count, limit;
	struct vmmu_frames frames;
	struct vmmu_shadow_vcpu *vcpus;
	uint64_t faults; /* a clock */
	uint64_t cuts;   /* steps when an entry that leads to a table, or maps a large page, goes */
	/* Of the guest's handlers that make an entry, and of those that change one: shadow_park.c. */
	uint8_t doubt[2];
	struct vmmu_guest_cpu cpu;
	bool cpu_known;
};

/* What differs between a map of gvas and one of a nested guest's gpas. */
struct vmmu_shadow_kind {
	const struct vmmu_map_ops *ops;
	enum vmmu_input input;
	uint8_t root_tables; /* that a root may need at once */
	bool low_top;        /* CR3 names a top of four registers: it lies below 4 GiB */
	/* Add the map for vCPUs that use no guest table just now. False: no memory. */
	bool (*create_unpaged)(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
	                       const struct vmmu_layout *layout);
};

enum { VMMU_ROOTS = 8,
       VMMU_CROWN_TABLES = 2 };

/*
 * An address space may be entered each time for the sake of one page whose table
 * has been written just before: kernels patch their text so. Where the first
 * fault after the switch needs the same parked table again and again, the table
 * is linked with the switch.
 */
struct vmmu_wake {
	vmmu_gva gva; /* of the last such fault, and its access */
	uint32_t access;
	uint8_t seen; /* how often in a row, up to VMMU_WAKE_SURE */
};
enum { VMMU_WAKE_SURE = 2 };

/* What one value of CR3 stands for, as long as a vCPU remembers it. */
struct vmmu_root_slot {
	struct vmmu_shadow *top;     /* NULL: free */
	union vmmu_role role;        /* of top */
	uint64_t cr3;                /* its address bits */
	uint64_t pdpte[4];           /* PAE */
	struct vmmu_shadow *part[4]; /* outside long mode: the tables below the top one */
	/* Above the top, where the CPU walks more levels than the guest has: the first entry leads down. */
	struct vmmu_shadow *crown[VMMU_CROWN_TABLES];
	struct vmmu_wake wake;
	uint64_t used;
};

/* The table that the CPU's walk begins with. */
static inline struct vmmu_shadow *vmmu_root_of(const struct vmmu_root_slot *slot)
{
	struct vmmu_shadow *top = slot->top;

	for (unsigned i = 0; i < VMMU_CROWN_TABLES && slot->crown[i]; i++)
		top = slot->crown[i];
	return top;
}

/* The access that the tables allow, and that the CPU reports again all the same. */
struct vmmu_refused {
	vmmu_gva gva;
	uint64_t rip;
	uint32_t access;
	unsigned times;
};

/* How the CPU comes to a table of small pages, as long as the map has `cuts`. */
struct vmmu_shadow_way {
	const struct vmmu_shadow *top; /* of the root */
	struct vmmu_shadow *s;
	uint64_t region; /* of 2 MiB: its number */
	uint64_t cuts;
};
enum { VMMU_SHADOW_WAYS = 16 };

struct vmmu_shadow_vcpu {
	struct vmmu_vcpu vcpu; /* first */
	struct vmmu_shadow_vcpu *next;
	struct vmmu_guest_mode mode;
	/* How the tables are read that a write is followed in: as now, or, by a nested guest's hypervisor, as last. */
	const struct vmmu_guest_mode *reads;
	/* Under the shadow lock: any vCPU may let go of a root that this one does not run on. */
	struct vmmu_root_slot slot[VMMU_ROOTS];
	struct vmmu_root_slot *root; /* NULL: paging is off, the unpaged map */
	uint64_t clock;
	bool started; /* its registers have been set */
	bool fresh;   /* no fault since the last switch */
	struct vmmu_block *spare;
	struct vmmu_refused refused;
	struct vmmu_shadow_way way[VMMU_SHADOW_WAYS]; /* all zero: none, as no root has a top of NULL */
};

/* The map of an operation that is on a shadow map. */
static inline struct vmmu_shadow_map *vmmu_shadow_map_of(const struct vmmu_op *op)
{
	return (struct vmmu_shadow_map *)op->map;
}

/* A vCPU of a shadow map. */
static inline struct vmmu_shadow_vcpu *vmmu_shadow_vcpu_of(struct vmmu_vcpu *vcpu)
{
	return (struct vmmu_shadow_vcpu *)vcpu;
}

static inline struct vmmu_shadow *vmmu_shadow_of(struct vmmu_link *link)
{
	struct vmmu_link *first = link - vmmu_link_index(link);

	return (struct vmmu_shadow *)((char *)first - offsetof(struct vmmu_shadow, link));
}

/* Entry `index` of `s` as it stands. Its gfn is that of the page or table that it names. */
static inline struct vmmu_visit vmmu_shadow_entry(struct vmmu_op *op, struct vmmu_shadow *s,
                                                  unsigned index)
{
	return (struct vmmu_visit){
		.op = op,
		.gfn = {s->link[index].at ? vmmu_link_gfn(&s->link[index]) : s->gfn},
		.table = s->table.hpa,
		.index = (uint16_t)index,
		.level = s->table.level,
		/* What was flushed when it was unlinked is nowhere else. */
		.unreached = !s->parents && !s->pins,
		.entry = vmmu_entry_read(op->tables, s->table.hpa, index),
	};
}

/*
 * The bits of a leaf that gives `rights` (VMMU_PAGE_*) of what the host grants; a log gives
 * W only if `wanted`. `gpte` is the guest's leaf: its memory type joins the host's; its
 * protection key is taken over, and whether keys count just now is the CPU's business.
 */
static inline uint64_t vmmu_shadow_leaf_bits(const struct vmmu_op *op, const struct vmmu_guest_format *f,
                                             uint64_t gpte, uint32_t slot_flags, struct vmmu_backing granted,
                                             unsigned rights, unsigned wanted)
{
	uint64_t bits;

	if (!(rights & VMMU_PAGE_READ))
		granted.rights &= ~VMMU_R;
	if (!(rights & VMMU_PAGE_WRITE))
		granted.rights &= ~VMMU_W;
	if (!(rights & VMMU_PAGE_EXEC))
		granted.rights &= ~VMMU_X;
	bits = vmmu_backing_bits(&op->map->layout, slot_flags, wanted, &granted);
	if (!f)
		return bits;
	if (f->has_memtype)
		bits = vmmu_guest_join_memtype(&op->map->layout, &granted, gpte, bits);
	else
		bits |= gpte & f->key;
	return rights & VMMU_PAGE_USER ? bits : bits & ~op->map->layout.format->user;
}

/* Which of our tables for a guest's at `level` our entry `index` above it is for. */
static inline unsigned vmmu_shadow_part(const struct vmmu_guest_format *f, unsigned level, unsigned index)
{
	return index & ((1u << vmmu_guest_parts(f, level)) - 1) & 3;
}

/* Where the guest's entry stands that ours at `index` is made from: bytes from the table's start. */
static inline unsigned vmmu_shadow_guest_offset(const struct vmmu_shadow *s, unsigned index)
{
	unsigned spread = vmmu_guest_spread(s->format, s->role.level);

	return ((s->role.quadrant * (unsigned)VMMU_ENTRIES + index) >> spread) * s->format->entry_bytes;
}

/* The role of the table below entry `index` of a guest table's shadow, where `access` is left. */
static inline union vmmu_role vmmu_shadow_role_below(const struct vmmu_shadow *s, unsigned index,
                                                     unsigned access)
{
	union vmmu_role role = s->role;

	role.level = s->role.level - 1;
	role.registers = 0;
	role.access = access & VMMU_PAGE_ALL;
	role.quadrant = vmmu_shadow_part(s->format, role.level, index);
	return role;
}

/* Does it stand for the contents of a guest frame, which must be held? */
static inline bool vmmu_shadow_stands_for_frame(const struct vmmu_shadow *s)
{
	return !s->role.direct && !s->role.registers;
}

/* Nobody else writes entries meanwhile, and the CPU finds A and D set: this cannot fail. */
static inline void vmmu_shadow_write(struct vmmu_visit *v, uint64_t value, enum vmmu_cause cause)
{
	bool written;

	vmmu_assert_exclusive((struct vmmu_exclusive){v->op});
	written = vmmu_entry_write(v, value, cause);
	VMMU_ASSERT(written);
	(void)written;
}

/* Give W back where only a hold had withheld it. */
static inline void vmmu_shadow_give_write(struct vmmu_visit *v)
{
	const struct vmmu_layout *l = &v->op->map->layout;

	if (v->level == VMMU_LEVEL_4K && (v->entry & l->format->soft_map_writable) &&
	    !(v->entry & l->format->write))
		vmmu_shadow_write(v, vmmu_leaf_writable(v->op, v->entry), VMMU_CAUSE_PERMISSION);
}

enum { VMMU_PAE_ENTRIES = 4 };

/* A PAE top entry: present, an address, and nothing else (SDM vol. 3, table 4-8). */
static inline uint64_t vmmu_pdpte_for(const struct vmmu_op *op, vmmu_hpa table)
{
	return op->map->layout.format->bare_tables ? table.v | op->map->layout.present
	                                           : vmmu_make_table(&op->map->layout, table);
}

/* ---- shadow_table.c: also the functions without a proof need the exclusive one ---- */

struct vmmu_shadow *vmmu_shadow_find(const struct vmmu_shadow_map *all, uint64_t gfn,
                                     union vmmu_role role);
/* The first, or the next, of those that stand for the guest table at gfn, held or parked; NULL after the last. */
struct vmmu_shadow *vmmu_shadow_at(const struct vmmu_shadow_map *all, const struct vmmu_shadow *after, uint64_t gfn);
/* The first, or the next, of those that are held for the guest table at gfn; NULL after the last. */
struct vmmu_shadow *vmmu_shadow_next(const struct vmmu_shadow_map *all,
                                     const struct vmmu_shadow *after, uint64_t gfn);
/* Is a shadow table held for this frame? Then no entry may let a CPU write it. */
bool vmmu_shadow_holds(const struct vmmu_shadow_map *all, uint64_t gfn);
/* Any of the 512 frames around it? */
bool vmmu_shadow_holds_near(const struct vmmu_shadow_map *all, uint64_t gfn);
/* The same at a glance: false is for sure. */
bool vmmu_shadow_may_hold_near(const struct vmmu_shadow_map *all, uint64_t gfn);

/* Make an empty entry reference `child`. */
void vmmu_shadow_link(struct vmmu_visit *v, struct vmmu_shadow *s, struct vmmu_shadow *child,
                      uint64_t value, enum vmmu_cause cause);
/* Make an empty entry map gfn, whose block is `block`. */
void vmmu_shadow_map_leaf(struct vmmu_visit *v, struct vmmu_shadow *s, uint64_t value, uint64_t gfn,
                          struct vmmu_block *block, enum vmmu_cause cause);
/* Make those of entries [first, first + count) that are empty map the gfns that follow on from the table's. */
void vmmu_shadow_map_leaves(struct vmmu_exclusive x, struct vmmu_shadow *s, const uint64_t *values, unsigned first,
                            unsigned count, struct vmmu_block *block, enum vmmu_cause cause);
/* Make an entry empty. */
void vmmu_shadow_drop(struct vmmu_exclusive x, struct vmmu_shadow *s, unsigned index,
                      enum vmmu_cause cause);
/* Make it one of those that count as held, or no longer. Does not touch any entry. */
void vmmu_shadow_count_held(struct vmmu_shadow_map *all, const struct vmmu_shadow *s, int by);
/* To one end of the list by age: taken down last, or first. */
void vmmu_shadow_make_newest(struct vmmu_shadow_map *all, struct vmmu_shadow *s);
void vmmu_shadow_make_oldest(struct vmmu_shadow_map *all, struct vmmu_shadow *s);
/* Take a spare for (gfn, role). It is parked. */
struct vmmu_shadow *vmmu_shadow_new(struct vmmu_exclusive x, uint64_t gfn, union vmmu_role role);
/* Drop all its entries. */
void vmmu_shadow_empty(struct vmmu_exclusive x, struct vmmu_shadow *s, enum vmmu_cause cause);
/* Empty it and, unless a vCPU's root needs it, take it down. */
void vmmu_shadow_retire(struct vmmu_exclusive x, struct vmmu_shadow *s, enum vmmu_cause cause);

/* ---- shadow_unpaged.c ---- */

/* Add the map to a VM. Before any vCPU. False: no memory, nothing is left behind. */
bool vmmu_unpaged_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                         const struct vmmu_layout *layout);
/* Take W from what maps gfn, of this block, there, or give it back, as a table for gfn is held or parked. */
void vmmu_unpaged_protect(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn);
void vmmu_unpaged_allow(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn);
/* Does it have any leaf in this block? */
bool vmmu_unpaged_maps_some(struct vmmu_exclusive x, const struct vmmu_block *block);
/* Drop what maps gfn to another frame than this. True: something did. */
bool vmmu_unpaged_drop_other(struct vmmu_exclusive x, const struct vmmu_block *block, uint64_t gfn, vmmu_pfn pfn);

/* ---- shadow_hold.c ---- */

/* Take W from whatever maps gfn; with `forbid` so that no fault gives it back unasked. */
void vmmu_shadow_protect(struct vmmu_exclusive x, uint64_t gfn, bool forbid);
/* Hold a table's frame. Where that needs a flush, the frame is not to be read before it is done. */
void vmmu_shadow_hold(struct vmmu_exclusive x, struct vmmu_shadow *s);
/* A new table for (gfn, role), held. */
struct vmmu_shadow *vmmu_shadow_make(struct vmmu_exclusive x, uint64_t gfn, union vmmu_role role);

/* ---- shadow_pin.c ---- */

/* A vCPU no longer remembers this root. */
void vmmu_shadow_let_go(struct vmmu_exclusive x, struct vmmu_root_slot *slot);
/* Let go of all roots that no vCPU runs on. */
void vmmu_shadow_forget_roots(struct vmmu_exclusive x);
/* Let go of roots that need `s` and that no vCPU runs on. True: none needs it any more. */
bool vmmu_shadow_unpin(struct vmmu_exclusive x, struct vmmu_shadow *s);

/* ---- shadow_reclaim.c ---- */

/* Take down old tables until `room` more fit under the limit. */
void vmmu_shadow_reclaim(struct vmmu_exclusive x, unsigned room);

/* ---- shadow_park.c ---- */

/*
 * Park all tables that are held for gfn, and let the guest write it: as its #PF
 * has `announced`, or as it has begun to. False: not all of them can be, since a
 * vCPU runs on one.
 */
bool vmmu_shadow_park(struct vmmu_exclusive x, uint64_t gfn, bool announced);
/* A write that the guest's own #PF announces. */
struct vmmu_announced {
	uint64_t gfn; /* of the table */
	unsigned at;  /* in which byte of it the entry begins */
	bool changes; /* a present entry, that is to allow more */
	bool park;    /* whatever such handlers have done before */
};
/*
 * Park, unless such handlers have written one word each of late: then that one will be
 * emulated. True: no table is held for gfn now.
 */
bool vmmu_shadow_announce(struct vmmu_exclusive x, struct vmmu_announced a);
/* The one write was emulated, and more came, or the access has faulted on the entry all the same. */
void vmmu_shadow_note_mistake(struct vmmu_exclusive x, struct vmmu_shadow *s);
/* What the map thinks of handlers before it has seen any. */
void vmmu_shadow_doubt(struct vmmu_shadow_map *all);
/* The same as vmmu_shadow_park, for a caller who is no #PF of the guest's. */
bool vmmu_shadow_release(struct vmmu_exclusive x, uint64_t gfn);
/* A guest CPU writes gfn: is it worth it? Or is emulating this one write cheaper? */
bool vmmu_shadow_is_worth_parking(const struct vmmu_shadow_map *all, uint64_t gfn);

/* ---- shadow_sync.c: by a vCPU. What its copy of the slot does not cover stays out ---- */

/* Entries [first, end) of a table of small pages, to be filled with the one at `index` that has faulted. */
struct vmmu_neighbours {
	unsigned first, end;
};
struct vmmu_neighbours vmmu_shadow_neighbours(const struct vmmu_op *op, const struct vmmu_shadow *s, unsigned index);

/* Make `s`, which is held, follow the guest's table. False: some of it cannot be read just now. */
bool vmmu_shadow_sync(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s);
/* Map what can be mapped without asking anybody in empty entries [first, end). */
void vmmu_shadow_prefetch(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s,
                          unsigned first, unsigned end);
/* The leaf for gfn of `block` by what the host has said of it before. False: it must be asked. */
bool vmmu_shadow_known_leaf(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, const struct vmmu_block *block,
                            const struct vmmu_guest_format *format, uint64_t gfn, uint64_t gpte, unsigned rights,
                            uint64_t *value);
/* The part of these entries, whose gfns are those of `block`, that lies in the run that the host has named. */
struct vmmu_neighbours vmmu_shadow_known_part(const struct vmmu_vcpu *vcpu, const struct vmmu_block *block,
                                              struct vmmu_neighbours n);
/* vmmu_shadow_known_leaf for all of such a part, by one guest entry. False: the host must be asked, or allows nothing. */
bool vmmu_shadow_known_leaves(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, const struct vmmu_block *block,
                              const struct vmmu_guest_format *format, struct vmmu_neighbours n, uint64_t gpte, unsigned rights,
                              uint64_t *values);
/* Note that the host has named a run of frames around gfn. */
void vmmu_shadow_note_run(struct vmmu_vcpu *vcpu, struct vmmu_block *block, uint64_t gfn,
                          const struct vmmu_backing *backing, uint64_t sequence);

/* ---- shadow_write.c ---- */

/* Drop what followed from the old words. */
void vmmu_shadow_written(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes);
/* After the flush that this needed: map what the new words say, as far as it is known. */
void vmmu_shadow_refill(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes);

/* ---- shadow_root.c: no lock held ---- */

/* The role of a top table in this mode. */
union vmmu_role vmmu_shadow_top_role(const struct vmmu_guest_mode *mode);

/* The vCPU's registers have changed. Refused (NO_MEMORY; INVALID: another CPU than agreed on): nothing has. */
enum vmmu_status vmmu_shadow_switch(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                    const struct vmmu_guest_mode *mode);

/* ---- shadow_quick.c ---- */

/* The CPU comes to `s` for `input`: the vCPU remembers it. */
void vmmu_shadow_note_way(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t input, struct vmmu_shadow *s);
/* No lock held. INJECT_PF or WRITE_TABLE, as the long way would find; 0: by the long way. */
enum vmmu_fault_result vmmu_shadow_quick(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f);

/* ---- shadow_fault.c: no lock held ---- */

enum vmmu_fault_result vmmu_shadow_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                         struct vmmu_fault *fault);
/*
 * For a guard: may the guest's word at `entry` be used? While the host takes the page back
 * nothing follows from what is read there, and what is stored there is lost. Outside all slots
 * is no memory, whatever host.guest_read says: nobody would tell when it changes. Inside the
 * gate, by this vCPU. Defined here, so that its address needs no global offset table.
 */
static inline enum vmmu_guest_read vmmu_shadow_judge(void *arg, vmmu_gpa entry)
{
	struct vmmu_vcpu *vcpu = arg;
	const struct vmmu_memory *memory = &vcpu->vm->memory;
	const struct vmmu_slot *slot;
	uint64_t gfn = vmmu_gpa_gfn(entry).v;

	if (vmmu_is_invalidating(memory, gfn, gfn + 1))
		return VMMU_GUEST_READ_BUSY;
	slot = vmmu_slot_at(memory, vmmu_reading_inside(vmmu_inside_by(&vcpu->actor)), gfn);
	if (!slot)
		return VMMU_GUEST_READ_NONE;
	vcpu->tables = (struct vmmu_slot_range){
		.generation = atomic_load_explicit(&memory->generation, memory_order_relaxed),
		.first = slot->first << VMMU_PAGE_SHIFT,
		.bytes = (slot->end - slot->first) << VMMU_PAGE_SHIFT,
	};
	return VMMU_GUEST_READ_OK;
}

/* The same as a guard, for as long as this vCPU stays inside. It asks nothing of the slots that were used last. */
static inline struct vmmu_guest_guard vmmu_shadow_guard(struct vmmu_vcpu *vcpu, struct vmmu_inside inside)
{
	const struct vmmu_memory *memory = &vcpu->vm->memory;
	const struct vmmu_slot_hit *hit = &vcpu->hit;
	const struct vmmu_slot_range *tables = &vcpu->tables;
	/* Nobody has seen generation ~0. */
	uint64_t generation =
		memory->invalidating ? UINT64_MAX : atomic_load_explicit(&memory->generation, memory_order_relaxed);

	vmmu_assert_inside(inside);
	return (struct vmmu_guest_guard){
		.judge = vmmu_shadow_judge,
		.arg = vcpu,
		.sure[0].first = hit->first << VMMU_PAGE_SHIFT,
		.sure[0].bytes = hit->generation == generation ? (hit->end - hit->first) << VMMU_PAGE_SHIFT : 0,
		.sure[1].first = tables->first,
		.sure[1].bytes = tables->generation == generation ? tables->bytes : 0,
	};
}
/* After a switch: link the table that the guest will need first. */
void vmmu_shadow_wake(struct vmmu_vcpu *vcpu, struct vmmu_op *op);

/* ---- the other operations ---- */

void vmmu_shadow_zap_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                           uint64_t end, unsigned keep, enum vmmu_cause cause);
void vmmu_shadow_protect_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                               uint64_t end, bool forbid);
void vmmu_shadow_harvest_range(struct vmmu_op *op, struct vmmu_closed closed, uint64_t first,
                               uint64_t end);
void vmmu_shadow_allow_range(struct vmmu_op *op, struct vmmu_managing managing, uint64_t first,
                             uint64_t end);
void vmmu_shadow_audit(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_audit *audit);

/* ---- shadow_map.c ---- */

void vmmu_shadow_join(struct vmmu_vcpu *vcpu, struct vmmu_managing managing);
void vmmu_shadow_leave(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_managing managing);
enum vmmu_status vmmu_shadow_root_pointer(const struct vmmu_vcpu *vcpu, struct vmmu_root *out);
void vmmu_shadow_each_entry(struct vmmu_op *op, struct vmmu_closed closed, const struct vmmu_each *each, void *arg);
void vmmu_shadow_fini(struct vmmu_op *op, struct vmmu_managing managing);
/* Add an empty map of that kind, and the one beside it, to a VM. False: no memory, nothing is left behind. */
bool vmmu_shadow_create_kind(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                             const struct vmmu_layout *layout, const struct vmmu_shadow_kind *kind);
/* Add an empty shadow map, and the unpaged one, to a VM. False: no memory, nothing is left behind. */
bool vmmu_shadow_create(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_config *config,
                        const struct vmmu_layout *layout);

#endif
