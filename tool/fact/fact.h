/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fact: one thing that happened to the second-level tables of a VM, whoever
 * recorded it. Sources differ in what they say and how; facts do not. They
 * have a fixed size, so that an index can hold them as they are.
 */
#ifndef TOOL_FACT_H
#define TOOL_FACT_H

#include <stdbool.h>
#include <stdint.h>

#include "origin.h"

enum fact_kind {
	FACT_NONE,
	FACT_WRITE,     /* an entry was written: address of what it covers; a old, b new; level, table */
	FACT_FOUND,     /* an entry stood there when recording began: a the same as b; level, table */
	FACT_SET,       /* legacy MMU: an entry was set to b; what it held is not known; table, level */
	FACT_FAULT,     /* kvm_page_fault: address (gpa; under shadow paging CR2); a error code, b rip */
	FACT_FAULT_END, /* vmmu only: it has been dealt with; a result */
	FACT_TABLE,     /* kvm_mmu_get_page: address it covers from; a role word; level */
	FACT_TABLE_ZAP, /* kvm_mmu_prepare_zap_page: likewise */
	FACT_ZAP_ALL,   /* kvm_mmu_zap_all_fast: every root that exists becomes invalid */
	FACT_UNMAP,     /* kvm_unmap_hva_range: address first hva, a the end */
	FACT_AGE,       /* kvm_age_hva: likewise */
	FACT_EXIT,      /* kvm_exit: a reason, b rip */
	FACT_ENTRY,     /* kvm_entry: b rip */
	FACT_USER_EXIT, /* kvm_userspace_exit: a reason */
	FACT_MMIO,      /* kvm_mmio, kvm_fast_mmio: address; a length, b value; cause FACT_MMIO_* */
	FACT_LOST,      /* a events of CPU b are missing here; 0: some, not known how many */
	FACT_SLOT,      /* a memory slot: address; a pages, b hva (not known: 0); table: its id */
	FACT_KIND_COUNT
};

/* How an entry's value is known. */
enum fact_known {
	FACT_UNKNOWN,  /* nobody said */
	FACT_SEEN,     /* its write was recorded */
	FACT_INFERRED, /* a split fills the table without an event */
	FACT_FROM_OLD, /* a later write told what it had found */
	FACT_SNAPSHOT, /* read from the tables when recording began */
	FACT_MAYBE,    /* was written so; may have been dropped since without an event */
	FACT_KNOWN_COUNT
};

/* Why an entry was written. The first ones are enum vmmu_cause's. */
enum fact_cause {
	FACT_CAUSE_KVM = 64,
	FACT_CAUSE_FAULT = FACT_CAUSE_KVM, /* a vCPU's fault */
	FACT_CAUSE_PREFAULT,               /* mapped without a fault of this thread */
	FACT_CAUSE_FAST,                   /* fast page fault: W given back outside the lock */
	FACT_CAUSE_MMIO,                   /* an MMIO entry was cached */
	FACT_CAUSE_SPLIT,                  /* a leaf became a table */
	FACT_CAUSE_SPLIT_FILL,             /* an entry of that table, filled before it was linked */
	FACT_CAUSE_COLLAPSE,               /* a table became a leaf */
	FACT_CAUSE_PROTECT,                /* W taken away: dirty log */
	FACT_CAUSE_UNPROTECT,              /* W given by a write that was recorded as such */
	FACT_CAUSE_AGE,                    /* accessed or dirty bit cleared */
	FACT_CAUSE_ZAP,                    /* dropped; the trace does not say why */
	FACT_CAUSE_ZAP_NOTIFIER,           /* dropped right after kvm_unmap_hva_range of the same thread */
	FACT_CAUSE_ZAP_ALL,                /* dropped with its root */
	FACT_CAUSE_ZAP_NX,                 /* dropped by the recovery of huge pages (nx_huge_pages) */
	FACT_CAUSE_ZAP_TABLE,              /* dropped because the table it stands in was unlinked */
	FACT_CAUSE_OTHER,                  /* other bits changed */
	FACT_CAUSE_END
};

enum fact_mmio { FACT_MMIO_READ_PENDING,
	         FACT_MMIO_READ,
	         FACT_MMIO_WRITE,
	         FACT_MMIO_FAST };

enum fact_flags {
	FACT_UNEXPLAINED = 1,    /* the entry held something else as far as is known */
	FACT_AMBIGUOUS = 2,      /* more than one root held the old value */
	FACT_AFTER_LOSS = 4,     /* events were lost since the entry was known */
	FACT_NEVER_SEEN = 8,     /* what it held before was never seen: the old value says it */
	FACT_ZAPPED_UNSEEN = 16, /* legacy: it must have been dropped since it was set last */
};

#define FACT_NO_VCPU 0xffffu
#define FACT_NO_VM 0xffffu
#define FACT_NO_ROOT 0u

/* 64 bytes, no padding. */
struct fact {
	uint64_t time;    /* ns of the recording's clock */
	uint64_t address; /* guest-physical unless the kind says otherwise */
	uint64_t a, b;
	uint64_t table;  /* host-physical address of the table that holds the entry; 0 = not known */
	uint32_t before; /* so many facts earlier stands the last one of the same entry; 0 = none */
	uint32_t fault;  /* so many facts earlier stands the fault it belongs to; 0 = none */
	uint32_t thread; /* place in the list of threads */
	uint16_t vm;     /* place in the list of VMs */
	uint16_t root;   /* counts from 1 in its VM */
	uint16_t vcpu;
	uint8_t kind, level, cause, known, flags;
	uint8_t was_known : 3; /* how the value before it is known */
	uint8_t origin : 5;    /* enum fact_origin: on whose behalf, from the kernel's stack */
};
_Static_assert(sizeof(struct fact) == 64, "facts are 64 bytes");
_Static_assert(FACT_KNOWN_COUNT <= 8 && FACT_ORIGIN_COUNT <= 32, "they have a place in a fact");

const char *fact_kind_name(unsigned kind);
const char *fact_cause_name(unsigned cause); /* one word, also for the causes of vmmu's own traces */
const char *fact_known_name(unsigned known); /* "seen" */
bool fact_cause_is_zap(unsigned cause);

#endif
