/* SPDX-License-Identifier: BSD-2-Clause */
/* What the audits of all maps share. The gate is closed for as long as they take. */
#ifndef VMMU_AUDIT_H
#define VMMU_AUDIT_H

#include "map/map.h"

struct vmmu_audit {
	struct vmmu_closed closed;
	struct vmmu_vm *vm;
	vmmu_audit_fn report;
	void *arg;
	unsigned findings;
	/* What has been found to be there, in all maps. */
	uint64_t leaves[VMMU_LEVEL_MAX + 1];
	uint64_t tables[VMMU_LEVEL_MAX + 1];
};

void vmmu_audit_finding(struct vmmu_audit *a, const char *rule, const struct vmmu_path_step *step,
                        uint64_t gfn);
/* One leaf that maps gfn, against slots, caps, invalidations and the host. */
void vmmu_audit_leaf(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn);

#endif
