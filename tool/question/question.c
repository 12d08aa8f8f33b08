/* SPDX-License-Identifier: BSD-2-Clause */
#include "question.h"

#include <string.h>

#include "../source/peek.h"

/* Options that every question has, and the commands for vmmu traces have not. */
static const char *const shared[] = {"--since", "--until", "--vcpu", "--last", "--host-clock", "--no-index"};

static bool is_shared(const char *option, enum question_when when)
{
	size_t length = strcspn(option, "=");

	if (when == QUESTION_FOR_OPTION_JSON && strcmp(option, "--json") == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		if (strlen(shared[i]) == length && strncmp(option, shared[i], length) == 0)
			return true;
	return false;
}

bool question_is_asked(int argc, char **argv, enum question_when when)
{
	bool trace = false, asked = false;

	for (int i = 1; i < argc; i++) {
		enum source_kind kind;

		if (argv[i][0] == '-' && argv[i][1]) {
			asked |= when != QUESTION_FOR_KVM && is_shared(argv[i], when);
			continue;
		}
		kind = source_peek(argv[i]);
		if (kind != SOURCE_NONE && kind != SOURCE_VMMU)
			return true;
		trace |= kind == SOURCE_VMMU;
	}
	return trace && asked;
}
