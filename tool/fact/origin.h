/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * On whose behalf the kernel took an entry away, as a stack of its functions tells:
 * the names are those of Linux 5.12 to 6.18.
 */
#ifndef TOOL_FACT_ORIGIN_H
#define TOOL_FACT_ORIGIN_H

#include <stddef.h>

/* The more telling first: of a stack that shows several, the first one here is it. */
enum fact_origin {
	FACT_ORIGIN_NONE, /* no stack was recorded */
	FACT_ORIGIN_NX_RECOVERY,
	FACT_ORIGIN_NX_SWITCH,
	FACT_ORIGIN_VM_END,
	FACT_ORIGIN_DIRTY_LOG,
	FACT_ORIGIN_SLOT,
	FACT_ORIGIN_NUMA,
	FACT_ORIGIN_KSM,
	FACT_ORIGIN_COLLAPSE,
	FACT_ORIGIN_MIGRATION,
	FACT_ORIGIN_RECLAIM,
	FACT_ORIGIN_COPY,
	FACT_ORIGIN_MADVISE,
	FACT_ORIGIN_MREMAP,
	FACT_ORIGIN_MMAP,
	FACT_ORIGIN_MUNMAP,
	FACT_ORIGIN_MPROTECT,
	FACT_ORIGIN_HUGE_SPLIT,
	FACT_ORIGIN_HOLE,
	FACT_ORIGIN_USERFAULT,
	FACT_ORIGIN_EXIT,
	FACT_ORIGIN_FAULT,
	FACT_ORIGIN_NOTIFIER, /* the MMU notifier, for something else */
	FACT_ORIGIN_OTHER,    /* a stack in which nothing of these stands */
	FACT_ORIGIN_COUNT
};

/* The better of what is known and what a function of the stack tells; it starts with FACT_ORIGIN_NONE. */
enum fact_origin fact_origin_better(enum fact_origin known, const char *function, size_t length);
/* One word: "madvise"; "-" for FACT_ORIGIN_NONE. */
const char *fact_origin_name(unsigned origin);
/* What follows "for": "madvise (memory given back, as by a balloon)". */
const char *fact_origin_text(unsigned origin);
/* Does it come through the MMU notifier, so that host memory has changed? */
_Bool fact_origin_is_notifier(unsigned origin);

#endif
