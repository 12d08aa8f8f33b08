/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a recording of KVM: they are read to their end or refused, and what
 * was read becomes an index that answers walks.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tool/model/model.h"
#include "../../tool/source/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libtraceevent 1.7.1 leaks a few bytes of a format that it cannot read. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libtraceevent\n";
}

static void walk_some(const struct model *model)
{
	for (unsigned vm = 0; vm < model_vm_count(model) && vm < 4; vm++) {
		uint64_t count = model_count(model);

		for (uint64_t n = 0; n < count; n += count / 16 + 1) {
			const struct fact *fact = model_fact(model, n);
			struct model_walk walk;

			if (fact->vm != FACT_NO_VM && fact->vm >= model_vm_count(model))
				abort();
			if (fact->kind == FACT_WRITE && (fact->level < 1 || fact->level > 5))
				abort();
			if (fact->before > n || fact->fault > n)
				abort();
			model_walk(model, vm, NULL, fact->address, n + 1, &walk);
			if (walk.count > 5)
				abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_options how = {.no_cache = true, .quiet = true};
	struct model *model;
	char path[64], *error = NULL;
	int fd = memfd_create("recording", 0);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (model_open(&model, path, &how, &error)) {
		walk_some(model);
		model_close(model);
	} else if (!error) {
		abort();
	}
	free(error);
	close(fd);
	return 0;
}
