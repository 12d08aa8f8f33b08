/* SPDX-License-Identifier: BSD-2-Clause */
/* All entries that stood in the tables of a VM at one moment. */
#ifndef TOOL_QUESTION_TABLES_H
#define TOOL_QUESTION_TABLES_H

#include "ask.h"

struct tables_entry {
	uint64_t address; /* guest-physical, first one it covers */
	uint64_t fact;    /* what says so */
	uint64_t value;
	uint8_t level;
};

struct tables {
	const struct kvm_root_info *root; /* NULL: none was known yet */
	struct tables_entry *entries;     /* by address, tables before what hangs below them */
	size_t count;
};

/* Present entries (tables, leaves, MMIO) before fact `until`; addresses first to last. */
void tables_at(const struct ask *ask, unsigned vm, uint64_t first, uint64_t last, uint64_t until,
               struct tables *tables);
void tables_free(struct tables *tables);

#endif
