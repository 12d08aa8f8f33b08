/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the audit share. */
#ifndef VMMU_AUDIT_H
#define VMMU_AUDIT_H

#include "api/api.h"

struct audit {
	struct vmmu_vm *vm;
	vmmu_audit_fn report;
	void *arg;
	unsigned findings;
	uint64_t leaves[VMMU_LEVEL_MAX + 1];
	uint64_t tables[VMMU_LEVEL_MAX + 1];
};

void vmmu_audit_finding(struct audit *a, const char *rule, const struct vmmu_path_step *step,
                        uint64_t gfn);
/* One leaf that maps gfn, against slots, caps, invalidations and the host. */
void vmmu_audit_leaf(struct audit *a, const struct vmmu_path_step *step, uint64_t gfn);
/* Every shadow table, against the guest's tables, the reverse map and what is held. */
void vmmu_audit_shadow(struct audit *a, struct vmmu_op *op);

#endif
