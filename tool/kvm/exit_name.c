/* SPDX-License-Identifier: BSD-2-Clause */
#include "exit_name.h"

#include <stddef.h>

#include <asm/kvm.h> /* the vectors that svm.h names */
#include <asm/svm.h>
#include <asm/vmx.h>

#include "../source/event.h"

struct exit_name {
	uint64_t reason;
	const char *name;
};

static const struct exit_name vmx_names[] = {VMX_EXIT_REASONS};
static const struct exit_name svm_names[] = {SVM_EXIT_REASONS};

const char *kvm_exit_name(enum kvm_mode mode, uint64_t reason)
{
	const struct exit_name *names = mode == KVM_MODE_EPT ? vmx_names : svm_names;
	size_t count = mode == KVM_MODE_EPT ? sizeof(vmx_names) / sizeof(*vmx_names) : sizeof(svm_names) / sizeof(*svm_names);

	if (reason == EXIT_REASON_OTHER)
		return "other";
	if (mode != KVM_MODE_EPT && mode != KVM_MODE_NPT)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (names[i].reason == reason)
			return names[i].name;
	return NULL;
}
