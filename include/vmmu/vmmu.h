/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libvmmu: second-level paging structures, built on faults.
 *
 *   vmmu_vm_create       an address space, its tables empty but for the root
 *   vmmu_slot_create     which guest-physical ranges are memory
 *   vmmu_vcpu_create     one per virtual CPU
 *   vmmu_vcpu_load       the register value (EPTP, nCR3) to enter the guest with
 *   vmmu_fault           an EPT violation or nested page fault: build what is missing
 *
 * examples/ holds a whole program. Callbacks: <vmmu/host.h>. Exit decoding:
 * <vmmu/exit.h>. Records: <vmmu/trace.h>. What may change when: <vmmu/version.h>.
 *
 * Threads. Calls marked [vcpu] belong to one vCPU and may run on as many
 * threads as there are vCPUs, all at once. Calls marked [manage] may come from
 * any thread, at any time while vCPUs run; among themselves they are
 * serialised by a lock inside the VM. Calls marked [any] take no lock.
 *
 * From where to call. A [manage] call shuts vCPUs out of the tables for bounded
 * moments, and begins each by waiting for those inside a [vcpu] call to come out.
 * So on one CPU neither may interrupt the other: what vmmu_fault, from an exit or
 * an interrupt handler, has to wait for would never run on. A hypervisor whose
 * driver manages from inside its own guest (a "blue pill") therefore makes
 * [manage] calls in root mode, in the handler of a hypercall, say; and no
 * interrupt handler makes one where it may have interrupted vmmu_fault. Threads
 * that can be preempted are no trouble as long as both get to run: host.relax is
 * called in every wait.
 *
 * Arguments. A value outside what a comment allows is refused, by the status that the
 * comment names (VMMU_ERR_INVALID if it names none), and nothing has changed then; or the
 * comment says what it counts as. Pointers and handles are not judged: they are not NULL
 * unless a comment says so.
 *
 * No call returns with a flush outstanding: host.flush has done what the call needs
 * before it returns, unless its comment says otherwise.
 */
#ifndef VMMU_H
#define VMMU_H

#include <vmmu/host.h>
#include <vmmu/trace.h>
#include <vmmu/types.h>
#include <vmmu/version.h>

#ifdef __cplusplus
extern "C" {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a struct and a function of one name, as stat is */
#endif

struct vmmu_vm;
struct vmmu_vcpu;

/* ---- VMs ---------------------------------------------------------------- */

enum vmmu_mode {
	VMMU_MODE_EPT = 1,    /* SDM vol. 3, 29.3 "The Extended Page Table Mechanism (EPT)" */
	VMMU_MODE_NPT = 2,    /* APM vol. 2, 15.25 "Nested Paging" */
	VMMU_MODE_SHADOW = 3, /* no nested paging: gva -> hpa in one, see "Shadow paging" below */
};

/* The CPU that will walk the tables, as its CPUID and capability MSRs describe it. */
struct vmmu_cpu {
	uint8_t maxphyaddr; /* CPUID 80000008H:EAX[7:0]; 32 to 52 */
	bool page_2m;       /* EPT: IA32_VMX_EPT_VPID_CAP[16]; NPT: always */
	bool page_1g;       /* EPT: IA32_VMX_EPT_VPID_CAP[17]; NPT: CPUID 80000001H:EDX[26] */
	bool exec_only;     /* EPT: IA32_VMX_EPT_VPID_CAP[0] */
	bool ad;            /* EPT: IA32_VMX_EPT_VPID_CAP[21]; NPT: always */
	bool nx;            /* NPT: EFER.NXE of the host; EPT: always */
	bool levels5;       /* EPT: IA32_VMX_EPT_VPID_CAP[7]; NPT: CR4.LA57 of the host */
};

/* The least that config.max_shadow_tables may say, and what 0 says there. */
enum { VMMU_SHADOW_TABLES_MIN = 64,
       VMMU_SHADOW_TABLES_DEFAULT = 2048 };

struct vmmu_config {
	const struct vmmu_host *host; /* must outlive the VM */
	void *host_ctx;               /* first argument of every callback */
	enum vmmu_mode mode;
	struct vmmu_cpu cpu;
	uint8_t levels;           /* 4 or 5; 0 = 4, or 5 under NPT when cpu.levels5 */
	uint8_t guest_maxphyaddr; /* 32 to 52; 0 = as far as the tables and the CPU reach */
	uint8_t max_level;        /* largest leaf: VMMU_LEVEL_4K .. _1G; 0 = what the CPU can */
	/*
	 * EPT, NPT: a violation also maps its neighbours, where the answer of host.backing for its page is
	 * a run that has them: up to 2^fault_around small pages, equally aligned, 6 at most. 0: its page
	 * alone. It saves their faults; what is never touched costs some 20 instructions a page.
	 * Under LOG_DIRTY they come without W. In the trace their cause is `prefetch`.
	 */
	uint8_t fault_around;
	uint16_t id;                  /* shown in the trace */
	uint32_t max_slots;           /* 0 = 32764 */
	uint32_t max_vcpus;           /* up to 65535; 0 = 1024 */
	bool nested;                  /* EPT, NPT: the guest may have a guest: <vmmu/nested.h> */
	bool no_mmio_cache;           /* report MMIO, but never store an MMIO entry */
	uint32_t max_shadow_tables;   /* shadow: older ones go beyond it; VMMU_SHADOW_TABLES_MIN or more.
	                               * Raised to that and 32 a vCPU. 0 = VMMU_SHADOW_TABLES_DEFAULT */
	struct vmmu_trace_ring *ring; /* for management calls, theirs alone; may be NULL */
};

/*
 * [any] Make a VM with an empty root. Fails with VMMU_ERR_INVALID,
 * _UNSUPPORTED or _NO_MEMORY and leaves nothing behind.
 */
enum vmmu_status vmmu_vm_create(const struct vmmu_config *config, struct vmmu_vm **out);

/*
 * [manage] Take down every table and free everything. VMMU_ERR_BUSY while a
 * vCPU exists; then nothing has changed.
 */
enum vmmu_status vmmu_vm_destroy(struct vmmu_vm *vm);

/*
 * [manage] Records on or off; off costs one predictable branch per event.
 * Switching on first tells, in the management ring, of the VM and of every slot,
 * table and entry that is there, so that the trace can be replayed from nothing.
 * A fault that is under way then has no PAGE_FAULT record; what it writes from then
 * on is told of, under its id.
 */
void vmmu_trace_enable(struct vmmu_vm *vm, bool on);

/* ---- vCPUs and roots ---------------------------------------------------- */

/*
 * [manage] `id` tells its records from others' in the trace: any but VMMU_TRACE_NO_VCPU.
 * `ring` is this vCPU's alone; NULL: its records are counted as dropped.
 * VMMU_ERR_INVALID for a ring whose size is no power of two, and when config.max_vcpus are
 * there already. VMMU_ERR_BUSY: another vCPU of the VM has this id, or another vCPU or
 * the VM itself has this ring. VMMU_ERR_NO_MEMORY. A vCPU with the id of one that is gone goes
 * on in its stream of the trace, after its last record and fault.
 */
enum vmmu_status vmmu_vcpu_create(struct vmmu_vm *vm, uint16_t id, struct vmmu_trace_ring *ring,
                                  struct vmmu_vcpu **out);
/* [manage] The vCPU must not be inside any other call. Frees its caches. */
void vmmu_vcpu_destroy(struct vmmu_vcpu *vcpu);

struct vmmu_root {
	vmmu_hpa table;   /* the top table */
	uint64_t pointer; /* EPTP (SDM vol. 3, 25.6.11) or nCR3 (APM vol. 2, 15.25.3); shadow: CR3, and
	                   * below 4 GiB where `levels` is 3, the guest outside long mode */
	uint8_t levels;
	uint16_t id;
};

/* [vcpu] The root to enter the guest with. Stays valid while the VM lives. */
enum vmmu_status vmmu_vcpu_load(struct vmmu_vcpu *vcpu, struct vmmu_root *out);

/* ---- Faults ------------------------------------------------------------- */

/* In traces, so append-only: see <vmmu/trace.h>. */
enum vmmu_fault_result {
	VMMU_FAULT_FIXED = 1,          /* an entry was written; run the guest again */
	VMMU_FAULT_SPURIOUS = 2,       /* the tables already allow it; run the guest again */
	VMMU_FAULT_RETRY = 3,          /* lost a race with an invalidation, a flush is under way, or the host is busy; run again */
	VMMU_FAULT_EMULATE_MMIO = 4,   /* no slot there: emulate the access as a device's */
	VMMU_FAULT_READ_ONLY = 5,      /* a write to a read-only slot: emulate or drop it */
	VMMU_FAULT_WRITE_TABLE = 6,    /* a write to a guest table in use: emulate it (shadow modes) */
	VMMU_FAULT_REFLECT = 7,        /* belongs to the L1 hypervisor (nested modes) */
	VMMU_FAULT_INJECT_PF = 8,      /* belongs to the guest: inject #PF (shadow modes) */
	VMMU_FAULT_NO_MEMORY = 9,      /* no frame for a table or for the page; nothing changed */
	VMMU_FAULT_DENIED = 10,        /* the host forbids this access */
	VMMU_FAULT_BAD_ENTRY = 11,     /* the CPU met an entry no engine wrote; tables are damaged */
	VMMU_FAULT_BEYOND = 12,        /* gpa past the guest's MAXPHYADDR; shadow: gva not canonical */
	VMMU_FAULT_EMULATE_WRITE = 13, /* a write to RAM that no entry can allow: emulate it (shadow modes) */
	VMMU_FAULT_BAD_BACKING = 14,   /* host.backing said what cannot be: nothing is mapped, the host is at fault */
	VMMU_FAULT_RESULT_COUNT
};

struct vmmu_fault {
	/* in */
	vmmu_gpa gpa;        /* shadow modes: out, what the guest's tables make of gva */
	vmmu_gva gva;        /* shadow modes: CR2 */
	uint32_t access;     /* VMMU_R/W/X | VMMU_ACCESS_*; other bits are not looked at. Without a
	                        * right any leaf satisfies it; where there is none it is a read */
	uint64_t error_code; /* exit qualification or EXITINFO1, for the trace only; after
	                        * INJECT_PF the error code to inject, with gva in CR2 */
	uint64_t rip;        /* guest RIP, for the trace only */
	uint64_t word;       /* anything the host wants in the trace (CPL, CR3 ...) */
	/* out */
	uint32_t id;    /* fault id in the trace */
	uint32_t slot;  /* slot id when one covers gpa, else UINT32_MAX */
	vmmu_pfn pfn;   /* frame of gpa's page after FIXED or SPURIOUS */
	uint64_t entry; /* entry that now translates gpa */
	uint8_t level;  /* its level; 0 = none. This and the next two make four bytes: one store clears them */
	/* nested modes only (<vmmu/nested.h>) */
	bool dirtied;     /* a D flag of L1's EPT was clear and is set now (also when what follows ends in
	                   * another result): with PML, l2_gpa's page goes into L1's log */
	uint16_t reflect; /* after REFLECT: enum vmmu_reflect */
	vmmu_gpa l2_gpa;  /* gpa as it was on entry; gpa itself is L1's then */
};

/*
 * [vcpu] Handle one EPT violation, EPT misconfiguration or nested page fault.
 * Builds exactly the missing part of one path. Several vCPUs run in parallel;
 * nothing VM-wide is locked. host.backing is called with no lock held.
 */
enum vmmu_fault_result vmmu_fault(struct vmmu_vcpu *vcpu, struct vmmu_fault *fault);

/*
 * [vcpu] Build the tables for [gpa, gpa + bytes) as read, write or execute
 * accesses would (`access`: VMMU_R, W, X, or several of them). Stops at the first page
 * that fails: *done says how many bytes were mapped or were mapped already; NULL: the caller
 * does not ask. VMMU_FAULT_DENIED where the guest's own tables decide, under shadow paging
 * with CR0.PG set; and for an `access` that has none of the three or anything else.
 */
enum vmmu_fault_result vmmu_prefault(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes,
                                     unsigned access, uint64_t *done);

const char *vmmu_fault_result_name(enum vmmu_fault_result result);

/* ---- Shadow paging ------------------------------------------------------- */

/*
 * Without nested paging the CPU walks tables that say at once what the guest's
 * own tables and its slots say. The host runs the guest with vmmu_vcpu_load's
 * pointer in CR3; with CR0.PG, CR0.WP, CR4.PAE and EFER.NXE set, whatever the
 * guest thinks they are; EFER.LMA, CR4.LA57, SMEP, SMAP and PKE, PKRU and
 * EFLAGS.AC as the guest has them, but SMEP, SMAP and PKE clear while the guest has
 * CR0.PG clear: they have no meaning then, and all pages of the engine's map are a
 * user's (SDM vol. 3, 4.1.3). It intercepts #PF and writes of CR0, CR3, CR4
 * and EFER. INVLPG and INVPCID need no intercept: an entry that a CPU can reach
 * never lags behind the guest's tables. No CPU can write a guest table while
 * what shadows it can be reached; the first write takes it out of reach, the
 * next access through it compares and puts it back. So it suffices that the
 * CPU's TLB forgets what the guest asks it to forget.
 *
 * A #PF goes to vmmu_fault, made by vmmu_fault_from_pf (<vmmu/exit.h>):
 *   INJECT_PF     the guest's own: deliver #PF with fault.error_code, CR2 = fault.gva
 *   WRITE_TABLE   emulate the write, then call vmmu_guest_written; or call
 *                 vmmu_guest_release and run the guest again. That is what
 *                 single writes come to, and all writes to a root in use. When
 *                 a #PF of the guest's own has announced a write to one entry, the
 *                 engine makes its own entry from the new one in vmmu_guest_written
 *   EMULATE_WRITE a supervisor's write to a read-only page with CR0.WP clear,
 *                 where SMAP or a protection key keeps the page from being
 *                 lent to the supervisor: emulate it, then call vmmu_guest_written
 *   READ_ONLY, EMULATE_MMIO   as for direct maps; fault.gpa is what gva means
 *
 * VMMU_ACCESS_REPEATS, a hint that a host may give with a #PF: the guest faults in a
 * loop, and the host is to carry out the next access itself. What the guest's handler
 * writes then causes no exit.
 *
 * What is promised of aliases: a frame is known by its gfn. A host that backs
 * two gfns with one frame must keep guest tables out of it.
 */
struct vmmu_paging;

/*
 * [vcpu] These are the vCPU's control registers from now on; call it once before
 * the first vmmu_fault, and whenever one of them has changed. `cpu` must be the
 * same on all vCPUs of a VM. Afterwards vmmu_vcpu_load names the root to enter
 * with; the last eight are remembered, so that switching between them builds
 * nothing. When it differs from the last one, or the guest's own write asks for
 * it, the host enters with a TLB that holds nothing of the address space before.
 * One whose TLB has tags (PCIDs) may keep a tag for each root pointer instead;
 * what host.flush names is then to be forgotten under all of them.
 * PKRU changes without an exit: while CR4.PKE is set, tell of it before vmmu_fault.
 * What the guest needs first in the new address space may be mapped in passing:
 * host.backing and host.flush are called as by a fault.
 * VMMU_ERR_INVALID: the VM is not in shadow mode, or `cpu` is none (maxphyaddr) or not that
 * of the other vCPUs. VMMU_ERR_UNSUPPORTED: five levels, and the VM has four.
 * VMMU_ERR_NO_MEMORY. After any of these the old registers still hold.
 */
enum vmmu_status vmmu_vcpu_set_paging(struct vmmu_vcpu *vcpu, const struct vmmu_paging *registers);

/*
 * [vcpu] Guest memory at [gpa, gpa + bytes) has been written otherwise than by a
 * guest CPU: by the emulator, a device model, a loader. To be called after the
 * write. Dirty pages are noted; what was concluded from the old words is undone.
 * Long ranges are gone through in pieces; what lies in no slot costs nothing. A range
 * that passes 2^64 ends there.
 */
void vmmu_guest_written(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, uint64_t bytes);

/*
 * [vcpu] Take what shadows the guest table at gpa out of reach, so that the guest
 * may write it without exits until it is used again. False: a vCPU runs on it as
 * its root; its writes must be emulated.
 */
bool vmmu_guest_release(struct vmmu_vcpu *vcpu, vmmu_gpa gpa);

/* ---- Memory slots ------------------------------------------------------- */

enum {
	VMMU_SLOT_READONLY = 1u << 0,  /* guest writes come back as VMMU_FAULT_READ_ONLY */
	VMMU_SLOT_LOG_DIRTY = 1u << 1, /* first write to each 4 KiB page is recorded */
};

struct vmmu_slot_info {
	uint32_t id;      /* below config.max_slots */
	uint32_t flags;   /* VMMU_SLOT_* */
	vmmu_gpa base;    /* bytes, page aligned */
	uint64_t bytes;   /* page aligned */
	uint64_t backing; /* host's own handle; passed to host.backing, never read */
};

/* [manage] Each refusal names its reason; nothing has changed then. */
enum vmmu_status vmmu_slot_create(struct vmmu_vm *vm, const struct vmmu_slot_info *slot);
/* [manage] Returns when no CPU can reach the slot's frames any more. */
enum vmmu_status vmmu_slot_delete(struct vmmu_vm *vm, uint32_t id);
/*
 * [manage] Same frames at another gpa. Returns when the old place is
 * unreachable. Memory that stands before and after is never a hole meanwhile: a
 * fault at either place answers VMMU_FAULT_RETRY until it can be mapped. Moving a slot to where it is already changes nothing.
 */
enum vmmu_status vmmu_slot_move(struct vmmu_vm *vm, uint32_t id, vmmu_gpa base);
/* [manage] Returns when no CPU holds a right that the new flags take away. */
enum vmmu_status vmmu_slot_set_flags(struct vmmu_vm *vm, uint32_t id, uint32_t flags);
/* [manage] Which slot covers gpa, or comes with `id`. VMMU_ERR_SLOT_MISSING if none, *out is as before. */
enum vmmu_status vmmu_slot_find(struct vmmu_vm *vm, vmmu_gpa gpa, struct vmmu_slot_info *out);
enum vmmu_status vmmu_slot_get(struct vmmu_vm *vm, uint32_t id, struct vmmu_slot_info *out);

/*
 * [manage] Cap the page size inside [base, base + bytes): leaves above
 * `max_level` that touch the range are removed and never come back while the
 * cap stands. A cap counts for the whole of every 2 MiB block that the range
 * touches, and the last call wins there; VMMU_LEVEL_1G takes the cap off again.
 * Range: whole pages of one slot, or VMMU_ERR_SLOT_MISSING; caps end with it, and stay
 * behind when it moves. VMMU_ERR_INVALID for no page or parts of one, and for a level that
 * is none of the three. VMMU_ERR_NO_MEMORY.
 */
enum vmmu_status vmmu_range_restrict(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes,
                                     unsigned max_level);

/*
 * [manage] Fetch the dirty bitmap of a slot (bit n = page n, 64 per word,
 * `words` long enough for the slot) and start a new round: the pages reported
 * are write-protected again, and that is flushed, before this returns. VMMU_ERR_INVALID
 * for a slot that does not log, and for a bitmap too short.
 */
enum vmmu_status vmmu_dirty_log(struct vmmu_vm *vm, uint32_t id, uint64_t *bitmap, size_t words);
/* 64 pages of a slot of which some were written. */
struct vmmu_dirty {
	uint64_t first; /* page of the slot, a multiple of 64 */
	uint64_t pages; /* bit n: page first + n */
};
/*
 * [manage] The same in parts, and in time that follows what was written, not the slot's
 * size: from page *page of the slot on (0, or where the last call ended), as much as `room`
 * elements of `out` hold, in order. *count is how many have been filled in: fewer than
 * `room` when that was all. *page is where to go on. What is reported is write-protected
 * again and flushed, before this returns; the rest is as it was. Allocates nothing.
 */
enum vmmu_status vmmu_dirty_next(struct vmmu_vm *vm, uint32_t id, uint64_t *page, struct vmmu_dirty *out,
                                 size_t room, size_t *count);
/*
 * The host itself wrote this page (device model, emulator): it counts as dirty
 * where its slot logs. [vcpu] when `vcpu` is the caller's, [manage] when NULL.
 */
void vmmu_mark_dirty(struct vmmu_vm *vm, struct vmmu_vcpu *vcpu, vmmu_gfn gfn);

/* ---- Invalidation by the host ------------------------------------------- */

/*
 * [manage] The host is about to change or take the frames behind the range.
 * On return no entry and no TLB of any vCPU maps it, and faults that would map
 * it, or whose way leads through a guest table in it (shadow modes), answer RETRY
 * until the matching _end: until then nothing of it is read through host.guest_read
 * or stored through host.guest_cmpxchg. Ranges may nest and overlap.
 * A large page that reaches out of the range goes as a whole: invalidating 4 KiB
 * may unmap 1 GiB, and what a host had prefaulted around them faults in anew.
 * vmmu_range_restrict before the prefault keeps such a place in small pages.
 * VMMU_ERR_INVALID for a range no guest can name; VMMU_ERR_NO_MEMORY when the
 * range cannot be noted: then nothing has changed.
 */
enum vmmu_status vmmu_invalidate_begin(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes);
/* [manage] VMMU_ERR_INVALID when no _begin of exactly these pages (as far as a guest can name them) is open. */
enum vmmu_status vmmu_invalidate_end(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes);

/* ---- Looking inside ------------------------------------------------------ */

enum vmmu_entry_kind {
	VMMU_ENTRY_EMPTY,
	VMMU_ENTRY_TABLE,
	VMMU_ENTRY_LEAF,
	VMMU_ENTRY_MMIO,
	VMMU_ENTRY_BAD, /* would make the CPU report a misconfiguration or reserved bit */
};

struct vmmu_entry_info {
	enum vmmu_entry_kind kind;
	uint8_t rights;  /* VMMU_R/W/X as the CPU will apply them */
	uint8_t memtype; /* EPT leaf */
	bool ignore_pat;
	bool accessed, dirty;
	bool host_writable; /* software: slot and host allow W */
	bool map_writable;  /* software: W may be set without asking again */
	vmmu_pfn pfn;       /* table or frame */
	uint32_t mmio_gen;  /* MMIO entry: slot generation it was made in, low 20 bits */
};

/* What the tables' owner would need to decode an entry away from the VM. */
struct vmmu_decoder {
	enum vmmu_mode mode;
	uint8_t levels;
	struct vmmu_cpu cpu;
};

/*
 * [any] Decode one entry; needs no VM, so trace readers can use it. For a level or a
 * decoder that cannot be, an entry is VMMU_ENTRY_BAD unless it is 0.
 */
void vmmu_entry_decode(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry,
                       struct vmmu_entry_info *out);

/*
 * [any] The decoder for the VM that a VMMU_TRACE_VM record tells of. The record
 * may come from anywhere: what no VM can have is replaced by EPT, 4 levels and
 * MAXPHYADDR 52.
 */
void vmmu_trace_decoder(const struct vmmu_trace_record *vm, struct vmmu_decoder *out);

struct vmmu_path_step {
	uint8_t level;
	uint16_t index;
	vmmu_hpa table;
	uint64_t entry;
	struct vmmu_entry_info info;
};
struct vmmu_path {
	unsigned steps; /* from the root down; the last one ends the translation */
	struct vmmu_path_step step[VMMU_LEVEL_MAX];
};
/* [manage] The walk that the CPU would make for gpa. */
void vmmu_path_of(struct vmmu_vm *vm, vmmu_gpa gpa, struct vmmu_path *out);

/* Where a gpa leads. */
struct vmmu_translation {
	uint64_t entry; /* that ends the translation; 0 where nothing is */
	vmmu_pfn pfn;   /* frame of gpa's page; 0 unless a leaf maps it */
	uint8_t level;  /* of the entry; 0: past what the tables translate */
	uint8_t rights; /* VMMU_R/W/X as the CPU applies them; 0 unless a leaf maps it */
};
/*
 * [vcpu] The same by its end alone, and quick: for who emulates an instruction of the
 * vCPU's. vCPUs ask in parallel. Maps nothing, allocates nothing, owes no flush. It is
 * true at some moment of the call; a host that goes on using the frame must see to it that
 * it is not taken away meanwhile, as with frames of its own. VMMU_ENTRY_LEAF: all of *out
 * holds. Under shadow paging and for nested guests: of the map that translates gpas.
 */
enum vmmu_entry_kind vmmu_translate(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, struct vmmu_translation *out);

/* [manage] Every entry that is not zero, tables before their children. */
/* `fn` is called while vCPUs are shut out of the tables: it must neither call the engine nor wait for a vCPU. */
typedef void (*vmmu_dump_fn)(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn);
void vmmu_dump(struct vmmu_vm *vm, vmmu_dump_fn fn, void *arg);
/* [manage] The same into the management ring, as VMMU_TRACE_DUMP records and one DUMP_END. */
void vmmu_trace_dump(struct vmmu_vm *vm);

/*
 * [vcpu] Put a number of the host's own into the vCPU's ring, as VMMU_TRACE_MARK: where a
 * phase ends, for instance. Nothing where tracing is off. No table changes, no flush is owed.
 */
void vmmu_trace_mark(struct vmmu_vcpu *vcpu, uint64_t number);
/*
 * [vcpu] The host has carried out an instruction that makes a CPU forget translations, and
 * has flushed for it (SDM vol. 3, 4.10.4.1): a VMMU_TRACE_GUEST_FLUSH record in the vCPU's
 * ring. `value`: what the register now has, or INVLPG's gva. The engine asked for no such
 * flush: what it owes goes through host.flush. An `instruction` that is none is told of as
 * VMMU_GUEST_FLUSH_NONE.
 */
void vmmu_trace_guest_flush(struct vmmu_vcpu *vcpu, enum vmmu_guest_flush instruction, uint64_t value,
                            uint64_t rip);

struct vmmu_stats {
	uint64_t entries[VMMU_CAUSE_COUNT][VMMU_LEVEL_MAX + 1]; /* writes, by cause and level */
	uint64_t zapped[VMMU_CAUSE_COUNT];                      /* of these, present ones that were emptied */
	uint64_t faults[VMMU_FAULT_RESULT_COUNT];               /* by result */
	uint64_t tables_allocated[VMMU_LEVEL_MAX + 1];
	uint64_t tables_freed[VMMU_LEVEL_MAX + 1];
	uint64_t tables_nested[VMMU_LEVEL_MAX + 1]; /* of tables_allocated: those of a nested map */
	uint64_t pages[VMMU_LEVEL_MAX + 1];         /* leaves now present, by level */
	uint64_t mmio_hits;                         /* faults answered by a cached MMIO entry */
	uint64_t flushes;
	uint64_t trace_dropped;
};
/* [manage] Sums of per-vCPU counters; exact when no vCPU is inside a call. */
void vmmu_stats_read(struct vmmu_vm *vm, struct vmmu_stats *out);

/*
 * [manage] Walk all tables and check the invariants: every leaf inside a slot,
 * every frame owned (host.owns_frame), rights no wider than slot and software
 * bits allow, no reserved bit, no huge leaf across a cap or a slot's edge,
 * every table reached once, counters equal to what is there, no stale entry in
 * a range under invalidation. `report` gets one line of English per finding;
 * it may be NULL. Returns the number of findings. vCPUs may run meanwhile. But what the host
 * itself has written to a guest table, or has taken away from below host.guest_read, is a finding
 * until vmmu_guest_written, or vmmu_slot_delete, has been called and has returned.
 */
typedef void (*vmmu_audit_fn)(void *arg, const char *rule, const struct vmmu_path_step *step,
                              vmmu_gfn gfn);
unsigned vmmu_audit(struct vmmu_vm *vm, vmmu_audit_fn report, void *arg);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
