/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace: fixed-size records of everything that happens to the tables.
 * docs/trace-format.md is the specification; this header is its C form.
 *
 * Names are KVM's where KVM has a tracepoint of the same meaning. One reaches further
 * than KVM's: kvm_tdp_mmu_spte_changed is also written for shadow tables, for which KVM
 * has none.
 */
#ifndef VMMU_TRACE_H
#define VMMU_TRACE_H

#include <vmmu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMMU_TRACE_MAGIC "VMMUTRC"  /* 8 bytes with the terminating zero */
#define VMMU_TRACE_VERSION 3u       /* with FAULT_FIXED */
#define VMMU_TRACE_VERSION_LONG 2u  /* without; a reader takes all three */
#define VMMU_TRACE_VERSION_PLAIN 1u /* without checksums, too */

/*
 * Numbers are in files: a number is never given a second meaning and never goes.
 * A new one takes the place of COUNT; a reader passes over those it does not
 * know (tests/check/names keeps the list).
 */

/* Why an entry was written, a table made, or a flush needed. */
enum vmmu_cause {
	VMMU_CAUSE_NONE = 0,
	VMMU_CAUSE_VIOLATION = 1,  /* EPT violation or nested page fault, on demand */
	VMMU_CAUSE_PREFAULT = 2,   /* vmmu_prefault */
	VMMU_CAUSE_MMIO = 3,       /* an MMIO entry cached, or a stale one replaced */
	VMMU_CAUSE_SPLIT = 4,      /* a huge leaf became a table of smaller ones */
	VMMU_CAUSE_PERMISSION = 5, /* rights of a present leaf widened by a fault */
	VMMU_CAUSE_PROTECT = 6,    /* rights narrowed (slot flags, dirty log) */
	VMMU_CAUSE_ZAP_SLOT = 7,   /* slot deleted or moved */
	VMMU_CAUSE_ZAP_RANGE = 8,  /* host invalidation, page-size restriction */
	VMMU_CAUSE_ZAP_REMAP = 9,  /* the host gave another frame: drop before install */
	VMMU_CAUSE_ZAP_MMIO = 10,  /* MMIO generation wrapped */
	VMMU_CAUSE_ZAP_VM = 11,    /* VM torn down */
	VMMU_CAUSE_SLOT_CREATE = 12,
	VMMU_CAUSE_SLOT_DELETE = 13,
	VMMU_CAUSE_SLOT_MOVE = 14,
	VMMU_CAUSE_SLOT_FLAGS = 15,
	VMMU_CAUSE_GUEST_WRITE = 16, /* shadow: the guest wrote one of its tables */
	VMMU_CAUSE_REMAP = 17,       /* shadow: the guest's tables say something else now */
	VMMU_CAUSE_PREFETCH = 18,    /* a neighbour of what faulted: shadow, and config.fault_around */
	VMMU_CAUSE_RECLAIM = 19,     /* shadow: too many tables */
	VMMU_CAUSE_ROOT = 20,        /* shadow: a root made or let go */
	VMMU_CAUSE_SYNC = 21,        /* shadow: a table that the guest could write is made to follow it again */
	VMMU_CAUSE_COUNT
};

/* The member of the payload and the other fields that a record of this event fills in. */
enum vmmu_trace_event {
	VMMU_TRACE_NONE = 0,             /* never written: an all-zero record ends a file */
	VMMU_TRACE_VM = 1,               /* config: tracing of a VM was switched on */
	VMMU_TRACE_ROOT_LOAD = 2,        /* root_load, root, level: a vCPU was given a root */
	VMMU_TRACE_SLOT = 3,             /* slot, slot_id, slot_flags, cause: a memory slot changed */
	VMMU_TRACE_PAGE_FAULT = 4,       /* page_fault, access: kvm_page_fault, a fault begins */
	VMMU_TRACE_FAULT_END = 5,        /* fault_end, result, level: it has been dealt with */
	VMMU_TRACE_SPTE_CHANGED = 6,     /* spte, level, index, cause: kvm_tdp_mmu_spte_changed */
	VMMU_TRACE_GET_PAGE = 7,         /* page, level, created: kvm_mmu_get_page, a table in use */
	VMMU_TRACE_PREPARE_ZAP_PAGE = 8, /* page, level, cause: kvm_mmu_prepare_zap_page, a table unlinked */
	VMMU_TRACE_FREE_PAGE = 9,        /* page.table, flush_id waited for: its frame is the host's again */
	VMMU_TRACE_FLUSH_OWED = 10,      /* flush, flush_id, cause: cached translations are stale */
	VMMU_TRACE_FLUSH_DONE = 11,      /* flush_id: no CPU holds them any more */
	VMMU_TRACE_HANDLE_MMIO = 12,     /* mmio: handle_mmio_page_fault, a hit in a cached MMIO entry */
	VMMU_TRACE_CHECK_MMIO = 13,      /* check_mmio: check_mmio_spte found it stale */
	VMMU_TRACE_DROPS = 14,           /* drops: records were lost before this one */
	VMMU_TRACE_DUMP = 15,            /* entry, level, index: one present entry of the final tables */
	VMMU_TRACE_DUMP_END = 16,        /* dump_end: the dump is complete */
	VMMU_TRACE_FOUND = 17,           /* entry, level, index: as it stood when tracing began */
	VMMU_TRACE_CHECKSUM = 18,        /* checksum: of the records before it in the file */
	VMMU_TRACE_MARK = 19,            /* mark: the host's own, by vmmu_trace_mark; the visor ends a phase with it */
	VMMU_TRACE_GUEST_FLUSH = 20,     /* guest_flush, instruction: the host flushed because it carried one out */
	VMMU_TRACE_PAGING_ELEMENT = 21,  /* element, level, cause: kvm_mmu_paging_element, an entry of L1's that was read to be merged */
	VMMU_TRACE_FAULT_FIXED = 22,     /* fault_fixed: three records in one, which vmmu_trace_expand makes of it */
	VMMU_TRACE_EVENT_COUNT,
	VMMU_TRACE_EVENT_MAX = 1023 /* numbers to come stay within this: more is damage */
};

/* ---- Payloads: 32 bytes each, by event. What is reserved is 0 ------------------- */

/* Bits of config.features: struct vmmu_cpu. */
enum vmmu_trace_feature {
	VMMU_TRACE_PAGE_2M = 1 << 0,
	VMMU_TRACE_PAGE_1G = 1 << 1,
	VMMU_TRACE_EXEC_ONLY = 1 << 2,
	VMMU_TRACE_AD = 1 << 3,
	VMMU_TRACE_NX = 1 << 4,
	VMMU_TRACE_LEVELS5 = 1 << 5,
	VMMU_TRACE_NESTED = 1 << 6 /* of the VM: it has a nested map, too */
};

struct vmmu_trace_config {
	uint64_t mode;       /* enum vmmu_mode */
	uint64_t levels;     /* of its tables */
	uint64_t maxphyaddr; /* of the CPU */
	uint64_t features;   /* enum vmmu_trace_feature */
};

struct vmmu_trace_root_load {
	uint64_t table;   /* hpa of the top table */
	uint64_t pointer; /* EPTP, nCR3 or CR3 */
	uint64_t reserved[2];
};

struct vmmu_trace_slot {
	uint64_t base_gfn;
	uint64_t pages;
	uint64_t backing;      /* the host's handle */
	uint64_t old_base_gfn; /* before a move */
};

/*
 * page_fault.word is the host's own (struct vmmu_fault). The visor puts the
 * guest's CR3 there, with this in the twelve bits below it.
 */
enum vmmu_trace_word {
	VMMU_TRACE_WORD_CPL = 3,         /* two bits wide */
	VMMU_TRACE_WORD_PAGING = 1 << 2, /* CR0.PG */
	VMMU_TRACE_WORD_LMA = 1 << 3,    /* EFER.LMA */
	VMMU_TRACE_WORD_L2 = 1 << 4,     /* it is a guest's guest that has met the fault */
	VMMU_TRACE_WORD_BITS = 0xfff     /* all of them; the rest is CR3 */
};

struct vmmu_trace_page_fault {
	uint64_t address;    /* gpa; under shadow paging CR2 */
	uint64_t error_code; /* exit qualification, EXITINFO1, or that of the #PF */
	uint64_t guest_rip;
	uint64_t word; /* enum vmmu_trace_word */
};

/* Which of a VM's ways to map handled a fault. The first two write their leaves by one function, direct_map. */
enum vmmu_handler {
	VMMU_HANDLER_NONE = 0,    /* not told: a trace of an older engine */
	VMMU_HANDLER_DIRECT = 1,  /* gpa -> hpa: EPT, NPT */
	VMMU_HANDLER_UNPAGED = 2, /* gpa -> hpa, below shadow paging: the guest has paging off */
	VMMU_HANDLER_SHADOW = 3,  /* gva -> hpa: the guest's tables and the slots together */
	VMMU_HANDLER_NESTED = 4,  /* L2's gpa -> hpa: L1's EPT or NPT and the slots together */
	VMMU_HANDLER_COUNT
};

struct vmmu_trace_element {
	uint64_t address; /* that was translated: L2's gpa; with cause prefetch 0: none has faulted there */
	uint64_t where;   /* the entry's own: L1's gpa */
	uint64_t pte;     /* as it was read, with what the walk has set */
	uint64_t gpa;     /* of the last entry: L1's, that the address means; 0: it means none */
};

struct vmmu_trace_fault_end {
	uint64_t gpa;
	uint64_t pfn;
	uint64_t entry;   /* that now translates the address */
	uint64_t handler; /* enum vmmu_handler */
};

/*
 * A violation of a direct map that wrote one leaf where nothing was, the most frequent
 * fault of all. It stands for PAGE_FAULT, SPTE_CHANGED and FAULT_END, and it uses
 * three numbers of its stream: `seq` is the first one's.
 */
struct vmmu_trace_fault_fixed {
	uint64_t address; /* bits 51:0: gpa; 63:52: bits 11:0 of the error code, whose others are 0 or in `error_high` */
	uint64_t guest_rip;
	uint64_t word;
	uint64_t new_spte;
};

struct vmmu_trace_spte_changed {
	uint64_t table; /* hpa */
	uint64_t gfn;   /* the first that the entry covers */
	uint64_t old_spte;
	uint64_t new_spte;
};

struct vmmu_trace_page {
	uint64_t table; /* hpa */
	uint64_t gfn;   /* the first that it covers; 0 in FREE_PAGE */
	uint64_t reserved[2];
};

struct vmmu_trace_flush {
	uint64_t start_gfn;
	uint64_t pages;
	uint64_t tables; /* that wait for it */
	uint64_t reserved;
};

struct vmmu_trace_mmio {
	uint64_t addr; /* gpa */
	uint64_t gfn;
	uint64_t guest_rip;
	uint64_t spte;
};

struct vmmu_trace_check_mmio {
	uint64_t kvm_gen;  /* the slots' generation now */
	uint64_t spte_gen; /* the one in the entry */
	uint64_t spte;
	uint64_t reserved;
};

struct vmmu_trace_entry {
	uint64_t table; /* hpa */
	uint64_t gfn;   /* the first that the entry covers */
	uint64_t spte;
	uint64_t reserved;
};

/* Made by whoever writes the file: vm 0, vcpu VMMU_TRACE_NO_VCPU, a stream of its own. */
struct vmmu_trace_checksum {
	uint64_t records; /* since the one before it, or since the file's beginning */
	uint64_t crc;     /* vmmu_trace_crc of their bytes */
	uint64_t reserved[2];
};

/* The host's own number. The visor: of the phase that ends here (docs/visor.md). */
struct vmmu_trace_mark {
	uint64_t number;
	uint64_t reserved[3];
};

/*
 * An instruction with which the guest asks its CPU to forget translations, and
 * which the host carried out in the CPU's place. Numbers stand in files.
 */
enum vmmu_guest_flush {
	VMMU_GUEST_FLUSH_NONE = 0,
	VMMU_GUEST_FLUSH_CR0 = 1, /* MOV to CR0 */
	VMMU_GUEST_FLUSH_CR3 = 2,
	VMMU_GUEST_FLUSH_CR4 = 3,
	VMMU_GUEST_FLUSH_INVLPG = 4,
	VMMU_GUEST_FLUSH_COUNT
};

struct vmmu_trace_guest_flush {
	uint64_t value;     /* that the register now has; INVLPG: the gva */
	uint64_t guest_rip; /* of the instruction */
	uint64_t reserved[2];
};

/* DROPS: how many were lost. DUMP_END: how many DUMP records there are. */
struct vmmu_trace_number {
	uint64_t records;
	uint64_t reserved[3];
};

/* 64 bytes, little endian, no padding. */
struct vmmu_trace_record {
	uint64_t time;  /* host clock, unit in the file header */
	uint32_t seq;   /* counts up by one per vCPU stream; a gap is a loss */
	uint16_t event; /* enum vmmu_trace_event */
	uint8_t level;
	union {
		uint8_t cause;      /* enum vmmu_cause */
		uint8_t error_high; /* FAULT_FIXED: bits 39:32 of the error code */
	};
	uint16_t vm;
	uint16_t vcpu;  /* VMMU_TRACE_NO_VCPU: a management call */
	uint32_t fault; /* id of the fault this belongs to, 0 = none */
	uint16_t root;  /* root id */
	union {
		uint16_t index;      /* of the entry in its table, 0 to 511 */
		uint16_t slot_flags; /* VMMU_SLOT_* */
		uint16_t frame_low;  /* FAULT_FIXED: bits 15:0 of the number of the table's frame */
	};
	union {
		uint32_t aux; /* whichever it is */
		uint32_t slot_id;
		uint32_t access;  /* VMMU_R/W/X | VMMU_ACCESS_* */
		uint32_t result;  /* enum vmmu_fault_result */
		uint32_t created; /* 1 = made now, all zero; 0 = found when tracing began */
		uint32_t flush_id;
		uint32_t instruction; /* enum vmmu_guest_flush */
		uint32_t frame_high;  /* FAULT_FIXED: bits 23:0: bits 39:16 of that number; 31:24: access */
	};
	union {
		struct vmmu_trace_config config;
		struct vmmu_trace_root_load root_load;
		struct vmmu_trace_slot slot;
		struct vmmu_trace_page_fault page_fault;
		struct vmmu_trace_fault_end fault_end;
		struct vmmu_trace_fault_fixed fault_fixed;
		struct vmmu_trace_element element;
		struct vmmu_trace_spte_changed spte;
		struct vmmu_trace_page page;
		struct vmmu_trace_flush flush;
		struct vmmu_trace_mmio mmio;
		struct vmmu_trace_check_mmio check_mmio;
		struct vmmu_trace_entry entry;
		struct vmmu_trace_number drops;
		struct vmmu_trace_number dump_end;
		struct vmmu_trace_checksum checksum;
		struct vmmu_trace_mark mark;
		struct vmmu_trace_guest_flush guest_flush;
		uint64_t word[4]; /* of an event that the reader does not know */
	};
};
VMMU_STATIC_ASSERT(sizeof(struct vmmu_trace_record) == 64, "records are 64 bytes");
VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, index) == 26, "docs/trace-format.md");
VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, aux) == 28, "docs/trace-format.md");
VMMU_STATIC_ASSERT(offsetof(struct vmmu_trace_record, word) == 32, "docs/trace-format.md");

#define VMMU_TRACE_NO_VCPU 0xffffu

/* ---- Rings ------------------------------------------------------------------------ */

/*
 * Single producer (the vCPU that owns it), single consumer (the host). A new one
 * has records and size, the rest zero. The other fields are shared by two
 * threads: the host reads and moves them by the functions below. Any value of head, tail and
 * dropped costs records and no more. `records` and `size` say where the engine stores: they
 * stay as they are while the vCPU or VM has the ring, and whoever can write them must be trusted.
 */
struct vmmu_trace_ring {
	struct vmmu_trace_record *records;
	uint32_t size; /* power of two; with 1 there is no room for DROPS, gaps in seq tell of them */
	uint32_t head; /* next to be written, free running */
	uint32_t tail; /* next to be taken out, free running */
	uint64_t dropped;
};

/* [consumer] How many records wait. */
static inline uint32_t vmmu_trace_ring_waiting(const struct vmmu_trace_ring *ring)
{
	return __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
}

/* [consumer] The nth of those that wait, 0 = the oldest. Good until it is taken out. */
static inline const struct vmmu_trace_record *
vmmu_trace_ring_at(const struct vmmu_trace_ring *ring, uint32_t n)
{
	uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);

	return &ring->records[(tail + n) & (ring->size - 1)];
}

/* [consumer] Take the oldest `n` out: the producer may write over them. */
static inline void vmmu_trace_ring_take(struct vmmu_trace_ring *ring, uint32_t n)
{
	uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);

	__atomic_store_n(&ring->tail, tail + n, __ATOMIC_RELEASE);
}

/* [any] How many records found no room in it. */
static inline uint64_t vmmu_trace_ring_dropped(const struct vmmu_trace_ring *ring)
{
	return __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED);
}

/* The file: one header of 512 bytes, then records. */
struct vmmu_trace_file_header {
	char magic[8];
	uint32_t version;
	uint32_t record_size;
	uint64_t capacity; /* bytes of the sink after the header; 0 = not bounded */
	uint64_t records;  /* valid when complete */
	uint64_t dropped;
	uint64_t ticks_per_second;
	uint32_t complete; /* 1 = closed in order; 0 = still running, or cut short */
	uint32_t crc;      /* vmmu_trace_crc of the header with 0 here; version 1: 0 */
	char machine[32];  /* "qemu-npt", "bochs-ept" ... */
	uint8_t reserved[512 - 88];
};
VMMU_STATIC_ASSERT(sizeof(struct vmmu_trace_file_header) == 512, "the header is one sector");

/*
 * CRC-32C (Castagnoli) of `bytes` bytes, as the CPU's CRC32 instruction has it
 * between inversions (SDM vol. 2, CRC32): goes on from `crc`, which is 0 at first.
 * Reads the bytes only; no locks, no allocation. Some five instructions a byte: on
 * a hot path the instruction itself does better.
 */
uint32_t vmmu_trace_crc(uint32_t crc, const void *data, size_t bytes);

enum { VMMU_TRACE_EXPANDED = 3 };

/*
 * What `record` stands for: of FAULT_FIXED the three records that the fault would have had apart,
 * of any other the record itself. Returns how many, which is also how many numbers of
 * its stream it uses. Who reads a ring or a file wants this first. `out` is not `record`.
 * Any bytes will do for a record. No locks, no allocation.
 */
unsigned vmmu_trace_expand(const struct vmmu_trace_record *record, struct vmmu_trace_record out[VMMU_TRACE_EXPANDED]);

/* How many numbers of its stream the record uses: as many records are lost with it. */
static inline unsigned vmmu_trace_numbers(const struct vmmu_trace_record *record)
{
	return record->event == VMMU_TRACE_FAULT_FIXED ? VMMU_TRACE_EXPANDED : 1;
}

const char *vmmu_cause_name(unsigned cause);       /* "violation" */
const char *vmmu_handler_name(unsigned handler);   /* "direct" */
const char *vmmu_guest_flush_name(unsigned flush); /* "mov-cr3" */
const char *vmmu_trace_event_name(unsigned event); /* "kvm_page_fault" */

#ifdef __cplusplus
}
#endif

#endif
