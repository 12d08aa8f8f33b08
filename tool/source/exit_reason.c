/* SPDX-License-Identifier: BSD-2-Clause */
#include "exit_reason.h"

#include <string.h>

#include <asm/kvm.h> /* the vectors that svm.h names */
#include <asm/svm.h>
#include <asm/vmx.h>

static const struct exit_reason {
	uint64_t reason;
	const char *name;
} reasons[] = {VMX_EXIT_REASONS, SVM_EXIT_REASONS};

bool exit_reason_find(const char *name, size_t size, uint64_t *reason)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (size && reasons[i].name[0] == name[0] && strlen(reasons[i].name) == size &&
		    memcmp(reasons[i].name, name, size) == 0) {
			*reason = reasons[i].reason;
			return true;
		}
	return false;
}
