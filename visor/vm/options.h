/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's command line and modules (docs/visor.md, "Being started"). */
#ifndef VISOR_VM_OPTIONS_H
#define VISOR_VM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/host/multiboot.h"
#include "visor/load/load.h"

enum options_mmu { OPTIONS_MMU_AUTO,
	           OPTIONS_MMU_EPT,
	           OPTIONS_MMU_NPT,
	           OPTIONS_MMU_SHADOW };

struct options {
	uint64_t memory_bytes;
	enum options_mmu mmu;
	unsigned max_level;    /* VMMU_LEVEL_*: the largest page */
	unsigned fault_around; /* log2 of the pages that a violation maps: struct vmmu_config */
	bool trace, prealloc, test_device;
	bool exit_at_end;                     /* end the machine, too, at port F4h */
	bool require_isolation;               /* refuse where cpu_backend.leak() names a way out */
	bool run_ahead;                       /* exit/ahead.h */
	bool nested;                          /* the guest has VMX or SVM (vm/nested.h) */
	bool intercept_cr3, intercept_invlpg; /* exits that nothing here needs, for comparison */
	const char *guest_command_line;

	struct load_blob kernel; /* bytes NULL: no module has that role */
	struct load_blob initrd;
	struct load_blob modules[LOAD_MAX_MODULES];
	unsigned module_count;
};

/* False: `reason` (size bytes) says which word is wrong, or what is missing. */
bool options_read(const struct boot_info *boot, struct options *out, char *reason, unsigned size);

#endif
