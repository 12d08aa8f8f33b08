/* SPDX-License-Identifier: BSD-2-Clause */
/* What is booted: the options that `vmmu run` and `vmmu iso` share. */
#ifndef TOOL_BOOT_OPTIONS_H
#define TOOL_BOOT_OPTIONS_H

#include <argp.h>

#include "../machine/machine.h"

struct boot_options {
	const char *kernel, *initrd;
	struct boot_module *modules;
	size_t module_count;
	char *append; /* what the user adds to the default; "" */
	bool no_default_append;
	uint64_t memory;
	enum mmu_kind mmu;
	const char *page_size;    /* "4k", "2m", "1g" */
	const char *fault_around; /* "1" ... "64"; NULL: off */
	const char *intercept;    /* "cr3,invlpg"; NULL: nothing beyond what is needed */
	bool prealloc, test_device, no_run_ahead, require_isolation, nested;

	char *visor, *visor_words, *guest_line; /* made by boot_options_plan */
};

void boot_options_init(struct boot_options *options);
void boot_options_free(struct boot_options *options);

/* `input` of this child parser is the struct boot_options. */
extern const struct argp boot_argp;

/* Look at kernel, initrd, modules and memory. *images: their bytes together. False: *error. */
bool boot_options_check(const struct boot_options *options, uint64_t *images, char **error);
/* May this file be written (NULL: none is)? Not when the guest is booted from it: *error says so. */
bool boot_options_spare(const struct boot_options *options, const char *path, char **error);
/* Fill in the plan; it points into `options`. `traced`: the visor shall write a trace. */
bool boot_options_plan(struct boot_options *options, bool traced, struct boot_plan *plan, char **error);

#endif
