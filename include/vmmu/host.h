/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine asks of its host, in one table.
 *
 * The engine has no other way out: it calls no libc, reads no clock and owns
 * no memory of its own. The same object code runs inside a bare-metal
 * hypervisor, under sanitizers in user space and inside a fuzzer, because each
 * of them fills in this table.
 *
 * Unless a callback says otherwise it may be called from several vCPUs at
 * once, never while the engine shuts walkers out of the tables (the gate of
 * engine/table/locks.h), and it must not call back into the engine for the
 * same VM. A management call holds its turn meanwhile, so a callback must not
 * wait for another management call either; faults never wait for a turn.
 * `time`, `trace_full`, `relax`, `point` and the free callbacks may come at any
 * moment, and must not wait for anybody.
 *
 * What is allocated, by which call, and when; anything else allocates nothing. A
 * frame comes from table_alloc, together with an object for its header (40 bytes;
 * 16.2 KiB in shadow modes), all else from object_alloc. Sizes are about those of
 * this version; tests/engine/allocation.c holds calls and growth to this list.
 *
 *   vmmu_vm_create         the VM (10 KiB), 8 bytes for each of config.max_vcpus, its map
 *                          (0.6 KiB; shadow: 21 KiB), one frame for its root (shadow: five,
 *                          the first of them from table_alloc_low)
 *   vmmu_vcpu_create       the vCPU (2.6 KiB; shadow: 4.4 KiB) and 32 bytes. If it was traced, the 32
 *                          bytes stay until its id is used again, or until vmmu_vm_destroy
 *   vmmu_fault, _prefault  before a new entry, when the vCPU has no frame left or may need more
 *                          than one: as many as it lacks of one for each level but the top.
 *                          What it does not use it keeps: of a fault that needs no table
 *                          none is asked for the next time.
 *                          Shadow: also one block of 4 KiB, kept likewise
 *   vmmu_vcpu_set_paging   shadow: five frames, for a root that is not remembered; one of them
 *                          from table_alloc_low unless the guest is in long mode
 *   vmmu_vcpu_set_nested   nested: seven frames, likewise; a fault as in shadow modes
 *   vmmu_guest_written     shadow: as a fault
 *   vmmu_slot_create       the slot (96 bytes); with LOG_DIRTY one bit for each page of
 *                          the slot, and 1/63 of that for summaries
 *   vmmu_slot_set_flags    LOG_DIRTY: as for vmmu_slot_create
 *   vmmu_range_restrict    the slot's first time: one byte for each 2 MiB of the slot
 *   vmmu_invalidate_begin  while more than six ranges are open: an array of 24 bytes for
 *                          each, doubled when it is full, until vmmu_vm_destroy
 *
 * Never inside the gate or with it closed. A call that gets nothing says NO_MEMORY
 * and has changed nothing; vmmu_fault may be made again when there is memory.
 */
#ifndef VMMU_HOST_H
#define VMMU_HOST_H

#include <vmmu/trace.h>
#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmmu_slot_info;
struct vmmu_flush;

/* Where a guest frame lives. Filled in by vmmu_host.backing. */
struct vmmu_backing {
	vmmu_pfn pfn;    /* frame that backs the gfn that was asked for */
	uint8_t order;   /* log2 of the naturally aligned run of frames around pfn that backs
	                    * the equally aligned run of gfns: 0 = this page only, 9 = 2 MiB,
	                    * 18 = 1 GiB. May reach past the slot; the engine clips. Of a run with
	                    * VMMU_RWX a vCPU's direct map asks for no other page until the host
	                    * takes a frame back or a slot changes. rights, memtype
	                    * and ignore_pat hold for all of the run: a page that differs, a hooked
	                    * one, must lie in no run, neither when it is asked for nor when a
	                    * neighbour is */
	uint8_t rights;  /* VMMU_R/W/X the host grants; W may be left out on a read access
	                    * (copy on write) and granted on a later write access. What the CPU's
	                    * tables could only express by granting more (W without R; X alone
	                    * without execute-only; no X without NX) is not mapped: FAULT_DENIED */
	uint8_t memtype; /* enum vmmu_memtype. One that changes reaches entries that are there by
	                    * vmmu_invalidate_begin and _end: a fault on such an entry does not ask */
	bool ignore_pat; /* EPT: the guest's PAT does not count (SDM vol. 3, 29.3.7.2) */
};

enum vmmu_backing_result {
	VMMU_BACKING_OK = 0,
	VMMU_BACKING_RETRY, /* busy: the vCPU should re-execute the access later */
	VMMU_BACKING_NO_MEMORY,
	VMMU_BACKING_DENIED, /* the host forbids this access (poisoned, not executable) */
};

/* What became of a read of guest memory. */
enum vmmu_guest_read {
	VMMU_GUEST_READ_OK = 0,
	VMMU_GUEST_READ_NONE, /* no memory there */
	VMMU_GUEST_READ_BUSY, /* memory that cannot be read just now (swapped out, on the move): nothing
	                          * follows from it, the vCPU comes again (VMMU_FAULT_RETRY) */
};

enum vmmu_guest_swap {
	VMMU_GUEST_SWAPPED = 0,
	VMMU_GUEST_CHANGED,   /* it was not `expected`: nothing has happened */
	VMMU_GUEST_READ_ONLY, /* memory that the guest cannot write: its CPU's store would be lost, too */
	VMMU_GUEST_SWAP_BUSY, /* not just now, as for a read: nothing has happened */
};

struct vmmu_host {
	/*
	 * Objects (VM, vCPU, slot, table header ...). `size` in bytes, result
	 * aligned to 64, contents zero; NULL when there is none. Free gets the
	 * same size back.
	 */
	void *(*object_alloc)(void *ctx, size_t size);
	void (*object_free)(void *ctx, void *object, size_t size);

	/*
	 * One 4 KiB frame for a paging structure. Contents must be zero when it is
	 * handed out; the frame must not be reachable by any guest. False = none; a
	 * frame that no entry can name (unaligned, past MAXPHYADDR) counts as none and
	 * is given back.
	 */
	bool (*table_alloc)(void *ctx, vmmu_hpa *out);
	/*
	 * The same, below 4 GiB, and given back by table_free as well: outside long mode
	 * a CPU takes bits 31:5 of CR3 alone (SDM vol. 3, 4.4.1; APM vol. 2, 5.2.1).
	 * Asked for in shadow mode, for the top table of a guest that is not in long
	 * mode: nine for each vCPU and one for the VM at most. NULL: table_alloc is asked.
	 * A frame past 4 GiB counts as none and is given back. No other mode calls it.
	 */
	bool (*table_alloc_low)(void *ctx, vmmu_hpa *out);
	void (*table_free)(void *ctx, vmmu_hpa frame);

	/*
	 * Where the engine finds a frame in its own address space: hpa + base.
	 * Paging structures are read through `table_read_base` and stored to, by
	 * the one writer, through `table_write_base`. A host without aliases
	 * gives the same number twice; one that maps the frames read-only at the
	 * first proves with the MMU that nothing else in the engine writes them.
	 */
	uintptr_t table_read_base;
	uintptr_t table_write_base;

	/*
	 * gfn -> frame, for one access (VMMU_R, VMMU_W or VMMU_X). Called on the
	 * faulting vCPU with no lock held; may sleep; may call nothing of the
	 * engine. The answer may be stale by the time it returns: a host that
	 * takes frames back says so with vmmu_invalidate_begin/_end. One change needs
	 * not be told: copy on write, where a page's answers are without W until a
	 * question for VMMU_W is answered with W and, it may be, another frame; from
	 * then on every question has that answer. The engine then sees to it that no
	 * answer from before is used.
	 * What cannot be (a frame past the CPU's MAXPHYADDR, a memory type, a right or a
	 * result that is none) is mapped nowhere: VMMU_FAULT_BAD_BACKING.
	 */
	enum vmmu_backing_result (*backing)(void *ctx, const struct vmmu_slot_info *slot,
	                                    vmmu_gfn gfn, unsigned access,
	                                    struct vmmu_backing *out);

	/*
	 * Make every CPU that may run this VM forget what `flush` names, paging-
	 * structure caches included, and return only when it is done (SDM vol. 3,
	 * 29.4.3.1 "Operations that Invalidate Cached Mappings"; APM vol. 2, 15.16
	 * "TLB Control"). A vCPU that is not inside the guest may do it on its
	 * next entry, before the first guest instruction. vCPUs may fault
	 * meanwhile. Faults of direct maps do not wait for it; under shadow paging and in
	 * nested VMs one may, for a bounded number of calls of host.relax, and then
	 * answers RETRY. So a host may carry a flush out on a vCPU between two of its calls.
	 */
	void (*flush)(void *ctx, const struct vmmu_flush *flush);

	/*
	 * Guest memory, for walks of the guest's own page tables (<vmmu/guest.h>);
	 * NULL for a host that uses only direct maps. `size` is 4 or 8 bytes (read:
	 * also 1 and 2), naturally aligned, one atomic access. Called inside the gate
	 * too: must not sleep and must not call the engine.
	 * Of memory in a range under invalidation neither is asked: see vmmu_invalidate_begin.
	 * What lies in no slot is no memory for the walks of a fault: they do not ask there.
	 * A result that is none counts as VMMU_GUEST_READ_BUSY, and for a swap as VMMU_GUEST_SWAP_BUSY.
	 * Read: *value is the word, high bits 0, after VMMU_GUEST_READ_OK.
	 */
	enum vmmu_guest_read (*guest_read)(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value);
	/*
	 * Where the engine can read the guest page that holds gpa, in its own address
	 * space; NULL where there is no memory, or when it is busy: guest_read says which. Good until the engine leaves the gate.
	 * A shadow table is compared with the guest's entry by entry: through this it
	 * costs a load each. May be NULL, then guest_read is called for each.
	 */
	const void *(*guest_page)(void *ctx, vmmu_gpa gpa);
	/* Replace `expected` by `value` on the very frame that guest_read reads for gpa. */
	enum vmmu_guest_swap (*guest_cmpxchg)(void *ctx, vmmu_gpa gpa, unsigned size,
	                                      uint64_t expected, uint64_t value);

	/* A clock for trace records, any unit, never going back. Only called while tracing. */
	uint64_t (*time)(void *ctx);
	/*
	 * The CPU's time stamp counter is that clock: the engine reads it by RDTSC (SDM vol. 3, 18.17;
	 * APM vol. 2, 13.2.4) and does not call `time`, which costs more than the rest of a record.
	 * For a host whose CPUs have counters that agree, and where the engine may execute RDTSC.
	 */
	bool time_is_tsc;

	/*
	 * `ring` is full: take records out (advance tail) and return. When it is
	 * still full afterwards the record is dropped and counted. May be NULL.
	 */
	void (*trace_full)(void *ctx, struct vmmu_trace_ring *ring);

	/* A vCPU or thread waits for another one: pause, yield, or let a scheduler choose. May be NULL. */
	void (*relax)(void *ctx);

	/*
	 * Test hook, NULL in production: called right before and right after every
	 * store to a paging structure, and at each lock and flush point
	 * (enum vmmu_point). `table` and `index` name the entry for
	 * VMMU_POINT_ENTRY_*; otherwise they are 0.
	 */
	void (*point)(void *ctx, unsigned point, vmmu_hpa table, unsigned index);

	/*
	 * For vmmu_audit: is `pfn` the frame this VM owns for gfn? May be NULL,
	 * then the audit leaves that question out.
	 */
	bool (*owns_frame)(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn);
};

enum vmmu_point {
	VMMU_POINT_ENTRY_BEFORE = 1, /* about to compare-exchange an entry */
	VMMU_POINT_ENTRY_AFTER,      /* the entry has its new value */
	VMMU_POINT_GATE_ENTER,       /* a walker enters the tables */
	VMMU_POINT_GATE_LEAVE,
	VMMU_POINT_GATE_CLOSE, /* an invalidation begins to shut walkers out */
	VMMU_POINT_GATE_OPEN,
	VMMU_POINT_FLUSH_BEFORE, /* host.flush is about to be called */
	VMMU_POINT_FLUSH_DONE,
	VMMU_POINT_TABLE_FREE, /* a table is about to go back to the host */
};

/*
 * What must be forgotten, of one VM.
 *
 * EPT, NPT: guest-physical mappings, by gfn. In a nested VM that is L1's: a flush that is
 * not `all` concerns the VM's own map, the one that L1 runs on, and nothing that L2 runs on.
 * What changes in maps for L2 is always told as `all`, of L1's own map and of all of L2's.
 * Shadow: linear mappings, and always `all`: global ones and those of every PCID.
 */
struct vmmu_flush {
	uint32_t id; /* matches the trace's flush_owed / flush_done records */
	uint16_t vm;
	bool all;          /* everything of this VM; start and pages then say nothing */
	bool tables_freed; /* non-leaf entries went away: paging-structure caches hold them too */
	vmmu_gfn start;
	uint64_t pages;
};

#ifdef __cplusplus
}
#endif

#endif
