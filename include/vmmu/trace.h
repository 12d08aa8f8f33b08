/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace: fixed-size records of everything that happens to the tables.
 * docs/trace-format.md is the specification; this header is its C form.
 *
 * Names are KVM's where KVM has a tracepoint of the same meaning.
 */
#ifndef VMMU_TRACE_H
#define VMMU_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VMMU_TRACE_MAGIC "VMMUTRC" /* 8 bytes with the terminating zero */
#define VMMU_TRACE_VERSION 1u

/* Why an entry was written, a table made, or a flush owed. */
enum vmmu_cause {
	VMMU_CAUSE_NONE = 0,
	VMMU_CAUSE_VIOLATION,     /* EPT violation or nested page fault, on demand */
	VMMU_CAUSE_PREFAULT,      /* vmmu_prefault */
	VMMU_CAUSE_MMIO,          /* an MMIO entry cached, or a stale one replaced */
	VMMU_CAUSE_SPLIT,         /* a huge leaf became a table of smaller ones */
	VMMU_CAUSE_PERMISSION,    /* rights of a present leaf widened by a fault */
	VMMU_CAUSE_PROTECT,       /* rights narrowed (slot flags, dirty log) */
	VMMU_CAUSE_ZAP_SLOT,      /* slot deleted or moved */
	VMMU_CAUSE_ZAP_RANGE,     /* host invalidation, page-size restriction */
	VMMU_CAUSE_ZAP_REMAP,     /* the host gave another frame: drop before install */
	VMMU_CAUSE_ZAP_MMIO,      /* MMIO generation wrapped */
	VMMU_CAUSE_ZAP_VM,        /* VM torn down */
	VMMU_CAUSE_SLOT_CREATE,
	VMMU_CAUSE_SLOT_DELETE,
	VMMU_CAUSE_SLOT_MOVE,
	VMMU_CAUSE_SLOT_FLAGS,
	VMMU_CAUSE_GUEST_WRITE,   /* shadow: the guest wrote one of its tables */
	VMMU_CAUSE_REMAP,         /* shadow: the guest's tables say something else now */
	VMMU_CAUSE_PREFETCH,      /* shadow: a neighbour of what faulted */
	VMMU_CAUSE_RECLAIM,       /* shadow: too many tables */
	VMMU_CAUSE_ROOT,          /* shadow: a root made or let go */
	VMMU_CAUSE_SYNC,          /* shadow: a table that the guest could write is made to follow it again */
	VMMU_CAUSE_COUNT
};

enum vmmu_trace_event {
	VMMU_TRACE_NONE = 0,           /* never written: an all-zero record ends a file */
	VMMU_TRACE_VM,                 /* vm created: a0 mode, a1 format-levels, a2 maxphyaddr, a3 feature bits */
	VMMU_TRACE_ROOT_LOAD,          /* a0 root hpa, a1 EPTP or nCR3 value; root, level */
	VMMU_TRACE_SLOT,               /* a0 base gfn, a1 pages, a2 backing, a3 old base; aux slot id; index flags; cause */
	VMMU_TRACE_PAGE_FAULT,         /* kvm_page_fault: a0 fault_address, a1 error_code, a2 guest_rip, a3 host's word */
	VMMU_TRACE_FAULT_END,          /* a0 gpa, a1 pfn, a2 entry now in the table; aux result; level */
	VMMU_TRACE_SPTE_CHANGED,       /* kvm_tdp_mmu_spte_changed: a0 table hpa, a1 gfn, a2 old_spte, a3 new_spte; level, index, cause */
	VMMU_TRACE_GET_PAGE,           /* kvm_mmu_get_page: a0 table hpa, a1 gfn; level; aux 1 = created, 0 = found when tracing began */
	VMMU_TRACE_PREPARE_ZAP_PAGE,   /* kvm_mmu_prepare_zap_page: table unlinked. a0 table hpa, a1 gfn; level, cause */
	VMMU_TRACE_FREE_PAGE,          /* table frame back to the host. a0 table hpa; aux flush id waited for */
	VMMU_TRACE_FLUSH_OWED,         /* a0 start gfn, a1 pages, a2 tables waiting; aux flush id; cause */
	VMMU_TRACE_FLUSH_DONE,         /* aux flush id */
	VMMU_TRACE_HANDLE_MMIO,        /* handle_mmio_page_fault: a0 addr, a1 gfn, a2 guest_rip, a3 entry; a hit in a cached MMIO entry */
	VMMU_TRACE_CHECK_MMIO,         /* check_mmio_spte found it stale: a0 kvm_gen, a1 spte_gen, a2 spte */
	VMMU_TRACE_DROPS,              /* a0 records dropped on this ring before this one */
	VMMU_TRACE_DUMP,               /* one present entry of the final tables: a0 table hpa, a1 gfn, a2 entry; level, index */
	VMMU_TRACE_DUMP_END,           /* a0 number of DUMP records */
	VMMU_TRACE_FOUND,              /* an entry as it stood when tracing began: a0 table hpa, a1 gfn, a2 entry; level, index */
	VMMU_TRACE_EVENT_COUNT
};

/* 64 bytes, little endian, no padding. */
struct vmmu_trace_record {
	uint64_t time;      /* host clock, unit in the file header */
	uint32_t seq;       /* counts up by one per vCPU stream; a gap is a loss */
	uint16_t event;     /* enum vmmu_trace_event */
	uint8_t level;
	uint8_t cause;      /* enum vmmu_cause */
	uint16_t vm;
	uint16_t vcpu;      /* VMMU_TRACE_NO_VCPU: a management call */
	uint32_t fault;     /* id of the fault this belongs to, 0 = none */
	uint16_t root;      /* root id */
	uint16_t index;
	uint32_t aux;
	uint64_t a[4];
};
_Static_assert(sizeof(struct vmmu_trace_record) == 64, "records are 64 bytes");

#define VMMU_TRACE_NO_VCPU 0xffffu

/* Single producer (the vCPU that owns it), single consumer (the host). */
struct vmmu_trace_ring {
	struct vmmu_trace_record *records;
	uint32_t size;              /* power of two */
	_Atomic uint32_t head;      /* next to be written, free running */
	_Atomic uint32_t tail;      /* next to be taken out, free running */
	_Atomic uint64_t dropped;
};

/* The file: one header of 512 bytes, then records. */
struct vmmu_trace_file_header {
	char magic[8];
	uint32_t version;
	uint32_t record_size;
	uint64_t capacity;    /* bytes of the sink after the header; 0 = not bounded */
	uint64_t records;     /* valid when complete */
	uint64_t dropped;
	uint64_t ticks_per_second;
	uint32_t complete;    /* 1 = closed in order; 0 = still running, or cut short */
	uint32_t reserved0;
	char machine[32];     /* "qemu-npt", "bochs-ept" ... */
	uint8_t reserved[512 - 88];
};
_Static_assert(sizeof(struct vmmu_trace_file_header) == 512, "the header is one sector");

const char *vmmu_cause_name(unsigned cause);            /* "violation" */
const char *vmmu_trace_event_name(unsigned event);      /* "kvm_page_fault" */

#endif
